import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { openStream, StreamError } from "../src/index.ts";
import { Queue } from "../src/waiting.ts";
import { at, closed, data, deadNetwork, drain, frames, never, options, refusal, script, settle, sse, take, URL_OF_STREAM } from "./support.ts";

/** Milliseconds of work since then, also on a machine that is busy with something else. */
function worked(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

class Storage {
  items = new Map<string, string>();
  getItem = (key: string) => this.items.get(key) ?? null;
  setItem = (key: string, value: string) => void this.items.set(key, value);
}

test("persist: what comes after a reload goes on behind what the consumer was done with", async () => {
  const persist = { key: "answer", storage: new Storage() };
  const first = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b"])], "stay")), { persist }));
  const iterator = first[Symbol.asyncIterator]();
  await take(iterator, 2);
  assert.equal(persist.storage.items.size, 0, "the second is still being rendered");
  void iterator.next();
  await settle();

  const relay = script(sse([data(at(3), ["c"]) + closed(at(3))]));
  const second = openStream(URL_OF_STREAM, options(relay, { persist }));
  assert.deepEqual(await drain(second), { chunks: ["c"], error: undefined });
  assert.deepEqual(relay.offsets(), [at(2)]);

  const again = script(sse([closed(at(3))]));
  await drain(openStream(URL_OF_STREAM, options(again, { persist })));
  assert.deepEqual(again.offsets(), [at(3)], "nothing comes twice after the end, either");
  first.close();
});

/** A window, and what listens to it. */
function page(t: TestContext) {
  const window = new EventTarget();
  const listening = new Set<unknown>();
  Object.assign(globalThis, {
    addEventListener(type: string, listener: () => void, { signal }: { signal: AbortSignal }) {
      window.addEventListener(type, listener, { signal });
      listening.add(listener);
      signal.addEventListener("abort", () => listening.delete(listener));
    },
  });
  t.after(() => Reflect.deleteProperty(globalThis, "addEventListener"));
  return { window, listening };
}

test("persist: a page that goes away in the middle of a burst", async (t) => {
  const { window, listening } = page(t);
  const persist = { key: "answer", storage: new Storage() };
  const stream = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b", "c"])], "stay")), { persist }));
  await take(stream[Symbol.asyncIterator](), 2);
  window.dispatchEvent(new Event("pagehide"));
  assert.equal(persist.storage.items.get("answer"), `/v1/stream/abc ${at(2)}`);
  stream.close();
  assert.equal(listening.size, 0, "the page does not hold on to what was closed");
});

test("persist: a ReadableStream that is cancelled in the middle of a burst", async (t) => {
  const { listening } = page(t);
  const persist = { key: "answer", storage: new Storage() };
  const stream = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b", "c"])], "stay")), { persist }));
  const reader = stream.toReadableStream().getReader();
  await reader.read();
  await reader.read();
  await reader.cancel();
  assert.equal(persist.storage.items.get("answer"), `/v1/stream/abc ${at(2)}`);
  assert.equal(listening.size, 0);
});

test("persist: another stream under the same name begins at its start, and an offset that is given counts", async () => {
  const storage = new Storage();
  const persist = { key: "answer", storage };
  storage.setItem("answer", `/v1/stream/other ${at(9)}`);
  for (const [offset, asked] of [[undefined, "-1"], [at(4), at(4)]]) {
    const relay = script(sse([closed(at(9))]));
    await drain(openStream(URL_OF_STREAM, options(relay, { persist, offset })));
    assert.deepEqual(relay.offsets(), [asked]);
  }
});

test("persist: a stream that was closed leaves the name to the next one, however long its loop goes on", async () => {
  const persist = { key: "answer", storage: new Storage() };
  const first = openStream(URL_OF_STREAM, options(script(sse([frames(["a", "b", "c"])], "stay")), { persist }));
  let drawn = () => {};
  const loop = (async () => {
    for await (const chunk of first) if (chunk === "b") await new Promise<void>((resolve) => (drawn = resolve));
  })();
  await settle();
  first.close();
  assert.equal(persist.storage.items.get("answer"), `/v1/stream/abc ${at(2)}`, "kept as it is closed");
  const next = options(script(sse([frames(["x"]) + closed(at(1))])), { persist });
  await drain(openStream(`${URL_OF_STREAM}-2`, next));
  drawn();
  await loop;
  assert.equal(persist.storage.items.get("answer"), `/v1/stream/abc-2 ${at(1)}`);
});

test("toReadableStream gives the same chunks, and errors where the iteration throws", async () => {
  const relay = script(sse([frames(["a", "b"]) + closed(at(2), "producer-error")]));
  const reader = openStream(URL_OF_STREAM, options(relay)).toReadableStream().getReader();
  assert.deepEqual(await reader.read(), { done: false, value: "a" });
  assert.deepEqual(await reader.read(), { done: false, value: "b" });
  await assert.rejects(reader.read(), (error) => error instanceof StreamError && error.endReason === "producer-error");

  const whole = openStream(URL_OF_STREAM, options(script(sse([frames(["a"]) + closed(at(1))]))));
  const pieces: unknown[] = [];
  await whole.toReadableStream().pipeTo(new WritableStream({ write: (piece) => void pieces.push(piece) }));
  assert.deepEqual(pieces, ["a"]);
  assert.throws(() => whole.toReadableStream(), /already has a consumer/);
});

test("cancelling the ReadableStream closes the connection, also while it waits", async () => {
  const relay = script(sse([frames(["a"])], "stay"));
  const stream = openStream(URL_OF_STREAM, options(relay));
  const reader = stream.toReadableStream().getReader();
  await reader.read();
  const pending = reader.read();
  await settle();
  await reader.cancel();
  assert.equal((await pending).done, true);
  assert.equal(stream.status, "closed");
  assert.equal(relay.seen[0]?.signal.aborted, true);
});

test("100,000 chunks in one frame are taken in a time that grows with their number", async () => {
  const many = Array.from({ length: 100_000 }, (_, i) => i);
  const relay = script(sse([data(at(many.length), many) + closed(at(many.length))]));
  const begun = process.cpuUsage();
  const { chunks } = await drain(openStream<number>(URL_OF_STREAM, options(relay)));
  assert.equal(chunks.length, many.length);
  assert.ok(worked(begun) < 4000, "shifting an array took 11 s");
});

test("what was taken is let go of, also by a consumer that always lags", () => {
  const queue = new Queue<number>();
  queue.push(-1);
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 5_000_000; i++) {
    queue.push(i);
    assert.equal(queue.first, i - 1);
    queue.shift();
  }
  const grown = process.memoryUsage().heapUsed - before;
  assert.equal(queue.length, 1);
  assert.ok(grown < 30_000_000, `${grown} bytes for one item; it was 75 MB`);
});

