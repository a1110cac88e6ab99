import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream, StreamError, type StreamStatus } from "../src/index.ts";
import {
  type Answer, at, closed, control, data, deadNetwork, drain, frames, ManualClock, never, options, refusal, script, settle, sse,
  take, URL_OF_STREAM,
} from "./support.ts";

const CHUNKS = ["a", { b: 1 }, null, "d\u2028\u{1f600}", [5], 0, "g"];
const ALL = frames(CHUNKS) + closed(at(CHUNKS.length));
const bytes = new TextEncoder().encode(ALL);

test("the request: where, from where, as whom", async () => {
  const relay = script(sse([ALL]));
  const ref = { stream_id: "abc", url: `${URL_OF_STREAM}?tenant=1`, token: "from-ref", expires_at: 1 };
  const stream = openStream(ref, { fetch: relay.fetch });
  assert.equal(stream.status, "connecting");
  assert.deepEqual(await drain(stream), { chunks: CHUNKS, error: undefined });
  const [request] = relay.seen;
  assert.equal(request?.path, "/v1/stream/abc");
  assert.deepEqual(request?.query, { tenant: "1", live: "sse", offset: "-1", frames: "json" });
  assert.deepEqual(request?.headers, { accept: "text/event-stream", authorization: "Bearer from-ref" });
  assert.equal(stream.status, "closed");
  assert.equal(stream.endReason, "completed");
  assert.equal(stream.offset, at(CHUNKS.length));
  assert.equal(request?.signal.aborted, true, "the connection is given up");
});

test("a stream that is not there yet is waited for by the relay", async () => {
  const relay = script(sse([ALL]));
  await drain(openStream(URL_OF_STREAM, { fetch: relay.fetch, wait: 59.5, offset: "-10" }));
  assert.deepEqual(relay.seen[0]?.query, { live: "sse", offset: "-10", frames: "json", wait: "60" });
});

test("no token, no header: a cookie may do", async () => {
  const relay = script(sse([ALL]));
  await drain(openStream(URL_OF_STREAM, { fetch: relay.fetch }));
  assert.equal("authorization" in (relay.seen[0]?.headers ?? {}), false);
});

test("the bytes may be cut anywhere", async () => {
  for (let cut = 0; cut <= bytes.length; cut++) {
    const relay = script(sse([bytes.slice(0, cut), bytes.slice(cut)]));
    const { chunks, error } = await drain(openStream(URL_OF_STREAM, options(relay)));
    assert.deepEqual(chunks, CHUNKS, `cut at ${cut}`);
    assert.equal(error, undefined);
  }
});

for (const [name, newline] of Object.entries({ CRLF: "\r\n", CR: "\r" })) {
  test(`${name}, byte by byte, with heartbeats`, async () => {
    const text = `: ping\n\n${ALL.replaceAll("event: data", ": ping\n\nevent: data")}\n`.replaceAll("\n", newline);
    const relay = script(sse([...new TextEncoder().encode(text)].map((byte) => Uint8Array.of(byte))));
    assert.deepEqual(await drain(openStream(URL_OF_STREAM, options(relay))), { chunks: CHUNKS, error: undefined });
  });
}

/** A relay with all chunks, which goes on from the offset that is asked for. */
function wholeRelay(request: Parameters<Answer>[0]): ReturnType<Answer> {
  const offset = request.query["offset"];
  const from = offset === "-1" ? 0 : CHUNKS.findIndex((_, i) => at(i + 1) === offset) + 1;
  assert.ok(from > 0 || offset === "-1", `offset ${offset}`);
  return sse([frames(CHUNKS, from) + closed(at(CHUNKS.length))])(request);
}

for (const then of ["close", "cut"] as const) {
  test(`${then} after every byte: each chunk once, in order`, async () => {
    for (let cut = 0; cut < bytes.length; cut++) {
      const relay = script(sse([bytes.slice(0, cut)], then), wholeRelay);
      const stream = openStream(URL_OF_STREAM, options(relay));
      const { chunks, error } = await drain(stream);
      assert.deepEqual(chunks, CHUNKS, `cut at ${cut}`);
      assert.equal(error, undefined);
      assert.equal(stream.offset, at(CHUNKS.length));
    }
  });
}

test("a drop in every frame", async () => {
  const some = (until: number) => (request: Parameters<Answer>[0]) => {
    const from = CHUNKS.findIndex((_, i) => at(i + 1) === request.query["offset"]) + 1;
    return sse([frames(CHUNKS.slice(0, until), from), 'event: data\nid: x\ndata:["never'], "cut")(request);
  };
  const relay = script(...CHUNKS.map((_, i) => some(i + 1)), deadNetwork(), refusal(503), wholeRelay);
  assert.deepEqual(await drain(openStream(URL_OF_STREAM, options(relay))), { chunks: CHUNKS, error: undefined });
  assert.equal(relay.seen.length, CHUNKS.length + 3);
  assert.equal(relay.seen[1]?.query["cursor"], "7");
});

