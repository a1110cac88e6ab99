// The same, version 6.
import { useChat } from "@ai-sdk/react-3";
import { Chat, chatId, onFinish, saved, show } from "./page.jsx";

show(() => <Chat chat={useChat({ id: chatId, messages: saved, resume: true, onFinish })} />);
