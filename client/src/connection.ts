import { type Failure, StreamError } from "./errors.ts";
import type { Clock } from "./types.ts";

/** The relay sends at least a comment every 15 seconds: after three missing ones nobody is there. */
export const SILENCE = 45_000;
const SILENT: Failure = { code: "timeout", message: `silent for ${SILENCE / 1000} s` };

/** The relay sends a comment when it was quiet for so long. */
const PING = 15_000;
/** A page is back: from sleep, from the background, from the back button, to the network. */
export const WAKING = ["visibilitychange", "pageshow", "resume", "online"];

export interface Connection {
  signal: AbortSignal;
  /** Waits for what the connection is to bring; a failure to bring it is a `StreamError`. */
  patiently: <R>(work: Promise<R>) => Promise<R>;
  close: () => void;
  /** Closed because nothing had come for a while when the page woke up. */
  readonly stale: boolean;
}

/**
 * Whatever is done with the signal ends with `close`, with too long a silence, or with `life`. Without
 * a `life` it is no part of the reading, and nobody tries again.
 */
export function connection(clock: Clock, life?: AbortSignal): Connection {
  const controller = new AbortController();
  const { signal } = controller;
  const close = () => controller.abort();
  life?.addEventListener("abort", close, { signal });
  let heard = clock.now();
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
        failure = SILENT;
        close();
      }, SILENCE);
      try {
        const result = await work;
        heard = clock.now();
        return result;
      } catch (cause) {
        throw new StreamError({ ...failure, cause }, !life);
      } finally {
        clock.clearTimeout(timer);
      }
    },
  };
}
