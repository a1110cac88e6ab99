import type { EndReason, StreamOptions, StreamRef, StreamStatus } from "streamstraight-celery";
/** As for `openStream`; a new attempt is taken care of. */
export interface UseStreamOptions<T, V> extends Omit<StreamOptions<T>, "onReset" | "onStatus" | "signal"> {
    /**
     * Puts the chunks together: called once for each, in order, and from `initial` again when a new
     * attempt began. It returns a new value and leaves the old one as it is.
     */
    reduce?: ((value: V, chunk: T) => V) | undefined;
    initial?: V | undefined;
}
export interface UseStream<T, V> {
    /** All chunks so far; the same array until there are more. */
    chunks: readonly T[];
    /** What `reduce` made of them. */
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
 * Reads a stream into a component, which is drawn anew at most once a frame.
 *
 * Components with the same ref share one connection; it is closed when the last of them is gone,
 * and goes on where it was when one comes back, or a ref brings another token.
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
