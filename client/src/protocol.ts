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
/** The longest `Retry-After` that is respected. Finished streams are not kept longer either. */
const RETRY_AFTER_CAP = 3_600_000;

/** The parts of a response that matter. The body is read only when the request was refused. */
export interface Answer {
  status: number;
  headers: Pick<Headers, "get">;
  body: string;
}

/** The next step after a connection, or instead of one. */
export type Move =
  | { do: "connect"; delay: number; /** The relay asked for the delay. */ asked?: boolean; failure?: StreamError }
  | { do: "token" }
  | { do: "reset"; attempt: number; delay: number }
  | { do: "end"; reason: EndReason | undefined; failure?: StreamError };

/**
 * A chunk and the position after it: an offset of the relay's, or, between two chunks of one frame,
 * `offset,skip,proof`: continue from the offset and skip that many chunks. (The protocol keeps
 * `,` out of offsets.) The log never changes before its end, so after the same offset the same
 * chunks follow, however they are cut into frames, unless a new attempt replaced them. Then the
 * relay refuses the offset, with one exception: offsets before the first chunk are good for every
 * attempt. There the proof decides: the skipped chunks must have the same checksum as those that were
 * read.
 */
export interface Arrival {
  chunk: unknown;
  position: string;
}

/** What the relay says of the producer. */
export interface Note {
  producer: (typeof PRODUCER)[number] | "open";
}

/** What it says beside `running`. */
const PRODUCER = ["queued", "waiting", "stalled"] as const;

export class Protocol {
  #offset: string;
  /** How many chunks after the offset to skip, and the proof that they are the same. */
  #skip: number;
  #proof: string;
  /** The position, when chunks after the offset must be skipped. */
  #between: string;
  /** The checksum of the chunks after the offset, while it is needed. */
  #sum = 0;
  /** Sent instead of `-1`: after a reset, the start of the new attempt, so that no older chunks come. */
  #start = "-1";
  /** The offset came with chunks, so it belongs to an attempt. */
  #grounded = false;
  #cursor = "";
  /** Chunks of a server without `id:` lines, until the control frame gives their offset. */
  #held: unknown[] = [];
  /** Undefined until the server has said what the stream consists of. */
  #content: Content | undefined;
  /** What a data frame holds. */
  #framing: "chunks" | "base64" | "text" = "chunks";
  /** Failures in a row. */
  #failures = 0;
  /** This connection delivered something new. */
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

