import type { ConversationRef } from "streamstraight-celery";
import { type ConversationStream, useConversation } from "streamstraight-celery/react";

type Chat = { chunk: string; input: { text: string }; question: { tool: string }; answer: { approved: boolean } };

/** An agent and those that it has started, side by side. `chatRef` is what the web route answered. */
export function Agents({ chatRef }: { chatRef: ConversationRef | null }) {
  const { streams, questions, status, send, answer, stop } = useConversation<Chat>(chatRef);
  return (
    <main data-status={status}>
      {streams.map((each) => <Answer key={each.id} stream={each} />)}
      {questions.map((each) => (
        <dialog key={each.id} open>
          {each.value.tool}?
          <button onClick={() => answer(each, { approved: true }).catch(() => alert("Answered elsewhere."))}>Approve</button>
        </dialog>
      ))}
      <button onClick={() => void send({ text: "Be brief." })}>Be brief</button>
      <button onClick={() => void stop({ tree: true })}>Stop all</button>
    </main>
  );
}

function Answer({ stream }: { stream: ConversationStream<string> }) {
  const { id, title, parent, chunks, endReason } = stream;
  return (
    <article data-parent={parent} data-end={endReason} aria-busy={!endReason} id={id}>
      <h2>{title ?? "Assistant"}</h2>
      <p>{chunks.join(" ")}</p>
    </article>
  );
}
