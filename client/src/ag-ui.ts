/** For the `HttpAgent` of AG-UI (`@ag-ui/client`): its runs are read from the relay. */
import { openStream, StreamError, type StreamOptions, type StreamRef } from "streamstraight-celery";

/** An event of a run, as AG-UI defines it. */
interface Event {
  type: string;
  messageId?: string;
  [field: string]: unknown;
}

/** What an agent sends: the conversation as it was before the run. */
interface Input {
  threadId?: string;
  runId?: string;
  messages?: { id?: string }[];
  state?: unknown;
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>;
type Reading = Omit<StreamOptions<any>, "offset" | "persist" | "signal" | "token" | "onReset">;

export interface RelayFetchOptions {
  /** For the request to the agent's URL. Default: the platform's. */
  fetch?: Fetch | undefined;
  /** Where `connectAgent()` asks for the thread's latest run. Default: `{url}/{threadId}/stream`. */
  join?: ((url: string, threadId: string) => string) | undefined;
  /** How the relay is read: for example `getToken`, `pool` or `onStatus`. */
  stream?: Reading | undefined;
}

/**
 * A `fetch` for `HttpAgent`: the agent's URL answers with a ref, and the run's events are read from
 * the relay, over any number of dropped connections. `abortRun()` stops the worker.
 *
 * A run that fails ends with a `RUN_ERROR`; so does one that was stopped (code `stopped`). When a new
 * attempt begins after events of the old one were shown, that run ends with a `RUN_ERROR` of code
 * `superseded`, and the next one begins with the earlier messages and state.
 */
export function relayFetch(options: RelayFetchOptions = {}): Fetch {
  const { fetch: asks = fetch, join = (url, thread) => `${url}/${encodeURIComponent(thread)}/stream` } = options;
  return async (url, { signal, body: text, ...init }) => {
    const input: Input = JSON.parse(String(text ?? "{}"));
    const joins = init.method === "GET";
    // Not aborted with the run's signal: a stop during the request must stop the run that it began.
    const response = await (joins ? asks(join(url, input.threadId ?? ""), init) : asks(url, { ...init, body: text! }));
    const headers = { "content-type": "text/event-stream" };
    if (joins && [204, 404].includes(response.status)) return new Response("", { headers });
    if (!response.ok) return response;
    return new Response(bodyOf(await response.json(), input, signal, options.stream, joins), { headers });
  };
}

type AgentClass = abstract new (...args: any[]) => { run(input: any): any };

/**
 * `HttpAgent` whose `connectAgent()` joins the thread's latest run, active or ended: it is read from its
 * start, by GET, and no run is started. Without a run there are no events. Needs `relayFetch()`.
 *
 *     class Agent extends joinable(HttpAgent) {}
 */
export function joinable<A extends AgentClass>(Agent: A): A {
  const Base = Agent as unknown as new (...args: any[]) => {
    abortController: AbortController;
    run(input: Input): unknown;
    requestInit(input: Input): RequestInit;
  };
  class Joinable extends Base {
    #joins: string | undefined;

    connect(input: Input): unknown {
      // The last run's may have been aborted; `runAgent()` makes a new one too.
      this.abortController = new AbortController();
      this.#joins = input.runId;
      return this.run(input);
    }

    override requestInit(input: Input): RequestInit {
      const init = super.requestInit(input);
      return input.runId === this.#joins ? { ...init, method: "GET" } : init;
    }
  }
  return Joinable as unknown as A;
}

function bodyOf(
  ref: StreamRef, input: Input, signal: RequestInit["signal"], options: Reading = {}, joins = false,
): ReadableStream {
  const run = new Run(input, joins);
  const stream = openStream<Event>(ref, { ...options, onReset: () => run.reset() });
  async function* events(): AsyncGenerator<Event> {
    try {
      for await (const event of stream) yield* run.take(event);
      if (stream.endReason === "stopped") yield failure("stopped", "The run was stopped.");
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      yield failure(error.code, error.message);
    }
  }
  const iterator = events();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const abort = () => {
          controller.error(signal?.reason);
          stream.stop().catch((error: StreamError) => options.onError?.(error));
          stream.close();
        };
        if (signal?.aborted) abort();
        else signal?.addEventListener("abort", abort, { once: true });
      },
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (signal?.aborted) return;
        if (done) controller.close();
        else controller.enqueue(encoder.encode(`data: ${JSON.stringify(value)}\n\n`));
      },
      cancel: () => stream.close(),
    },
    { highWaterMark: 0 },
  );
}

/** One run after the other: a stream may hold several attempts, each after the end of the last. */
class Run {
  readonly #input: Input;
  /** The agent has been told that the run began. */
  #begun = false;
  /** The agent has other events, which a new attempt would repeat. */
  #shown = false;
  /** A new attempt begins with the next event. */
  #anew = false;
  /** Messages that remain when a snapshot does not name them. */
  readonly #staying = new Set<string>();

  /** The page may have messages of the joined run, which the replay would repeat. */
  #doubles: boolean;

  constructor(input: Input, joins: boolean) {
    this.#input = input;
    this.#doubles = joins;
  }

  reset(): void {
    this.#anew = this.#begun;
  }

  *take(event: Event): Generator<Event> {
    const { type, messageId } = event;
    const { messages = [] } = this.#input;
    const known = this.#doubles ? messages.findIndex(({ id }) => id && id === (messageId ?? event["parentMessageId"])) : -1;
    if (known >= 0) {
      this.#doubles = false;
      yield { type: "MESSAGES_SNAPSHOT", messages: messages.slice(0, known) };
    }
    if (this.#anew) {
      this.#anew = false;
      if (this.#shown) {
        yield failure("superseded", "A new attempt of the run begins.");
        yield event;
        yield* this.#clean();
        return;
      }
      if (type === "RUN_STARTED") return;
    }
    this.#begun = true;
    this.#shown ||= type !== "RUN_STARTED";
    if (messageId && /^(REASONING|ACTIVITY_SNAPSHOT)/.test(type)) this.#staying.add(messageId);
    yield event;
  }

  /** Removes what the old attempt has left. */
  *#clean(): Generator<Event> {
    const { messages = [], state } = this.#input;
    // As messages of a kind that the snapshot after it removes.
    const others = [...this.#staying].map((id) => ({ id, role: "assistant", content: "" }));
    if (others.length) yield { type: "MESSAGES_SNAPSHOT", messages: [...messages, ...others] };
    yield { type: "MESSAGES_SNAPSHOT", messages };
    if (state !== undefined) yield { type: "STATE_SNAPSHOT", snapshot: state };
    this.#shown = false;
    this.#staying.clear();
  }
}

function failure(code: string, message: string): Event {
  return { type: "RUN_ERROR", code, message };
}
