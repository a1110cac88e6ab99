import { StreamError } from "./errors.ts";
import { LiveStream } from "./stream.ts";
import type {
  Conversation, ConversationEvent, ConversationOptions, ConversationRef, ConversationTypes, SendOptions, Stream, StreamOptions,
  StreamStatus,
} from "./types.ts";
import { sleep, systemClock } from "./waiting.ts";

/** How often a message is sent before `send` fails. The relay adds it once. */
const TRIES = 4;
/** Why a stream ended whose task may be delivered again. */
const LOST = "producer-disconnected";

/** What `stop` goes by. */
interface Told {
  type?: string;
  stream_id: string;
  parent?: string;
  reason?: string;
}

const newId = () => Date.now().toString(36) + Math.random().toString(36).slice(2);

/** A conversation's log, and its streams, read over one connection. */
export class LiveConversation<T extends Partial<ConversationTypes>> implements Conversation<T> {
  readonly #log: LiveStream<ConversationEvent<T>>;
  readonly #url: string;
  readonly #options: StreamOptions<any>;
  /** Those that are being read. */
  readonly #streams = new Set<LiveStream<any>>();
  #token: string | undefined;
  /** The streams that have begun; and why they have ended. */
  readonly #begun = new Map<string, Pick<Told, "parent" | "reason">>();

  constructor(source: ConversationRef | string, options: ConversationOptions<T>) {
    const { url, token }: { url: string; token?: string | undefined } =
      typeof source === "string" ? { url: source } : source;
    const { getToken, onReset, seen = [] } = options;
    for (const each of seen) this.#note(each as Told);
    this.#url = url;
    this.#token = options.token ?? token;
    this.#options = { pool: true, ...options };
    // The log and its streams have one token: what one of them was given, all of them use.
    if (getToken) this.#options.getToken = async () => (this.#token = await getToken());
    if (onReset)
      this.#options.onReset = (attempt) => {
        this.#begun.clear();
        onReset(attempt);
      };
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
        try {
          const found = await events.next();
          this.#note((found.value ?? {}) as Told);
          return found as IteratorResult<ConversationEvent<T>, undefined>;
        } catch (error) {
          // Not as if they were complete.
          for (const each of this.#streams) each.close({ error });
          throw error;
        }
      },
      return: async () => {
        this.close();
        return { done: true, value: undefined };
      },
    };
  }

  openStream<C>(id: string, options: StreamOptions<C> = {}): Stream<C> {
    const { pool, fetch, getToken, whileHidden, signal, clock, random } = this.#options;
    const url = this.#url.replace(/[^/?#]+(?=([?#].*)?$)/, encodeURIComponent(id));
    const shared = { pool, fetch, getToken, whileHidden, signal, clock, random, token: this.#token };
    const stream = new LiveStream<C>({ stream_id: id, url }, { ...shared, ...options }, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** The application's own events may have any other type. */
  #note({ type, stream_id, parent, reason }: Told): void {
    if (type === "stream") this.#begun.set(stream_id, { ...(parent && { parent }) });
    const ended = type === "ended" && this.#begun.get(stream_id);
    if (ended && reason) ended.reason = reason;
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
    const begun = [...this.#begun];
    const roots = begun.filter(([, { parent }]) => !parent);
    // Without an active stream the last one may have started some that still run.
    const [root] = roots.find(([, { reason }]) => !reason) ?? roots.at(-1) ?? [];
    const family = new Set([root]);
    if (tree) for (const [id, { parent }] of begun) if (parent && family.has(parent)) family.add(id);
    await Promise.all(begun.map(async ([id, { reason }]) => {
      // A lost one may have begun again, of which the log says nothing.
      if (!family.has(id) || (reason && reason !== LOST)) return;
      const stream = this.openStream(id);
      stream.close();
      await stream.stop().catch((error: StreamError) => {
        if (!reason || error.code !== "not-found") throw error;
      });
    }));
  }

  close(): void {
    for (const each of [this.#log, ...this.#streams]) each.close();
  }
}
