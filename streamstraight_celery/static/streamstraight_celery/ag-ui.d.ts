/** For the `HttpAgent` of AG-UI (`@ag-ui/client`): its runs are read from the relay. */
import { type StreamOptions } from "streamstraight-celery";
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
export declare function relayFetch(options?: RelayFetchOptions): Fetch;
type AgentClass = abstract new (...args: any[]) => {
    run(input: any): any;
};
/**
 * `HttpAgent` whose `connectAgent()` joins the thread's latest run, active or ended: it is read from its
 * start, by GET, and no run is started. Without a run there are no events. Needs `relayFetch()`.
 *
 *     class Agent extends joinable(HttpAgent) {}
 */
export declare function joinable<A extends AgentClass>(Agent: A): A;
export {};
