import { type UIMessage, useChat, type UseChatHelpers } from "@ai-sdk/react";
import { useEffect } from "react";
import type { ConversationRef } from "streamstraight-celery";
import { resumeOnReset, StreamTransport } from "streamstraight-celery/ai-sdk";

const transport = new StreamTransport({ api: "/api/chat" });

/** A chat that is in step in all tabs. `chatRef` is the ref of its conversation; `saved` its messages so far. */
export function Chat({ id, chatRef, saved }: { id: string; chatRef: ConversationRef; saved: UIMessage[] }) {
  const chat: UseChatHelpers<UIMessage> = useChat({
    id,
    transport,
    messages: saved,
    resume: true,
    onError: resumeOnReset(() => chat.resumeStream()),
  });
  useEffect(() => transport.follow(id, chatRef, chat), [id, chatRef.url]);
  return (
    <main data-status={chat.status}>
      {chat.messages.map(({ id, role, parts }) => (
        <p key={id} className={role}>
          {parts.map((part) => (part.type === "text" ? part.text : ""))}
        </p>
      ))}
      <button onClick={() => void chat.sendMessage({ text: "Hi" })}>Say hi</button>
      <button onClick={() => void chat.regenerate()}>Again</button>
    </main>
  );
}
