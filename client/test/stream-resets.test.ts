import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream, StreamResetError } from "../src/index.ts";
import {
  at, closed, data, drain, failed, options, script, settle, sse, superseded, take, URL_OF_STREAM,
} from "./support.ts";

const second = (n: number) => at(n).replace("000001", "000002");
/** The second attempt: other chunks under other offsets. */
const restarted = () => sse([data(second(1), ["A"]) + data(second(2), ["B"]) + closed(second(2))]);

test("a new attempt: onReset between the chunks of both", async () => {
  const events: unknown[] = [];
  const relay = script(sse([data(at(1), ["a"]) + data(at(2), ["b"])]), superseded(2), restarted());
  const onReset = (attempt: number) => events.push({ attempt });
  const stream = openStream(URL_OF_STREAM, options(relay, { onReset }));
  const iterator = stream[Symbol.asyncIterator]();
  events.push(...(await take(iterator, 1)));
  await settle();
  assert.deepEqual([...events], ["a"], "told only when the consumer comes for more");
  assert.equal(stream.offset, at(1), "what was rendered is of the old attempt until then");
  events.push(...(await take(iterator, 2)));
  assert.equal((await iterator.next()).done, true);
  assert.deepEqual(events, ["a", { attempt: 2 }, "A", "B"], "b is forgotten");
  assert.deepEqual(relay.offsets(), ["-1", at(2), "-1"]);
});

test("left before it was told of a new attempt, the consumer is told when it goes on", async () => {
  for (const resets of [undefined, [] as number[]]) {
    const onReset = resets && ((attempt: number) => void resets.push(attempt));
    const relay = script(sse([data(at(1), ["a"])]), superseded(2), sse([data(second(1), ["A"])], "stay"));
    const first = openStream(URL_OF_STREAM, options(relay, { onReset }));
    await take(first[Symbol.asyncIterator](), 1);
    await settle();
    const { offset } = first;
    first.close();
    assert.equal(first.offset, offset);
    assert.deepEqual(resets ?? [], []);

    const later = openStream(URL_OF_STREAM, options(script(superseded(2), restarted()), { offset, onReset }));
    const { chunks, error } = await drain(later);
    if (resets) assert.deepEqual([chunks, resets], [["A", "B"], [2]]);
    else assert.ok(error instanceof StreamResetError, `${chunks} behind what is shown`);
  }
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
