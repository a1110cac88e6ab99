import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream, StreamError } from "../src/index.ts";
import {
  at, closed, data, drain, failed, frames, ManualClock, options, refusal, script, settle, sse, URL_OF_STREAM,
} from "./support.ts";

for (const reason of ["completed", "stopped"]) {
  test(`${reason} ends the iteration`, async () => {
    const stream = openStream(URL_OF_STREAM, options(script(sse([frames(["a"]) + closed(at(1), reason)]))));
    assert.deepEqual(await drain(stream), { chunks: ["a"], error: undefined });
    assert.equal(stream.endReason, reason);
  });
}

for (const reason of ["producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired"]) {
  test(`${reason} is thrown after the last chunk`, async () => {
    const told: unknown[] = [];
    const relay = script(sse([frames(["a", "b", "c"]) + closed(at(3), reason)]));
    const stream = openStream(URL_OF_STREAM, options(relay, { onError: (error) => told.push(error) }));
    const { chunks, error } = await drain(stream);
    assert.deepEqual(chunks, ["a", "b", "c"]);
    const message = `the stream ended: ${reason}`;
    assert.deepEqual(failed(error), { name: "StreamError", code: reason, message, endReason: reason, fatal: true });
    assert.deepEqual(told, [error]);
    assert.equal(stream.endReason, reason);
    assert.equal(relay.seen.length, 1);
  });
}

test("the error that the relay gives is thrown", async () => {
  const relay = script(sse([closed(at(0), "producer-error", { code: "task-failed", message: "the task failed" })]));
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay)));
  assert.deepEqual(failed(error), {
    name: "StreamError", code: "task-failed", message: "the task failed", endReason: "producer-error", fatal: true,
  });
  assert.ok(error instanceof Error && error.stack?.includes("StreamError"), "it looks like an error");
});

test("nothing counts after the end", async () => {
  const relay = script(sse([frames(["a"]) + closed(at(1)) + data(at(2), ["b"])], "stay"));
  assert.deepEqual(await drain(openStream(URL_OF_STREAM, options(relay))), { chunks: ["a"], error: undefined });
  assert.equal(relay.seen[0]?.signal.aborted, true);
});

test("204 of a closed stream ends it", async () => {
  const stream = openStream(URL_OF_STREAM, options(script(refusal(204, undefined, { "stream-closed": "true" })), { offset: at(3) }));
  assert.deepEqual(await drain(stream), { chunks: [], error: undefined });
  assert.equal(stream.endReason, "completed");
});

for (const status of [400, 403, 404, 405, 410]) {
  test(`${status} is thrown, after what had arrived`, async () => {
    const relay = script(sse([frames(["a"])], "cut"), refusal(status));
    const stream = openStream(URL_OF_STREAM, options(relay));
    await settle();
    assert.equal(stream.status, "closed");
    const { chunks, error } = await drain(stream);
    assert.deepEqual(chunks, ["a"]);
    assert.equal(failed(error)["status"], status);
    assert.equal(stream.endReason, undefined);
  });
}

test("a web page instead of a stream is thrown", async () => {
  const relay = script(() => new Response("<html>", { headers: { "content-type": "text/html" } }));
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay)));
  assert.equal(failed(error)["code"], "bad-response");
});

test("401: a new token, and on with it", async () => {
  const relay = script(sse([frames(["a"])], "cut"), refusal(401), sse([frames(["a", "b"], 1) + closed(at(2))]));
  let asked = 0;
  const getToken = async () => `fresh-${++asked}`;
  const { chunks } = await drain(openStream(URL_OF_STREAM, options(relay, { token: "old", getToken })));
  assert.deepEqual(chunks, ["a", "b"]);
  const used = relay.seen.map(({ headers }) => headers["authorization"]);
  assert.deepEqual(used, ["Bearer old", "Bearer old", "Bearer fresh-1"]);
  assert.deepEqual(relay.offsets(), ["-1", at(1), at(1)]);
});

test("401 twice in a row is thrown", async () => {
  const relay = script(refusal(401), refusal(401, { error: { code: "bad-token", message: "no" } }));
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay, { getToken: async () => "fresh" })));
  assert.deepEqual(failed(error), { name: "StreamError", code: "bad-token", message: "no", status: 401, fatal: true });
});

test("401 without getToken is thrown", async () => {
  const { error } = await drain(openStream(URL_OF_STREAM, options(script(refusal(401)))));
  assert.equal(failed(error)["code"], "unauthorized");
});

test("without any token, getToken is asked first", async () => {
  const relay = script(sse([closed(at(0))]));
  await drain(openStream(URL_OF_STREAM, { fetch: relay.fetch, getToken: async () => "first" }));
  assert.equal(relay.seen[0]?.headers["authorization"], "Bearer first");
});

test("getToken that rejects is asked again, with backoff", async () => {
  const clock = new ManualClock();
  const relay = script(refusal(401), sse([closed(at(0))]));
  let asked = 0;
  const getToken = async () => {
    if (++asked < 3) throw new TypeError("offline");
    return "fresh";
  };
  const codes: string[] = [];
  const onError = ({ code }: StreamError) => codes.push(code);
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 0.5, getToken, onError }));
  await clock.pass(125 + 250);
  assert.deepEqual(await drain(stream), { chunks: [], error: undefined });
  assert.equal(relay.seen.length, 2, "no request without a token");
  assert.deepEqual(codes, ["token", "token"]);
});

test("getToken gives up for good with a StreamError", async () => {
  const wrong = new StreamError({ code: "logged-out", message: "log in again" });
  const getToken = () => Promise.reject(wrong);
  const { error } = await drain(openStream(URL_OF_STREAM, options<unknown>(script(refusal(401)), { getToken })));
  assert.equal(error, wrong);
});

test("410 gone is thrown", async () => {
  const relay = script(refusal(410, { error: { code: "gone", message: "lost" } }));
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay, { offset: at(3), onReset: () => assert.fail() })));
  assert.equal(failed(error)["code"], "gone");
});

test("URLs that cannot be read are refused at once", () => {
  for (const url of ["/v1/stream/abc", "localhost:8000/v1/stream/abc", "ws://relay.example/v1/stream/abc"]) {
    assert.throws(() => openStream(url), TypeError);
  }
});

test("a token that is no header value is thrown, not retried", async () => {
  const { error } = await drain(openStream(URL_OF_STREAM, options(script(), { token: "t\u{1f600}" })));
  assert.ok(error instanceof TypeError);
});
