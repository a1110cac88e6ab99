import { type Connection, connection } from "./connection.ts";
import { mediaTypeOf } from "./content.ts";
import { named, StreamError, StreamResetError } from "./errors.ts";
import { type Frame, frameParser } from "./frames.ts";
import { pooled } from "./pool.ts";
import { type Answer, type Arrival, type Move, noToken, Protocol, readRefusal } from "./protocol.ts";
import type { Clock, EndReason, Stream, StreamOptions, StreamRef, StreamStatus } from "./types.ts";
import { keeper } from "./persist.ts";
import { Bell, breather, Queue, sleep, systemClock, whileHidden } from "./waiting.ts";

/** With more unread chunks than this, the connection is not read until the consumer catches up. */
const LIMIT = 1000;

const NO_STREAMS =
  "this platform's fetch gives no streams, and the server does not answer live=long-poll: give a fetch that streams, such as expo/fetch";

/** The platform's own fetch gives responses in pieces; React Native's does not. */
const streams = () => typeof Response !== "function" || "body" in Response.prototype;

function base64Of(buffer: ArrayBuffer): string {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

/** The platform's `fetch` of the moment. One function, so that it has one pool. */
const plain = (url: string, init: RequestInit) => fetch(url, init);

/** A new attempt, waiting its turn between two chunks. */
interface Reset {
  attempt: number;
}

/** The I/O around the protocol: a loop that makes its moves, and an iterator over the chunks. */
export class LiveStream<T> implements Stream<T> {
  status: StreamStatus = "connecting";
  endReason: EndReason | undefined;

  readonly #url: URL;
  readonly #options: StreamOptions<T>;
  readonly #leave: () => void;
  readonly #clock: Clock;
  readonly #protocol: Protocol;
  /** Chunks that have not been taken yet. */
  #inbox = new Queue<Arrival | Reset>();
  /** After the last chunk taken. Used while there are more, or when the rest was discarded. */
  #position: string;
  #left = false;
  /** Rings when the inbox or the outcome changes. */
  readonly #bell = new Bell();
  readonly #life = new AbortController();
  /** Aborted when the consumer is done. */
  readonly #leaving = new AbortController();
  #token: string | undefined;
  /** The consumer has chunks that a new attempt would repeat. */
  #handed: boolean;
  /** Set when nothing more arrives. Chunks that had arrived can still be taken. */
  #outcome: { error?: unknown } | undefined;
  #consumed = false;
  readonly #keep: (offset: string) => void;
  /** For messages. */
  readonly #name: string;
  /** When the current series of failures began. */
  #failing: number | undefined;
  /** `fetch` gives whole bodies only, as in React Native: read by long-poll. */
  #polling: boolean;
  /** How many reasons there are to have no connection for now, and the current connection. */
  #holds = 0;
  #connection: Connection | undefined;

  /** `leave` is called when the consumer is done. */
  constructor(source: StreamRef | string, options: StreamOptions<T>, leave = () => {}) {
    const { url, token }: { url: string; token?: string | undefined } =
      typeof source === "string" ? { url: source } : source;
    this.#url = new URL(url, globalThis.location?.href);
    // For other schemes fetch fails as it does without a network, which would be retried.
    if (!/^http/.test(this.#url.protocol)) throw new TypeError(`not an http URL: ${url}`);
    if (options.wait) this.#url.searchParams.set("wait", `${Math.min(300, Math.ceil(options.wait))}`);
    const { pathname } = this.#url;
    this.#name = (typeof source === "object" && source.stream_id) || (pathname.split("/").pop() ?? url);
    this.#polling = !options.fetch && !streams();
    const { kept, keep } = keeper(options.persist, this.#url.pathname);
    const { offset = kept ?? "-1", signal } = options;
    this.#keep = keep;
    this.#options = options;
    this.#leave = leave;
    this.#clock = options.clock ?? systemClock;
    this.#protocol = new Protocol(offset, options.random ?? Math.random);
    this.#token = options.token ?? token;
    this.#position = offset;
    this.#handed = !/^(-\d+|now)$/.test(offset);
    signal?.addEventListener("abort", this.#abort);
    // In a microtask, so that no callback is called before the caller has the stream.
    queueMicrotask(() => this.#outcome ?? (signal?.aborted ? this.#abort() : this.#run()));
  }

  get offset(): string {
    return this.#left || this.#inbox.length ? this.#position : this.#protocol.position;
  }

  close(outcome: { error?: unknown } = {}): void {
    this.#finish(outcome, true);
  }

  async stop(): Promise<void> {
    if (this.endReason) return;
    // Browsers have six HTTP/1.1 connections to a host: free this stream's own for the request.
    const release = this.#hold();
    try {
      await this.ask("stop");
    } finally {
      release();
    }
  }

  /** Asks the relay to stop the task, or to add a message to a conversation. */
  async ask(what: "stop" | "send", body?: string): Promise<void> {
    const { href } = this.#url;
    const url = href.replace(/\/v1\/stream\/(?=[^/?#]+([?#]|$))/, `/v1/${what}/`);
    if (url === href) throw new TypeError(`no /v1/stream/ in ${href}`);
    const { getToken } = this.#options;
    try {
      let answer = await this.#post(url, body);
      if (answer.status === 401 && getToken) {
        try {
          this.#token = await getToken();
        } catch (error) {
          throw error instanceof StreamError ? error : new StreamError(noToken(error));
        }
        answer = await this.#post(url, body);
      }
      if (!isDone(answer)) throw new StreamError(readRefusal(answer));
    } catch (error) {
      throw named(error, this.#name);
    }
  }

  async #post(url: string, body?: string, moved?: boolean): Promise<Answer> {
    const { signal, patiently } = connection(this.#clock);
    const headers = this.#headers();
    if (body) headers.set("content-type", "application/json");
    const sent = this.#fetch(url, { method: "POST", headers, priority: "high", signal, ...(body && { body }) });
    const [answer, to] = await patiently(
      sent.then(async (response) => [await readAnswer(response, true), response.redirected && response.url] as const),
    );
    // Redirects turn it into a GET (301, 302, 303): ask again at the new address, on the same host only.
    const again = to && !moved && !isDone(answer) && new URL(to).hostname === this.#url.hostname;
    return again ? this.#post(to, body, true) : answer;
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    if (this.#consumed) throw new TypeError(`stream ${this.#name} already has a consumer`);
    this.#consumed = true;
    const chunks = this.#chunks();
    return {
      next: () => chunks.next(),
      return: () => {
        // Before the generator's return, which waits for a pending next().
        this.close();
        return chunks.return(undefined);
      },
    };
  }

  toReadableStream(): ReadableStream<T> {
    const iterator = this[Symbol.asyncIterator]();
    const source: UnderlyingDefaultSource<T> = {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await iterator.return?.();
      },
    };
    return new ReadableStream(source, { highWaterMark: 0 });
  }

  async *#chunks(): AsyncGenerator<T, undefined> {
    const breathe = breather();
    const keep = () => this.#keep(this.offset);
    // So that a reload in the middle of a burst finds the last chunk taken.
    globalThis.addEventListener?.("pagehide", keep, { signal: this.#leaving.signal });
    try {
      for (;;) {
        const item = this.#inbox.first;
        if (item) {
          await breathe();
          // It was closed meanwhile, or reset.
          if (item !== this.#inbox.first) continue;
          const taken = this.#take(item);
          if (taken) yield taken.value;
        } else if (this.#outcome) {
          if ("error" in this.#outcome) throw this.#outcome.error;
          return;
        } else {
          keep();
          await this.#bell.wait();
        }
      }
    } finally {
      this.close();
    }
  }

  /** Takes an item once the caller's code has accepted it; otherwise sets the outcome. */
  #take(item: Arrival | Reset): { value: T } | undefined {
    const { decoder, onReset } = this.#options;
    let taken: { value: T } | undefined;
    try {
      if ("attempt" in item) {
        // Not before the consumer is told: until then its old position is right, and the relay refuses it.
        this.#position = "-1";
        if (onReset) onReset(item.attempt);
        else if (this.#handed) throw new StreamResetError(item.attempt);
      } else {
        taken = { value: decoder ? decoder(item.chunk as string) : (item.chunk as T) };
      }
    } catch (error) {
      this.#finish({ error }, true);
      return undefined;
    }
    if ("position" in item) this.#position = item.position;
    this.#inbox.shift();
    this.#handed = !!taken;
    this.#bell.ring();
    return taken;
  }

  readonly #waits = () => {
    // A fetch without streams answers at the end of the stream.
    if (streams()) return this.#setStatus("waiting-for-connection");
    this.#polling = true;
    this.#hold()();
  };

  /** Closes the connection until it is released; then reading continues from its position. */
  #hold(): () => void {
    this.#holds++;
    this.#connection?.close();
    this.#connection = undefined;
    return () => {
      this.#holds--;
      this.#bell.ring();
    };
  }

  async #run(): Promise<void> {
    if (this.#options.whileHidden !== "read") whileHidden(this.#clock, this.#life.signal, () => this.#hold());
    try {
      this.#options.onStatus?.(this.status);
      let move: Move = { do: "connect", delay: 0 };
      while (!this.#outcome) move = await this.#make(move);
    } catch (error) {
      this.#finish({ error });
    }
  }

  async #make(move: Move): Promise<Move> {
    const { getToken } = this.#options;
    switch (move.do) {
      case "end":
        this.endReason = move.reason;
        if (move.failure) throw move.failure;
        this.#finish({});
        return move;
      case "reset":
        this.#inbox.clear();
        this.#inbox.push(move);
        this.#bell.ring();
        // Nothing to continue for: it is going to be thrown.
        if (this.#handed && !this.#options.onReset) this.#finish({});
        return { ...move, do: "connect" };
      case "connect":
        // Browsers do not say whether the server is down or forbidden, and the page just waits.
        if (this.status === "connecting" && move.failure?.code === "network")
          console.warn("no answer: is the relay up, the page in stream_allowed_origins?");
        if (move.failure) this.#failed(move.failure, move.delay);
        if (move.failure || (!this.#polling && this.status !== "connecting")) this.#setStatus("reconnecting");
        if (move.delay && !this.#outcome) await sleep(this.#clock, move.delay, this.#life.signal, !move.asked);
        break;
      case "token":
        this.#token = undefined;
    }
    if (this.#outcome) return move;
    try {
      this.#token ??= await getToken?.();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      return this.#protocol.tokenFailed(error);
    }
    if (this.#outcome) return move;
    return this.#polling ? this.#poll() : this.#connect();
  }

  /** Reports a failure that is retried. Throws after `giveUpAfter`. */
  #failed(failure: StreamError, delay: number): void {
    const { giveUpAfter = Infinity, onError } = this.#options;
    const now = this.#clock.now();
    this.#failing ??= now;
    if (now + delay - this.#failing >= giveUpAfter * 1000) {
      const message = `could not be read for ${giveUpAfter} s: ${failure.message}`;
      throw new StreamError({ code: "relay-unavailable", message, cause: failure });
    }
    onError?.(named(failure, this.#name));
  }

  async #connect(): Promise<Move> {
    while (this.#holds && !this.#outcome) await this.#bell.wait();
    if (this.#outcome) return { do: "connect", delay: 0 };
    const url = new URL(this.#url);
    for (const [key, value] of Object.entries({ ...this.#protocol.connect(), frames: "json" })) url.searchParams.set(key, value);
    const headers = this.#headers();
    headers.set("accept", "text/event-stream");
    const line = (this.#connection = connection(this.#clock, this.#life.signal, this.#waits));
    const { signal, patiently, close } = line;
    const now = () => this.#clock.now();
    let opened = Infinity;
    try {
      // Chromium lets requests for one URL wait for each other's cache entry, unless they use none.
      // A low priority, so that a stop which waits for a connection gets it before a stream does.
      const init: RequestInit = { headers, cache: "no-store", priority: "low", signal };
      const response = await patiently(this.#fetch(url.href, init));
      const answer = await patiently(readAnswer(response));
      const move = this.#protocol.answered(answer, !!this.#options.getToken, now());
      if (move.do !== "read") return move;
      if (!response.body) {
        this.#polling = true;
        return { do: "connect", delay: 0 };
      }
      opened = now();
      this.#failing = undefined;
      this.#setStatus("open");
      return (await this.#read(response, patiently)) ?? this.#protocol.dropped(now() - opened);
    } catch (error) {
      // Closed on purpose, so nothing has failed.
      if (this.#connection?.signal !== signal) return this.#polling ? this.#poll() : this.#connect();
      // The page woke up: reconnect at once.
      if (line.stale && !this.#outcome) return { do: "connect", delay: 0 };
      if (error instanceof StreamError) return this.#protocol.dropped(now() - opened, error);
      throw error;
    } finally {
      close();
    }
  }

  /** One request of long-poll. Its body is read as frames. */
  async #poll(): Promise<Move> {
    const url = new URL(this.#url);
    for (const [key, value] of Object.entries({ ...this.#protocol.connect(), live: "long-poll" })) url.searchParams.set(key, value);
    const { signal, patiently, close } = connection(this.#clock, this.#life.signal);
    const begun = this.#clock.now();
    try {
      const response = await patiently(this.#fetch(url.href, { headers: this.#headers(), cache: "no-store", signal }));
      const { status, headers } = response;
      const offset = headers.get("stream-next-offset");
      const hasBody = status === 200;
      if (!hasBody && (status !== 204 || headers.get("stream-closed"))) {
        const answer = await patiently(readAnswer(response));
        // Never "read", which is the answer to a 200.
        return this.#protocol.answered(answer, !!this.#options.getToken, this.#clock.now()) as Move;
      }
      if (!offset) throw new StreamError({ code: "bad-response", message: NO_STREAMS, status });
      const frames = [];
      if (hasBody) {
        const type = mediaTypeOf(headers.get("content-type"));
        this.#protocol.polls(type);
        const plain = type === "application/json" || type.startsWith("text/");
        const data = plain ? await patiently(response.text()) : base64Of(await patiently(response.arrayBuffer()));
        frames.push({ event: "data", id: offset, data });
      }
      const control = {
        streamNextOffset: offset,
        streamCursor: headers.get("stream-cursor"),
        streamClosed: !!headers.get("stream-closed"),
        endReason: headers.get("stream-end-reason"),
      };
      frames.push({ event: "control", id: undefined, data: JSON.stringify(control) });
      this.#failing = undefined;
      this.#setStatus("open");
      for (const frame of frames) {
        const move = this.#accept(frame);
        if (move) return move;
      }
      while (this.#inbox.length > LIMIT && !this.#outcome) await this.#bell.wait();
      return this.#protocol.dropped(this.#clock.now() - begun);
    } catch (error) {
      if (error instanceof StreamError && !error.fatal) return this.#protocol.dropped(-1, error);
      throw error;
    } finally {
      close();
    }
  }

  /** Reads until the stream ends, or the response does. */
  async #read(response: Response, patiently: Connection["patiently"]): Promise<Move | undefined> {
    const parse = frameParser();
    const reader = response.body?.getReader();
    for (;;) {
      while (this.#inbox.length > LIMIT && !this.#outcome) await this.#bell.wait();
      const bytes = reader && (await patiently(reader.read())).value;
      if (!bytes || this.#outcome) return undefined;
      for (const frame of parse(bytes)) {
        const unread = this.#protocol.needsType(frame) && (await this.#describe(patiently));
        if (unread) return unread;
        // One by one: frames after a move in the same bytes do not count.
        const move = this.#accept(frame);
        if (move) return move;
      }
    }
  }

  /** Takes in what a frame holds. A move ends the response. */
  #accept(frame: Frame): Move | undefined {
    for (const item of this.#protocol.frame(frame)) {
      if ("do" in item) return item;
      if ("producer" in item) this.#setStatus(item.producer);
      else {
        // Chunks come from a worker, so there is one.
        this.#setStatus("open");
        this.#inbox.push(item);
        this.#bell.ring();
      }
    }
    return undefined;
  }

  /** Asks for the stream's content type, when the server has not sent it. */
  async #describe(patiently: Connection["patiently"]): Promise<Move | undefined> {
    const init: RequestInit = { method: "HEAD", headers: this.#headers(), cache: "no-store", signal: this.#life.signal };
    return this.#protocol.described(await patiently(this.#fetch(this.#url.href, init)));
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    const { pool, fetch: given = plain } = this.#options;
    return (pool ? pooled(given) : given)(url, init);
  }

  #headers(): Headers {
    return new Headers(this.#token ? { authorization: `Bearer ${this.#token}` } : {});
  }

  #setStatus(status: StreamStatus): void {
    if (this.status === status || this.status === "closed") return;
    this.status = status;
    this.#options.onStatus?.(status);
  }

  readonly #abort = () => this.#finish({ error: this.#options.signal?.reason }, true);

  /**
   * The first outcome stands, unless the consumer then gives up (`drop`), which discards all unread
   * chunks. Errors thrown by callbacks reach the consumer too.
   */
  #finish(outcome: { error?: unknown }, drop?: boolean): void {
    const { signal, onError } = this.#options;
    if (this.#outcome && (!drop || this.#left)) return;
    named(outcome.error, this.#name);
    this.#outcome = outcome;
    if (drop) {
      this.#position = this.offset;
      this.#left = true;
      this.#inbox.clear();
      this.#leaving.abort();
      this.#leave();
      signal?.removeEventListener("abort", this.#abort);
    }
    this.#life.abort();
    try {
      this.#setStatus("closed");
      if (outcome.error instanceof StreamError) onError?.(outcome.error);
    } catch (error) {
      this.#outcome = { error, ...outcome };
    }
    this.#bell.ring();
    // Now, not at the end of the loop: another stream may use the key by then.
    if (drop) this.#keep(this.#position);
  }
}

async function readAnswer(response: Response, whole = !response.ok): Promise<Answer> {
  const { status, headers } = response;
  return { status, headers, body: whole ? await response.text() : "" };
}

/** The stop was accepted. A login page, for example, is not an answer to it. */
function isDone({ status, headers }: Answer): boolean {
  return status >= 200 && status < 300 && mediaTypeOf(headers.get("content-type")) !== "text/html";
}
