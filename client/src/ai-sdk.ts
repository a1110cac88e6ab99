/** A `ChatTransport` of the AI SDK (ai 5, 6 and 7): `useChat` reads from the relay. */
import {
  type ConversationRef, openConversation, openStream, type Stream, StreamError, type StreamOptions, type StreamRef, StreamResetError, type StreamStatus,
} from "streamstraight-celery";
import { rebuild } from "./parts.ts";

/** One event of a UI message stream. */
export interface Part {
  type: string;
  [field: string]: unknown;
}

export interface Message {
  id: string;
  role: string;
  parts?: readonly object[];
  metadata?: unknown;
}

/** What `useChat` passes with each request. */
interface Call {
  headers?: Record<string, string> | Headers | undefined;
  body?: object | undefined;
  metadata?: unknown;
}

export interface StreamTransportOptions {
  /** Takes the messages by POST and answers with a ref. `/api/chat` when left out. */
  api?: string | undefined;
  /**
   * The ref of a chat's latest stream, with a fresh token, also when the stream has ended; `null` if
   * there is nothing to resume. Default: the answer of `GET {api}/{chatId}/stream`; 204 and 404 are `null`.
   */
  reconnect?: ((chatId: string) => Promise<StreamRef | null>) | undefined;
  /** Sent with the requests to `api`. */
  headers?: Record<string, string> | (() => Record<string, string>) | undefined;
  body?: object | undefined;
  credentials?: "include" | "omit" | "same-origin" | undefined;
  /** For the requests to `api`. Default: the platform's. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /**
   * The saved messages that the page was opened with. If the last one has `metadata.stream_id`, it
   * holds that stream's whole answer: the stream is not replayed, and a later stream of the same
   * message continues it.
   */
  messages?: ((chatId: string) => readonly Message[] | undefined) | undefined;
  /**
   * Stop the worker whenever the chat aborts a request: on `stop()`, and in ai 7 also when the
   * component unmounts or shows another chat. Default: only `transport.stop(chatId)` does.
   */
  stopOnAbort?: boolean | undefined;
  /**
   * Called with what an answer waits for, which `useChat` does not show: `queued` (no worker has begun it), `waiting`,
   * `waiting-for-connection`, `stalled`, `reconnecting`, `open`, `closed`.
   */
  onStatus?: ((chatId: string, status: StreamStatus) => void) | undefined;
  /** How the relay is read: for example `pool` or `fetch`. */
  stream?: Omit<StreamOptions<any>, "offset" | "persist" | "signal" | "token" | "onReset"> | undefined;
}

/** The types of parts. Events of models and agents have other types, or none. */
const PART = /^(data-.*|[a-z]+(-[a-z]+)*)$/;
const NOT_PARTS = 'These chunks are not UI messages: use codec="ui-messages" and to_ui_messages(events) in the task.';

/** One answer that is being read. */
interface Reading {
  ref: StreamRef;
  stream: Stream<Part>;
  /** The message that the answer continues, as it was before: a tool's result came from the page. */
  continued: Message | undefined;
  /** The last saved message. The answer continues it if it has the same id. */
  saved: Message | undefined;
  /** It is replayed, in place of what the chat shows of it. */
  resumed: boolean;
  /** Parts of it were delivered, which a new attempt would repeat. */
  shown: boolean;
  /** The page found it when it was opened, and had shown nothing of it before. */
  found: boolean;
  /** The chat aborted it: its component may be gone, and mounted again with other messages. */
  left: boolean;
  /** The chat has taken all of it, or left it. */
  over: Promise<void>;
  finish: () => void;
}

/** What `follow` needs of `useChat`. */
export interface FollowingChat {
  resumeStream: () => Promise<unknown>;
  setMessages: (change: (messages: any[]) => any[]) => void;
}

/** One request of the chat. A resume that is aborted for a later one continues in that one. */
interface Turn {
  resumes: boolean;
}

/**
 * Give it to `useChat`: its POST returns a ref, and the answer is read from the relay. With
 * `resume: true` a reloaded page continues. `transport.stop(chatId)` stops the worker; `useChat`'s own
 * `stop()` only closes the connection, because ai 7 also calls it when the page leaves the chat.
 *
 * When a new attempt began after parts of the old one were shown, the answer fails with a
 * `StreamResetError`, and `onError: resumeOnReset(...)` reads it again.
 */
