import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConversationEvent, openConversation, type StreamError } from "../src/index.ts";
import { type Answer, at, closed, data, deadNetwork, drain, frames, ManualClock, options, refusal, script, settle, sse, superseded, take } from "./support.ts";

const URL_OF_CHAT = "https://relay.example/v1/stream/conversation%3Achat-42?tenant=1";
const began = (id: string, parent?: string) => ({ type: "stream", at: 1, stream_id: id, ...(parent && { parent }) });
const ended = (id: string) => ({ type: "ended", at: 2, stream_id: id, reason: "completed" });
const log = (...events: object[]) => data(at(events.length), events);
const done: Answer = () => Response.json({ status: "sent" });

interface Chat {
  chunk: string;
  input: { text: string };
  question: { tool: string };
  answer: { approved: boolean };
  events: { title: string };
}

/** A relay that notes the bodies of what is posted. */
function relay(...answers: Answer[]) {
  const from = script(...answers);
  const bodies: any[] = [];
  return {
    ...from,
    bodies,
    fetch(url: string, init: RequestInit) {
      if (init.body) bodies.push(JSON.parse(String(init.body)));
      return from.fetch(url, init);
    },
  };
}

test("events come in order, and a stream is opened beside the log", async () => {
  const title = { type: "title", at: 1, id: "t", value: "Holidays" } as const;
  const from = relay(sse([log(began("a"), title, ended("a"))], "stay"), sse([frames(["hi", "you"]) + closed(at(2))]));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false });
  const events = await take(chat[Symbol.asyncIterator](), 3);
  assert.deepEqual(events, [began("a"), title, ended("a")]);
  assert.deepEqual(await drain(chat.openStream("a")), { chunks: ["hi", "you"], error: undefined });
  assert.deepEqual(
    from.seen.map(({ path, query, headers }) => [path, query["tenant"], headers["authorization"]]),
    [["/v1/stream/conversation%3Achat-42", "1", "Bearer t"], ["/v1/stream/a", "1", "Bearer t"]],
  );
  chat.close();
});

test("log and streams share one request", async () => {
  const both = `event: stream\ndata:0\n\n${log(began("a"))}event: stream\ndata:1\n\n${frames(["hi"]) + closed(at(1))}event: closed\ndata:{}\n\n`;
  const first = `event: stream\ndata:0\n\n${log(began("a"))}`;
  const from = relay(sse([first], "stay"), sse([both], "stay"));
  const chat = openConversation<Chat>(URL_OF_CHAT, options<ConversationEvent<Chat>>(from));
  const events = chat[Symbol.asyncIterator]();
  await take(events, 1);
  assert.deepEqual((await drain(chat.openStream("a"))).chunks, ["hi"]);
  assert.deepEqual(from.seen.map(({ method, path }) => `${method} ${path}`), ["POST /v1/streams", "POST /v1/streams"]);
  assert.deepEqual(from.bodies[1].streams.map(({ id, offset }: { id: string; offset: string }) => [id, offset]), [
    ["conversation:chat-42", at(1)],
    ["a", "-1"],
  ]);
  chat.close();
});

test("a message is sent again with the same id until the relay has it", async () => {
  const clock = new ManualClock();
  const from = relay(deadNetwork(), refusal(503), done);
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), clock, random: () => 0.5 });
  chat.close();
  const sent = chat.send({ text: "hello" });
  await clock.pass(5000);
  const id = await sent;
  const message = { id, value: { text: "hello" } };
  assert.deepEqual(from.bodies, [message, message, message]);
  assert.equal(from.seen[0]?.path, "/v1/send/conversation%3Achat-42");
  assert.equal(from.seen[0]?.headers["content-type"], "application/json");
});

test("a message that is refused is not sent again, and fails after some tries", async () => {
  const clock = new ManualClock();
  const answered = refusal(409, { error: { code: "answered", message: "another answer came first" } });
  const from = relay(answered, deadNetwork(), deadNetwork(), deadNetwork(), deadNetwork());
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), clock });
  chat.close();
  const late = (code: string) => (error: StreamError) => error.code === code && error.streamId !== undefined;
  await assert.rejects(chat.answer({ id: "question:1" }, { approved: true }), late("answered"));
  assert.deepEqual(from.bodies[0], { ...from.bodies[0], answers: "question:1", value: { approved: true } });
  const failing = assert.rejects(chat.send({ text: "hello" }, { id: "mine" }), late("network"));
  await clock.pass(60_000);
  await failing;
  assert.equal(from.bodies.length, 5);
  assert.equal(from.bodies[4].id, "mine");
});

