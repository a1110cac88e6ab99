import type { StreamOptions } from "./types.ts";

/**
 * Where a stream was left before a reload, and a function that keeps where it is now. The item
 * says which stream it is for: another one under the same name begins at its start.
 */
export function keeper(
  persist: StreamOptions<unknown>["persist"],
  path: string,
): { kept?: string | undefined; keep: (offset: string) => void } {
  if (!persist) return { keep: () => {} };
  const { key, storage } = typeof persist === "string" ? { key: persist, storage: sessionStorage } : persist;
  const [of, offset] = (storage.getItem(key) ?? "").split(" ");
  const kept = of === path ? offset : undefined;
  let last = kept ?? "-1";
  return {
    kept,
    keep(now) {
      if (now !== last) storage.setItem(key, `${path} ${(last = now)}`);
    },
  };
}
