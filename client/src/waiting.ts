import type { Clock } from "./types.ts";

export const systemClock: Clock = {
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer as number),
  now: Date.now,
};

/** Wakes whoever waits for a change; the waiter looks again for itself. */
export class Bell {
  #ring = () => {};
  #next: Promise<void> | undefined;

  wait(): Promise<void> {
    return (this.#next ??= new Promise((resolve) => (this.#ring = resolve)));
  }

  ring(): void {
    this.#ring();
    this.#next = undefined;
  }
}

/**
 * Waits, but not beyond `life`. A `hurry` wait is also over as soon as the network is back or the
 * tab is shown (or hidden: one try too many).
 */
export function sleep(clock: Clock, milliseconds: number, life: AbortSignal, hurry: boolean): Promise<void> {
  return new Promise((resolve) => {
    const over = new AbortController();
    const until = { signal: over.signal };
    const wake = () => {
      over.abort();
      clock.clearTimeout(timer);
      resolve();
    };
    const timer = clock.setTimeout(wake, milliseconds);
    life.addEventListener("abort", wake, until);
    if (hurry) {
      globalThis.addEventListener?.("online", wake, until);
      globalThis.addEventListener?.("visibilitychange", wake, until);
    }
  });
}
