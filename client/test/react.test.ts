// In Chromium the hook is drawn by tests/browser/test_react.py; this is what needs no page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { type Conversation, type ConversationEvent, openConversation, type StreamError, type StreamOptions, type StreamRef } from "../src/index.ts";
import { digest } from "../src/digest.ts";
import { useStream } from "../src/react.ts";
import { type Ask, type Store, storeOf, stores } from "../src/store.ts";
import { at, closed, data, deadNetwork, frames, refusal, script, settle, sse } from "./support.ts";

function Answer({ source }: { source: StreamRef | null }) {
  const { status, chunks, value } = useStream(source, { reduce: (count: number) => count + 1, initial: 0 });
  return `${status} ${chunks.length} ${value}`;
}

const url = (id: string) => `https://relay.example/v1/stream/${id}`;
const drawn = (source: StreamRef | null) => renderToString(createElement(Answer, { source }));

test("on a server nothing is opened, and nothing is kept", () => {
  assert.equal(drawn(null), "idle 0 0");
  for (let i = 0; i < 100; i++) assert.equal(drawn({ stream_id: `${i}`, url: url(`${i}`) }), "connecting 0 0");
  assert.equal(stores.size, 0);
});

test("callbacks are those of the latest render", async () => {
  const told: string[] = [];
  const relay = script(deadNetwork(), deadNetwork(), refusal(404));
  const onError = (render: string) => ({ code }: StreamError) => void told.push(`${render}: ${code}`);
  let options: StreamOptions<unknown> = { fetch: relay.fetch, token: "t", random: () => 0, onError: onError("first") };
  const leave = storeOf(url("latest")).subscribe(() => {}, () => [url("latest"), options]);
  options = { ...options, onError: onError("second") };
  await settle();
  leave();
  assert.deepEqual(told, ["second: network", "second: network", "second: not-found"]);
});

test("what openStream throws is the hook's error, and tried again when somebody comes back", async () => {
  const relay = script(refusal(404));
  const options: StreamOptions<unknown> = { fetch: relay.fetch };
  let wanted = "ftp://relay.example/v1/stream/blocked";
  const store = storeOf(url("blocked"));
  const until = (done: () => boolean) =>
    new Promise<() => void>((resolve) => {
      const leave = store.subscribe(() => done() && resolve(leave), () => [wanted, options]);
    });
  (await until(() => store.snapshot.status === "closed"))();
  const thrown = store.snapshot.error;
  assert.match(String(thrown), /not an http URL/);
  wanted = url("blocked");
  (await until(() => store.snapshot.status === "closed" && store.snapshot.error !== thrown))();
  assert.equal(relay.seen.length, 1);
});

/** Looks at a store until that is so. */
function look<T>(store: Pick<Store<T>, "subscribe">, ask: Ask<T>, until: () => boolean): Promise<() => void> {
  return new Promise((resolve) => {
    const leave = store.subscribe(() => until() && resolve(leave), ask);
  });
}

test("a token that a ref brought while the old one was still good is used when that is refused", async () => {
  const relay = script(sse([frames(["a"])], "cut"), refusal(401), sse([closed(at(1))]));
  let token = "old";
  const ask: Ask<string> = () => {
    const options = { fetch: relay.fetch, random: () => 0 };
    const source = { stream_id: "renewed", url: url("renewed"), token };
    token = "fresh"; // the next render's
    return [source, options];
  };
  const store = storeOf<string>(url("renewed"));
  (await look(store, ask, () => store.snapshot.status === "closed"))();
  assert.equal(store.snapshot.error, undefined);
  assert.deepEqual(relay.seen.map(({ headers }) => headers["authorization"]), ["Bearer old", "Bearer old", "Bearer fresh"]);
});

test("a token that is refused, and no other, is the hook's error", async () => {
  const relay = script(refusal(401), refusal(401));
  const ask: Ask<string> = () => [{ stream_id: "old", url: url("old"), token: "old" }, { fetch: relay.fetch }];
  const store = storeOf<string>(url("old"));
  (await look(store, ask, () => store.snapshot.status === "closed"))();
  assert.equal((store.snapshot.error as StreamError).code, "unauthorized");
});

test("a question waits on when its answer was refused", () => {
  const asks = (id: string) => ({ type: "question", id, stream_id: "a" });
  const answers = (answers: string, id: string) => ({ type: "input", id, answers });
  const refuses = (answers: string, input: string) => ({ type: "refused", input, answers });
  const open = (...events: object[]) => digest(events as ConversationEvent[]).questions.map(({ id }) => id);
  const events = [asks("1"), asks("2"), answers("1", "wrong")];
  assert.deepEqual(open(...events), ["2"]);
  assert.deepEqual(open(...events, refuses("1", "wrong")), ["1", "2"]);
  assert.deepEqual(open(...events, refuses("1", "wrong"), answers("1", "right")), ["2"]);
  assert.deepEqual(open(...events, { type: "closed", question: "1" }, refuses("1", "wrong")), ["2"]);
  assert.deepEqual(open(...events, { type: "ended", stream_id: "a" }, refuses("1", "wrong")), []);
});

test("stop reaches a conversation's stream that an earlier connection told of", async () => {
  const began = { type: "stream", at: 1, stream_id: "a" };
  const relay = script(sse([data(at(1), [began])], "stay"), refusal(202), sse([], "stay"), refusal(202));
  const ask: Ask<ConversationEvent> = () => [url("conversation%3Achat"), { fetch: relay.fetch, token: "t", pool: false }];
  const store = storeOf<ConversationEvent, Conversation>(url("conversation%3Achat"), openConversation as never);
  (await look(store, ask, () => store.snapshot.chunks.length === 1))();
  // After the store's own timer, which closes the connection.
  await new Promise((resolve) => setTimeout(resolve, 10));
  await store.reach(ask)?.stop();
  const leave = store.subscribe(() => {}, ask);
  await settle();
  await store.reach(ask)?.stop();
  leave();
  const asked = relay.seen.map(({ method, path, query }) => `${method} ${path} ${query["offset"] ?? ""}`.trim());
  const log = "GET /v1/stream/conversation%3Achat";
  assert.deepEqual(asked, [`${log} -1`, "POST /v1/stop/a", `${log} ${at(1)}`, "POST /v1/stop/a"]);
});

test("stop reaches the task of a stream that could not be read on", async () => {
  const relay = script(sse([frames(["a"])], "stay"), refusal(202));
  const decoder = () => {
    throw new Error("no date");
  };
  const ask: Ask<Date> = () => [url("undecodable"), { fetch: relay.fetch, token: "t", decoder }];
  const store = storeOf<Date>(url("undecodable"));
  const leave = await look(store, ask, () => store.snapshot.status === "closed");
  await store.reach(ask)?.stop();
  assert.deepEqual(relay.seen.map(({ method, path }) => `${method} ${path}`), ["GET /v1/stream/undecodable", "POST /v1/stop/undecodable"]);
  leave();
});
