// useChat with the transport of Durable Streams.
import { useChat } from "@ai-sdk/react-3";
import { createDurableChatTransport } from "@durable-streams/aisdk-transport";
import { Chat, chatId, onFinish, saved, show } from "./page.jsx";

const transport = createDurableChatTransport({ api: "/api/durable" });

show(() => (
  <Chat chat={useChat({ id: chatId, messages: saved, resume: true, onFinish, transport })} />
));
