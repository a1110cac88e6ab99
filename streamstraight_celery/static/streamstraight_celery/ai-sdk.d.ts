/** A `ChatTransport` of the AI SDK (ai 5, 6 and 7): `useChat` reads from the relay. */
import { type ConversationRef, type StreamOptions, type StreamRef, type StreamStatus } from "streamstraight-celery";
/** One event of a UI message stream. */
export interface Part {
    type: string;
    [field: string]: unknown;
}
export interface Message {
    id: string;
    role: string;
    parts?: readonly object[];
    metadata?: unknown;
}
/** What `useChat` passes with each request. */
interface Call {
    headers?: Record<string, string> | Headers | undefined;
    body?: object | undefined;
    metadata?: unknown;
}
export interface StreamTransportOptions {
    /** Takes the messages by POST and answers with a ref. `/api/chat` when left out. */
    api?: string | undefined;
    /**
     * The ref of a chat's latest stream, with a fresh token, also when the stream has ended; `null` if
     * there is nothing to resume. Default: the answer of `GET {api}/{chatId}/stream`; 204 and 404 are `null`.
     */
    reconnect?: ((chatId: string) => Promise<StreamRef | null>) | undefined;
    /** Sent with the requests to `api`. */
    headers?: Record<string, string> | (() => Record<string, string>) | undefined;
    body?: object | undefined;
    credentials?: "include" | "omit" | "same-origin" | undefined;
    /** For the requests to `api`. Default: the platform's. */
    fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
    /**
     * The saved messages that the page was opened with. If the last one has `metadata.stream_id`, it
     * holds that stream's whole answer: the stream is not replayed, and a later stream of the same
     * message continues it.
     */
    messages?: ((chatId: string) => readonly Message[] | undefined) | undefined;
    /**
     * Stop the worker whenever the chat aborts a request: on `stop()`, and in ai 7 also when the
     * component unmounts or shows another chat. Default: only `transport.stop(chatId)` does.
     */
    stopOnAbort?: boolean | undefined;
    /**
     * Called with what an answer waits for, which `useChat` does not show: `queued` (no worker has begun it), `waiting`,
     * `waiting-for-connection`, `stalled`, `reconnecting`, `open`, `closed`.
     */
    onStatus?: ((chatId: string, status: StreamStatus) => void) | undefined;
    /** How the relay is read: for example `pool` or `fetch`. */
    stream?: Omit<StreamOptions<any>, "offset" | "persist" | "signal" | "token" | "onReset"> | undefined;
}
/** What `follow` needs of `useChat`. */
export interface FollowingChat {
    resumeStream: () => Promise<unknown>;
    setMessages: (change: (messages: any[]) => any[]) => void;
}
/**
 * Give it to `useChat`: its POST returns a ref, and the answer is read from the relay. With
 * `resume: true` a reloaded page continues. `transport.stop(chatId)` stops the worker; `useChat`'s own
 * `stop()` only closes the connection, because ai 7 also calls it when the page leaves the chat.
 *
 * When a new attempt began after parts of the old one were shown, the answer fails with a
 * `StreamResetError`, and `onError: resumeOnReset(...)` reads it again.
 */
export declare class StreamTransport {
    #private;
    /** A resumed answer is replayed from its first part, in place of what is shown. */
    readonly resumeStreamIsReplay = true;
    constructor(options?: StreamTransportOptions);
    sendMessages(options: {
        trigger: string;
        chatId: string;
        messageId: string | undefined;
        messages: Message[];
        abortSignal: AbortSignal | undefined;
    } & Call): Promise<ReadableStream<any>>;
    reconnectToStream(options: {
        chatId: string;
        abortSignal?: AbortSignal | undefined;
    } & Call): Promise<ReadableStream<any> | null>;
    /**
     * Keeps a chat in step with other tabs and devices: an answer that begins elsewhere is read here, after the
     * question that it answers, which the route sends to the conversation: `chat.send(message, type="message")`.
     * Returns a function that ends it: `useEffect(() => transport.follow(id, ref, chat), [id])`.
     */
    follow(chatId: string, ref: ConversationRef, { resumeStream, setMessages }: FollowingChat): () => void;
    /**
     * Stops the worker of the chat's latest answer. The page continues reading until the relay confirms
     * it; then the chat is `ready`. Rejects when the relay refuses or does not answer.
     */
    stop(chatId: string): Promise<void>;
}
/**
 * For `useChat({ onError })`: when a new attempt began, the answer is read again in place of the old
 * one. Other errors are passed to `onError`.
 */
export declare function resumeOnReset(resume: () => Promise<unknown>, onError?: (error: Error) => void): (error: Error) => void;
export {};
