import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import {
  type Conversation, type ConversationEvent, type ConversationRef, type ConversationTypes, type EndReason, openConversation,
  type StreamOptions, type StreamRef, type StreamStatus,
} from "streamstraight-celery";
import { digest } from "./digest.ts";
import { type Ask, type Snapshot, storeOf, stores, UNSEEN } from "./store.ts";

/** The options of `openStream`; resets are handled by the hook. */
export interface UseStreamOptions<T, V> extends Omit<StreamOptions<T>, "onReset" | "onStatus" | "signal"> {
  /**
   * Combines the chunks: called once for each, in order, and from `initial` again after a reset. It
   * returns a new value and does not change the old one.
   */
  reduce?: ((value: V, chunk: T) => V) | undefined;
  initial?: V | undefined;
}

export interface UseStream<T, V> {
  /** All chunks so far; the same array until there are more. */
  chunks: readonly T[];
  /** The result of `reduce`. */
  value: V;
  /** `idle` without a ref. */
  status: StreamStatus | "idle";
  /** Why the stream failed, or could not be read. */
  error: unknown;
  endReason: EndReason | undefined;
  /** Asks the relay to stop the task. */
  stop: () => Promise<void>;
}

type Source = StreamRef | string | null | undefined;
const IDLE: Snapshot<never> = { ...UNSEEN, status: "idle" };

/**
 * Reads a stream into a component, which is rendered at most once a frame.
 *
 * Components with the same ref share one connection. It is closed when the last of them unmounts, and
 * continues from its position when one mounts again, or a ref has another token.
 */
export function useStream<T = unknown>(source: Source, options?: UseStreamOptions<T, undefined>): UseStream<T, undefined>;
export function useStream<T, V>(
  source: Source,
  options: UseStreamOptions<T, V> & { reduce: (value: V, chunk: T) => V; initial: V },
): UseStream<T, V>;
export function useStream<T, V>(
  source: Source,
  options: UseStreamOptions<T, V | undefined> & { reduce: (value: V | undefined, chunk: T) => V },
): UseStream<T, V | undefined>;
export function useStream<T, V>(source: Source, options: UseStreamOptions<T, V> = {}): UseStream<T, V> {
  const { url = "", token }: Partial<StreamRef> = typeof source === "string" ? { url: source } : (source ?? {});
  const latest = useRef({ source, options });
  useEffect(() => {
    latest.current = { source, options };
  });
  const ask = useCallback((): ReturnType<Ask<T>> => [latest.current.source as StreamRef | string, latest.current.options], []);
  const snapshot = useSnapshot<T>(url, token, ask);
  const value = useReduced(url, snapshot, options);
  const stop = useCallback(async () => stores.get(url)?.reach(ask)?.stop(), [url]);
  const { chunks, status, error, endReason } = snapshot;
  return { chunks, value, status, error, endReason, stop };
}

/** What is read at a URL, `""` for nothing. */
function useSnapshot<T>(url: string, token: string | undefined, ask: Ask<T>, open?: Parameters<typeof storeOf<T, any>>[1]): Snapshot<T> {
  const subscribe = useCallback(
    (changed: () => void) => (url ? storeOf(url, open).subscribe(changed, ask) : () => {}),
    // Again with a fresh token: after the old one was refused, reading can continue.
    [url, token],
  );
  const unseen = url ? UNSEEN : IDLE;
  return useSyncExternalStore(
    subscribe,
    () => stores.get(url)?.snapshot ?? unseen,
    () => unseen,
  );
}

/** Each chunk is reduced once, however often the component renders. */
function useReduced<T, V>(url: string, snapshot: Snapshot<T>, options: UseStreamOptions<T, V>): V {
  const { reduce, initial } = options;
  const [done] = useState(() => ({ url, epoch: -1, count: 0, value: initial as V }));
  const { chunks, epoch } = snapshot;
  if (!reduce) return initial as V;
  if (done.url !== url || done.epoch !== epoch || done.count > chunks.length) {
    Object.assign(done, { url, epoch, count: 0, value: initial });
  }
  while (done.count < chunks.length) {
    done.value = reduce(done.value, chunks[done.count] as T);
    done.count++;
  }
  return done.value;
}

