import { type ConversationRef, openConversation } from "streamstraight-celery";

type Chat = {
  chunk: { text: string };
  input: { text: string };
  question: { tool: string };
  answer: { approved: boolean };
  events: { title: string }; // your own, by type
};

export async function follow(ref: ConversationRef, show: (id: string, text: string) => void) {
  const chat = openConversation<Chat>(ref);
  for await (const event of chat) {
    if (event.type === "stream") void read(event.stream_id);
    else if (event.type === "question") await chat.answer(event, { approved: confirm(`${event.value.tool}?`) });
    else if (event.type === "title") document.title = event.value;
  }

  async function read(id: string) {
    for await (const chunk of chat.openStream(id)) show(id, chunk.text);
  }
}
