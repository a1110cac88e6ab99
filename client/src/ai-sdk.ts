/** A `ChatTransport` of the AI SDK (ai 5, 6 and 7): `useChat` reads from the relay. */
import {
  openStream, type Stream, StreamError, type StreamOptions, type StreamRef, StreamResetError,
} from "streamstraight-celery";

/** A part of a UI message; which they are is the AI SDK's matter. */
interface Part {
  type: string;
  [field: string]: unknown;
}

interface Message {
  id: string;
  role: string;
}

/** What `useChat` gives along. */
interface Call {
  headers?: Record<string, string> | Headers | undefined;
  body?: object | undefined;
  metadata?: unknown;
}

export interface StreamTransportOptions {
  /** Takes the messages by POST and answers with a ref. `/api/chat` when left out. */
  api?: string | undefined;
  /**
   * The ref of a chat's latest stream, with a fresh token, or `null`: nothing to go on with. When
   * left out, what `GET {api}/{chatId}/stream` answers; 204 and 404 are nothing.
   */
  reconnect?: ((chatId: string) => Promise<StreamRef | null>) | undefined;
  /** Sent with the requests to `api`. */
  headers?: Record<string, string> | (() => Record<string, string>) | undefined;
  body?: object | undefined;
  credentials?: "include" | "omit" | "same-origin" | undefined;
  /** For the requests to `api`; the platform's when left out. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /** How the relay is read: for example `pool`, `fetch` or `onStatus`. */
  stream?: Omit<StreamOptions<any>, "offset" | "persist" | "signal" | "token" | "onReset"> | undefined;
}

/** One answer that is being read. */
interface Reading {
  ref: StreamRef;
  stream: Stream<Part>;
  /** The message that it belongs to, the same in all attempts and after a reload. */
  messageId: string;
  /** Parts of it were handed out, which a new attempt would double. */
  shown: boolean;
  /** The page found it when it was opened, and had nothing of it before. */
  found: boolean;
}

/** One call of the chat's. A resume that is aborted for a later one goes on in that. */
interface Turn {
  resumes: boolean;
}

/**
 * Give it to `useChat`: its POST returns a ref, and the answer is read from the relay. With
 * `resume: true` a reloaded page goes on, and `stop()` stops the worker.
 *
 * When a new attempt began after parts of the old one were shown, the answer fails with a
 * `StreamResetError`, which `onError: resumeOnReset(...)` turns into reading it anew.
 */
export class StreamTransport {
  /** A resumed answer comes from its first part, in place of what is shown. */
  readonly resumeStreamIsReplay = true;
  readonly #options: StreamTransportOptions;
  readonly #readings = new Map<string, Reading>();
  /** What each chat asked for last. */
  readonly #turns = new Map<string, Turn>();

  constructor(options: StreamTransportOptions = {}) {
    this.#options = options;
  }

  async sendMessages(
    options: {
      trigger: "submit-message" | "regenerate-message";
      chatId: string;
      messageId: string | undefined;
      messages: Message[];
      abortSignal: AbortSignal | undefined;
    } & Call,
  ): Promise<ReadableStream<any>> {
    const { chatId, messages, abortSignal, trigger, messageId } = options;
    const turn = this.#turn(chatId, false);
    const body = { id: chatId, messages, trigger, messageId, ...this.#options.body, ...options.body };
    // Not given up with the chat's signal: who stops while it is asked must stop what was begun.
    const response = await this.#ask(this.#api, { method: "POST", body: JSON.stringify(body) }, options);
    const last = messages.at(-1);
    const ref: StreamRef = await response.json();
    const reading = this.#open(chatId, ref, last?.role === "assistant" ? last.id : ref.stream_id, turn);
    return this.#read(reading, chatId, turn, abortSignal);
  }

  async reconnectToStream(
    options: { chatId: string; abortSignal?: AbortSignal | undefined } & Call,
  ): Promise<ReadableStream<any> | null> {
    const { chatId, abortSignal } = options;
    const turn = this.#turn(chatId, true);
    const before = this.#readings.get(chatId);
    const known = before && !before.stream.endReason ? before.ref : undefined;
    const ref = known ?? (await this.#latest(chatId, options));
    if (!ref || this.#later(chatId, turn)) return null;
    const messageId = before?.ref.stream_id === ref.stream_id ? before.messageId : ref.stream_id;
    return this.#read(this.#open(chatId, ref, messageId, turn), chatId, turn, abortSignal);
  }

  #turn(chatId: string, resumes: boolean): Turn {
    const turn = { resumes };
    this.#turns.set(chatId, turn);
    return turn;
  }

  /** The chat's last turn, unless it is this one. */
  #later(chatId: string, turn: Turn): Turn | undefined {
    const last = this.#turns.get(chatId);
    return last === turn ? undefined : last;
  }

  get #api(): string {
    return this.#options.api ?? "/api/chat";
  }