test("a token that was renewed for a message opens the streams, too", async () => {
  const from = relay(refusal(401), done, sse([frames(["hi"]) + closed(at(1))]));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), getToken: async () => "fresh", pool: false });
  chat.close();
  await chat.send({ text: "hello" });
  await drain(chat.openStream("a"));
  assert.deepEqual(from.seen.map(({ headers }) => headers["authorization"]), ["Bearer t", "Bearer fresh", "Bearer fresh"]);
});

test("stop asks for the active stream, or for all that it has started", async () => {
  const events = [began("old"), ended("old"), began("a"), began("b", "a"), began("c", "b"), ended("c"), began("queued")];
  const from = relay(sse([log(...events)], "stay"), refusal(202), refusal(202), refusal(202));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false });
  await take(chat[Symbol.asyncIterator](), events.length);
  const stopped = () => from.seen.splice(0).filter(({ method }) => method === "POST").map(({ path }) => path);
  await chat.stop();
  assert.deepEqual(stopped(), ["/v1/stop/a"]);
  await chat.stop({ tree: true });
  assert.deepEqual(stopped(), ["/v1/stop/a", "/v1/stop/b"]);
  chat.close();
});

test("stop with the tree reaches what outlives the stream that started it", async () => {
  const events = [began("a"), began("b", "a"), ended("a"), began("c", "b"), ended("b")];
  const from = relay(sse([log(...events)], "stay"), refusal(202));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false });
  await take(chat[Symbol.asyncIterator](), events.length);
  await chat.stop();
  await chat.stop({ tree: true });
  assert.deepEqual(from.seen.slice(1).map(({ path }) => path), ["/v1/stop/c"]);
  chat.close();
});

test("stop goes by what an earlier reader has seen", async () => {
  const seen = [began("old"), ended("old"), began("a"), began("b", "a")] as ConversationEvent<Chat>[];
  const from = relay(sse([log(ended("b"))], "stay"), refusal(202));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false, offset: at(4), seen });
  await take(chat[Symbol.asyncIterator](), 1);
  await chat.stop({ tree: true });
  assert.deepEqual(from.seen.slice(1).map(({ path }) => path), ["/v1/stop/a"]);
  chat.close();
});

test("stop with the tree reaches a stream that was lost and may have begun again", async () => {
  const lost = (id: string) => ({ ...ended(id), reason: "producer-disconnected" });
  const events = [began("a"), began("b", "a"), lost("b"), began("c", "a"), lost("c"), began("d", "a"), ended("d")];
  const expired = refusal(404, { error: { code: "not-found", message: "no such stream" } });
  const from = relay(sse([log(...events)], "stay"), refusal(202), refusal(202), expired);
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false });
  await take(chat[Symbol.asyncIterator](), events.length);
  await chat.stop({ tree: true });
  assert.deepEqual(from.seen.slice(1).map(({ path }) => path), ["/v1/stop/a", "/v1/stop/b", "/v1/stop/c"]);
  chat.close();
});

test("after a reset of the log, stop goes by the new one", async () => {
  const from = relay(sse([log(began("old"))], "cut"), superseded(), sse([log(began("a"))], "stay"), refusal(202));
  const more = { pool: false, onReset: () => {} };
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), ...more });
  await take(chat[Symbol.asyncIterator](), 2);
  await chat.stop();
  assert.deepEqual(from.seen.slice(3).map(({ path }) => path), ["/v1/stop/a"]);
  chat.close();
});

test("the signal ends the streams, too", async () => {
  const from = relay(sse([log(began("a"))], "stay"), sse([frames(["hi"])], "stay"));
  const life = new AbortController();
  const more = { pool: false, signal: life.signal };
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), ...more });
  const events = drain(chat as any);
  await settle();
  const stream = drain(chat.openStream("a"));
  await settle();
  life.abort("left");
  assert.deepEqual([(await events).error, (await stream).error], ["left", "left"]);
  assert.ok(from.seen.every(({ signal }) => signal.aborted));
});

test("a log that fails takes its streams along", async () => {
  const from = relay(sse([log(began("a"))], "stay"), sse([frames(["hi"])], "stay"));
  const failing = () => {
    throw new Error("no date");
  };
  const more = { pool: false, decoder: failing };
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), ...more });
  const stream = drain(chat.openStream("a"));
  assert.match(String((await drain(chat as any)).error), /no date/);
  assert.match(String((await stream).error), /no date/);
});

test("close ends the events, and the streams that were opened", async () => {
  const from = relay(sse([log(began("a"))], "stay"), sse([frames(["hi"])], "stay"));
  const chat = openConversation<Chat>(URL_OF_CHAT, { ...options<ConversationEvent<Chat>>(from), pool: false });
  const events = drain(chat as any);
  await settle();
  const stream = drain(chat.openStream("a"));
  await settle();
  chat.close();
  assert.equal((await events).error ?? (await stream).error, undefined);
  assert.ok(from.seen.every(({ signal }) => signal.aborted));
});
