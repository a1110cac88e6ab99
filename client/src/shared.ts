/**
 * One connection for all tabs of an origin: a `fetch` to give to `openStream`. One tab, the leader, reads
 * the streams of all of them over `POST /v1/streams` and sends each tab its own by `BroadcastChannel`.
 *
 * The leader is the tab that holds a Web Lock: when it is closed or crashes, the browser gives the lock
 * to the next tab, and every stream continues there from its offset. Each tab holds a lock of its own
 * too, so that the leader stops reading for a tab that is gone. Where the browser has no Web Locks
 * (they need HTTPS or localhost), each tab has one connection.
 */
import { HELD, pooled, readsStream } from "./pool.ts";

/** A `fetch`. */
type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** With the version of the messages: pages of an older release have a leader of their own. */
const SCOPE = "streamstraight-celery 1";
const LEADER = `${SCOPE} leader`;
/** A leader that does not confirm a request for this long, in milliseconds, is frozen. */
const FROZEN = 3000;

type Note =
  /** `from` is the leader now. */
  | { type: "lead" }
  /** Who is the leader? */
  | { type: "who" }
  /** A tab asks the leader for a stream, or gives it up. */
  | { type: "ask"; to: string; n: number; url: string; headers: [string, string][] }
  | { type: "leave"; to: string; n: number }
  /** The leader confirms the request, then sends the response: its head, its body in pieces, its end. */
  | { type: "heard"; to: string; n: number }
  | { type: "head"; to: string; n: number; status: number; headers: [string, string][] }
  | { type: "bytes"; to: string; n: number; bytes: Uint8Array<ArrayBuffer> }
  | { type: "end"; to: string; n: number; failed?: boolean };
type Sent = Note & { from: string };

/** A request of this tab that the leader answers. */
interface Asked {
  note: { url: string; headers: [string, string][] };
  settle: (answer: Response | Promise<Response>) => void;
  timer?: ReturnType<typeof setTimeout> | undefined;
  body?: ReadableStreamDefaultController<Uint8Array> | undefined;
}

const alone = pooled((url, init) => fetch(url, init));
let tab: Tab | undefined;
/** Resolves when a page that is being left is shown again. */
let away: Promise<void> | undefined;

/**
 * Reads streams over one connection for all tabs of the page's origin:
 * `openStream(ref, { fetch: sharedFetch })`. Other requests are sent as by `fetch`.
 */
export const sharedFetch: Fetch = async (url, init) => {
  const locks = globalThis.document && navigator.locks;
  if (!locks || !globalThis.BroadcastChannel || !readsStream(url, init)) return alone(url, init);
  while (away) await away;
  init.signal?.throwIfAborted();
  tab ??= new Tab(locks);
  return tab.fetch(url, init);
};

/** Web Locks keep a page out of the back-forward cache, and a page in there could not lead. */
globalThis.addEventListener?.("pagehide", () => {
  if (!tab) return;
  away = new Promise((resolve) =>
    addEventListener("pageshow", () => (resolve(), (away = undefined)), { once: true }),
  );
  tab.close();
  tab = undefined;
});

class Tab {
  readonly #id = crypto.randomUUID();
  readonly #locks: LockManager;
  readonly #channel = new BroadcastChannel(SCOPE);
  readonly #life = new AbortController();
  /** This tab's own lock is held: the leader may wait for it. */
  readonly #ready: Promise<void>;
  #leader: string | undefined;
  #last = 0;
  /** What this tab asks for. */
  readonly #asked = new Map<number, Asked>();
  /** What this tab reads for others, while it is the leader. */
  readonly #served = new Map<string, AbortController>();
  readonly #watched = new Set<string>();
  /** This tab is in the queue for the lock of the leader. */
  #queued = false;
  #search: ReturnType<typeof setTimeout> | undefined;

  constructor(locks: LockManager) {
    this.#locks = locks;
    this.#channel.onmessage = ({ data }: MessageEvent<Sent>) => this.#hear(data);
    this.#ready = new Promise((resolve) => this.#hold(`${SCOPE} ${this.#id}`, {}, resolve));
    this.#lead({});
    this.#post({ type: "who" });
    this.#seek();
  }

