/**
 * The reading side of the wire, without sockets, clocks or timers: answers, frames and drops go in,
 * steps to take come out. The wire is SSE mode of the Durable Streams protocol (its section 5.8)
 * with `id:` lines, end reasons and attempts on top; a server without those works too.
 *
 * | answer             | what the client does                                 |
 * |--------------------|------------------------------------------------------|
 * | 200 event stream   | reads                                                |
 * | 204                | ends if `Stream-Closed`, else tries again            |
 * | 401                | asks for a new token, fatal if that is refused too   |
 * | 410 `superseded`   | a new attempt: reads again from its `startOffset`    |
 * | 408, 425, 429, 5xx | (but 501) tries again, no sooner than `Retry-After`  |
 * | none, or cut       | tries again                                          |
 * | everything else    | fatal                                                |
 */
import { type Failure, StreamError } from "./errors.ts";
import type { Frame } from "./frames.ts";
import type { EndReason } from "./types.ts";

const BACKOFF_BASE = 250;
const BACKOFF_CAP = 10_000;
/** A relay cannot put a reader off for longer; finished streams are not kept longer either. */
const RETRY_AFTER_CAP = 3_600_000;

/** What is looked at in a response; the body only when it is a refusal. */
export interface Answer {
  status: number;
  headers: Pick<Headers, "get">;
  body: string;
}

/** What to do once a connection is over, or instead of one. */
export type Move =
  | { do: "connect"; delay: number; /** The relay asked for the delay. */ asked?: boolean; failure?: StreamError }
  | { do: "token" }
  | { do: "reset"; attempt: number; delay: number }
  | { do: "end"; reason: EndReason | undefined; failure?: StreamError };

/**
 * A chunk and the position after it: an offset of the relay's, or, between two chunks of one frame,
 * `offset,skip,proof`: go on from the offset and leave out so many chunks. The log never changes
 * before its end, so that this means the same chunk in every later reading, unless a new attempt
 * began: then the relay refuses the offset. Offsets before the first chunk it never refuses, so
 * for those the offset after the frame goes along as the proof: the chunks to leave out must end
 * there again. (The protocol keeps `,` out of offsets.)
 */
export interface Arrival {
  chunk: unknown;
  position: string;
}

export class Protocol {
  #offset: string;
  /** How many chunks after the offset are to be left out, and where their frame must end. */
  #skip: number;
  #proof: string;
  /** What `-1` is asked for as: of a new attempt's start no relay gives older chunks. */
  #start = "-1";
  /** The offset came with chunks, so that it is one of an attempt. */
  #grounded = false;
  #cursor = "";
  /** Chunks of a server without `id:` lines, until the control frame tells their offset. */
  #held: unknown[] = [];
  /** Failures in a row. */
  #failures = 0;
  /** This connection brought something new. */
  #advanced = false;
  /** The last answer was a 401. */
  #refused = false;
  readonly #random: () => number;

  constructor(position: string, random: () => number) {
    const [offset = "", skip = 0, proof = ""] = position.split(",");
    this.#offset = offset;
    this.#skip = +skip;
    this.#proof = proof;
    this.#random = random;
  }

