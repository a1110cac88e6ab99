import type { StreamError } from "./errors.ts";

/** The answer of your web route (`stream.ref()`): where a stream is, and the token for it. */
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
 * - `waiting`: connected; the task waits for a message to its conversation, without a worker.
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
  | "waiting"
  | "open"
  | "stalled"
  | "reconnecting"
  | "closed";

/** Time, replaceable in tests. */
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
  /** Where to continue: an earlier `Stream.offset`, or `-10` for the last ten. Default: the start. */
  offset?: string | undefined;
  /** Seconds to wait for a stream that is not there yet, at most 300. Without it that is `not-found`. */
  wait?: number | undefined;
  /**
   * Keeps `offset` over reloads: without an `offset`, the stream continues after the last chunk that
   * the consumer had finished with. A key of `sessionStorage`, or a key and a storage. Keeping what was
   * rendered is up to the page.
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
   * Share one connection with all streams of the same relay that have this option: over HTTP/1.1 a
   * browser has six connections to a host, for all tabs together.
   */
  pool?: boolean | undefined;
  /**
   * `pause` (default): a tab that has been hidden for 5 seconds closes its connection, and catches up
   * when it is shown. `read`: it keeps the connection, for pages that act on an answer in the
   * background.
   */
  whileHidden?: "pause" | "read" | undefined;
  /** It must respect the signal in `init`. Default: the platform's. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /**
   * A new attempt began: drop what was rendered, all of it is sent again. Called between the last
   * chunk of the old attempt and the first of the new one; with 0 when the attempt is not known.
   * Without it the iterator throws a `StreamResetError`, unless no chunk had been delivered yet.
   */
  onReset?: ((attempt: number) => void) | undefined;
  onStatus?: ((status: StreamStatus) => void) | undefined;
  /** Called for every failure, also for retried ones (`error.fatal` is false). */
  onError?: ((error: StreamError) => void) | undefined;
  /** Seconds of failures in a row after which the iterator throws. Default: it retries forever. */
  giveUpAfter?: number | undefined;
  /** In [0, 1): spreads the retries. Default: `Math.random`. */
  random?: (() => number) | undefined;
  clock?: Clock | undefined;
}

/** An open stream, for one consumer. Reading starts at once, and pauses while the consumer lags. */
export interface Stream<T> extends AsyncIterable<T> {
  readonly status: StreamStatus;
  /**
   * The position after the last chunk delivered, for `options.offset` later. Opaque, and only for
   * this client: between two chunks of one frame it is more than one of the relay's offsets.
   */
  readonly offset: string;
  /** Set once the relay has said that the stream ended. */
  readonly endReason: EndReason | undefined;
  /**
   * Asks the relay to stop the task. Reading continues until the relay confirms with `stopped`. Rejects
   * with a `StreamError` when the relay refuses or does not answer; it is not retried.
   */
  stop(): Promise<void>;
  /** The same chunks as a `ReadableStream`, in place of the iteration. Cancelling it closes. */
  toReadableStream(): ReadableStream<T>;
  /** Closes the connection and ends the iteration. The task continues. */
  close(): void;
}

/** The answer of your web route (`chat.ref()`): where a conversation is, and the token for it and its streams. */
export interface ConversationRef extends StreamRef {
  conversation: string;
}

/**
 * What goes through a conversation: `openConversation<{ chunk: Token; answer: Approval }>(ref)`. What is left out
 * is `unknown`, and there are no events of the application's own.
 */
export interface ConversationTypes {
  /** A chunk of its streams. */
  chunk: unknown;
  /** The value of a message, as `send` takes it. */
  input: unknown;
  /** The value of a task's question. */
  question: unknown;
  /** The value of an answer to it. */
  answer: unknown;
  /** The application's own events: by type, what their value is. */
  events: object;
}

type Own<E> = { [K in keyof E]: { type: K; at: number; id: string; value: E[K]; stream_id?: string } }[keyof E];
type Of<T, K extends keyof ConversationTypes> = T extends { [_ in K]: infer V } ? V : unknown;

/** An event of a conversation. `at`: milliseconds since 1970. */
export type ConversationEvent<T extends Partial<ConversationTypes> = {}> =
  /** A stream was asked for. `parent`: the stream whose task started it. */
  | { type: "stream"; at: number; stream_id: string; task?: string; task_id?: string; title?: string; parent?: string }
  /** It has ended. `error` is what its readers are told. */
  | { type: "ended"; at: number; stream_id: string; reason: EndReason; error?: { code: string; message: string } }
  /** A message to the conversation's tasks. `answers`: the question that it answers. */
  | { type: "input"; at: number; id: string; value: Of<T, "input"> | Of<T, "answer">; stream_id?: string; answers?: string }
  /** A task asks. */
  | { type: "question"; at: number; id: string; stream_id: string; value: Of<T, "question"> }
  /** It does not wait for the answer any more. */
  | { type: "closed"; at: number; question: string }
  /** The message `input` did not fit. `answers`: the question that it was to answer, which is open again. */
  | { type: "refused"; at: number; input: string; message: string; stream_id?: string; answers?: string }
  | (T extends { events: infer E } ? Own<E> : never);

export interface ConversationOptions<T extends Partial<ConversationTypes> = {}> extends StreamOptions<ConversationEvent<T>> {
  /** The events before `offset`, when they were delivered to an earlier reader: `stop` goes by them too. */
  seen?: readonly ConversationEvent<T>[] | undefined;
}

export interface SendOptions {
  /** Names the message: of several with one id only the first is added. */
  id?: string | undefined;
  /** The id of the question that it answers. */
  answers?: string | undefined;
}

/** An open conversation: its events, for one consumer. It does not end by itself. */
export interface Conversation<T extends Partial<ConversationTypes> = {}> extends AsyncIterable<ConversationEvent<T>> {
  readonly status: StreamStatus;
  /** The position after the last event delivered, for `options.offset` later. */
  readonly offset: string;
  /** Opens one of its streams, with the same token and over the same connection. */
  openStream<C = Of<T, "chunk">>(id: string, options?: StreamOptions<C>): Stream<C>;
  /**
   * Sends a message to its tasks, and tries again when the network fails; it is added once. Resolves to its id.
   * Rejects with a `StreamError` when the relay refuses or does not answer.
   */
  send(value: Of<T, "input">, options?: SendOptions): Promise<string>;
  /** Answers a question. Rejects with code `answered` when another answer came first or nobody waits any more. */
  answer(question: { id: string } | string, value: Of<T, "answer">): Promise<string>;
  /**
   * Asks the relay to stop the active stream, of those that were delivered or `seen`. `tree`: also the streams that its
   * task has started.
   */
  stop(options?: { tree?: boolean | undefined }): Promise<void>;
  /** Closes the connection and ends the iteration, also those of its streams. The tasks continue. */
  close(): void;
}
