// What the chats have in common: a list of messages, a status line, and two buttons.
import { useEffect, useRef } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
export const chatId = query.get("chat");
export const api = query.get("api") ?? undefined;
export const extraHeaders = query.has("headers")
  ? { "X-CSRFToken": "of the application", Authorization: "Bearer of-the-application" }
  : undefined;

// An application has the questions in its database.
const kept = `messages of ${chatId}`;
export const saved = JSON.parse(sessionStorage.getItem(kept) ?? "[]");

// Every text of an answer that was on the screen.
globalThis.seen = [];
globalThis.disconnected = undefined;

export function onFinish({ isDisconnect }) {
  globalThis.disconnected = isDisconnect;
}

function textOf(message) {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

export function Chat({ chat }) {
  const { messages, sendMessage, resumeStream, status, error } = chat;
  const questions = messages.filter((message) => message.role === "user");
  sessionStorage.setItem(kept, JSON.stringify(questions));
  const answer = messages.filter((message) => message.role === "assistant").map(textOf);
  globalThis.parts = messages.at(-1)?.parts;
  const last = useRef("");
  useEffect(() => {
    const text = answer.join("|");
    if (text !== last.current) seen.push((last.current = text));
  });
  return (
    <>
      <p id="status" data-status={status}>{status}</p>
      <p id="error">{error?.message}</p>
      <p id="questions">{questions.length}</p>
      <p id="answer">{answer.join("|")}</p>
      <button id="send" onClick={() => sendMessage({ text: "hello" })}>send</button>
      <button id="resume" onClick={() => resumeStream()}>resume</button>
    </>
  );
}

export function show(Page) {
  createRoot(document.getElementById("root")).render(<Page />);
}
