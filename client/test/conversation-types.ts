// Compiled, never run: what the types of conversations promise.
import { type ConversationRef, openConversation, type Stream } from "../src/index.ts";

type Token = { text: string };
declare const ref: ConversationRef;
declare function is<T>(value: T): void;

export async function events(): Promise<void> {
  const chat = openConversation<{
    chunk: Token; input: { text: string }; question: { tool: string }; answer: { approved: boolean };
    events: { title: string; progress: number };
  }>(ref, { onReset: () => {} });
  for await (const event of chat) {
    if (event.type === "stream") is<Stream<Token>>(chat.openStream(event.stream_id));
    else if (event.type === "question") void chat.answer(event, { approved: event.value.tool === "look" });
    else if (event.type === "ended") is<string>(event.reason);
    else if (event.type === "title") is<string>(event.value);
    else if (event.type === "progress") is<number>(event.value);
    is<number>(event.at);
    // @ts-expect-error no such event
    event.type === "titel";
  }
  is<string>(await chat.send({ text: "hi" }, { id: "mine" }));
  // @ts-expect-error not a message of this conversation
  void chat.send("hi");
  // @ts-expect-error not an answer
  void chat.answer("question:1", { approved: "yes" });
  await chat.stop({ tree: true });
}

export async function unknownByDefault(): Promise<void> {
  const chat = openConversation("https://relay.example/v1/stream/conversation:a");
  for await (const event of chat) if (event.type === "input") is<unknown>(event.value);
  void chat.send("anything");
  is<Stream<unknown>>(chat.openStream("a"));
  is<Stream<Token>>(chat.openStream<Token>("a", { onReset: () => {} }));
}
