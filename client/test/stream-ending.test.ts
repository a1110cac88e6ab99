import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream, StreamError, StreamResetError } from "../src/index.ts";
import {
  at, closed, data, deadNetwork, drain, frames, ManualClock, never, options, refusal, script, settle, sse, take, URL_OF_STREAM,
} from "./support.ts";

const superseded = (attempt?: number) => refusal(410, { error: { code: "superseded", message: "newer" }, attempt });
const second = (n: number) => at(n).replace("000001", "000002");
/** The second attempt: other chunks under other offsets. */
const restarted = () => sse([data(second(1), ["A"]) + data(second(2), ["B"]) + closed(second(2))]);

function failed(error: unknown): { [key: string]: unknown } {
  assert.ok(error instanceof StreamError, `${error}`);
  const { name, code, message, status, endReason, fatal } = error;
  return JSON.parse(JSON.stringify({ name, code, message, status, endReason, fatal }));
}

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

test("a new attempt: onReset between the chunks of both", async () => {
  const events: unknown[] = [];
  const relay = script(sse([data(at(1), ["a"]) + data(at(2), ["b"])]), superseded(2), restarted());
  const onReset = (attempt: number) => events.push({ attempt });
  const stream = openStream(URL_OF_STREAM, options(relay, { onReset }));
  const iterator = stream[Symbol.asyncIterator]();
  events.push(...(await take(iterator, 1)));
  await settle();
  assert.deepEqual([...events], ["a"], "told only when the consumer comes for more");
  assert.equal(stream.offset, "-1");
  events.push(...(await take(iterator, 2)));
  assert.equal((await iterator.next()).done, true);
  assert.deepEqual(events, ["a", { attempt: 2 }, "A", "B"], "b is forgotten");
  assert.deepEqual(relay.offsets(), ["-1", at(2), "-1"]);
});

test("two new attempts in between: one reset, to the latest", async () => {
  const events: unknown[] = [];
  const relay = script(sse([data(at(1), ["a"])]), superseded(2), sse([data("x", ["lost"])]), superseded(3), restarted());
  const stream = openStream(URL_OF_STREAM, options(relay, { onReset: (attempt) => events.push(attempt) }));
  const iterator = stream[Symbol.asyncIterator]();
  await take(iterator, 1);
  await settle();
  assert.deepEqual(await take(iterator, 2), ["A", "B"]);
  assert.deepEqual(events, [3]);
  stream.close();
});

test("a new attempt without onReset is thrown, never doubled", async () => {
  const relay = script(sse([data(at(1), ["a"])]), superseded(2));
  const stream = openStream(URL_OF_STREAM, options(relay));
  const { chunks, error } = await drain(stream);
  assert.deepEqual(chunks, ["a"]);
  assert.ok(error instanceof StreamResetError);
  assert.equal(error.attempt, 2);
  assert.deepEqual(failed(error), {
    name: "StreamResetError", code: "superseded", message: "superseded by attempt 2", status: 410, fatal: true,
  });
  assert.equal(stream.offset, "-1");
  assert.equal(relay.seen.length, 2);
});

test("a new attempt after a resume is thrown, too", async () => {
  const { error } = await drain(openStream(URL_OF_STREAM, options(script(superseded(2)), { offset: at(3) })));
  assert.ok(error instanceof StreamResetError);
});

test("a new attempt before anything was handed out doubles nothing", async () => {
  const relay = script(sse([data(at(1), ["a"])]), superseded(2), restarted());
  const stream = openStream(URL_OF_STREAM, options(relay));
  await settle();
  assert.deepEqual(await drain(stream), { chunks: ["A", "B"], error: undefined });
});

test("a resume in the middle of a first frame that is not there any more begins again", async () => {
  const first = openStream(URL_OF_STREAM, options(script(sse([data(at(2), ["a", "b"])], "stay"))));
  await take(first[Symbol.asyncIterator](), 1);
  const { offset } = first;
  first.close();
  const resets: number[] = [];
  const relay = script(restarted(), restarted());
  const stream = openStream(URL_OF_STREAM, options(relay, { offset, onReset: (attempt) => resets.push(attempt) }));
  assert.deepEqual(await drain(stream), { chunks: ["A", "B"], error: undefined });
  assert.deepEqual(resets, [0]);
  const { error } = await drain(openStream(URL_OF_STREAM, options(script(restarted()), { offset })));
  assert.ok(error instanceof StreamResetError);
});

test("410 gone is thrown", async () => {
  const relay = script(refusal(410, { error: { code: "gone", message: "lost" } }));
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay, { offset: at(3), onReset: () => assert.fail() })));
  assert.equal(failed(error)["code"], "gone");
});

test("break closes the connection", async () => {
  const relay = script(sse([frames(["a", "b"])], "stay"));
  const stream = openStream(URL_OF_STREAM, options(relay));
  for await (const chunk of stream) {
    assert.equal(chunk, "a");
    break;
  }
  assert.equal(relay.seen[0]?.signal.aborted, true);
  assert.equal(stream.status, "closed");
  assert.equal(stream.endReason, undefined);
});

test("an exception in the loop closes the connection", async () => {
  const relay = script(sse([frames(["a"])], "stay"));
  const wrong = new Error("render");
  await assert.rejects(async () => {
    for await (const chunk of openStream(URL_OF_STREAM, options(relay))) throw chunk === "a" ? wrong : chunk;
  }, wrong);
  assert.equal(relay.seen[0]?.signal.aborted, true);
});

