import { type UIMessage, useChat, type UseChatHelpers } from "@ai-sdk/react";
import { resumeOnReset, StreamTransport } from "streamstraight-celery/ai-sdk";

const transport = new StreamTransport({ api: "/api/chat" });

export function Chat({ id }: { id: string }) {
  const chat: UseChatHelpers<UIMessage> = useChat({
    id,
    transport,
    resume: true, // a reloaded page continues the answer that is being written
    onError: resumeOnReset(() => chat.resumeStream()), // so does a retried task's
  });
  return (
    <main data-status={chat.status}>
      {chat.messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part) => (part.type === "text" ? part.text : ""))}
        </p>
      ))}
      {chat.error && <p role="alert">{chat.error.message}</p>}
      <button onClick={() => void chat.sendMessage({ text: "Hi" })}>Say hi</button>
      <button onClick={() => transport.stop(id).catch((reason) => alert(reason.message))}>Stop</button>
    </main>
  );
}