  /** After the last chunk delivered. */
  get position(): string {
    return at(this.#offset, this.#skip, this.#proof);
  }

  /** A connection begins: the query of its request. */
  connect(): Record<string, string> {
    this.#held = [];
    this.#advanced = false;
    const offset = this.#offset === "-1" ? this.#start : this.#offset;
    return { live: "sse", offset, ...(this.#cursor && { cursor: this.#cursor }) };
  }

  /** An answer came. `canRefresh`: there is somebody to ask for a token. */
  answered(answer: Answer, canRefresh: boolean, now: number): { do: "read" } | Move {
    const { status, headers } = answer;
    const again = this.#refused;
    this.#refused = status === 401;
    if (isStream(answer)) return { do: "read" };
    if (status === 204 && headers.get("stream-closed")) return ended(headers.get("stream-end-reason") ?? undefined);
    const failure = readRefusal(answer);
    if (status === 401 && canRefresh && !again) return { do: "token" };
    if (status === 410 && failure.code === "superseded") return this.#restart(failure.attempt, failure.startOffset);
    if (isPassing(status)) return this.#retry(failure, retryAfter(headers.get("retry-after"), now));
    return end(failure);
  }

  /** A frame came: nothing, chunks, the end, or chunks and then the end. */
  frame({ event, id, data }: Frame): (Arrival | Move)[] {
    if (event !== "data" && event !== "control") return [];
    const value = parseJson(data);
    if (event === "data" && Array.isArray(value)) {
      this.#held = this.#held.concat(value);
      return id ? this.#deliver(id) : [];
    }
    if (event === "control" && value) {
      const { streamNextOffset, streamCursor, streamClosed, endReason, error }: Control = value;
      this.#cursor = streamCursor ?? this.#cursor;
      const arrivals = streamNextOffset ? this.#deliver(streamNextOffset) : [];
      return streamClosed ? [...arrivals, ended(endReason, error)] : arrivals;
    }
    return [end({ code: "bad-frame", message: `malformed ${event} frame` })];
  }

  /**
   * The connection is over without an end of the stream, after `lived` milliseconds of response:
   * with a failure, or closed in order, as servers do to recycle connections.
   */
  dropped(lived: number, failure?: Failure): Move {
    this.#refused = false;
    // Whoever stayed longer than the longest backoff makes no tight loop, with or without data.
    const healthy = lived >= BACKOFF_CAP;
    if (healthy) this.#failures = 0;
    if (!failure && (healthy || this.#advanced)) return { do: "connect", delay: 0 };
    return this.#retry(failure ?? { code: "disconnected", message: "the connection was closed" });
  }

  /** There is no token to be had at the moment. */
  tokenFailed(cause: unknown): Move {
    this.#refused = false;
    return this.#retry(noToken(cause));
  }

  /** The held chunks belong before `offset`: all of them count, or, seen before, none. */
  #deliver(offset: string): (Arrival | Move)[] {
    const from = this.#offset;
    const skip = this.#skip;
    const chunks = this.#held;
    const { length } = chunks;
    this.#held = [];
    // Offsets grow as texts (section 6): a smaller one is of a frame that came before.
    // Without a chunk there is no before: when Redis lost an attempt, an earlier one goes on.
    if (this.#grounded && offset <= from) return [];
    if (length && this.#proof && this.#proof !== offset) return [this.#restart(0)];
    this.#offset = offset;
    if (!length) return [];
    const proof = this.#grounded ? "" : offset;
    this.#skip = Math.max(skip - length, 0);
    this.#proof = "";
    this.#grounded = this.#advanced = true;
    this.#failures = 0;
    const end = (taken: number) => (taken < length ? at(from, taken, proof) : offset);
    return chunks.map((chunk, i) => ({ chunk, position: end(i + 1) })).slice(skip);
  }

  #restart(attempt: number, start = "-1"): Move {
    // Superseded at the very start makes no sense: then only as often as any other failure.
    const delay = this.#offset === "-1" ? this.#backoff() : 0;
    this.#offset = "-1";
    this.#start = start;
    this.#skip = 0;
    this.#proof = this.#cursor = "";
    this.#grounded = false;
    return { do: "reset", attempt, delay };
  }

  #retry(failure: Failure, after = 0): Move {
    return { do: "connect", delay: after + this.#backoff(), asked: after > 0, failure: new StreamError(failure, false) };
  }

  /** Full jitter: anywhere below a ceiling that doubles with each failure in a row. */
  #backoff(): number {
    return this.#random() * Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#failures++);
  }
}

export const noToken = (cause: unknown): Failure => ({ code: "token", message: "getToken failed", cause });

function at(offset: string, skip: number, proof: string): string {
  return skip ? `${offset},${skip},${proof}` : offset;
}

/** What the relay said about a refusal, or what its status says. */
export function readRefusal({ status, headers, body }: Answer): Failure & { attempt: number; startOffset: string | undefined } {
  const { error, attempt = 0, startOffset }: Refusal = parseJson(body) ?? {};
  const code = CODES[status] ?? (isPassing(status) ? "unavailable" : "bad-response");
  const as = status === 200 ? ` with ${headers.get("content-type")}` : "";
  return { ...describe(error, code, `the relay answered ${status}${as}`), status, attempt, startOffset };
}

const CODES: Record<number, string> = {
  400: "bad-request",
  401: "unauthorized",
  // Expired or unknown, and perhaps only for this reader.
  403: "not-found",
  404: "not-found",
  410: "gone",
};

export function isStream({ status, headers }: Pick<Answer, "status" | "headers">): boolean {
  return status === 200 && !!headers.get("content-type")?.startsWith("text/event-stream");
}

function isPassing(status: number): boolean {
  return (status >= 500 && status !== 501) || [204, 408, 425, 429].includes(status);
}

/** `Retry-After`, in seconds or as a date, in milliseconds from now. */
function retryAfter(value: string | null, now: number): number {
  const wait = Number(value) * 1000 || Date.parse(value ?? "") - now || 0;
  return Math.min(Math.max(wait, 0), RETRY_AFTER_CAP);
}

/** A server that knows no end reasons closes streams when they are complete. */
function ended(reason: EndReason = "completed", error?: Refusal["error"]): Move {
  if (reason === "completed" || reason === "stopped") return { do: "end", reason };
  return end({ ...describe(error, reason, `the stream ended: ${reason}`), endReason: reason });
}

function end(failure: Failure): Move {
  return { do: "end", reason: failure.endReason, failure: new StreamError(failure) };
}

function describe(error: Refusal["error"], code: string, message: string): { code: string; message: string } {
  return { code: error?.code ?? code, message: error?.message ?? message };
}

/** The relay is trusted to keep to these; what is no JSON at all reads as `undefined`. */
interface Refusal {
  error?: { code?: string; message?: string };
  attempt?: number;
  startOffset?: string;
}

interface Control extends Refusal {
  streamNextOffset?: string;
  streamCursor?: string;
  streamClosed?: boolean;
  endReason?: EndReason;
}

function parseJson(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
