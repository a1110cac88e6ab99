// The AI SDK's hooks that read plain text, as they are: `?hook=` names one.
import { experimental_useObject as useObject, useChat, useCompletion } from "@ai-sdk/react";
import { jsonSchema, TextStreamChatTransport } from "ai";
import { show } from "./page.jsx";

const api = "/api/text";
const transport = new TextStreamChatTransport({ api });
const schema = jsonSchema({ type: "object", properties: { words: { type: "string" } } });

function Shown({ text, error, busy, ask }) {
  return (
    <>
      <p id="text">{text}</p>
      <p id="error">{error ? "error" : ""}</p>
      <p id="busy">{busy ? "busy" : "idle"}</p>
      <button id="send" onClick={ask}>send</button>
    </>
  );
}

function Chat() {
  const { messages, sendMessage, status, error } = useChat({ transport });
  const answer = messages.filter((message) => message.role === "assistant");
  const text = answer.flatMap(({ parts }) => parts.map((part) => part.text ?? "")).join("");
  const busy = status === "submitted" || status === "streaming";
  return <Shown {...{ text, error, busy }} ask={() => sendMessage({ text: "hello" })} />;
}

function Completion() {
  const { completion, complete, error, isLoading } = useCompletion({ api, streamProtocol: "text" });
  return <Shown text={completion} error={error} busy={isLoading} ask={() => complete("hello")} />;
}

function Words() {
  const { object, submit, error, isLoading } = useObject({ api, schema });
  return <Shown text={object?.words ?? ""} error={error} busy={isLoading} ask={() => submit("hello")} />;
}

show({ chat: Chat, completion: Completion, object: Words }[new URLSearchParams(location.search).get("hook")]);