  close(): void {
    this.#life.abort();
    clearTimeout(this.#search);
    for (const request of this.#served.values()) request.abort();
    for (const n of this.#asked.keys()) this.#over(n, true);
    this.#channel.close();
  }

  async fetch(url: string, init: RequestInit): Promise<Response> {
    await this.#ready;
    const { signal } = init;
    signal?.throwIfAborted();
    return new Promise((settle) => {
      const n = ++this.#last;
      const asked: Asked = { note: { url, headers: [...new Headers(init.headers)] }, settle };
      this.#asked.set(n, asked);
      signal?.addEventListener("abort", () => this.#leave(n, signal.reason));
      this.#ask(n, asked);
    });
  }

  /** Holds a lock until this tab is closed; `held` is called once it has it. */
  #hold(name: string, options: LockOptions, held: () => void, lost = () => {}): void {
    const { signal } = this.#life;
    const work = () => {
      if (signal.aborted) return undefined;
      held();
      return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    };
    // A lock that is stolen cannot be waited for.
    const wait: LockOptions = options.steal ? options : { ...options, signal };
    this.#locks.request(name, wait, work).catch(() => signal.aborted || lost());
  }

  #lead(options: LockOptions): void {
    if (!options.steal) {
      if (this.#queued) return;
      this.#queued = true;
    }
    const held = () => {
      if (!options.steal) this.#queued = false;
      this.#leader = this.#id;
      this.#post({ type: "lead" });
      this.#follow();
    };
    // Another tab took the lead, because this one did not answer.
    const lost = () => {
      for (const request of this.#served.values()) request.abort();
      if (this.#leader === this.#id) this.#leader = undefined;
      this.#lead({});
      this.#post({ type: "who" });
      this.#seek();
    };
    this.#hold(LEADER, options, held, lost);
  }

  /** Takes the lead unless a leader is heard of soon. */
  #seek(): void {
    clearTimeout(this.#search);
    this.#search = setTimeout(() => this.#leader ?? this.#lead({ steal: true }), FROZEN);
  }

  /** There is a leader, perhaps a new one. */
  #follow(): void {
    clearTimeout(this.#search);
    for (const [n, asked] of [...this.#asked]) {
      // What has begun continues with a request from its offset.
      if (asked.body) this.#over(n);
      else this.#ask(n, asked);
    }
  }

  #ask(n: number, asked: Asked): void {
    const leader = this.#leader;
    if (!leader) return;
    const { note } = asked;
    clearTimeout(asked.timer);
    if (leader === this.#id) return void this.#serve(leader, n, note);
    asked.timer = setTimeout(() => {
      if (this.#leader === leader) this.#lead({ steal: true });
    }, FROZEN);
    this.#post({ type: "ask", to: leader, n, ...note });
  }

  #post(note: Note): void {
    if (this.#life.signal.aborted) return;
    const sent: Sent = { ...note, from: this.#id };
    if ("to" in note && note.to === this.#id) this.#hear(sent);
    else this.#channel.postMessage(sent);
  }

  #hear(note: Sent): void {
    const { from } = note;
    if ("to" in note && note.to !== this.#id) return;
    switch (note.type) {
      case "lead":
        this.#leader = from;
        return this.#follow();
      case "who":
        if (this.#leader === this.#id) this.#post({ type: "lead" });
        return undefined;
      case "ask":
        return void this.#serve(from, note.n, note);
      case "leave":
        return this.#served.get(`${from} ${note.n}`)?.abort();
    }
    // A leader that was frozen and wakes up is not one any more.
    if (from !== this.#leader) return undefined;
    switch (note.type) {
      case "heard":
        return clearTimeout(this.#asked.get(note.n)?.timer);
      case "head":
        return this.#begin(note.n, note.status, note.headers);
      case "bytes":
        return this.#take(note.n, note.bytes);
      case "end":
        return this.#over(note.n, note.failed);
      default:
        return undefined;
    }
  }

  // -- as a tab that asks

  #begin(n: number, status: number, headers: [string, string][]): void {
    const asked = this.#asked.get(n);
    if (!asked || asked.body) return;
    const source: UnderlyingDefaultSource<Uint8Array> = {
      start: (controller) => void (asked.body = controller),
      cancel: () => this.#leave(n),
    };
    const body = new ReadableStream(source, new ByteLengthQueuingStrategy({ highWaterMark: HELD }));
    asked.settle(new Response(status === 204 ? null : body, { status, headers }));
  }

  #take(n: number, bytes: Uint8Array): void {
    const body = this.#asked.get(n)?.body;
    body?.enqueue(bytes);
    // The consumer lags: it continues from its offset later.
    if (body && (body.desiredSize ?? 0) <= 0) {
      body.close();
      this.#leave(n);
    }
  }

  #over(n: number, failed?: boolean): void {
    const asked = this.#asked.get(n);
    this.#asked.delete(n);
    clearTimeout(asked?.timer);
    if (asked?.body) asked.body.close();
    else asked?.settle(Promise.reject(new TypeError(failed ? "the leader tab could not reach the relay" : "no answer")));
  }

  #leave(n: number, reason?: unknown): void {
    const asked = this.#asked.get(n);
    if (!asked) return;
    this.#asked.delete(n);
    clearTimeout(asked.timer);
    if (reason !== undefined) {
      asked.settle(Promise.reject(reason));
      asked.body?.error(reason);
    }
    if (this.#leader) this.#post({ type: "leave", to: this.#leader, n });
  }

  // -- as the leader

  async #serve(to: string, n: number, { url, headers }: Asked["note"]): Promise<void> {
    const key = `${to} ${n}`;
    if (this.#leader !== this.#id || this.#served.has(key)) return;
    const request = new AbortController();
    this.#served.set(key, request);
    this.#watch(to);
    this.#post({ type: "heard", to, n });
    let failed = true;
    try {
      const { signal } = request;
      const response = await alone(url, { headers, cache: "no-store", signal });
      this.#post({ type: "head", to, n, status: response.status, headers: [...response.headers] });
      const reader = response.body?.getReader();
      for (;;) {
        const bytes = (await reader?.read())?.value;
        if (!bytes) break;
        this.#post({ type: "bytes", to, n, bytes });
      }
      failed = false;
    } catch {
      // The tab that asked tries again, from its offset.
    } finally {
      this.#served.delete(key);
      this.#post({ type: "end", to, n, failed });
    }
  }

  /** Stops reading for a tab once that is gone: then its lock is free. */
  #watch(other: string): void {
    if (other === this.#id || this.#watched.has(other)) return;
    this.#watched.add(other);
    const gone = () => {
      this.#watched.delete(other);
      for (const [key, request] of this.#served) if (key.startsWith(other)) request.abort();
    };
    this.#locks.request(`${SCOPE} ${other}`, { signal: this.#life.signal }, gone).catch(() => {});
  }
}
