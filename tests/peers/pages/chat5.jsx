// The same, version 5.
import { useChat } from "@ai-sdk/react-2";
import { Chat, chatId, onFinish, saved, show } from "./page.jsx";

show(() => <Chat chat={useChat({ id: chatId, messages: saved, resume: true, onFinish })} />);
