// Compiled, never run: what the hook's types promise.
import type { StreamRef } from "streamstraight-celery";
import { useStream } from "streamstraight-celery/react";

type Event = { type: "delta"; text: string } | { type: "done"; tokens: number };
declare const ref: StreamRef | null;
declare function is<T>(value: T): void;

export function Component(): void {
  const { chunks, value, status, stop } = useStream<Event>(ref);
  is<readonly Event[]>(chunks);
  is<undefined>(value);
  is<string>(status);
  is<Promise<void>>(stop());
  // @ts-expect-error the chunks are the hook's
  chunks.push({ type: "done", tokens: 1 });
  const { value: text } = useStream(ref, {
    initial: "",
    reduce: (text: string, event: Event) => text + (event.type === "delta" ? event.text : ""),
  });
  is<string>(text);
}
