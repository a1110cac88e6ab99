// In Chromium the hook is drawn by tests/browser/test_react.py; this is what needs no page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import type { StreamError, StreamOptions, StreamRef } from "../src/index.ts";
import { useStream } from "../src/react.ts";
import { storeOf, stores } from "../src/store.ts";
import { deadNetwork, refusal, script, settle } from "./support.ts";

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
  const blocked = new DOMException("storage is blocked", "SecurityError");
  const storage = { getItem: () => { throw blocked; }, setItem: () => {} };
  const relay = script(refusal(404));
  let options: StreamOptions<unknown> = { fetch: relay.fetch, persist: { key: "answer", storage } };
  const store = storeOf(url("blocked"));
  const until = (done: () => boolean) =>
    new Promise<() => void>((resolve) => {
      const leave = store.subscribe(() => done() && resolve(leave), () => [url("blocked"), options]);
    });
  (await until(() => store.snapshot.status === "closed"))();
  assert.equal(store.snapshot.error, blocked);
  options = { fetch: relay.fetch };
  (await until(() => store.snapshot.status === "closed" && store.snapshot.error !== blocked))();
  assert.equal(relay.seen.length, 1);
});
