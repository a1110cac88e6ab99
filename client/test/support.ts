import assert from "node:assert/strict";
import { type Clock, type Stream, StreamError, type StreamOptions } from "../src/index.ts";

export const URL_OF_STREAM = "https://relay.example/v1/stream/abc";

/** A place in the stream: after `n` chunks. */
export function at(n: number): string {
  return `000001_${String(n).padStart(6, "0")}_00c0ffee`;
}

export function data(offset: string, chunks: unknown[]): string {
  return `event: data\nid: ${offset}\ndata:${JSON.stringify(chunks)}\n\n`;
}

export function control(offset: string, more: object = {}): string {
  return `event: control\ndata:${JSON.stringify({ streamNextOffset: offset, streamCursor: "7", ...more })}\n\n`;
}

/** What the relay sends for `chunks`: two of them in a frame, a control frame behind each. */
export function frames(chunks: unknown[], from = 0): string {
  let text = "";
  for (let i = from; i < chunks.length; i += 2) {
    const end = Math.min(i + 2, chunks.length);
    text += data(at(end), chunks.slice(i, end)) + control(at(end));
  }
  return text;
}

export function closed(offset: string, endReason = "completed", error?: object): string {
  return control(offset, { streamClosed: true, upToDate: true, endReason, ...(error && { error }) });
}

export interface Seen {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  signal: AbortSignal;
}

export type Answer = (request: Seen) => Response | Promise<Response>;

export interface Script {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  seen: Seen[];
  /** The offsets asked for. */
  offsets: () => (string | undefined)[];
}

/** A fetch that gives one answer after the other, and fails the test when asked once too often. */
export function script(...answers: Answer[]): Script {
  const seen: Seen[] = [];
  return {
    seen,
    offsets: () => seen.map(({ query }) => query["offset"]),
    async fetch(url, init) {
      const { pathname, searchParams } = new URL(url);
      const request: Seen = {
        method: init.method ?? "GET",
        path: pathname,
        query: Object.fromEntries(searchParams),
        headers: Object.fromEntries(new Headers(init.headers)),
        signal: init.signal ?? new AbortController().signal,
      };
      seen.push(request);
      const answer = answers.shift();
      if (!answer) return never()(request);
      return answer(request);
    },
  };
}

/** An event stream of these pieces, which then is closed, is cut, or stays open. */
export function sse(pieces: (string | Uint8Array)[], then: "close" | "cut" | "stay" = "close"): Answer {
  return ({ signal }) => {
    const rest = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
        pull(controller) {
          const piece = rest.shift();
          if (piece) controller.enqueue(piece);
          else if (then === "close") controller.close();
          else if (then === "cut") controller.error(new TypeError("terminated"));
          else return new Promise(() => {});
          return undefined;
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
}

export function refusal(status: number, error?: object, headers: Record<string, string> = {}): Answer {
  return () => new Response(error ? JSON.stringify(error) : null, { status, headers });
}

export function superseded(attempt?: number): Answer {
  return refusal(410, { error: { code: "superseded", message: "newer" }, attempt });
}

export function deadNetwork(): Answer {
  return () => Promise.reject(new TypeError("fetch failed"));
}

/** No answer, until it is given up. */
export function never(): Answer {
  return ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

/** Time that passes when told to. */
export class ManualClock implements Clock {
  #now = 1_700_000_000_000;
  #timers = new Map<number, { due: number; callback: () => void }>();
  #id = 0;

  now(): number {
    return this.#now;
  }

  setTimeout(callback: () => void, milliseconds: number): unknown {
    this.#timers.set(++this.#id, { due: this.#now + milliseconds, callback });
    return this.#id;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** Milliseconds to each timer that is set, soonest first. */
  get waits(): number[] {
    return [...this.#timers.values()].map(({ due }) => due - this.#now).sort((a, b) => a - b);
  }

  async pass(milliseconds: number): Promise<void> {
    await settle();
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = [...this.#timers].filter(([, { due }]) => due <= end).sort(([, a], [, b]) => a.due - b.due);
      if (!next) break;
      this.#now = next[1].due;
      this.#timers.delete(next[0]);
      next[1].callback();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets everything happen that needs no time to pass. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Options for a test: retries come without waiting unless it brings a clock. */
export function options<T = unknown>(from: Script, more: StreamOptions<T> = {}): StreamOptions<T> {
  return { fetch: from.fetch, random: () => 0, token: "t", ...more };
}

/** Takes all, and what was thrown at the end. */
export async function drain<T>(stream: Stream<T>): Promise<{ chunks: T[]; error: unknown }> {
  const chunks: T[] = [];
  try {
    for await (const chunk of stream) chunks.push(chunk);
  } catch (error) {
    return { chunks, error };
  }
  return { chunks, error: undefined };
}

export async function take<T>(iterator: AsyncIterator<T>, count: number): Promise<T[]> {
  const chunks: T[] = [];
  while (chunks.length < count) {
    const { done, value } = await iterator.next();
    assert.equal(done, false);
    chunks.push(value);
  }
  return chunks;
}

/** What a `StreamError` says, to be compared. */
export function failed(error: unknown): { [key: string]: unknown } {
  assert.ok(error instanceof StreamError, `${error}`);
  const { name, code, message, status, endReason, fatal } = error;
  return JSON.parse(JSON.stringify({ name, code, message, status, endReason, fatal }));
}

process.on("unhandledRejection", (reason) => {
  console.error("unhandled rejection:", reason);
  process.exitCode = 1;
});
