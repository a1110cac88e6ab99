// The cases that every client is held to (tests/clients/cases/README.md), with a scripted fetch.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { type Clock, openStream, StreamError, type StreamOptions } from "../src/index.ts";
import { type Answer, type Seen, URL_OF_STREAM } from "./support.ts";

// Where npm runs the tests: they are bundled to somewhere else.
const FOLDER = join(process.cwd(), "../tests/clients/cases");
const { parse } = createRequire(join(process.cwd(), "package.json"))("yaml") as typeof import("yaml");

type Json = unknown;
type Part = string | { bytes: string } | { data: Json; id?: string } | { control: Json };

interface Step {
  status?: number;
  headers?: Record<string, string>;
  json?: Json;
  body?: Part[];
  split?: number | "everywhere";
  then?: "close" | "cut" | "refuse";
}

interface Case {
  name: string;
  offset?: string;
  token?: string | null;
  tokens?: string[];
  decoder?: "upper";
  described?: string;
  on_reset?: boolean;
  take?: number;
  script: Step[];
  expect: {
    chunks?: Json;
    hex?: Json;
    resets?: number[];
    offset: string;
    end?: string;
    error?: string;
    message?: string;
    requests?: (string | Record<string, string | null>)[];
    waits?: number[];
    retried?: string[];
    statuses?: string[];
  };
}

const CASES: Case[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".yaml"))
  .sort()
  .flatMap((name) => parse(readFileSync(join(FOLDER, name), "utf8")) as Case[]);

/** `{big: n}` and `{count: n}` in full. */
function expand(value: Json): Json {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value !== "object" || !value) return value;
  const [[key, size] = [], ...others] = Object.entries(value);
  if (!others.length && key === "big") return "x".repeat(size as number);
  if (!others.length && key === "count") return Array.from({ length: size as number }, (_, i) => i);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, expand(item)]));
}

function bytesOf(part: Part): Uint8Array {
  if (typeof part === "string") return Buffer.from(part);
  if ("bytes" in part) return Buffer.from(part.bytes, "hex");
  if ("control" in part) return Buffer.from(`event: control\ndata:${JSON.stringify(part.control)}\n\n`);
  const id = part.id === undefined ? "" : `id: ${part.id}\n`;
  return Buffer.from(`event: data\n${id}data:${JSON.stringify(expand(part.data))}\n\n`);
}

const whole = (step: Step): Uint8Array => Buffer.concat((step.body ?? []).map(bytesOf));

function piecesOf(step: Step, cutAt: number): Uint8Array[] {
  if (step.json !== undefined) return [Buffer.from(JSON.stringify(step.json))];
  const all = whole(step);
  if (step.split === "everywhere") return [all.subarray(0, cutAt), all.subarray(cutAt)];
  const { split } = step;
  if (!split) return (step.body ?? []).map(bytesOf);
  return Array.from({ length: Math.ceil(all.length / split) }, (_, i) => all.subarray(i * split, (i + 1) * split));
}