  /** Begins a connection. Returns the query of its request. */
  connect(): Record<string, string> {
    this.#held = [];
    this.#advanced = false;
    const offset = this.#offset === "-1" ? this.#start : this.#offset;
    return { live: "sse", offset, ...(this.#cursor && { cursor: this.#cursor }) };
  }

  /** Takes the answer to a request. `canRefresh`: there is a `getToken`. */
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

  /** Whether the frame can be read only after HEAD has given the content type (`described`). */
  needsType({ event, id }: Frame): boolean {
    return event === "data" && !id && !this.#content && this.#framing === "chunks";
  }

  /** Takes the answer to HEAD. A server that does not answer it sends JSON. */
  described({ status, headers }: Pick<Answer, "status" | "headers">): Move | undefined {
    if (isPassing(status)) return this.#retry({ code: "unavailable", message: `the relay answered ${status}`, status });
    const found = status === 200 ? mediaTypeOf(headers.get("content-type")) : "";
    // A server that answers HEAD as it answers GET does not describe the stream.
    this.#content = new Content(found && found !== EVENT_STREAM ? found : "application/json");
    if (this.#content.isText) this.#framing = "text";
    return undefined;
  }

  /** From now on each request has a whole body of this content type: chunks, text, or bytes in base64. */
  polls(mediaType: string): void {
    this.#content ??= new Content(mediaType);
    this.#framing = mediaType === "application/json" ? "chunks" : this.#content.isText ? "text" : "base64";
  }

  /** Takes a frame. Returns what it holds: chunks, a note, the end. */
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
      // The end may have no offset; chunks that were held still belong before it.
      const found: (Arrival | Note | Move)[] = offset || streamClosed ? this.#deliver(offset) : [];
      if (status) found.push({ producer: PRODUCER.find((each) => each === status) ?? "open" });
      if (!streamClosed || found.some((item) => "do" in item)) return found;
      // Fewer chunks than were read before: it is another attempt.
      if (this.#skip) return [this.#restart(0)];
      const rest = this.#content?.rest();
      if (rest) found.push({ chunk: rest, position: this.position });
      return [...found, ended(endReason, error)];
    } catch (cause) {
      return [end({ code: "bad-frame", message: `malformed ${event} frame`, cause })];
    }
  }

  /**
   * The connection ended before the stream did, after `lived` milliseconds of response: by a
   * failure, or closed by the server, which recycles connections.
   */
  dropped(lived: number, failure?: Failure): Move {
    this.#refused = false;
    // A connection that outlived the longest backoff cannot make a tight loop, with or without data.
    const healthy = lived >= BACKOFF_CAP;
    if (healthy) this.#failures = 0;
    if (!failure && (healthy || this.#advanced)) return { do: "connect", delay: 0 };
    return this.#retry(failure ?? { code: "disconnected", message: "the connection was closed" });
  }

  /** `getToken` failed. */
  tokenFailed(cause: unknown): Move {
    this.#refused = false;
    return this.#retry(noToken(cause));
  }

  /** Holds a data frame's content until the offset after it is known. */
  #hold(data: string): void {
    if (this.#framing === "chunks") {
      const value: unknown = JSON.parse(data);
      if (!Array.isArray(value)) throw new TypeError("not an array");
      this.#held = this.#held.concat(value);
      return;
    }
    // Text and bytes have no chunk boundaries to keep: everything before one offset is one chunk.
    const [before] = this.#held;
    if (this.#framing === "text") this.#held = [`${before ?? ""}${data}`];
    else this.#held = [Uint8Array.from([...((before as Uint8Array) ?? []), ...bytesOf(data)])];
  }

  /**
   * Delivers the held chunks, which end at `offset`; none of them if they were seen before. `""`: the
   * server does not say where they end.
   */
  #deliver(offset: string): (Arrival | Move)[] {
    const from = this.#offset;
    const skip = this.#skip;
    const chunks = this.#held;
    const { length } = chunks;
    this.#held = [];
    // Offsets sort as strings (section 6): a smaller one belongs to an earlier frame.
    // Not before the first chunk: when Redis lost an attempt, an earlier one continues.
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
    // Superseded at the very start makes no sense. Retry it like any other failure.
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
 * Whether the skipped chunks, with this checksum, are those that were read before. Positions of
 * earlier versions name the end of their frame, which may have grown within one attempt.
 */
function isSame(proof: string, sum: number, frameEnd: string): boolean {
  if (!proof || proof[0] === "=") return !proof || proof === proofOf(sum);
  return proof === frameEnd || (ATTEMPT.test(proof) && proof.replace(ATTEMPT, "$1$2") === frameEnd.replace(ATTEMPT, "$1$2"));
}

function proofOf(sum: number): string {
  return `=${sum.toString(16).padStart(8, "0")}`;
}

/** CRC-32 of a chunk's JSON text, continued from the chunks before it. */
function checksum(chunk: unknown, before: number): number {
  let sum = ~before;
  for (const byte of new TextEncoder().encode(JSON.stringify(chunk))) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (-(sum & 1) & 0xedb88320);
  }
  return ~sum >>> 0;
}

/** Why a request was refused, by its body or else by its status. */
export function readRefusal({ status, headers, body }: Answer): Failure & { attempt: number; startOffset: string | undefined } {
  const { error, attempt = 0, startOffset }: Refusal = parseJson(body) ?? {};
  const code = CODES[status] ?? (isPassing(status) ? "unavailable" : "bad-response");
  const as = status === 200 ? ` with ${headers.get("content-type")}` : "";
  return { ...describe(error, code, `the relay answered ${status}${as}`), status, attempt, startOffset };
}

const CODES: Record<number, string> = {
  400: "bad-request",
  401: "unauthorized",
  // Expired or unknown, perhaps only to this reader.
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

/** A server without end reasons closes streams when they are complete. */
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

/** A string, or `""`: a proxy or another server may send anything. */
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
