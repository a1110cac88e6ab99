import {
  type EndReason, openStream, type Stream, type StreamOptions, type StreamRef, type StreamStatus,
} from "streamstraight-celery";

/** The state of a stream at one moment. Never changed, only replaced. */
export interface Snapshot<T> {
  chunks: readonly T[];
  /** How often it was reset. */
  epoch: number;
  status: StreamStatus | "idle";
  error: unknown;
  endReason: EndReason | undefined;
}

export type Ask<T> = () => [StreamRef | string, StreamOptions<T>];

/** What a store reads: a stream, or a conversation, which does not end. */
type Source<T> = Pick<Stream<T>, "offset" | "close"> & AsyncIterable<T> & { endReason?: EndReason | undefined };
/** `seen`: what was read before, which a conversation's `stop` goes by. */
type Open<T, S> = (source: any, options: StreamOptions<T> & { seen: readonly any[] }) => S;

interface Frame {
  drawn?: number;
  timer: ReturnType<typeof setTimeout>;
}

/** How many streams without a component are remembered. */
const REMEMBERED = 50;
/** Hidden pages draw no frames: they are updated by a timer, in milliseconds. */
const FRAME = 250;

export const stores = new Map<string, Store<any, any>>();

/** The state of a stream that no component has read. */
export const UNSEEN: Snapshot<never> = { chunks: [], epoch: 0, status: "connecting", error: undefined, endReason: undefined };

/** The store of a stream. Not for rendering, which may be discarded or happen on a server: it is kept. */
export function storeOf<T, S extends Source<T> = Stream<T>>(url: string, open: Open<T, S> = openStream as never): Store<T, S> {
  let store: Store<T, S> | undefined = stores.get(url);
  if (!store) stores.set(url, (store = new Store(open)));
  return store;
}

/** The chunks of one stream, for the components that show it. Open while there is one. */
export class Store<T, S extends Source<T> = Stream<T>> {
  snapshot: Snapshot<T> = UNSEEN;

  #chunks: T[] = [];
  #now: Snapshot<T> = this.snapshot;
  #offset: string | undefined;
  #stream: S | undefined;
  readonly #openSource: Open<T, S>;
  /** Nothing more arrives. */
  #over = false;
  readonly #lookers = new Map<() => void, Ask<T>>();
  #frame: Frame | undefined;

  constructor(open: Open<T, S>) {
    this.#openSource = open;
  }

  subscribe(changed: () => void, ask: Ask<T>): () => void {
    this.#lookers.set(changed, ask);
    this.retry(ask);
    return () => {
      this.#lookers.delete(changed);
      // Strict mode and a move within the page subscribe again at once.
      setTimeout(() => this.#rest());
    };
  }

  /** Continues after a failure, if there is a component. */
  retry(ask: Ask<T>): void {
    if (this.#lookers.size && !this.#stream && !this.#over) this.#open(ask);
  }

  /** The source, for what is asked of the relay; one that is not being read is closed. */
  reach(ask: Ask<T>): S | undefined {
    if (this.#over) return undefined;
    if (this.#stream) return this.#stream;
    const [ref, options] = ask();
    const source = this.#openSource(ref, { ...options, seen: this.#chunks });
    source.close();
    return source;
  }

  #rest(): void {
    if (this.#lookers.size) return;
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream && !this.#over) {
      this.#offset = stream.offset;
      stream.close();
    }
    for (const [url, store] of stores) {
      if (stores.size <= REMEMBERED) break;
      if (!store.#lookers.size) stores.delete(url);
    }
  }

  #open(ask: Ask<T>): void {
    const [source, options] = ask();
    // The options and the token of the latest render, not of the one that opened it.
    const latest = () => this.#latest() ?? [source, options];
    const today = () => latest()[1];
    const getToken = async () => {
      const [ref, { getToken: asked, token }] = latest();
      return asked ? asked() : (token ?? (typeof ref === "string" ? "" : (ref.token ?? "")));
    };
    if (this.#now.error) this.#change({ status: "connecting", error: undefined });
    try {
      const stream = (this.#stream = this.#openSource(source, {
        ...options,
        seen: this.#chunks,
        offset: this.#offset ?? options.offset,
        getToken,
        onError: (error) => today().onError?.(error),
        onReset: () => {
          this.#chunks = [];
          this.#change({ epoch: this.#now.epoch + 1 });
        },
        onStatus: (status) => {
          if (this.#stream === stream && status !== "closed") this.#change({ status });
        },
      }));
      void this.#read(stream);
    } catch (error) {
      // Thrown here, it would unmount the whole page.
      this.#change({ status: "closed", error });
    }
  }

  async #read(stream: S): Promise<void> {
    let error: unknown;
    try {
      for await (const chunk of stream) {
        this.#chunks.push(chunk);
        this.#change({});
      }
    } catch (reason) {
      error = reason;
    }
    if (this.#stream !== stream) return;
    this.#over = true;
    if (error && !stream.endReason) {
      // It could not be read, which may be different when a component mounts again.
      this.#offset = stream.offset;
      this.#stream = undefined;
      this.#over = false;
    }
    this.#change({ status: "closed", error, endReason: stream.endReason });
  }

  #latest(): ReturnType<Ask<T>> | undefined {
    const [ask] = this.#lookers.values();
    return ask?.();
  }

  #change(change: Partial<Snapshot<T>>): void {
    this.#now = { ...this.#now, ...change };
    if (this.#frame) return;
    const frame: Frame = { timer: setTimeout(() => this.#draw(), FRAME) };
    this.#frame = frame;
    if ("requestAnimationFrame" in globalThis) frame.drawn = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    clearTimeout(this.#frame?.timer);
    if (this.#frame?.drawn) cancelAnimationFrame(this.#frame.drawn);
    this.#frame = undefined;
    const { chunks, epoch } = this.snapshot;
    const same = epoch === this.#now.epoch && chunks.length === this.#chunks.length;
    this.snapshot = this.#now = { ...this.#now, chunks: same ? chunks : this.#chunks.slice() };
    for (const changed of [...this.#lookers.keys()]) changed();
  }
}
