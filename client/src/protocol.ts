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
import { bytesOf, Content, mediaTypeOf } from "./content.ts";
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
 * `offset,skip,proof`: continue from the offset and leave out so many chunks. (The protocol keeps
 * `,` out of offsets.) The log never changes before its end, so after the same offset the same
 * chunks follow, however they are cut into frames, unless a new attempt replaced them. Then the
 * relay refuses the offset, with one exception: offsets before the first chunk are good for every
 * attempt. There the proof tells: the chunks that are left out must have the same checksum as those
 * that were read.
 */
export interface Arrival {
  chunk: unknown;
  position: string;
}

/** What the relay says of the producer. */
export interface Note {
  producer: "queued" | "open" | "stalled";
}

export class Protocol {
  #offset: string;
  /** How many chunks after the offset are to be left out, and the proof that they are the same. */
  #skip: number;
  #proof: string;
  /** The position where that is not the offset: there are chunks to leave out. */
  #between: string;
  /** The checksum of the chunks behind the position's offset, while it is needed. */
  #sum = 0;
  /** What `-1` is asked for as: of a new attempt's start no relay gives older chunks. */
  #start = "-1";
  /** The offset came with chunks, so that it is one of an attempt. */
  #grounded = false;
  #cursor = "";
  /** Chunks of a server without `id:` lines, until the control frame tells their offset. */
  #held: unknown[] = [];
  /** Undefined: the server has not told. */
  #content: Content | undefined;
  /** What a data frame holds. */
  #framing: "chunks" | "base64" | "text" = "chunks";
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
    this.#between = this.#skip ? position : "";
    this.#random = random;
  }

  /** After the last chunk delivered. */
  get position(): string {
    return this.#between || this.#offset;
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
    if (isStream(answer)) {
      const named = mediaTypeOf(headers.get("stream-content-type"));
      this.#framing = "chunks";
      if (named) this.#content ??= new Content(named);
      else if (headers.get("stream-sse-data-encoding")?.toLowerCase() === "base64") this.#framing = "base64";
      else if (this.#content?.isText) this.#framing = "text";
      return { do: "read" };
    }
    if (status === 204 && headers.get("stream-closed"))
      return this.#skip ? this.#restart(0) : ended(headers.get("stream-end-reason") ?? undefined);
    const failure = readRefusal(answer);
    if (status === 401 && canRefresh && !again) return { do: "token" };
    if (status === 410 && failure.code === "superseded") return this.#restart(failure.attempt, failure.startOffset);
    if (isPassing(status)) return this.#retry(failure, retryAfter(headers.get("retry-after"), now));
    return end(failure);
  }

  /** The frame can only be read once HEAD has told the content type: `described`. */
  needsType({ event, id }: Frame): boolean {
    return event === "data" && !id && !this.#content && this.#framing === "chunks";
  }

  /** The answer to HEAD came, or none. A server that answers none has JSON. */
  described({ status, headers }: Pick<Answer, "status" | "headers">): Move | undefined {
    if (isPassing(status)) return this.#retry({ code: "unavailable", message: `the relay answered ${status}`, status });
    const found = status === 200 ? mediaTypeOf(headers.get("content-type")) : "";
    // A server that answers HEAD as GET tells nothing about the stream.
    this.#content = new Content(found && found !== EVENT_STREAM ? found : "application/json");
    if (this.#content.isText) this.#framing = "text";
    return undefined;
  }

  /** Bodies of this content type come, one a request: they hold chunks, text, or bytes in base64. */
  polls(mediaType: string): void {
    this.#content ??= new Content(mediaType);
    this.#framing = mediaType === "application/json" ? "chunks" : this.#content.isText ? "text" : "base64";
  }

  /** A frame came: nothing, chunks, the end, or chunks and then the end. */
  frame({ event, id, data }: Frame): (Arrival | Note | Move)[] {
    if (event !== "data" && event !== "control") return [];
    try {
      if (event === "data") {
        this.#hold(data);
        return id ? this.#deliver(id) : [];
      }
      const value = JSON.parse(data);
      if (typeof value !== "object" || Array.isArray(value)) throw new TypeError("not an object");
      const { streamNextOffset, streamCursor, streamClosed, endReason, error, status }: Control = value;
      const offset = text(streamNextOffset);
      this.#cursor = text(streamCursor) || this.#cursor;
      // The end may come without an offset: what was held belongs before it all the same.
      const found: (Arrival | Note | Move)[] = offset || streamClosed ? this.#deliver(offset) : [];
      if (status) found.push({ producer: status === "queued" || status === "stalled" ? status : "open" });
      if (!streamClosed || found.some((item) => "do" in item)) return found;
      // Less than was read before is another attempt.
      if (this.#skip) return [this.#restart(0)];
      const rest = this.#content?.rest();
      if (rest) found.push({ chunk: rest, position: this.position });
      return [...found, ended(endReason, error)];
    } catch (cause) {
      return [end({ code: "bad-frame", message: `malformed ${event} frame`, cause })];
    }
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

  /** Keeps what a data frame holds until the offset after it is known. */
  #hold(data: string): void {
    if (this.#framing === "chunks") {
      const value: unknown = JSON.parse(data);
      if (!Array.isArray(value)) throw new TypeError("not an array");
      this.#held = this.#held.concat(value);
      return;
    }
    // Such a stream has no boundaries to keep: what comes before one offset is one chunk.
    const [before] = this.#held;
    if (this.#framing === "text") this.#held = [`${before ?? ""}${data}`];
    else this.#held = [Uint8Array.from([...((before as Uint8Array) ?? []), ...bytesOf(data)])];
  }

  /**
   * The held chunks belong before `offset`: all of them count, or, seen before, none. `""`: the
   * server does not say where they end.
   */
  #deliver(offset: string): (Arrival | Move)[] {
    const from = this.#offset;
    const skip = this.#skip;
    const chunks = this.#held;
    const { length } = chunks;
    this.#held = [];
    // Offsets grow as texts (section 6): a smaller one is of a frame that came before.
    // Without a chunk there is no before: when Redis lost an attempt, an earlier one goes on.
    if (this.#grounded && offset && offset <= from) return [];
    const found: Arrival[] = [];
    let position = "";
    for (const [i, piece] of chunks.entries()) {
      const taken = i + 1;
      if (skip || !this.#grounded) this.#sum = checksum(piece, this.#sum);
      if (taken === skip && !isSame(this.#proof, this.#sum, offset)) return [this.#restart(0)];
      const chunk = this.#framing === "chunks" && this.#content ? this.#content.chunk(piece) : piece;
      if (taken <= skip || chunk === undefined) continue;
      const within = taken < length || !offset;
      position = within ? `${from},${taken},${this.#grounded ? "" : proofOf(this.#sum)}` : offset;
      found.push({ chunk, position });
    }
    this.#offset = offset || from;
    if (!length) return [];
    this.#skip = Math.max(skip - length, 0);
    if (!this.#skip) this.#between = offset ? "" : position || this.#between;
    this.#grounded = this.#advanced = true;
    this.#failures = 0;
    return found;
  }

  #restart(attempt: number, start = "-1"): Move {
    // Superseded at the very start makes no sense: then only as often as any other failure.
    const delay = this.#offset === "-1" ? this.#backoff() : 0;
    this.#offset = "-1";
    this.#start = start;
    this.#skip = this.#sum = 0;
    this.#proof = this.#between = this.#cursor = "";
    this.#grounded = false;
    this.#content?.reset();
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

const ATTEMPT = /^(\d{6})_\d{10}_([\da-f]{8})$/;

/**
 * Whether the chunks left out, with this checksum, are those that were read before. Positions of
 * earlier versions name the end of their frame: that may have grown, but within one attempt.
 */
function isSame(proof: string, sum: number, frameEnd: string): boolean {
  if (!proof || proof[0] === "=") return !proof || proof === proofOf(sum);
  return proof === frameEnd || (ATTEMPT.test(proof) && proof.replace(ATTEMPT, "$1$2") === frameEnd.replace(ATTEMPT, "$1$2"));
}

function proofOf(sum: number): string {
  return `=${sum.toString(16).padStart(8, "0")}`;
}

/** CRC-32 of a chunk's JSON text, after that of the chunks before it. */
function checksum(chunk: unknown, before: number): number {
  let sum = ~before;
  for (const byte of new TextEncoder().encode(JSON.stringify(chunk))) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (-(sum & 1) & 0xedb88320);
  }
  return ~sum >>> 0;
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

const EVENT_STREAM = "text/event-stream";

export function isStream({ status, headers }: Pick<Answer, "status" | "headers">): boolean {
  return status === 200 && mediaTypeOf(headers.get("content-type")) === EVENT_STREAM;
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
function ended(given?: unknown, error?: Refusal["error"]): Move {
  const reason: EndReason = text(given) || "completed";
  if (reason === "completed" || reason === "stopped") return { do: "end", reason };
  return end({ ...describe(error, reason, `the stream ended: ${reason}`), endReason: reason });
}

function end(failure: Failure): Move {
  return { do: "end", reason: failure.endReason, failure: new StreamError(failure) };
}

function describe(error: Refusal["error"], code: string, message: string): { code: string; message: string } {
  return { code: text(error?.code) || code, message: text(error?.message) || message };
}

/** What is said; a proxy or another server may say anything. */
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

interface Refusal {
  error?: { code?: unknown; message?: unknown };
  attempt?: number;
  startOffset?: string;
}

interface Control extends Refusal {
  streamNextOffset?: unknown;
  streamCursor?: unknown;
  streamClosed?: unknown;
  endReason?: unknown;
  status?: unknown;
}

function parseJson(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