export class StreamTransport {
  /** A resumed answer is replayed from its first part, in place of what is shown. */
  readonly resumeStreamIsReplay = true;
  readonly #options: StreamTransportOptions;
  readonly #readings = new Map<string, Reading>();
  /** What each chat asked for last. */
  readonly #turns = new Map<string, Turn>();
  /** Questions that the route has not answered yet. */
  readonly #asking = new Map<string, Promise<unknown>>();

  constructor(options: StreamTransportOptions = {}) {
    this.#options = options;
  }

  async sendMessages(
    options: {
      trigger: string; chatId: string; messageId: string | undefined;
      messages: Message[]; abortSignal: AbortSignal | undefined;
    } & Call,
  ): Promise<ReadableStream<any>> {
    const { chatId, messages, abortSignal, trigger, messageId } = options;
    const turn = this.#turn(chatId, false);
    const body = { id: chatId, messages, trigger, messageId, ...this.#options.body, ...options.body };
    // Not aborted with the chat's signal: the answer has begun, and can be stopped or read later.
    const asking = this.#ask(this.#api, { method: "POST", body: JSON.stringify(body) }, options).then(
      async (response): Promise<Reading> => {
        const ref: StreamRef = await response.json();
        const of = messages.find(({ id }) => id === messageId) ?? messages.at(-1);
        const continued = of?.role === "assistant" ? structuredClone(of) : undefined;
        keepContinued(chatId, ref, continued);
        return this.#open(chatId, ref, continued, turn);
      },
    );
    this.#waitFor(chatId, asking);
    const reading = asking.then((found) => this.#read(found, chatId, turn, abortSignal));
    return Promise.race([reading, aborted(abortSignal)]);
  }

  reconnectToStream(options: { chatId: string; abortSignal?: AbortSignal | undefined } & Call): Promise<ReadableStream<any> | null> {
    const asking = this.#reconnect(options);
    this.#waitFor(options.chatId, asking);
    return asking;
  }

  /**
   * Keeps a chat in step with other tabs and devices: an answer that begins elsewhere is read here, after the
   * question that it answers, which the route sends to the conversation: `chat.send(message, type="message")`.
   * Returns a function that ends it: `useEffect(() => transport.follow(id, ref, chat), [id])`.
   */
  follow(chatId: string, ref: ConversationRef, { resumeStream, setMessages }: FollowingChat): () => void {
    const { onStatus: _, decoder: __, ...how } = this.#options.stream ?? {};
    let begun: Promise<unknown> | undefined;
    /** Reads a stream, unless this tab has asked for it. `done`: the reading that is waited for no more. */
    const look = async (id: string | undefined, question?: Message, done?: Reading): Promise<void> => {
      await this.#asking.get(chatId)?.catch(() => {});
      const reading = this.#readings.get(chatId);
      if (!id || reading?.ref.stream_id === id || chat.status === "closed") return;
      if (reading && reading !== done) {
        // The chat takes one answer at a time. What has ended it may have left without a word.
        const left = (): Promise<unknown> => pause(5000).then(() => reading.stream.status !== "closed" && left());
        await Promise.race([reading.over, left()]);
        return look(id, question, reading);
      }
      if (question) setMessages((all) => withQuestion(all, question));
      void resumeStream();
    };
    let wait = 500;
    /** What began before this connection. */
    const catchUp = () =>
      (begun ??= this.#latest(chatId).then((latest) => look(latest?.stream_id)).catch((error) => {
        begun = undefined;
        void pause((wait = Math.min(2 * wait, 60_000))).then(() => chat.status === "closed" || catchUp());
        this.#options.stream?.onError?.(error);
      }));
    const chat = openConversation<{ events: { message: Message } }>(ref, {
      ...how,
      offset: "now",
      // A newer log has no events that were missed: what this page has read of the old one is gone.
      onReset: () => {},
      onStatus: (status) => {
        if (status === "open") void catchUp();
      },
    });
    void (async () => {
      let question: Message | undefined;
      for await (const event of chat) {
        if (event.type === "message") question = event.value;
        if (event.type !== "stream" || event.parent) continue;
        await begun;
        await look(event.stream_id, question);
        question = undefined;
      }
    })().catch((error) => this.#options.stream?.onError?.(error));
    return () => chat.close();
  }

