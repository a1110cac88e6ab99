import type { StreamError } from "./errors.ts";

/** What the web route answers with: where a stream is, and the token that opens it. */
export interface StreamRef {
  stream_id: string;
  url: string;
  token?: string | undefined;
  expires_at?: number | string | undefined;
}

/**
 * Why a stream ended. `completed` and `stopped` end the iteration; every other reason makes the
 * iterator throw a `StreamError` after the last chunk.
 */
export type EndReason =
  | "completed"
  | "stopped"
  | "producer-error"
  | "producer-disconnected"
  | "inactivity-timeout"
  | "too-large"
  | "expired"
  | (string & {});

/**
 * What the reader is doing, or waiting for:
 *
 * - `connecting`: no answer and no failure yet.
 * - `waiting-for-connection`: no answer for 3 seconds. Over HTTP/1.1 a browser has six connections to a
 *   host, for all tabs together, and they may all be in use.
 * - `queued`: connected; no worker has started the task yet.
 * - `open`: connected.
 * - `stalled`: connected, but the worker has not been heard of for a while. The stream continues, or
 *   ends as `producer-disconnected`.
 * - `reconnecting`: the connection was lost and is being made again.
 * - `closed`: nothing more arrives. Chunks may still be waiting to be taken.
 */
export type StreamStatus =
  | "connecting"
  | "waiting-for-connection"
  | "queued"
  | "open"
  | "stalled"
  | "reconnecting"
  | "closed";

/** Time, so that tests need not wait for it. */
export interface Clock {
  setTimeout(callback: () => void, milliseconds: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Milliseconds since 1970. */
  now(): number;
}

/** `localStorage`, `sessionStorage`, or what behaves like them. */
export interface OffsetStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export interface StreamOptions<T> {
  /** The bearer token, when it is not in the ref. */
  token?: string | undefined;
  /**
   * Asked for a token when there is none, and again each time the relay refuses the one in use.
   * A rejection is retried with backoff; reject with a `StreamError` to give up for good.
   */
  getToken?: (() => Promise<string>) | undefined;
  /** Where to go on: what `Stream.offset` said. The start when left out. */
  offset?: string | undefined;
  /**
   * Keeps `offset` over reloads: where nothing else says where to go on, the stream goes on behind
   * the last chunk that the consumer was done with. The name of an item of `sessionStorage`, or
   * another storage's. What was rendered is the page's to keep.
   */
  persist?: string | { key: string; storage: OffsetStorage } | undefined;
  /**
   * Turns the string of a custom codec into a value. Without it, a chunk is its JSON value; of a
   * stream that is not JSON it is text (`text/*`) or a `Uint8Array`.
   */
  decoder?: ((text: string) => T) | undefined;
  /** Aborting closes the connection and makes the iterator throw the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Share one connection with all streams of the same relay that are opened so: over HTTP/1.1 a
   * browser has six connections to a host, for all of its tabs together.
   */
  pool?: boolean | undefined;
  /**
   * A tab that has been hidden for 5 seconds gives its connection to the tabs that are looked at, and
   * reads on from there when it is shown. `read`: it keeps its connection, for pages that act on an
   * answer in the background.
   */
  whileHidden?: "pause" | "read" | undefined;
  /** It must heed the signal in `init`. The platform's when left out. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /**
   * A new attempt began: drop what was rendered, it all comes again. Called between two chunks,
   * never with one of the old attempt still to come; with 0 when the attempt is not known. Without
   * it the iterator throws a `StreamResetError`, unless nothing had been handed out yet.
   */
  onReset?: ((attempt: number) => void) | undefined;
  onStatus?: ((status: StreamStatus) => void) | undefined;
  /** Told of every failure, also of the ones that are retried: `error.fatal` says which. */
  onError?: ((error: StreamError) => void) | undefined;
  /** Seconds of failures in a row after which the iterator throws; it tries on for ever when left out. */
  giveUpAfter?: number | undefined;
  /** In [0, 1): spreads the retries. `Math.random` when left out. */
  random?: (() => number) | undefined;
  clock?: Clock | undefined;
}

/** An open stream, for one consumer. Reading starts at once, and pauses while the consumer lags. */
export interface Stream<T> extends AsyncIterable<T> {
  readonly status: StreamStatus;
  /**
   * The position after the last chunk handed out, to give as `options.offset` later. Opaque, and
   * only for this client: between two chunks of one frame it is more than an offset of the relay's.
   */
  readonly offset: string;
  /** Set once the relay said that the stream ended. */
  readonly endReason: EndReason | undefined;
  /**
   * Asks the relay to stop the task. Reading goes on until the relay confirms with `stopped`. Rejects
   * with a `StreamError` where the relay refuses, or does not answer; it is not tried again.
   */
  stop(): Promise<void>;
  /** The same chunks as a `ReadableStream`, in place of the iteration. Cancelling it closes. */
  toReadableStream(): ReadableStream<T>;
  /** Closes the connection and ends the iteration; the task goes on. */
  close(): void;
}
