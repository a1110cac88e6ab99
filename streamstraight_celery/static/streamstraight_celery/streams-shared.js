// What the list and the view of one stream share: the relay server's data, and how values are shown.

export const root = new URL(".", document.baseURI);
const KEY = "streamstraight-api-key";
const GOOD = ["completed", "stopped"];

export const at = (id) => document.getElementById(id);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path) {
  const key = keptKey();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(new URL(path, root), { headers, cache: "no-store" });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Refused(response.status, answer.error?.message ?? `The relay server answered ${response.status}.`);
}

export function keptKey() {
  return sessionStorage.getItem(KEY);
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function showProblem(text) {
  at("problem").hidden = !text;
  at("problem").textContent = text;
}

export function make(name, text = "", properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

/** Text of parts that may stand on lines of their own: dotted names, ids, hosts. */
export function breakable(text) {
  const parts = String(text).split(/(?<=[._@:/-])/);
  return parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
}

export function linkTo(id) {
  return `#${encodeURIComponent(id)}`;
}

export function statusOf(about) {
  return about.end_reason || about.status;
}

export function hasFailed(about) {
  return about.status === "ended" && !GOOD.includes(about.end_reason);
}

export function badge(span, about) {
  const kinds = { streaming: "live", open: "live", stalled: "wait", retrying: "wait", waiting: "wait", queued: "wait" };
  span.className = `badge ${hasFailed(about) ? "failed" : (kinds[about.status] ?? "")}`;
  span.textContent = statusOf(about);
  return span;
}

/** Labels as chips: `user=42`. */
export function labelsOf(about) {
  return Object.entries(about.labels ?? {}).map(([name, value]) =>
    make("span", `${name}=${value}`, { className: "label" }),
  );
}

/** When a stream was requested: the time today, else the day too. */
export function shownMoment(seconds) {
  const date = new Date(seconds * 1000);
  const pad = (value) => String(value).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(pad).join(":");
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${time}`;
}

export function shownSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
