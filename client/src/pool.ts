/**
 * Many streams of one relay over one connection: the response of `POST /v1/streams` is split into one
 * for each stream. Browsers open six HTTP/1.1 connections to a host, for all tabs together.
 *
 * It has the interface of `fetch`, so the rest of the client does not know about it. When the set of
 * streams changes, the request is made again, and each stream continues from its offset.
 */
import { type Frame, frameParser } from "./frames.ts";
import { isStream } from "./protocol.ts";

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The most streams that the relay takes in one request. */
const MOST = 100;
/** How many times it takes the same stream in one request. */
const COPIES = 4;
/** How long a change waits for others, in milliseconds: pages open many streams at the same time. */
const TOGETHER = 5;
/** How many bytes of a stream may wait for its consumer. Then it is left out, and rejoins later. */
export const HELD = 1 << 20;

interface Member {
  id: string;
  token: string;
  offset: string;
  cursor: string;
  frames: string;
  url: string;
  init: RequestInit;
  settle: (answer: Response | Promise<Response>) => void;
  type?: string;
  body?: ReadableStreamDefaultController<Uint8Array>;
}

const pools = new WeakMap<Fetch, Fetch>();

const LIVE = /^(.*)\/v1\/stream\/([^/?]+)\?(.*)$/;

/** Whether a request reads a stream as it is written. */
export function readsStream(url: string, { method }: RequestInit): boolean {
  return !method && LIVE.test(url) && /[?&]live=sse(&|$)/.test(url);
}

/** A `fetch` that reads all streams of a relay over one connection; one for each `base`. */
export function pooled(base: Fetch): Fetch {
  let found = pools.get(base);
  if (!found) {
    const shared: Shared[] = [];
    // Browsers refuse to call their own as another object's method.
    const alone: Fetch = (url, init) => base(url, init);
    found = (url, init) => {
      const [, home, id, query] = LIVE.exec(url) ?? [];
      if (!id || !readsStream(url, init)) return alone(url, init);
      const fields = new URLSearchParams(query);
      const take = (name: string) => {
        const value = fields.get(name) ?? "";
        fields.delete(name);
        return value;
      };
      const [, offset = "", cursor = "", frames = ""] = ["live", "offset", "cursor", "frames"].map(take);
      const target = `${home}/v1/streams?${fields}`.replace(/\?$/, "");
      let line = shared.find((each) => each.target === target && each.hasRoom(id));
      if (!line) shared.push((line = new Shared(target, alone)));
      const token = new Headers(init.headers).get("authorization")?.slice(7) ?? "";
      return line.join({ id: decodeURIComponent(id), token, offset, cursor, frames, url, init });
    };
    pools.set(base, found);
  }
  return found;
}

class Shared {
  readonly target: string;
  readonly members = new Set<Member>();
  readonly #base: Fetch;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #request: AbortController | undefined;
  /** The server has no `/v1/streams`. */
  #alone = false;

  constructor(target: string, base: Fetch) {
    this.target = target;
    this.#base = base;
  }

  hasRoom(id: string): boolean {
    const copies = [...this.members].filter((each) => each.id === decodeURIComponent(id));
    return this.members.size < MOST && copies.length < COPIES;
  }

  join(asked: Omit<Member, "settle">): Promise<Response> {
    const { signal } = asked.init;
    if (this.#alone) return this.#base(asked.url, asked.init);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((settle) => {
      const member: Member = { ...asked, settle };
      this.members.add(member);
      signal?.addEventListener("abort", () => this.#leave(member, signal.reason));
      this.#change();
    });
  }