/** The options of `openConversation`, for the log and its streams; resets are handled by the hook. */
export interface UseConversationOptions extends Omit<StreamOptions<any>, "decoder" | "offset" | "onReset" | "onStatus" | "persist" | "signal"> {
  /** How many of the streams that have ended are read, the latest. Default: 20. */
  history?: number | undefined;
}

/** A stream of a conversation. */
export interface ConversationStream<C> {
  id: string;
  task?: string | undefined;
  title?: string | undefined;
  /** The id of the stream whose task started it. */
  parent?: string | undefined;
  /** All chunks so far; empty for streams beyond `history`. */
  chunks: readonly C[];
  /** `idle` when it is not read. */
  status: StreamStatus | "idle";
  /** Why it failed, or could not be read. */
  error: unknown;
  /** Set once the conversation knows that it has ended. */
  endReason: EndReason | undefined;
}

type Chunk<T> = T extends { chunk: infer C } ? C : unknown;

export interface UseConversation<T extends Partial<ConversationTypes>>
  extends Pick<Conversation<T>, "send" | "answer" | "stop"> {
  /** All events so far; the same array until there are more. */
  events: readonly ConversationEvent<T>[];
  streams: readonly ConversationStream<Chunk<T>>[];
  /** The questions that wait for an answer. */
  questions: readonly Extract<ConversationEvent<T>, { type: "question" }>[];
  /** Of the connection to the conversation. `idle` without a ref. */
  status: StreamStatus | "idle";
  error: unknown;
}

/**
 * Follows a conversation: its events, and its streams as they begin, over one connection. The component is
 * rendered at most once a frame.
 */
export function useConversation<T extends Partial<ConversationTypes> = {}>(
  ref: ConversationRef | null | undefined,
  options: UseConversationOptions = {},
): UseConversation<T> {
  const latest = useRef({ ref, options });
  useEffect(() => {
    latest.current = { ref, options };
  });
  const url = ref?.url ?? "";
  const [{ ask, log, actions }] = useState(() => {
    /** Of one of its streams, or of the conversation itself. */
    const ask = (id?: string) => (): ReturnType<Ask<any>> => {
      const { ref, options } = latest.current;
      return [{ ...(ref as ConversationRef), ...(id && { stream_id: id, url: urlOf(ref?.url, id) }) }, { pool: true, ...options }];
    };
    const log = ask();
    const action = (name: "send" | "answer" | "stop") => async (...given: any[]) => {
      const { url } = latest.current.ref ?? {};
      if (!url) throw new TypeError("no ref yet");
      return (storeOf(url, openConversation as never).reach(log) as any)[name](...given);
    };
    return { ask, log, actions: { send: action("send"), answer: action("answer"), stop: action("stop") } };
  });
  const { chunks: events, status, error } = useSnapshot<ConversationEvent<T>>(url, ref?.token, log, openConversation);
  const { streams, questions } = useMemo(() => digest<T>(events), [events]);
  const { history = 20 } = options;
  const old = streams.filter(({ endReason }) => endReason).slice(0, -history || undefined);
  const read = streams.filter((each) => !old.includes(each)).map(({ id }) => id);
  const key = read.join(" ");
  const follow = useCallback(
    (changed: () => void) => {
      const leave = read.map((id) => storeOf(urlOf(url, id)).subscribe(changed, ask(id)));
      return () => leave.forEach((each) => each());
    },
    [key, url, ref?.token],
  );
  const last = useRef<Snapshot<any>[]>([]);
  const look = () => {
    const now = streams.map(({ id }) => stores.get(urlOf(url, id))?.snapshot ?? (read.includes(id) ? UNSEEN : IDLE));
    // The same array, unless something has changed.
    if (now.length !== last.current.length || now.some((each, i) => each !== last.current[i])) last.current = now;
    return last.current;
  };
  const snapshots = useSyncExternalStore(follow, look, look);
  const shown = useMemo(
    () => streams.map((each, i) => ({ ...(snapshots[i] as Snapshot<any>), ...each })),
    [streams, snapshots],
  );
  return { events, streams: shown, questions, status, error, ...actions };
}

function urlOf(url: string | undefined, id: string): string {
  return (url ?? "").replace(/[^/?#]+(?=([?#].*)?$)/, encodeURIComponent(id));
}