  #waitFor(chatId: string, asking: Promise<unknown>): void {
    this.#asking.set(chatId, asking);
    void asking.catch(() => {}).then(() => {
      if (this.#asking.get(chatId) === asking) this.#asking.delete(chatId);
    });
  }

  async #reconnect(
    options: { chatId: string; abortSignal?: AbortSignal | undefined } & Call,
  ): Promise<ReadableStream<any> | null> {
    const { chatId, abortSignal } = options;
    const turn = this.#turn(chatId, true);
    const before = this.#readings.get(chatId);
    const saved = this.#options.messages?.(chatId)?.at(-1);
    const unread = before && !before.stream.endReason ? before.ref : undefined;
    // An answer that this page has read to its end may be missing: the chat may have been mounted again.
    const has = streamOf(saved);
    const ref = unread && !before?.left ? unread : ((await this.#latest(chatId, options, has)) ?? unread);
    if (!ref || ref.stream_id === has || this.#later(chatId, turn)) return null;
    const continued = before?.ref.stream_id === ref.stream_id ? before.continued : keptContinued(chatId, ref);
    const reading = this.#open(chatId, ref, continued, turn);
    if (streamOf(saved)) reading.saved = saved;
    return this.#read(reading, chatId, turn, abortSignal);
  }

  /**
   * Stops the worker of the chat's latest answer. The page continues reading until the relay confirms
   * it; then the chat is `ready`. Rejects when the relay refuses or does not answer.
   */
  async stop(chatId: string): Promise<void> {
    // A question that is being asked is the one to stop. If it fails, the chat reports it.
    await this.#asking.get(chatId)?.catch(() => {});
    const reading = this.#readings.get(chatId);
    if (reading) return reading.stream.stop();
    const ref = await this.#latest(chatId);
    if (!ref) return undefined;
    const stream = openStream(ref, this.#options.stream);
    stream.close();
    return stream.stop();
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

  async #latest(chatId: string, call?: Call, has?: string): Promise<StreamRef | null> {
    const { reconnect } = this.#options;
    if (reconnect) return reconnect(chatId);
    const url = `${this.#api}/${encodeURIComponent(chatId)}/stream${has ? `?have=${encodeURIComponent(has)}` : ""}`;
    const response = await this.#ask(url, { headers: { accept: "application/json" } }, call, [404]);
    return response.status === 200 ? response.json() : null;
  }

  async #ask(url: string, init: RequestInit, call?: Call, allowed: number[] = []): Promise<Response> {
    const { headers, credentials, fetch: given = fetch } = this.#options;
    const sent = new Headers(init.headers);
    for (const more of [typeof headers === "function" ? headers() : headers, call?.headers])
      new Headers(more).forEach((value, name) => sent.set(name, value));
    if (init.body) sent.set("content-type", "application/json");
    const response = await given(url, { ...init, headers: sent, ...(credentials && { credentials }) });
    if (response.ok || allowed.includes(response.status)) return response;
    throw new Error((await response.text()) || `the server answered ${response.status}`);
  }

  #open(chatId: string, ref: StreamRef, continued: Message | undefined, turn: Turn): Reading {
    const { resumes: resumed } = turn;
    const before = this.#readings.get(chatId);
    const found = resumed && (before?.ref.stream_id !== ref.stream_id || before.left);
    const shown = false;
    let finish = () => {};
    const over = new Promise<void>((resolve) => (finish = resolve));
    const reading: Reading = {
      ref, continued, saved: undefined, resumed, shown, found, left: false, over, finish, stream: undefined as never,
    };
    reading.stream = openStream<Part>(ref, {
      getToken: async () => {
        const fresh = await this.#latest(chatId);
        if (fresh?.stream_id === ref.stream_id && fresh.token) return fresh.token;
        throw new StreamError({ code: "not-found", message: "the chat has a newer answer" });
      },
      ...this.#options.stream,
      onStatus: (status) => {
        this.#options.stream?.onStatus?.(status);
        // A chat that was left shows another answer, or none.
        if (!reading.left) this.#options.onStatus?.(chatId, status);
      },
      onReset: (attempt) => {
        if (reading.shown) throw new StreamResetError(attempt);
      },
    });
    // The route's answer may have come after that of a later turn.
    if (!this.#later(chatId, turn)) this.#readings.set(chatId, reading);
    return reading;
  }

  #read(reading: Reading, chatId: string, turn: Turn, signal: AbortSignal | undefined): ReadableStream<Part> {
    const { stream, ref, resumed, saved } = reading;
    const iterator = stream[Symbol.asyncIterator]();
    const abort = () => {
      reading.left = true;
      reading.finish();
      if (this.#options.stopOnAbort)
        void this.#stopLeft(stream, chatId, turn).catch((error: StreamError) => this.#options.stream?.onError?.(error));
      else stream.close();
    };
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    return new ReadableStream<Part>(
      {
        async pull(controller) {
          try {
            const { done, value } = await iterator.next();
            if (done) {
              // Stopped elsewhere: the answer is not a finished one.
              if (stream.endReason === "stopped") controller.enqueue({ type: "abort" });
              controller.close();
              reading.finish();
            } else if (!PART.test(value?.type ?? "")) {
              stream.close();
              throw new StreamError({ code: "not-ui-messages", message: NOT_PARTS });
            } else if (value.type === "start") {
              const isSaved = saved && value["messageId"] === saved.id;
              const continued = reading.continued ?? (isSaved ? saved : undefined);
              controller.enqueue({ ...value, messageId: continued?.id ?? value["messageId"] ?? ref.stream_id });
              if (!continued || !resumed || reading.shown) return;
              reading.shown = true;
              for (const part of rebuild(continued)) controller.enqueue(part);
            } else {
              reading.shown = true;
              controller.enqueue(value);
            }
          } catch (error) {
            reading.finish();
            if (!(error instanceof StreamError)) throw error;
            const isKept = !["not-found", "gone"].includes(error.code);
            if (error.endReason) controller.enqueue({ type: "error", errorText: error.message });
            // An old chat was opened, whose answer has expired: there is nothing to resume.
            else if (isKept || reading.shown || !reading.found) throw error;
            controller.close();
          }
        },
        cancel: () => {
          reading.finish();
          stream.close();
        },
      },
      { highWaterMark: 0 },
    );
  }

  async #stopLeft(stream: Stream<Part>, chatId: string, turn: Turn): Promise<void> {
    // A resume that follows at once reads the answer again; then it is not stopped.
    await new Promise((resolve) => setTimeout(resolve));
    const goesOn = turn.resumes && this.#later(chatId, turn)?.resumes;
    const stopped = goesOn || stream.stop();
    stream.close();
    await stopped;
  }
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Rejects when the signal is aborted. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** In its place, if it was there: what followed it is being answered anew. */
function withQuestion(all: Message[], question: Message): Message[] {
  const at = all.findIndex(({ id }) => id === question.id);
  return [...(at < 0 ? all : all.slice(0, at)), question];
}

/** The stream whose whole answer is in a saved message. */
function streamOf(saved: Message | undefined): string | undefined {
  const { stream_id: id } = (saved?.role === "assistant" && (saved.metadata as { stream_id?: unknown })) || {};
  return typeof id === "string" ? id : undefined;
}

/** Keeps the message that a chat's stream continues over a reload. */
function keepContinued(chatId: string, { stream_id }: StreamRef, message: Message | undefined): void {
  try {
    const key = `streamstraight-celery ${chatId}`;
    if (message) sessionStorage.setItem(key, JSON.stringify({ stream_id, message }));
    else sessionStorage.removeItem(key);
  } catch {
    // No storage, or it is full: the saved messages must have it.
  }
}

function keptContinued(chatId: string, ref: StreamRef): Message | undefined {
  try {
    const { stream_id, message } = JSON.parse(sessionStorage.getItem(`streamstraight-celery ${chatId}`) ?? "{}");
    return stream_id === ref.stream_id ? message : undefined;
  } catch {
    return undefined;
  }
}

/**
 * For `useChat({ onError })`: when a new attempt began, the answer is read again in place of the old
 * one. Other errors are passed to `onError`.
 */
export function resumeOnReset(
  resume: () => Promise<unknown>,
  onError?: (error: Error) => void,
): (error: Error) => void {
  return (error) => {
    // After the chat has dealt with the failure.
    if (error instanceof StreamResetError) setTimeout(() => void resume().catch((reason) => onError?.(reason)));
    else onError?.(error);
  };
}
