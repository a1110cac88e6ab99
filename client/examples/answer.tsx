import type OpenAI from "openai";
import type { StreamRef } from "streamstraight-celery";
import { useStream } from "streamstraight-celery/react";

type Event = OpenAI.Responses.ResponseStreamEvent;

const addText = (text: string, event: Event) =>
  event.type === "response.output_text.delta" ? text + event.delta : text;

/** `streamRef` is what the web route answered; null until it has. */
export function Answer({ streamRef }: { streamRef: StreamRef | null }) {
  const { value, status, error, endReason, stop } = useStream(streamRef, { reduce: addText, initial: "" });
  return (
    <article aria-busy={status !== "closed"}>
      <p>{value}</p>
      {status === "open" && <button onClick={() => stop().catch((reason) => alert(reason.message))}>Stop</button>}
      {status === "queued" && <small>Waiting for a worker …</small>}
      {status === "stalled" && <small>The worker does not respond …</small>}
      {status === "waiting-for-connection" && <small>Waiting for a connection …</small>}
      {status === "reconnecting" && <small>Reconnecting …</small>}
      {endReason === "stopped" && <small>You stopped this answer.</small>}
      {error instanceof Error && <p role="alert">{error.message}</p>}
    </article>
  );
}
