// Faults in a random order, from a real server: every chunk comes exactly once, and reading never hurts a stop.
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createGzip } from "node:zlib";
import { openStream, StreamError } from "../src/index.ts";
import { at, closed, control, data, drain, frames, options, script, settle, sse, URL_OF_STREAM } from "./support.ts";

const LOG = Array.from({ length: 60 }, (_, n) => (n % 7 ? n : { n, text: `grüße \u2028 🙂 ${"x".repeat(n * 20)}` }));
const FAULTS = 25;

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A relay server that fails in one way after the other, then behaves. */
class Faulty {
  readonly seen: string[] = [];
  readonly #random: () => number;
  #left = FAULTS;
  token = 1;

  constructor(random: () => number) {
    this.#random = random;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://relay");
    const faults = ["status", "drop", "none", "redirect", "cut", "cut", "gzip", "end"];
    // A token that is refused at once after the last one is fatal, as it should be.
    if (this.seen.filter((each) => each !== "redirect").at(-1) !== "token") faults.push("token");
    const fault = this.#left-- > 0 ? this.#pick(faults) : "";
    this.seen.push(fault);
    if (fault === "token") this.token++;
    if (request.headers.authorization !== `Bearer ${this.token}`) return void response.writeHead(401).end();
    if (fault === "status") {
      const headers = this.#random() < 0.3 ? { "retry-after": "0" } : {};
      return void response.writeHead(this.#pick([408, 425, 429, 500, 502, 503, 504]), headers).end("<h1>Try later</h1>");
    }
    if (fault === "drop") return void request.socket.destroy();
    if (fault === "none") return void response.writeHead(204).end();
    if (fault === "redirect" && pathname.length < 60) {
      const location = `/moved${pathname}?${searchParams}`;
      return void response.writeHead(this.#pick([301, 302, 307, 308]), { location }).end();
    }
    void this.#stream(response, searchParams.get("offset") ?? "", fault);
  }

  async #stream(response: ServerResponse, offset: string, fault: string): Promise<void> {
    const from = offset === "-1" ? 0 : Number(offset.split("_")[1]);
    const bytes = Buffer.from(this.#body(from, fault === "end"));
    // Anywhere: in a character, in a line, between two frames.
    const end = fault === "cut" || fault === "gzip" ? Math.floor(this.#random() * bytes.length) : bytes.length;
    const gzip = fault === "gzip" ? createGzip({ flush: 2 }) : undefined;
    response.writeHead(200, { "content-type": "text/event-stream", ...(gzip && { "content-encoding": "gzip" }) });
    gzip?.pipe(response);
    for (let i = 0; i < end; ) {
      const next = Math.min(end, i + 1 + Math.floor(this.#random() * 900));
      (gzip ?? response).write(bytes.subarray(i, next));
      i = next;
      if (this.#random() < 0.3) await new Promise((resolve) => setImmediate(resolve));
    }
    if (fault === "cut") setImmediate(() => response.destroy());
    else (gzip ?? response).end();
  }

  /** What is left of the log, in frames of any size, with any line ends. */
  #body(from: number, recycled: boolean): string {
    const last = recycled ? Math.min(LOG.length, from + 1 + Math.floor(this.#random() * 9)) : LOG.length;
    let text = ": hello\n\n";
    for (let i = from; i < last; ) {
      const next = Math.min(last, i + 1 + Math.floor(this.#random() * 5));
      text += data(at(next), LOG.slice(i, next)) + control(at(next));
      if (this.#random() < 0.2) text += ": ping\n\n";
      i = next;
    }
    if (!recycled) text += closed(at(LOG.length));
    return text.replaceAll("\n", this.#pick(["\n", "\r\n", "\r"]));
  }

  #pick<T>(choices: T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }
}

for (let seed = 1; seed <= 20; seed++) {
  test(`a random mix of faults: each chunk once, in order (seed ${seed})`, async (t) => {
    const relay = new Faulty(seeded(seed));
    const server = createServer((request, response) => relay.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    t.after(() => server.closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/stream/abc`;
    const getToken = async () => String(relay.token);
    const stream = openStream(url, { getToken, random: () => 0, onReset: () => assert.fail() });
    const { chunks, error } = await drain(stream);
    assert.equal(error, undefined, relay.seen.join(" "));
    assert.deepEqual(chunks, LOG, relay.seen.join(" "));
    assert.equal(stream.endReason, "completed");
  });
}

test("a connection that is lost at any byte neither doubles nor loses a chunk", async () => {
  const chunks = ["a", "ü🙂", { b: [1] }, "d"];
  const whole = new TextEncoder().encode(frames(chunks) + closed(at(4)));
  for (let cut = 0; cut < whole.length; cut++) {
    const rest = (request: Parameters<ReturnType<typeof sse>>[0]) => {
      const { offset = "-1" } = request.query;
      const from = offset === "-1" ? 0 : Number(offset.split("_")[1]);
      return sse([frames(chunks, from) + closed(at(4))])(request);
    };
    const relay = script(sse([whole.subarray(0, cut)], "cut"), rest);
    assert.deepEqual(await drain(openStream(URL_OF_STREAM, options(relay))), { chunks, error: undefined }, `cut at ${cut}`);
  }
});

for (const malformed of ["event: control\ndata:{\n\n", "event: control\ndata:[]\n\n", "event: control\ndata:null\n\n", "event: data\nid: x\ndata:{}\n\n"]) {
  test(`a malformed frame on the second response: ${JSON.stringify(malformed)}`, async () => {
    const relay = script(sse([frames(["a", "b"])], "cut"), sse([data(at(3), ["c"]) + malformed + data(at(4), ["d"]) + closed(at(4))]));
    const { chunks, error } = await drain(openStream(URL_OF_STREAM, options(relay)));
    assert.deepEqual(chunks, ["a", "b", "c"]);
    assert.ok(error instanceof StreamError);
    assert.deepEqual([error.code, error.streamId, error.fatal], ["bad-frame", "abc", true]);
  });
}

const POST_FAULTS = {
  "500": () => new Response(null, { status: 500 }),
  "204 from a proxy that hides an error page": () => new Response("<h1>Sorry</h1>", { headers: { "content-type": "text/html" } }),
  "403": () => new Response(JSON.stringify({ error: { code: "forbidden", message: "not yours" } }), { status: 403 }),
  "401, with nobody to ask for a token": () => new Response(null, { status: 401 }),
  "a dropped connection": () => Promise.reject(new TypeError("fetch failed")),
};

for (const [what, fault] of Object.entries(POST_FAULTS)) {
  test(`a stop that fails does not hurt reading: ${what}`, async () => {
    let stopped = 0;
    const gets = script(sse([frames(["a", "b"])], "stay"), sse([data(at(3), ["c"]) + closed(at(3))]));
    const fetch = async (url: string, init: RequestInit) => (init.method === "POST" ? (stopped++, fault()) : gets.fetch(url, init));
    const stream = openStream(URL_OF_STREAM, { ...options(gets), fetch });
    const reading = drain(stream);
    await settle();
    await assert.rejects(stream.stop(), (error) => error instanceof StreamError && error.streamId === "abc");
    assert.deepEqual(await reading, { chunks: ["a", "b", "c"], error: undefined });
    assert.equal(stopped, 1);
    assert.deepEqual(gets.offsets(), ["-1", at(2)]);
  });
}
