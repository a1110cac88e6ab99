/** For the `HttpAgent` of AG-UI (`@ag-ui/client`): its runs are read from the relay. */
import { type StreamOptions } from "streamstraight-celery";
type Fetch = (url: string, init: RequestInit) => Promise<Response>;
type Reading = Omit<StreamOptions<any>, "offset" | "persist" | "signal" | "token" | "onReset">;
export interface RelayFetchOptions {
    /** For the request to the agent's URL; the platform's when left out. */
    fetch?: Fetch | undefined;
    /** Where `connectAgent()` asks for the thread's latest run; `{url}/{threadId}/stream` when left out. */
    join?: ((url: string, threadId: string) => string) | undefined;
    /** How the relay is read: for example `getToken`, `pool` or `onStatus`. */
    stream?: Reading | undefined;
}
/**
 * A `fetch` to give to `HttpAgent`: the agent's URL answers with a ref, and the run's events come
 * from the relay, over any number of dropped connections. `abortRun()` stops the worker.
 *
 * What failed ends with a `RUN_ERROR`; so does a run that was stopped (code `stopped`). Where a new
 * attempt began after some of the old one was shown, that run ends with a `RUN_ERROR` of code
 * `superseded`, and the next one begins with the messages and the state of before.
 */
export declare function relayFetch(options?: RelayFetchOptions): Fetch;
type AgentClass = abstract new (...args: any[]) => {
    run(input: any): any;
};
/**
 * `HttpAgent` whose `connectAgent()` joins the thread's latest run, under way or ended: it is read
 * from its start, by GET, and none is begun. Without one it has nothing to tell. Needs `relayFetch()`.
 *
 *     class Agent extends joinable(HttpAgent) {}
 */
export declare function joinable<A extends AgentClass>(Agent: A): A;
export {};
