// AG-UI's own client reads what a worker writes in tests/peers/test_ag_ui.py; these are the answers
// that no worker gives.
import assert from "node:assert/strict";
import { test } from "node:test";
import { relayFetch } from "../src/ag-ui.ts";
import { type Answer, at, closed, data, ManualClock, never, refusal, script, settle, sse } from "./support.ts";

const ref = { stream_id: "abc", url: "https://relay.example/v1/stream/abc", token: "t" };
const asked = (signal?: AbortSignal): RequestInit => ({ method: "POST", body: "{}", ...(signal && { signal }) });

function fetchOf(route: () => Promise<Response>, ...answers: Answer[]) {
  const relay = script(...answers);
  return { relay, fetch: relayFetch({ fetch: route, stream: { fetch: relay.fetch, random: () => 0, clock: new ManualClock() } }) };
}

test("a route that refuses is the agent's to tell", async () => {
  const { relay, fetch } = fetchOf(async () => Response.json({ error: "busy" }, { status: 429 }));
  const response = await fetch("/agent", asked());
  assert.deepEqual([response.status, await response.json(), relay.seen.length], [429, { error: "busy" }, 0]);
});

test("a stream that cannot be read is an error of the run", async () => {
  const { fetch } = fetchOf(async () => Response.json(ref), refusal(404));
  const text = await (await fetch("/agent", asked())).text();
  assert.equal(text, 'data: {"type":"RUN_ERROR","code":"not-found","message":"the relay answered 404"}\n\n');
});

test("events are handed on one by one, and the end is clean", async () => {
  const events = [{ type: "RUN_STARTED" }, { type: "CUSTOM", name: "a\n\nb" }, { type: "RUN_FINISHED" }];
  const { fetch } = fetchOf(async () => Response.json(ref), sse([data(at(3), events) + closed(at(3))]));
  const response = await fetch("/agent", asked());
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(await response.text(), events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
});

test("a run that is aborted while the route is asked is stopped when it has begun", async () => {
  let answer: (response: Response) => void = () => {};
  const { relay, fetch } = fetchOf(() => new Promise((resolve) => (answer = resolve)), sse([], "stay"), refusal(202));
  const run = new AbortController();
  const response = fetch("/agent", asked(run.signal));
  run.abort();
  answer(Response.json(ref));
  await assert.rejects((await response).text(), { name: "AbortError" });
  await settle();
  assert.ok(relay.seen.some(({ method, path }) => method === "POST" && path === "/v1/stop/abc"));
});

test("who aborts the run closes its connection, also where the relay does not answer the stop", async () => {
  const { relay, fetch } = fetchOf(async () => Response.json(ref), sse([], "stay"), never());
  const run = new AbortController();
  const response = await fetch("/agent", asked(run.signal));
  await settle();
  run.abort();
  await settle();
  assert.deepEqual(relay.seen.map(({ path, signal }) => [path, signal.aborted]), [["/v1/stream/abc", true], ["/v1/stop/abc", false]]);
  await assert.rejects(response.text(), { name: "AbortError" });
});

test("who leaves the body closes the connection and stops nothing", async () => {
  const { relay, fetch } = fetchOf(async () => Response.json(ref), sse([data(at(1), [{ type: "RUN_STARTED" }])], "stay"));
  const reader = (await fetch("/agent", asked())).body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await settle();
  assert.deepEqual([relay.seen.length, relay.seen[0]?.signal.aborted], [1, true]);
});
