import { type Failure, StreamError } from "./errors.ts";
import type { Clock } from "./types.ts";

/** The relay sends at least a comment every 15 seconds: after three missing ones nobody is there. */
const SILENCE = 45_000;

export interface Connection {
  signal: AbortSignal;
  /** Waits for what the connection is to bring; a failure to bring it is a `StreamError`. */
  patiently: <R>(work: Promise<R>) => Promise<R>;
  close: () => void;
}

/** Whatever is done with the signal ends with `close`, with too long a silence, or with `life`. */
export function connection(clock: Clock, life: AbortSignal): Connection {
  const controller = new AbortController();
  const { signal } = controller;
  const close = () => controller.abort();
  life.addEventListener("abort", close, { signal });
  return {
    signal,
    close,
    async patiently(work) {
      let failure: Failure = { code: "network", message: "the connection failed" };
      const timer = clock.setTimeout(() => {
        failure = { code: "timeout", message: `the relay was silent for ${SILENCE / 1000} s` };
        close();
      }, SILENCE);
      try {
        return await work;
      } catch (cause) {
        throw new StreamError({ ...failure, cause }, false);
      } finally {
        clock.clearTimeout(timer);
      }
    },
  };
}