test("close ends a waiting iteration, wherever the connection is", async () => {
  const clock = new ManualClock();
  const relays = {
    reading: script(sse([frames(["a"])], "stay")),
    connecting: script(never()),
    waiting: script(deadNetwork()),
    "asking for a token": script(refusal(401)),
  };
  for (const [where, relay] of Object.entries(relays)) {
    const getToken = () => new Promise<string>(() => {});
    const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 1, getToken }));
    const drained = drain(stream);
    await settle();
    stream.close();
    stream.close();
    assert.equal((await drained).error, undefined, where);
    assert.equal(stream.status, "closed", where);
    assert.deepEqual(clock.waits, [], where);
    await settle();
    assert.equal(relay.seen.length, 1, where);
  }
});

test("close drops what was not taken", async () => {
  const stream = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b", "c"]) + closed(at(3))]))));
  const iterator = stream[Symbol.asyncIterator]();
  await take(iterator, 1);
  stream.close();
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

test("return does not wait for a pending next", async () => {
  const stream = openStream(URL_OF_STREAM, options(script(never())));
  const iterator = stream[Symbol.asyncIterator]();
  const pending = iterator.next();
  await iterator.return?.();
  assert.equal((await pending).done, true);
});

test("calls of next are answered in their order", async () => {
  const iterator = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b"]) + closed(at(2))]))))[Symbol.asyncIterator]();
  const results = await Promise.all([iterator.next(), iterator.next(), iterator.next(), iterator.next()]);
  assert.deepEqual(results.map(({ value }) => value), ["a", "b", undefined, undefined]);
});

test("a second consumer is refused", () => {
  const stream = openStream(URL_OF_STREAM, options(script(never())));
  stream[Symbol.asyncIterator]();
  assert.throws(() => stream[Symbol.asyncIterator](), /one consumer/);
  stream.close();
});

for (const when of ["before", "while reading", "when all has arrived"]) {
  test(`abort ${when}: the iterator throws the reason`, async () => {
    const controller = new AbortController();
    const reason = new Error("changed my mind");
    const relay = script(sse([frames(["a", "b", "c"]), ...(when === "while reading" ? [] : [closed(at(3))])], "stay"));
    if (when === "before") controller.abort(reason);
    const stream = openStream(URL_OF_STREAM, options(relay, { signal: controller.signal, onError: () => assert.fail() }));
    if (when !== "before") {
      const iterator = stream[Symbol.asyncIterator]();
      await take(iterator, 1);
      await settle();
      controller.abort(reason);
      await assert.rejects(async () => iterator.next(), reason);
      assert.deepEqual(await iterator.next(), { done: true, value: undefined });
    } else {
      assert.deepEqual(await drain(stream), { chunks: [], error: reason });
      assert.equal(relay.seen.length, 0);
    }
    assert.equal(stream.status, "closed");
  });
}

test("an abort after the end changes nothing", async () => {
  const controller = new AbortController();
  const stream = openStream(URL_OF_STREAM, options(script(sse([closed(at(0))])), { signal: controller.signal }));
  assert.equal((await drain(stream)).error, undefined);
  controller.abort();
  assert.equal(stream.endReason, "completed");
});

test("a stream that nobody iterates fails quietly", async () => {
  const stream = openStream(URL_OF_STREAM, options(script(refusal(404))));
  await settle();
  assert.equal(stream.status, "closed");
});

for (const callback of ["onStatus", "onError", "onReset"]) {
  test(`what ${callback} throws comes out of the iterator`, async () => {
    const wrong = new Error(callback);
    const relay = script(sse([frames(["a"])], "cut"), superseded(2), sse([], "stay"));
    const broken = {
      [callback]: () => {
        throw wrong;
      },
    };
    const stream = openStream(URL_OF_STREAM, options(relay, { onReset: () => {}, ...broken }));
    assert.equal((await drain(stream)).error, wrong);
    assert.equal(stream.status, "closed");
  });
}

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

test("stop renews a refused token once", async () => {
  const relay = script(never(), refusal(401), refusal(200));
  const stream = openStream(URL_OF_STREAM, options(relay, { getToken: async () => "fresh" }));
  await settle();
  await stream.stop();
  assert.equal(relay.seen[2]?.headers["authorization"], "Bearer fresh");
  stream.close();
});

test("stop tells why it failed", async () => {
  const relay = script(never(), refusal(404, { error: { code: "not-found", message: "no such stream" } }), deadNetwork());
  const stream = openStream(URL_OF_STREAM, options(relay));
  await settle();
  await assert.rejects(stream.stop(), (error) => failed(error)["message"] === "no such stream");
  await assert.rejects(stream.stop(), TypeError);
  stream.close();
  const other = openStream("https://relay.example/other", options(script(never())));
  await assert.rejects(other.stop(), /no \/v1\/stream\//);
  other.close();
});

test("stop of an ended stream has nothing to ask", async () => {
  const relay = script(sse([closed(at(0))]));
  const stream = openStream(URL_OF_STREAM, options(relay));
  await drain(stream);
  await stream.stop();
  assert.equal(relay.seen.length, 1);
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
