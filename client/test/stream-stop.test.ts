import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream } from "../src/index.ts";
import {
  at, closed, deadNetwork, drain, failed, frames, ManualClock, never, options, refusal, script, settle, sse, take, URL_OF_STREAM,
} from "./support.ts";

test("stop asks the relay, and reading goes on to the end", async () => {
  const relay = script(sse([frames(["a"])], "stay"), refusal(202), sse([closed(at(1), "stopped")]));
  const stream = openStream(`${URL_OF_STREAM}?tenant=1`, options(relay));
  const iterator = stream[Symbol.asyncIterator]();
  await take(iterator, 1);
  await stream.stop();
  const { method, path, query, headers } = relay.seen[1] ?? assert.fail();
  assert.deepEqual({ method, path, query }, { method: "POST", path: "/v1/stop/abc", query: { tenant: "1" } });
  assert.equal(headers["authorization"], "Bearer t");
  assert.equal(stream.status, "open");
  stream.close();
});

test("stop gives the reading connection up before it asks, and reading goes on from its place", async () => {
  const statuses: string[] = [];
  let confirm: (response: Response) => void = () => {};
  const relay = script(
    sse([frames(["a", "b"])], "stay"),
    () => new Promise((resolve) => (confirm = resolve)),
    sse([frames(["a", "b", "c"], 2) + closed(at(3), "stopped")]),
  );
  const stream = openStream(URL_OF_STREAM, options(relay, { onStatus: (status) => statuses.push(status) }));
  const iterator = stream[Symbol.asyncIterator]();
  await take(iterator, 1);
  const stopping = stream.stop();
  await settle();
  assert.deepEqual(relay.seen.map(({ method, signal }) => [method, signal.aborted]), [["GET", true], ["POST", false]]);
  confirm(new Response(null, { status: 202 }));
  await stopping;
  assert.deepEqual((await take(iterator, 2)), ["b", "c"]);
  assert.equal((await iterator.next()).done, true);
  assert.deepEqual(relay.offsets(), ["-1", undefined, at(2)]);
  assert.deepEqual(statuses, ["connecting", "open", "closed"]);
});

test("stop renews a refused token once", async () => {
  const relay = script(never(), refusal(401), refusal(200));
  const stream = openStream(URL_OF_STREAM, options(relay, { getToken: async () => "fresh" }));
  await settle();
  await stream.stop();
  assert.equal(relay.seen[2]?.headers["authorization"], "Bearer fresh");
  stream.close();
});

test("stop tells why it failed", async () => {
  const relay = script(never(), refusal(404, { error: { code: "not-found", message: "no such stream" } }), never(), deadNetwork());
  const stream = openStream(URL_OF_STREAM, options(relay));
  await settle();
  await assert.rejects(stream.stop(), (error) => failed(error)["message"] === "no such stream");
  // Nobody tries again, so it is not one of those failures that pass by themselves.
  await assert.rejects(stream.stop(), (error) => failed(error)["code"] === "network" && failed(error)["fatal"] === true);
  stream.close();
  const other = openStream("https://relay.example/other", options(script(never())));
  await assert.rejects(other.stop(), /no \/v1\/stream\//);
  other.close();
});

test("stop that gets no token tells so", async () => {
  const offline = new TypeError("offline");
  const away = async () => {
    throw offline;
  };
  const stream = openStream(URL_OF_STREAM, options(script(never(), refusal(401)), { getToken: away }));
  await settle();
  await assert.rejects(stream.stop(), (error) => failed(error)["code"] === "token" && (error as Error).cause === offline);
  stream.close();
});

test("stop fails after 45 s of silence, as reading does", async () => {
  const clock = new ManualClock();
  const stream = openStream(URL_OF_STREAM, options(script(never(), never(), refusal(202)), { clock }));
  await settle();
  let failure: unknown;
  const stopped = stream.stop().catch((error) => (failure = error));
  await clock.pass(44_000);
  assert.equal(failure, undefined);
  stream.close();
  await clock.pass(1000);
  await stopped;
  assert.equal(failed(failure)["code"], "timeout");
  await stream.stop();
  assert.deepEqual(clock.waits, []);
});

test("stop of an ended stream has nothing to ask", async () => {
  const relay = script(sse([closed(at(0))]));
  const stream = openStream(URL_OF_STREAM, options(relay));
  await drain(stream);
  await stream.stop();
  assert.equal(relay.seen.length, 1);
});