  async #latest(chatId: string, call?: Call): Promise<StreamRef | null> {
    const { reconnect } = this.#options;
    if (reconnect) return reconnect(chatId);
    const response = await this.#ask(`${this.#api}/${encodeURIComponent(chatId)}/stream`, {}, call, [404]);
    return response.status === 200 ? response.json() : null;
  }

  async #ask(url: string, init: RequestInit, call?: Call, allowed: number[] = []): Promise<Response> {
    const { headers, credentials, fetch: given = fetch } = this.#options;
    const sent = new Headers(typeof headers === "function" ? headers() : headers);
    new Headers(call?.headers).forEach((value, name) => sent.set(name, value));
    if (init.body) sent.set("content-type", "application/json");
    const response = await given(url, { ...init, headers: sent, ...(credentials && { credentials }) });
    if (response.ok || allowed.includes(response.status)) return response;
    throw new Error((await response.text()) || `the server answered ${response.status}`);
  }

  #open(chatId: string, ref: StreamRef, messageId: string, turn: Turn): Reading {
    const found = turn.resumes && this.#readings.get(chatId)?.ref.stream_id !== ref.stream_id;
    const reading: Reading = { ref, messageId, shown: false, found, stream: undefined as never };
    reading.stream = openStream<Part>(ref, {
      getToken: async () => {
        const fresh = await this.#latest(chatId);
        if (fresh?.stream_id === ref.stream_id && fresh.token) return fresh.token;
        throw new StreamError({ code: "not-found", message: "this answer is not the chat's any more" });
      },
      ...this.#options.stream,
      onReset: (attempt) => {
        if (reading.shown) throw new StreamResetError(attempt);
      },
    });
    // The route's answer may have come after that of a later turn.
    if (!this.#later(chatId, turn)) this.#readings.set(chatId, reading);
    return reading;
  }

  #read(reading: Reading, chatId: string, turn: Turn, signal: AbortSignal | undefined): ReadableStream<Part> {
    const { stream, messageId } = reading;
    const iterator = stream[Symbol.asyncIterator]();
    const stop = async () => {
      // An answer that is read anew is asked for again in the same breath; that does not stop it.
      await new Promise((resolve) => setTimeout(resolve));
      const goesOn = turn.resumes && this.#later(chatId, turn)?.resumes;
      const stopped = goesOn || stream.stop();
      stream.close();
      await stopped;
    };
    const abort = () => void stop().catch((error: StreamError) => this.#options.stream?.onError?.(error));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    return new ReadableStream<Part>(
      {
        async pull(controller) {
          try {
            const { done, value } = await iterator.next();
            if (done) {
              // Stopped elsewhere: an answer that was broken off is no finished one.
              if (stream.endReason === "stopped") controller.enqueue({ type: "abort" });
              controller.close();
            } else if (value.type === "start") {
              controller.enqueue({ ...value, messageId });
            } else {
              reading.shown = true;
              controller.enqueue(value);
            }
          } catch (error) {
            if (!(error instanceof StreamError)) throw error;
            const isKept = !["not-found", "gone"].includes(error.code);
            if (error.endReason) controller.enqueue({ type: "error", errorText: error.message });
            // An old chat was opened, whose answer has expired: there is nothing to go on with.
            else if (isKept || reading.shown || !reading.found) throw error;
            controller.close();
          }
        },
        cancel: () => stream.close(),
      },
      { highWaterMark: 0 },
    );
  }
}

/**
 * For `useChat({ onError })`: where a new attempt began, the answer is read anew in place of the
 * old one; other errors are `onError`'s.
 */
export function resumeOnReset(
  resume: () => Promise<unknown>,
  onError?: (error: Error) => void,
): (error: Error) => void {
  return (error) => {
    // Once the chat is done with the failed reading.
    if (error instanceof StreamResetError) setTimeout(() => void resume().catch((reason) => onError?.(reason)));
    else onError?.(error);
  };
}
