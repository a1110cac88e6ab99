import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream } from "../src/index.ts";
import {
  at, closed, deadNetwork, drain, frames, ManualClock, never, options, refusal, script, settle, sse, superseded, take, URL_OF_STREAM,
} from "./support.ts";

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

test("close at once: nothing else is told or asked for, also when its signal is aborted then", async () => {
  for (const then of ["nothing", "abort"]) {
    const told: string[] = [];
    const controller = new AbortController();
    const relay = script();
    const stream = openStream(URL_OF_STREAM, options(relay, { signal: controller.signal, onStatus: (status) => told.push(status) }));
    stream.close();
    if (then === "abort") controller.abort();
    await settle();
    assert.deepEqual([told, relay.seen.length], [["closed"], 0], then);
    assert.deepEqual(await drain(stream), { chunks: [], error: undefined }, then);
  }
});

test("close when a failure is told: closed is the last status", async () => {
  const told: string[] = [];
  const more = { onStatus: (status: string) => void told.push(status), onError: () => stream.close() };
  const stream = openStream(URL_OF_STREAM, options(script(deadNetwork()), more));
  await drain(stream);
  assert.deepEqual([told, stream.status], [["connecting", "closed"], "closed"]);
});

test("close in the moment in which the answer comes: closed is the last status", async () => {
  const told: string[] = [];
  let answer: (response: Response) => void = () => {};
  const relay = script(() => new Promise((resolve) => (answer = resolve)));
  const stream = openStream(URL_OF_STREAM, options(relay, { onStatus: (status) => told.push(status) }));
  await settle();
  answer(new Response("", { headers: { "content-type": "text/event-stream" } }));
  await Promise.resolve();
  stream.close();
  await settle();
  assert.deepEqual([told, stream.status], [["connecting", "closed"], "closed"]);
});

test("close while it waits to ask for a token again: nobody is asked", async () => {
  const clock = new ManualClock();
  let asked = 0;
  const getToken = async () => {
    asked++;
    throw new TypeError("offline");
  };
  const stream = openStream<unknown>(URL_OF_STREAM, { fetch: script().fetch, clock, random: () => 1, getToken });
  await settle();
  stream.close();
  await settle();
  assert.equal(asked, 1);
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
  assert.throws(() => stream[Symbol.asyncIterator](), /stream abc already has a consumer/);
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
