import { StreamError } from "./errors.ts";
import { LiveStream } from "./stream.ts";
import type {
  Conversation, ConversationEvent, ConversationRef, ConversationTypes, SendOptions, Stream, StreamOptions, StreamStatus,
} from "./types.ts";
import { sleep, systemClock } from "./waiting.ts";

/** How often a message is sent before `send` fails. The relay adds it once. */
const TRIES = 4;

interface Began {
  type?: string;
  stream_id: string;
  parent?: string;
}

const newId = () => Date.now().toString(36) + Math.random().toString(36).slice(2);

/** A conversation's log, and its streams, read over one connection. */
export class LiveConversation<T extends Partial<ConversationTypes>> implements Conversation<T> {
  readonly #log: LiveStream<ConversationEvent<T>>;
  readonly #url: string;
  readonly #options: StreamOptions<any>;
  readonly #streams: LiveStream<any>[] = [];
  #token: string | undefined;
  /** The streams that have begun, and their parents; and which of them have not ended. */
  readonly #parents = new Map<string, string | undefined>();
  readonly #running = new Set<string>();

  constructor(source: ConversationRef | string, options: StreamOptions<ConversationEvent<T>>) {
    const { url, token }: { url: string; token?: string | undefined } =
      typeof source === "string" ? { url: source } : source;
    const { getToken } = options;
    this.#url = url;
    this.#token = options.token ?? token;
    this.#options = { pool: true, ...options };
    // The log and its streams have one token: what one of them was given, all of them use.
    if (getToken) this.#options.getToken = async () => (this.#token = await getToken());
    this.#log = new LiveStream(source, this.#options);
  }

  get status(): StreamStatus {
    return this.#log.status;
  }

  get offset(): string {
    return this.#log.offset;
  }

  [Symbol.asyncIterator](): AsyncIterator<ConversationEvent<T>, undefined> {
    const events = this.#log[Symbol.asyncIterator]();
    return {
      next: async () => {
        const found = await events.next();
        // The application's own events may have any other type.
        const { type, stream_id, parent } = (found.value ?? {}) as Began;
        if (type === "stream") this.#running.add(stream_id), this.#parents.set(stream_id, parent);
        if (type === "ended") this.#running.delete(stream_id);
        return found as IteratorResult<ConversationEvent<T>, undefined>;
      },
      return: async () => {
        this.close();
        return { done: true, value: undefined };
      },
    };
  }

  openStream<C>(id: string, options: StreamOptions<C> = {}): Stream<C> {
    const { pool, fetch, getToken, whileHidden, clock, random } = this.#options;
    const url = this.#url.replace(/[^/?#]+(?=([?#].*)?$)/, encodeURIComponent(id));
    const shared = { pool, fetch, getToken, whileHidden, clock, random, token: this.#token };
    const stream = new LiveStream<C>({ stream_id: id, url }, { ...shared, ...options });
    this.#streams.push(stream);
    return stream;
  }

  async send(value: unknown, options: SendOptions = {}): Promise<string> {
    const { id = newId(), answers } = options;
    const body = JSON.stringify({ id, value: value ?? null, answers });
    const { clock = systemClock, random = Math.random } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        await this.#log.ask("send", body);
        return id;
      } catch (error) {
        const { code, status = 0 } = error as StreamError;
        const passes = ["network", "timeout"].includes(code) || status >= 500 || status === 429;
        if (!passes || tries === TRIES) throw error;
      }
      await sleep(clock, random() * 500 * 2 ** tries, new AbortController().signal, true);
    }
  }

  answer(question: { id: string } | string, value: unknown): Promise<string> {
    return this.send(value, { answers: typeof question === "string" ? question : question.id });
  }

  async stop({ tree }: { tree?: boolean } = {}): Promise<void> {
    const began = [...this.#parents];
    const roots = began.filter(([, parent]) => !parent).map(([id]) => id);
    // Without an active stream the last one may have started some that still run.
    const root = roots.find((id) => this.#running.has(id)) ?? roots.at(-1);
    const family = new Set([root]);
    if (tree) for (const [id, parent] of began) if (parent && family.has(parent)) family.add(id);
    await Promise.all([...this.#running].filter((id) => family.has(id)).map((id) => {
      const stream = this.openStream(id);
      stream.close();
      return stream.stop();
    }));
  }

  close(): void {
    for (const each of [this.#log, ...this.#streams]) each.close();
  }
}