function answerOf(step: Step, cutAt: number): Answer {
  return ({ signal }) => {
    if (step.then === "refuse") return Promise.reject(new TypeError("fetch failed"));
    const { status = 200 } = step;
    const headers = { ...(status === 200 && { "content-type": "text/event-stream" }), ...step.headers };
    const rest = piecesOf(step, cutAt);
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
        pull(controller) {
          const piece = rest.shift();
          if (piece) controller.enqueue(piece);
          else if (step.then === "cut") controller.error(new TypeError("terminated"));
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(status === 204 ? null : body, { status, headers });
  };
}

/** The places at which the case's bodies are to be cut. */
function cutsOf({ script }: Case): number[] {
  const step = script.find(({ split }) => split === "everywhere");
  return step ? Array.from({ length: whole(step).length - 1 }, (_, i) => i + 1) : [0];
}

/** Waits end at once, and are noted; nothing is ever silent for too long. */
class NoWaiting implements Clock {
  waits: number[] = [];
  #over = new Set<unknown>();

  now(): number {
    return Date.now();
  }

  setTimeout(callback: () => void, milliseconds: number): unknown {
    const timer = {};
    if (milliseconds === 45_000 || milliseconds === 3000) return timer;
    this.waits.push(milliseconds / 1000);
    setImmediate(() => this.#over.has(timer) || callback());
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#over.add(timer);
  }
}

async function run(given: Case, cutAt: number): Promise<void> {
  const { offset, token = "t1", tokens, expect } = given;
  const answers = given.script.map((step) => answerOf(step, cutAt));
  const seen: Seen[] = [];
  const clock = new NoWaiting();
  const left = [...(tokens ?? [])];
  const resets: number[] = [];
  const retried: string[] = [];
  const statuses: string[] = [];
  let chunks: Json[] = [];
  const options: StreamOptions<Json> = {
    offset,
    token: token ?? undefined,
    clock,
    random: () => 0,
    onError: (error) => error.fatal || retried.push(error.code),
    onStatus: (status) => statuses.push(status),
    async fetch(url, init) {
      if (init.method === "HEAD")
        return given.described
          ? new Response(null, { headers: { "content-type": given.described } })
          : new Response(null, { status: 405 });
      const { searchParams } = new URL(url);
      const request: Seen = {
        method: "GET",
        path: "",
        query: Object.fromEntries(searchParams),
        headers: Object.fromEntries(new Headers(init.headers)),
        signal: init.signal ?? new AbortController().signal,
      };
      seen.push(request);
      return answers.shift()?.(request) ?? new Response(null, { status: 400 });
    },
    ...(given.decoder && { decoder: (text) => text.toUpperCase() }),
    ...(tokens && {
      async getToken() {
        const next = left.shift();
        if (!next || next === "!") throw new Error("nobody answers");
        return next;
      },
    }),
    ...(given.on_reset && {
      onReset(attempt) {
        resets.push(attempt);
        chunks = [];
      },
    }),
  };
  const stream = openStream<Json>(URL_OF_STREAM, options);
  let error: StreamError | undefined;
  try {
    for await (const chunk of stream) {
      chunks.push(chunk);
      if (chunks.length === given.take) break;
    }
  } catch (thrown) {
    if (!(thrown instanceof StreamError)) throw thrown;
    error = thrown;
  }
  assert.equal(error?.code, expect.error, error?.message);
  if (expect.message) assert.ok(error?.message.includes(expect.message), error?.message);
  const shown = chunks.map((chunk) => (chunk instanceof Uint8Array ? Buffer.from(chunk).toString("hex") : chunk));
  assert.deepEqual(shown, expand(expect.hex ?? expect.chunks ?? []));
  assert.deepEqual(resets, expect.resets ?? []);
  assert.equal(stream.offset, expect.offset);
  assert.equal(stream.endReason, expect.end);
  assert.equal(stream.status, "closed");
  assert.deepEqual(clock.waits, expect.waits ?? []);
  assert.deepEqual(retried, expect.retried ?? []);
  if (expect.statuses) assert.deepEqual(statuses, ["connecting", ...expect.statuses]);
  assert.equal(answers.length, 0, "the whole script was asked for");
  const requests = seen.map(({ query, headers }) => ({
    offset: query["offset"] ?? null,
    cursor: query["cursor"] ?? null,
    token: headers["authorization"]?.replace("Bearer ", "") ?? null,
    accept: headers["accept"] ?? null,
  }));
  const wanted = expect.requests ?? requests;
  assert.equal(requests.length, wanted.length);
  wanted.forEach((request, i) => {
    const parts = typeof request === "string" ? { offset: request } : request;
    assert.deepEqual({ ...requests[i], ...parts }, requests[i]);
  });
}

for (const given of CASES) {
  test(given.name, async () => {
    for (const cutAt of cutsOf(given)) {
      await run(given, cutAt).catch((error) => {
        if (cutAt) error.message += ` (cut at ${cutAt})`;
        throw error;
      });
    }
  });
}

test("there are cases", () => assert.ok(CASES.length > 50));
