import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { openStream, StreamError } from "../src/index.ts";
import { at, closed, control, data, deadNetwork, drain, frames, ManualClock, never, options, refusal, script, settle, sse, URL_OF_STREAM } from "./support.ts";

/** A window that can be told what happens to it. */
function page(t: TestContext): EventTarget {
  const window = new EventTarget();
  Object.assign(globalThis, { addEventListener: window.addEventListener.bind(window) });
  t.after(() => Reflect.deleteProperty(globalThis, "addEventListener"));
  return window;
}

for (const event of ["visibilitychange", "pageshow", "resume", "online"]) {
  test(`${event} reconnects at once when nothing has come for longer than a ping`, async (t) => {
    const window = page(t);
    const clock = new ManualClock();
    const relay = script(sse([frames(["a"])], "stay"), sse([data(at(2), ["b"]) + closed(at(2))]));
    const reading = drain(openStream(URL_OF_STREAM, options(relay, { clock })));
    await clock.pass(14_000);
    window.dispatchEvent(new Event(event));
    await settle();
    assert.equal(relay.seen.length, 1, "a ping may still come");
    await clock.pass(2000);
    window.dispatchEvent(new Event(event));
    assert.deepEqual(await reading, { chunks: ["a", "b"], error: undefined });
    assert.deepEqual(relay.offsets(), ["-1", at(1)]);
  });
}

test("giveUpAfter: it throws after so many seconds of failures in a row", async () => {
  const clock = new ManualClock();
  const relay = script(sse([frames(["a"])], "cut"), ...Array.from({ length: 40 }, deadNetwork));
  const reading = drain(openStream(URL_OF_STREAM, options(relay, { clock, random: () => 1, giveUpAfter: 20 })));
  await clock.pass(30_000);
  const { chunks, error } = await reading;
  assert.deepEqual(chunks, ["a"]);
  assert.ok(error instanceof StreamError && error.code === "relay-unavailable");
  assert.match(error.message, /^could not be read for 20 s: /);
  assert.ok(relay.seen.length < 12);
});

test("storage that is full or forbidden breaks nothing", async (t) => {
  const warned = t.mock.method(console, "warn", () => {});
  const forbidden = () => {
    throw new DOMException("the quota has been exceeded", "QuotaExceededError");
  };
  const storage = { getItem: forbidden, setItem: forbidden };
  const relay = script(sse([frames(["a", "b", "c"]) + closed(at(3))]));
  const read = await drain(openStream(URL_OF_STREAM, options(relay, { persist: { key: "k", storage } })));
  assert.deepEqual(read, { chunks: ["a", "b", "c"], error: undefined });
  // There is no sessionStorage here at all, as in a sandboxed frame.
  const other = script(sse([frames(["a"]) + closed(at(1))]));
  assert.deepEqual((await drain(openStream(URL_OF_STREAM, options(other, { persist: "k" })))).chunks, ["a"]);
  assert.equal(warned.mock.callCount(), 2, "once a stream");
});

test("errors say which stream they are about", async () => {
  const read = async (ref: object) => {
    const relay = script(refusal(404, { error: { code: "not-found", message: "no such stream" } }));
    return (await drain(openStream({ url: URL_OF_STREAM, stream_id: "abc", ...ref }, options(relay)))).error as StreamError;
  };
  assert.equal((await read({})).streamId, "abc");
  assert.equal((await read({ stream_id: "chat:1" })).streamId, "chat:1");
  const failing = script(sse([closed(at(0), "producer-error", { code: "busy", message: "Please wait." })]));
  const { error } = await drain(openStream(URL_OF_STREAM, options(failing)));
  assert.ok(error instanceof StreamError);
  assert.deepEqual([error.message, error.streamId], ["Please wait.", "abc"]);
});

/** An answer to a request of long-poll, with a body that can only be had whole. */
function polled(status: number, body: unknown, headers: Record<string, string>) {
  return () => {
    const response = new Response(status === 204 ? null : typeof body === "string" ? body : JSON.stringify(body), {
      status, headers: { "content-type": "application/json", ...headers },
    });
    Object.defineProperty(response, "body", { value: undefined });
    return response;
  };
}

test("a fetch without streams is answered by long-poll", async () => {
  const whole = polled(200, "", { "content-type": "text/event-stream" });
  const relay = script(
    whole,
    polled(200, [1, 2], { "stream-next-offset": "o2", "stream-cursor": "c" }),
    polled(200, [3], { "stream-next-offset": "o3", "stream-closed": "true", "stream-end-reason": "stopped" }),
  );
  const stream = openStream(URL_OF_STREAM, options(relay));
  assert.deepEqual(await drain(stream), { chunks: [1, 2, 3], error: undefined });
  assert.equal(stream.endReason, "stopped");
  assert.deepEqual(relay.seen.map(({ query }) => [query["live"], query["offset"]]), [["sse", "-1"], ["long-poll", "-1"], ["long-poll", "o2"]]);
});

