import { WAKING } from "./connection.ts";
import type { Clock } from "./types.ts";

export const systemClock: Clock = {
  setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer as number),
  now: Date.now,
};

/** Wakes the code that waits for a change, which then checks its condition again. */
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

/** First in, first out, in constant time: `shift` of a long array moves all of it. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): void {
    this.#items[this.#head++] = undefined;
    // One move for each item that is gone, also when the queue is never empty.
    if (this.#head * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}

/** How long the page may be kept busy with chunks that have arrived, in milliseconds. */
const BREATH = 12;

/**
 * A function to await between two chunks: now and then it lets the page draw and react, which a loop
 * over chunks that are there already would not. Not by a timer: browsers slow those of hidden tabs.
 */
export function breather(): () => Promise<void> | undefined {
  let since = -Infinity;
  let calls = 0;
  return () => {
    if (!("document" in globalThis) || ++calls % 16) return undefined;
    const now = performance.now();
    if (now - since < BREATH) return undefined;
    const first = since < 0;
    since = now;
    if (first) return undefined;
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        since = performance.now();
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    });
  };
}

/**
 * Waits, at most until `life` is over. With `hurry` also until the network is back or the tab is shown
 * (or hidden, which is one try too many).
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
      for (const event of WAKING) globalThis.addEventListener?.(event, wake, until);
    }
  });
}

/** How long a tab is hidden before it closes its connection, in milliseconds. */
const HIDDEN = 5000;

/** Calls `hold` when the page has been hidden for a while, and its result when it is shown again. */
export function whileHidden(clock: Clock, life: AbortSignal, hold: () => () => void): void {
  const page = globalThis.document;
  if (!page) return;
  let timer: unknown;
  let release: (() => void) | undefined;
  const look = () => {
    clock.clearTimeout(timer);
    if (page.visibilityState === "hidden") timer = clock.setTimeout(() => (release ??= hold()), HIDDEN);
    else release = void release?.();
  };
  page.addEventListener("visibilitychange", look, { signal: life });
  life.addEventListener("abort", () => clock.clearTimeout(timer));
  look();
}
