import { createParser, type EventSourceMessage } from "eventsource-parser";

/** One server-sent event. */
export type Frame = EventSourceMessage;

/**
 * Bytes in, frames out, however the bytes are cut. Comments (the heartbeats) and unfinished events
 * make no frame.
 */
export function frameParser(): (bytes: Uint8Array) => Frame[] {
  let frames: Frame[];
  const decoder = new TextDecoder();
  const parser = createParser({ onEvent: (frame) => frames.push(frame) });
  return (bytes) => {
    frames = [];
    parser.feed(decoder.decode(bytes, { stream: true }));
    return frames;
  };
}
