import { createParser, type EventSourceMessage } from "eventsource-parser";

/** One server-sent event. */
export type Frame = EventSourceMessage;

/**
 * Bytes in, frames out, however the bytes are cut. Comments (heartbeats) and unfinished events
 * give no frame. A CR ends a line at once; an LF that follows it later belongs to it.
 */
export function frameParser(onComment?: () => void): (bytes: Uint8Array) => Frame[] {
  let frames: Frame[];
  let held: string[] = [];
  let afterCr = false;
  const decoder = new TextDecoder();
  const parser = createParser({ onEvent: (frame) => frames.push(frame), ...(onComment && { onComment }) });
  return (bytes) => {
    frames = [];
    const decoded = decoder.decode(bytes, { stream: true });
    if (!decoded) return frames;
    // The parser would wait at a CR for the next character.
    const text = (afterCr ? decoded.replace(/^\n/, "") : decoded).replace(/\r\n?/g, "\n");
    afterCr = decoded.endsWith("\r");
    // The parser scans an unfinished line again with each piece, so it gets whole lines.
    const end = text.lastIndexOf("\n") + 1;
    if (end) {
      parser.feed(held.join("") + text.slice(0, end));
      held = [];
    }
    held.push(text.slice(end));
    return frames;
  };
}
