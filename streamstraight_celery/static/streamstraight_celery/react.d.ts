import { type Conversation, type ConversationEvent, type ConversationRef, type ConversationTypes, type EndReason, type StreamOptions, type StreamRef, type StreamStatus } from "streamstraight-celery";
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
type Chunk<T> = T extends {
    chunk: infer C;
} ? C : unknown;
export interface UseConversation<T extends Partial<ConversationTypes>> extends Pick<Conversation<T>, "send" | "answer" | "stop"> {
    /** All events so far; the same array until there are more. */
    events: readonly ConversationEvent<T>[];
    streams: readonly ConversationStream<Chunk<T>>[];
    /** The questions that wait for an answer. */
    questions: readonly Extract<ConversationEvent<T>, {
        type: "question";
    }>[];
    /** Of the connection to the conversation. `idle` without a ref. */
    status: StreamStatus | "idle";
    error: unknown;
}
/**
 * Follows a conversation: its events, and its streams as they begin, over one connection. The component is
 * rendered at most once a frame.
 */
export declare function useConversation<T extends Partial<ConversationTypes> = {}>(ref: ConversationRef | null | undefined, options?: UseConversationOptions): UseConversation<T>;
export {};
