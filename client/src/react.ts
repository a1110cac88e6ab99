import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { EndReason, StreamOptions, StreamRef, StreamStatus } from "streamstraight-celery";
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
const IDLE: Snapshot<never> = { chunks: [], epoch: 0, status: "idle", error: undefined, endReason: undefined };

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
  const { url, token }: Partial<StreamRef> = typeof source === "string" ? { url: source } : (source ?? {});
  const latest = useRef({ source, options });
  useEffect(() => {
    latest.current = { source, options };
  });
  const ask = useCallback((): ReturnType<Ask<T>> => [latest.current.source as StreamRef | string, latest.current.options], []);
  const subscribe = useCallback(
    (changed: () => void) => (url === undefined ? () => {} : storeOf<T>(url).subscribe(changed, ask)),
    [url, ask],
  );
  const unseen = url === undefined ? IDLE : UNSEEN;
  const snapshot: Snapshot<T> = useSyncExternalStore(
    subscribe,
    () => stores.get(url ?? "")?.snapshot ?? unseen,
    () => unseen,
  );
  // A fresh token after the old one was refused: reading can continue.
  useEffect(() => {
    stores.get(url ?? "")?.retry(ask);
  }, [url, token, ask]);
  const value = useReduced(url, snapshot, options);
  const stop = useCallback(async () => stores.get(url ?? "")?.stop(ask), [url, ask]);
  const { chunks, status, error, endReason } = snapshot;
  return { chunks, value, status, error, endReason, stop };
}

/** Each chunk is reduced once, however often the component renders. */
function useReduced<T, V>(url: string | undefined, snapshot: Snapshot<T>, options: UseStreamOptions<T, V>): V {
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
