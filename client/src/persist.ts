import type { StreamOptions } from "./types.ts";

/**
 * Where a stream was left before a reload, and a function that stores its position. The item names
 * its stream: another stream under the same key begins at its start.
 */
export function keeper(
  persist: StreamOptions<unknown>["persist"],
  path: string,
): { kept?: string | undefined; keep: (offset: string) => void } {
  if (!persist) return { keep: () => {} };
  let failed = false;
  /** Storage may be forbidden (a sandboxed frame) or full. Then nothing is kept, and reading continues. */
  const softly = <R>(work: () => R): R | undefined => {
    try {
      return work();
    } catch (error) {
      if (!failed) console.warn("the position of a stream cannot be kept over reloads:", error);
      failed = true;
      return undefined;
    }
  };
  const place = () => (typeof persist === "string" ? { key: persist, storage: sessionStorage } : persist);
  const [of, offset] = softly(() => (place().storage.getItem(place().key) ?? "").split(" ")) ?? [];
  const kept = of === path ? offset : undefined;
  let last = kept ?? "-1";
  return {
    kept,
    keep(now) {
      if (now !== last) softly(() => place().storage.setItem(place().key, `${path} ${(last = now)}`));
    },
  };
}
