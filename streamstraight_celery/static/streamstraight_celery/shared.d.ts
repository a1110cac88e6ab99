/** A `fetch`. */
type Fetch = (url: string, init: RequestInit) => Promise<Response>;
/**
 * Reads streams over one connection for all tabs of the page's origin:
 * `openStream(ref, { fetch: sharedFetch })`. Other requests are sent as by `fetch`.
 */
export declare const sharedFetch: Fetch;
export {};
