import type { EndReason, StreamOptions, StreamRef, StreamStatus } from "streamstraight-celery";
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
/**
 * Reads a stream into a component, which is rendered at most once a frame.
 *
 * Components with the same ref share one connection. It is closed when the last of them unmounts, and
 * continues from its position when one mounts again, or a ref has another token.
 */
export declare function useStream<T = unknown>(source: Source, options?: UseStreamOptions<T, undefined>): UseStream<T, undefined>;
export declare function useStream<T, V>(source: Source, options: UseStreamOptions<T, V> & {
    reduce: (value: V, chunk: T) => V;
    initial: V;
}): UseStream<T, V>;
export declare function useStream<T, V>(source: Source, options: UseStreamOptions<T, V | undefined> & {
    reduce: (value: V | undefined, chunk: T) => V;
}): UseStream<T, V | undefined>;
export {};
