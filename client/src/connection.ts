import { type Failure, StreamError } from "./errors.ts";
import type { Clock } from "./types.ts";

/** The relay sends at least a comment every 15 seconds: after three missing ones the connection is dead. */
export const SILENCE = 45_000;
const seconds = SILENCE / 1000;
const SILENT: Failure = { code: "timeout", message: `silent for ${seconds} s` };
/** Browsers do not say which it is. */
const UNANSWERED: Failure = {
  code: "timeout",
  message: `no answer for ${seconds} s: the relay cannot be reached, or other tabs and streams use all six connections to it`,
};

/** A request without an answer for this long probably waits for a free connection. */
const WAITING = 3000;

/** The relay sends a comment after this much silence. */
const PING = 15_000;
/** The page is back: from sleep, from the background, from the back button, or online again. */
export const WAKING = ["visibilitychange", "pageshow", "resume", "online"];

export interface Connection {
  signal: AbortSignal;
  /** Waits for a response, or for part of one. Throws a `StreamError` when it fails. */
  patiently: <R>(work: Promise<R>) => Promise<R>;
  close: () => void;
  /** Closed because nothing had arrived for a while when the page woke up. */
  readonly stale: boolean;
}

/**
 * One request: its signal is aborted by `close`, after too much silence, and when `life` is over.
 * Without a `life` it is not part of the reading, and its failures are fatal.
 * `waits` is called when the answer takes long.
 */
export function connection(clock: Clock, life?: AbortSignal, waits?: () => void): Connection {
  const controller = new AbortController();
  const { signal } = controller;
  const close = () => controller.abort();
  life?.addEventListener("abort", close, { signal });
  let heard = clock.now();
  let answered = false;
  let stale = false;
  const wake = () => {
    if (globalThis.document?.visibilityState === "hidden" || clock.now() - heard <= PING) return;
    stale = true;
    close();
  };
  if (life) for (const event of WAKING) globalThis.addEventListener?.(event, wake, { signal });
  return {
    get stale() {
      return stale;
    },
    signal,
    close,
    async patiently(work) {
      let failure: Failure = { code: "network", message: "the connection failed" };
      const timer = clock.setTimeout(() => {
        failure = answered ? SILENT : UNANSWERED;
        close();
      }, SILENCE);
      const impatience = !answered && waits && clock.setTimeout(waits, WAITING);
      try {
        const result = await work;
        heard = clock.now();
        answered = true;
        return result;
      } catch (cause) {
        throw new StreamError({ ...failure, cause }, !life);
      } finally {
        clock.clearTimeout(timer);
        clock.clearTimeout(impatience);
      }
    },
  };
}
