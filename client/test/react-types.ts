// Compiled, never run: what the hook's types promise.
import type { ConversationRef, StreamRef } from "streamstraight-celery";
import { useConversation, useStream } from "streamstraight-celery/react";

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

export function Talk(): void {
  const { streams, questions, events, answer, send } = useConversation<{
    chunk: Event; question: { tool: string }; answer: boolean; events: { title: string };
  }>({} as ConversationRef, { history: 5, pool: true });
  for (const { chunks } of streams) is<readonly Event[]>(chunks);
  for (const question of questions) if (question.value.tool) is<Promise<string>>(answer(question, true));
  for (const event of events) if (event.type === "title") is<string>(event.value);
  is<Promise<string>>(send("anything"));
  // @ts-expect-error not an answer
  void answer("question:1", 1);
}
