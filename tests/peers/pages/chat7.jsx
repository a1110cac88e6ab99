// The AI SDK's own hook with its own transport, version 7.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { api, Chat, chatId, extraHeaders, onFinish, saved, show } from "./page.jsx";

const options = extraHeaders || api
  ? { transport: new DefaultChatTransport({ api, headers: extraHeaders }) }
  : {}; // the default transport is that one, to /api/chat

show(() => (
  <Chat chat={useChat({ id: chatId, messages: saved, resume: true, onFinish, ...options })} />
));