test("a fetch of one's own without streams, on a platform without them", async (t) => {
  const { body } = Object.getOwnPropertyDescriptors(Response.prototype);
  Reflect.deleteProperty(Response.prototype, "body");
  t.after(() => Object.defineProperty(Response.prototype, "body", body));
  const clock = new ManualClock();
  const relay = script(never(), polled(200, [1], { "stream-next-offset": "o1", "stream-closed": "true" }));
  const reading = drain(openStream(URL_OF_STREAM, options(relay, { clock })));
  await clock.pass(3100);
  assert.deepEqual((await reading).chunks, [1]);
  assert.deepEqual(relay.seen.map(({ query }) => query["live"]), ["sse", "long-poll"]);
});

test("a fetch without streams: the end comes without a chunk, and a failure is told", async () => {
  const whole = polled(200, "", { "content-type": "text/event-stream" });
  const end = polled(204, null, { "stream-next-offset": "o0", "stream-closed": "true", "stream-end-reason": "producer-error" });
  const stream = openStream(URL_OF_STREAM, options(script(whole, end)));
  const { error } = await drain(stream);
  assert.ok(error instanceof StreamError);
  assert.equal(error.code, "producer-error");
});

test("a fetch without streams, and a server without long-poll, is an error that says so", async () => {
  const whole = () => polled(200, "", { "content-type": "text/event-stream" });
  const { error } = await drain(openStream(URL_OF_STREAM, options(script(whole(), whole()))));
  assert.ok(error instanceof StreamError);
  assert.match(error.message, /fetch gives no streams.*expo\/fetch/);
});

test("stop: a page of HTML is no success, and a redirect is followed by a POST", async () => {
  const html = () => new Response("<h1>Log in</h1>", { headers: { "content-type": "text/html" } });
  const stream = openStream(URL_OF_STREAM, options(script(never(), html)));
  await settle();
  await assert.rejects(stream.stop(), /the relay answered 200 with text\/html/);
  stream.close();

  const moved = () => {
    const response = new Response("{}", { status: 405 });
    Object.defineProperties(response, { redirected: { value: true }, url: { value: "https://relay.example/v1/stop/moved" } });
    return response;
  };
  const relay = script(never(), moved, refusal(202, { status: "asked" }));
  const other = openStream(URL_OF_STREAM, options(relay));
  await settle();
  await other.stop();
  assert.deepEqual(relay.seen.slice(1, 3).map(({ method, path }) => [method, path]), [["POST", "/v1/stop/abc"], ["POST", "/v1/stop/moved"]]);
  other.close();
});

test("stop under a mount path that contains /v1/stream/", async () => {
  const relay = script(never(), refusal(202));
  const stream = openStream("https://relay.example/v1/stream/app/v1/stream/abc?a=/v1/stream/b", options(relay));
  await settle();
  await stream.stop();
  assert.equal(relay.seen[1]?.path, "/v1/stream/app/v1/stop/abc");
  stream.close();
});

test("a request without an answer waits for a connection, and the failure says so", async () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const errors: string[] = [];
  const relay = script(never(), sse([data(at(1), ["a"]) + closed(at(1))]));
  const onError = ({ message }: StreamError) => void errors.push(message);
  const stream = openStream(URL_OF_STREAM, options(relay, { clock, onStatus: (status) => told.push(status), onError }));
  const reading = drain(stream);
  await clock.pass(2900);
  assert.deepEqual(told, ["connecting"]);
  await clock.pass(200);
  assert.deepEqual(told, ["connecting", "waiting-for-connection"]);
  await clock.pass(45_000);
  assert.deepEqual((await reading).chunks, ["a"]);
  assert.deepEqual(told, ["connecting", "waiting-for-connection", "reconnecting", "open", "closed"]);
  assert.match(errors[0] ?? "", /^no answer for 45 s: the relay cannot be reached, or other tabs/);
});

test("the status says that a stream is queued, or that its worker is stalled", async () => {
  const says = (status: string) => control(at(0), { status });
  const told: string[] = [];
  const relay = script(
    sse([says("queued"), says("running"), says("waiting"), says("stalled"), data(at(1), ["a"]), says("stalled"), says("running"), closed(at(1))]),
  );
  const stream = openStream(URL_OF_STREAM, options(relay, { onStatus: (status) => told.push(status) }));
  assert.deepEqual((await drain(stream)).chunks, ["a"]);
  assert.deepEqual(told, ["connecting", "open", "queued", "open", "waiting", "stalled", "open", "stalled", "open", "closed"]);
});