test("a chunk of 20 MB in many pieces is put together once", async () => {
  const large = "x".repeat(20_000_000);
  const bytes = new TextEncoder().encode(data(at(1), [large]) + closed(at(1)));
  const pieces = Array.from({ length: Math.ceil(bytes.length / 8192) }, (_, i) => bytes.subarray(i * 8192, (i + 1) * 8192));
  const begun = process.cpuUsage();
  const { chunks } = await drain(openStream(URL_OF_STREAM, options(script(sse(pieces)))));
  assert.equal(chunks[0], large);
  assert.ok(worked(begun) < 4000, "looking through the line again with each piece took 20 s and more");
});

test("no rejection goes unhandled, whatever fails while nobody looks", async () => {
  const seen: unknown[] = [];
  const listen = (reason: unknown) => seen.push(reason);
  process.prependListener("unhandledRejection", listen);
  const answers = [refusal(404), deadNetwork(), sse([closed(at(0), "producer-error")]), sse(["event: data\ndata:{\n\n"]), never()];
  const streams = answers.map((answer) => openStream(URL_OF_STREAM, options(script(answer))));
  for (const stream of streams) stream.toReadableStream();
  await settle();
  for (const stream of streams) stream.close();
  await settle();
  process.off("unhandledRejection", listen);
  assert.deepEqual(seen, []);
});