test("resume from an offset that was kept", async () => {
  for (let kept = 0; kept <= CHUNKS.length; kept++) {
    const first = openStream(URL_OF_STREAM, options(script(wholeRelay)));
    const iterator = first[Symbol.asyncIterator]();
    const before = await take(iterator, kept);
    await settle();
    const offset = first.offset;
    first.close();
    assert.equal(first.offset, offset, "closing moves nothing");

    const second = openStream(URL_OF_STREAM, options(script(wholeRelay), { offset }));
    assert.equal(second.offset, offset);
    const { chunks, error } = await drain(second);
    assert.deepEqual([...before, ...chunks], CHUNKS, `kept ${kept} at ${offset}`);
    assert.equal(error, undefined);
  }
});

test("at the end of a frame, the offset is one of the relay's", async () => {
  const stream = openStream(URL_OF_STREAM, options(script(wholeRelay)));
  const iterator = stream[Symbol.asyncIterator]();
  await take(iterator, 2);
  assert.equal(stream.offset, at(2));
  await iterator.return?.();
});

test("status: each change is told once", async () => {
  const told: StreamStatus[] = [];
  const relay = script(sse([frames(["a"])]), deadNetwork(), deadNetwork(), wholeRelay);
  const stream = openStream(URL_OF_STREAM, options(relay, { onStatus: (status) => told.push(status) }));
  assert.deepEqual(told, [], "never before the caller has the stream");
  await drain(stream);
  assert.deepEqual(told, ["connecting", "open", "reconnecting", "open", "closed"]);
});

test("a first connection that fails is tried again, and says so", async () => {
  const told: StreamStatus[] = [];
  await drain(openStream(URL_OF_STREAM, options(script(refusal(503), wholeRelay), { onStatus: (status) => told.push(status) })));
  assert.deepEqual(told, ["connecting", "reconnecting", "open", "closed"]);
});

test("failures that are retried are told, and are not fatal", async () => {
  const told: [string, boolean, number | undefined][] = [];
  const relay = script(deadNetwork(), refusal(503), sse([frames(["a"])], "cut"), sse([]), wholeRelay);
  const onError = ({ code, fatal, status }: StreamError) => told.push([code, fatal, status]);
  const { error } = await drain(openStream(URL_OF_STREAM, options(relay, { onError })));
  assert.equal(error, undefined);
  assert.deepEqual(told, [
    ["network", false, undefined],
    ["unavailable", false, 503],
    ["network", false, undefined],
    ["disconnected", false, undefined],
  ]);
});

test("the backoff: full jitter below a doubling ceiling, over again after data", async () => {
  const clock = new ManualClock();
  const relay = script(
    deadNetwork(), deadNetwork(), deadNetwork(), sse([frames(["a"])], "cut"), deadNetwork(), sse([]), sse([]), sse([]), sse([]), sse([]), sse([]), sse([]),
  );
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 0.5 }));
  const waited = [];
  for (let i = 0; i < 11; i++) {
    await settle();
    const [wait = -1] = clock.waits;
    waited.push(wait);
    await clock.pass(wait);
  }
  assert.deepEqual(waited, [125, 250, 500, 125, 250, 500, 1000, 2000, 4000, 5000, 5000]);
  stream.close();
  assert.deepEqual(clock.waits, []);
});

test("a server that recycles after data is asked again at once", async () => {
  const clock = new ManualClock();
  const relay = script(sse([frames(["a"])]), sse([control(at(1))]), wholeRelay);
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 0.5 }));
  await settle();
  assert.equal(relay.seen.length, 2);
  assert.deepEqual(clock.waits, [125], "the second close came without data");
  stream.close();
});

test("Retry-After is heeded", async () => {
  const clock = new ManualClock();
  const relay = script(refusal(429, {}, { "retry-after": "5" }), wholeRelay);
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 0 }));
  await clock.pass(4999);
  assert.equal(relay.seen.length, 1);
  await clock.pass(1);
  assert.deepEqual((await drain(stream)).chunks, CHUNKS);
});

