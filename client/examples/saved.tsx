import { type UIMessage, useChat, type UseChatHelpers } from "@ai-sdk/react";
import { useState } from "react";
import { type StreamStatus } from "streamstraight-celery";
import { resumeOnReset, StreamTransport } from "streamstraight-celery/ai-sdk";

const WAITS: { [status: string]: string } = {
  queued: "Waiting for a worker …",
  stalled: "The worker does not respond …",
  "waiting-for-connection": "Waiting for a connection …",
  reconnecting: "Reconnecting …",
};

/** `saved` is what `GET /api/chat/<id>` answered when the page was opened. */
export function SavedChat({ id, saved }: { id: string; saved: UIMessage[] }) {
  const [reading, setReading] = useState<StreamStatus>();
  const [transport] = useState(
    () => new StreamTransport({ messages: () => saved, onStatus: (_, status) => setReading(status) }),
  );
  const chat: UseChatHelpers<UIMessage> = useChat({
    id,
    messages: saved,
    transport,
    resume: true,
    onError: resumeOnReset(() => chat.resumeStream()),
  });
  return (
    <main data-status={chat.status}>
      {chat.messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part) => (part.type === "text" ? part.text : ""))}
        </p>
      ))}
      {chat.status !== "ready" && <small>{WAITS[reading ?? ""]}</small>}
      {chat.error && <p role="alert">{chat.error.message}</p>}
      <button onClick={() => void chat.sendMessage({ text: "Hi" })}>Say hi</button>
      <button onClick={() => transport.stop(id).catch((reason) => alert(reason.message))}>Stop</button>
    </main>
  );
}