  /** Ends the member's response, in order or with an error. */
  #leave(member: Member, error?: unknown): void {
    if (!this.members.delete(member)) return;
    if (!member.body) member.settle(Promise.reject(error));
    else if (error === undefined) member.body.close();
    else member.body.error(error);
    // No new request for a stream that the relay has finished with.
    if (!this.members.size || error !== undefined) this.#change();
  }

  #change(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#request?.abort();
      if (this.members.size) void this.#ask((this.#request = new AbortController()));
    }, TOGETHER);
  }

  async #ask(request: AbortController): Promise<void> {
    const { signal } = request;
    const asked = [...this.members];
    const streams = asked.map(({ id, token, offset, cursor, frames }) => ({ id, token, offset, cursor, frames }));
    try {
      const headers = { accept: "text/event-stream", "content-type": "application/json" };
      const body = JSON.stringify({ streams });
      const response = await this.#base(this.target, { method: "POST", headers, body, cache: "no-store", priority: "low", signal });
      if (isStream(response)) await this.#read(response, asked);
      else await this.#refused(response, asked);
      // Streams that remain at the end of the response reconnect by themselves.
      if (!signal.aborted) for (const member of asked) this.#end(member);
    } catch (error) {
      // If its response had begun, close it: an error would discard what is still to be taken.
      if (!signal.aborted) for (const member of asked) this.#leave(member, member.body ? undefined : error);
    }
  }

  async #refused(response: Response, asked: Member[]): Promise<void> {
    const text = await response.text();
    const { status, headers } = response;
    this.#alone = status === 404 || status === 405;
    for (const member of asked) {
      if (member.body) continue;
      const { url, init } = member;
      this.#answer(member, this.#alone ? this.#base(url, init) : new Response(text, { status, headers }));
    }
  }

  async #read(response: Response, asked: Member[]): Promise<void> {
    const alive = new TextEncoder().encode(":\n\n");
    let quiet = false;
    const parse = frameParser(() => (quiet = true));
    const reader = response.body?.getReader();
    let member: Member | undefined;
    for (;;) {
      const bytes = (await reader?.read())?.value;
      if (!bytes) return;
      for (const frame of parse(bytes)) {
        if (frame.event === "stream") member = asked[+frame.data];
        else if (member && this.members.has(member)) this.#take(member, frame);
      }
      // The connection's heartbeat counts for each of its streams.
      if (quiet) for (const each of asked) if (this.members.has(each)) each.body?.enqueue(alive);
      quiet = false;
    }
  }

  #take(member: Member, { event, id, data }: Frame): void {
    if (event === "refused") {
      const { status, body, ...headers } = JSON.parse(data);
      this.#answer(member, new Response(status === 204 ? null : body, { status, headers }));
    } else if (event === "content") {
      member.type = data;
    } else if (event === "closed") {
      this.#end(member);
    } else {
      const lines = data.replaceAll("\n", "\ndata:");
      const text = `event: ${event}\n${id ? `id: ${id}\n` : ""}data:${lines}\n\n`;
      const body = this.#open(member);
      body.enqueue(new TextEncoder().encode(text));
      member.offset = id ?? member.offset;
      // No room: end it here, as if its connection had been recycled.
      if ((body.desiredSize ?? 0) <= 0) {
        this.#end(member);
        this.#change();
      }
    }
  }

  #open(member: Member): ReadableStreamDefaultController<Uint8Array> {
    if (!member.body) {
      const source: UnderlyingDefaultSource<Uint8Array> = {
        start: (controller) => void (member.body = controller),
        cancel: () => {
          if (this.members.delete(member)) this.#change();
        },
      };
      const body = new ReadableStream(source, new ByteLengthQueuingStrategy({ highWaterMark: HELD }));
      const { type } = member;
      const headers = { "content-type": "text/event-stream", ...(type && { "stream-content-type": type }) };
      member.settle(new Response(body, { headers }));
    }
    return member.body as ReadableStreamDefaultController<Uint8Array>;
  }

  #answer(member: Member, answer: Response | Promise<Response>): void {
    if (member.body) this.#end(member);
    else if (this.members.delete(member)) member.settle(answer);
  }

  #end(member: Member): void {
    if (!this.members.has(member)) return;
    this.#open(member);
    this.#leave(member);
  }
}