for (const news of ["online", "visibilitychange"]) {
  test(`${news}: a waiting client tries at once, unless the relay asked it to wait`, async (t) => {
    const page = new EventTarget();
    const listening = new Set<unknown>();
    Object.assign(globalThis, {
      addEventListener(type: string, listener: () => void, { signal }: { signal: AbortSignal }) {
        listening.add(listener);
        signal.addEventListener("abort", () => listening.delete(listener));
        page.addEventListener(type, listener, { signal });
      },
    });
    t.after(() => Reflect.deleteProperty(globalThis, "addEventListener"));
    const clock = new ManualClock();
    const relay = script(deadNetwork(), refusal(503, {}, { "retry-after": "9" }), wholeRelay);
    const stream = openStream(URL_OF_STREAM, options(relay, { clock, random: () => 0.5 }));
    await settle();
    page.dispatchEvent(new Event(news));
    await settle();
    assert.equal(relay.seen.length, 2);
    page.dispatchEvent(new Event(news));
    await settle();
    assert.equal(relay.seen.length, 2);
    await clock.pass(9250);
    assert.deepEqual((await drain(stream)).chunks, CHUNKS);
    assert.equal(listening.size, 0, "no listener is left");
  });
}

test("45 s without a byte is a drop; a heartbeat is a byte", async () => {
  const clock = new ManualClock();
  let ping = () => {};
  const relay = script(
    ({ signal }) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          ping = () => controller.enqueue(new TextEncoder().encode(": ping\n\n"));
          signal.addEventListener("abort", () => controller.error(signal.reason));
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    },
    never(),
    wholeRelay,
  );
  const codes: string[] = [];
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, onError: ({ code }) => codes.push(code) }));
  await clock.pass(44_000);
  ping();
  await clock.pass(44_000);
  assert.equal(relay.seen.length, 1);
  await clock.pass(1000);
  assert.equal(relay.seen.length, 2, "given up after 45 s");
  await clock.pass(45_000);
  assert.equal(relay.seen.length, 3, "so is a request without an answer");
  assert.deepEqual(codes, ["timeout", "timeout"]);
  assert.deepEqual((await drain(stream)).chunks, CHUNKS);
});

test("the connection is not read on while the consumer lags", async () => {
  const clock = new ManualClock();
  const count = 5000;
  const chunks = Array.from({ length: count }, (_, i) => i);
  let pulled = 0;
  const relay = script(() => {
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (pulled === count) controller.enqueue(new TextEncoder().encode(closed(at(count))));
          else controller.enqueue(new TextEncoder().encode(data(at(++pulled), [pulled - 1])));
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  const stream = openStream<number>(URL_OF_STREAM, options(relay, { clock }));
  await settle();
  assert.ok(pulled > 1000 && pulled < 1010, `${pulled} read ahead`);
  await clock.pass(3_600_000);
  assert.equal(relay.seen.length, 1, "waiting for the consumer is no silence");
  const iterator = stream[Symbol.asyncIterator]();
  const first = await take(iterator, 500);
  await settle();
  assert.ok(pulled > 1500 && pulled < 1510, `${pulled} read ahead`);
  const rest = await take(iterator, count - 500);
  assert.deepEqual([...first, ...rest], chunks);
  assert.equal((await iterator.next()).done, true);
});

test("a custom codec: the decoder gets each chunk's string", async () => {
  const relay = script(sse([frames(["1|x", "2|y", ""]) + closed(at(3))]));
  const decoder = (text: string): [number, string] => [Number(text.split("|")[0]), text];
  const { chunks } = await drain(openStream(URL_OF_STREAM, options(relay, { decoder })));
  assert.deepEqual(chunks, [[1, "1|x"], [2, "2|y"], [0, ""]]);
});

test("what the decoder throws comes out of the iterator, in its place", async () => {
  const relay = script(sse([frames(["1", "2", "x", "4"]) + closed(at(4))]));
  const wrong = new RangeError("no number");
  const decoder = (text: string): number => {
    if (text === "x") throw wrong;
    return Number(text);
  };
  const stream = openStream(URL_OF_STREAM, options(relay, { decoder }));
  assert.deepEqual(await drain(stream), { chunks: [1, 2], error: wrong });
  assert.equal(stream.offset, at(2), "the chunk was not taken");
});

test("the console is told once what may be wrong, where no answer comes at all", async () => {
  const told: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => told.push(text);
  try {
    const dead = script(deadNetwork(), deadNetwork(), sse([frames([1]), closed(at(1))]));
    await drain(openStream(URL_OF_STREAM, options(dead)));
    assert.equal(told.length, 1);
    assert.match(told[0] ?? "", /stream_allowed_origins/);
    // Whoever had an answer knows the way.
    const cut = script(sse([frames([1])], "cut"), deadNetwork(), sse([closed(at(1))]));
    await drain(openStream(URL_OF_STREAM, options(cut)));
    assert.equal(told.length, 1);
  } finally {
    console.warn = warn;
  }
});
