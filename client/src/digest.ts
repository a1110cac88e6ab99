import type { ConversationEvent, ConversationTypes, EndReason } from "streamstraight-celery";
import type { ConversationStream, UseConversation } from "./react.ts";

/** The streams that have begun, and the questions that are open. */
export function digest<T extends Partial<ConversationTypes>>(events: readonly ConversationEvent<T>[]) {
  type Question = UseConversation<T>["questions"][number];
  const streams = new Map<string, Pick<ConversationStream<unknown>, "id" | "task" | "title" | "parent"> & { endReason?: EndReason }>();
  const asked = new Map<string, Question>();
  /** By which event a question was settled. */
  const settled = new Map<string, unknown>();
  for (const event of events as readonly any[]) {
    const { type, stream_id: id, task, title, parent, reason: endReason } = event;
    if (type === "stream") streams.set(id, { id, task, title, parent });
    if (type === "ended") {
      streams.set(id, { ...streams.get(id), id, endReason });
      // A task that has ended waits no more.
      for (const [name, { stream_id }] of asked) if (stream_id === id) settled.set(name, event);
    }
    if (type === "question") asked.set(event.id, event as Question);
    if (type === "input") settled.set(event.answers, event.id);
    if (type === "closed") settled.set(event.question, event);
    // Its answer did not fit: it waits on.
    if (type === "refused" && settled.get(event.answers) === event.input) settled.delete(event.answers);
  }
  return { streams: [...streams.values()], questions: [...asked.values()].filter(({ id }) => !settled.has(id)) };
}
