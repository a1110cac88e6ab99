// The page on which developers look at streams. It reads them as any reader does, by the client.

import { openStream } from "./client.js";
import { firstChunkPlot, growthPlot, quantile, shownTime } from "./streams-plots.js";

const POLL = 1000; // milliseconds between two looks at the list, at least
const REST = 4; // times as long as a look took is none: it looks at every stream that is kept
const LIMIT = 200;
const SHOWN_CHUNKS = 500;
const KEPT_POINTS = 2000;
const PLOTTED_STREAMS = 100;
const KEY = "streamstraight-api-key";
const LINK = "#key="; // of the link that a relay server in development prints

const at = (id) => document.getElementById(id);
const root = new URL(".", document.baseURI);

let streams = [];
let total = 0;
let active = 0; // have not ended
const rows = new Map(); // by stream id
let plotted = "";
let view = null; // the stream that is looked at

// What the relay says

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(new URL(path, root), { headers, cache: "no-store" });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Refused(response.status, answer.error?.message ?? `the relay answered ${response.status}`);
}

async function look() {
  try {
    ({ streams, total, active } = await ask(`v1/overview?limit=${LIMIT}&active=${at("active").checked}`));
    showProblem("");
    showKeyForm(false);
    if (view) await view.update();
    showList();
  } catch (error) {
    if (error.status === 401) showKeyForm(true, error.message);
    else showProblem(error instanceof Refused ? error.message : "The relay does not answer.");
  }
}

async function watch() {
  for (;;) {
    const began = performance.now();
    if (!document.hidden && at("key").hidden) await look();
    const rest = Math.max(POLL, REST * (performance.now() - began));
    await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

// The list

function showList() {
  const wanted = at("filter").value.trim().toLowerCase();
  const found = streams.filter(
    (each) =>
      (!at("active").checked || each.status !== "ended") &&
      [each.stream_id, each.task_id, statusOf(each)].some((text) => text.toLowerCase().includes(wanted)),
  );
  at("counts").textContent = `${total} kept, ${active} not ended`;
  showRows(found.map(row));
  at("table").hidden = !found.length;
  at("empty").hidden = found.length > 0;
  at("empty").textContent = streams.length
    ? "No stream is like that."
    : "No streams yet. They appear here as soon as a task is asked for.";
  const all = at("active").checked ? active : total;
  at("more").hidden = all <= streams.length;
  at("more").textContent = `The newest ${streams.length} of ${all}.`;
  showFirstChunks(found);
}

function showRows(wanted) {
  const body = at("rows");
  const there = [...body.children];
  if (there.length !== wanted.length || there.some((tr, i) => tr !== wanted[i])) {
    const focused = document.activeElement;
    body.replaceChildren(...wanted);
    if (body.contains(focused)) focused.focus();
  }
  const kept = new Set(streams.map((each) => each.stream_id));
  for (const id of rows.keys()) if (!kept.has(id)) rows.delete(id);
}

/** The row of a stream: always the same element, so that a click does not miss it. */
function row(each) {
  let tr = rows.get(each.stream_id);
  if (!tr) {
    tr = newRow(each.stream_id);
    rows.set(each.stream_id, tr);
  }
  tr.classList.toggle("chosen", view?.id === each.stream_id);
  const [id, status, ...numbers] = tr.children;
  id.lastChild.textContent = each.task_id === each.stream_id ? "" : each.task_id;
  badge(status.firstChild, each);
  const values = [
    each.chunks.toLocaleString("en"),
    shownSize(each.bytes),
    shownTime(each.first_chunk_after),
    shownTime(each.duration),
    each.attempt,
    shownTime(each.age),
  ];
  values.forEach((value, i) => (numbers[i].textContent = value));
  return tr;
}

function newRow(streamId) {
  const tr = document.createElement("tr");
  const link = make("a", streamId);
  link.href = linkTo(streamId);
  const id = cell("id");
  id.append(link, make("small", ""));
  const status = cell("status");
  status.append(make("span", ""));
  const numbers = ["chunks", "size", "first", "lasted", "attempt", "age"];
  tr.append(id, status, ...numbers.map((name) => cell("num", name)));
  tr.addEventListener("click", () => (location.hash = linkTo(streamId)));
  return tr;
}

function cell(kind, name = kind) {
  const td = make("td", "");
  td.className = kind;
  td.dataset.name = name;
  return td;
}

function showFirstChunks(found) {
  const shown = found.filter((each) => each.first_chunk_after !== null).slice(0, PLOTTED_STREAMS).reverse();
  const plot = at("first-plot");
  plot.closest("figure").hidden = !shown.length;
  if (!shown.length || !plot.clientWidth) return;
  const times = shown.map((each) => each.first_chunk_after);
  const seen = [view?.id, plot.clientWidth, ...shown.map((each) => [each.stream_id, each.end_reason])];
  if (plotted === String(seen)) return;
  plotted = String(seen);
  at("first-summary").textContent =
    `of the newest ${shown.length}: half within ${shownTime(quantile(times, 0.5))}, ` +
    `95 % within ${shownTime(quantile(times, 0.95))}`;
  const choose = (id) => (location.hash = linkTo(id));
  plot.replaceChildren(firstChunkPlot(plot.clientWidth, shown, view?.id, choose));
}

// One stream

class View {
  constructor(id) {
    this.id = id;
    this.closed = false;
    this.stream = null;
    this.chunks = 0;
    this.points = [];
    this.known = 0; // points that were told, not seen
    this.marks = [];
    this.waiting = []; // lines to be drawn with the next frame
    this.drawing = false;
    this.stopping = false;
    this.ended = "";
    at("chunks").replaceChildren();
    for (const each of ["facts", "growth-plot"]) at(each).replaceChildren();
    for (const each of ["rate", "reading", "badge"]) at(each).textContent = "";
    at("error").hidden = true;
    at("stop").hidden = true;
    at("title").textContent = id;
    at("title").title = id;
  }

  /** Look at its state; begin to read when that was not done. */
  async update() {
    const about = await this.ask();
    if (!about || this.closed) return;
    this.about = about;
    if (!this.stream) {
      this.since = performance.now() - about.age * 1000;
      this.before = { attempt: about.attempt, chunks: about.chunks };
      this.points = toldPoints(about);
      this.known = this.points.length;
      void this.read(about.ref);
    }
    this.show();
  }

  async ask() {
    try {
      return await ask(`v1/overview/${encodeURIComponent(this.id)}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.say("This stream is no longer kept.");
      at("stop").hidden = true;
      return null;
    }
  }

  async read(ref) {
    const url = new URL(`v1/stream/${encodeURIComponent(this.id)}`, root).href;
    let token = ref.token;
    const getToken = async () => {
      const given = token ?? (await ask(`v1/overview/${encodeURIComponent(this.id)}`)).ref.token;
      token = null;
      return given;
    };
    this.say("reading");
    this.stream = openStream(
      { stream_id: this.id, url },
      { getToken, onReset: (attempt) => this.begin(attempt), onStatus: (status) => this.say(status) },
    );
    try {
      for await (const chunk of this.stream) this.take(chunk);
      this.finish(this.stream.endReason ?? "ended");
    } catch (error) {
      this.finish(this.stream.endReason ?? "", error);
    }
  }

  take(chunk) {
    this.chunks += 1;
    const old = this.before !== null && this.chunks <= this.before.chunks;
    if (!old) this.plot(this.now(), this.chunks);
    this.line(chunkLine(this.chunks, old ? null : this.now(), chunk));
  }

  /** A new attempt: the chunks so far do not count. */
  begin(attempt) {
    this.chunks = 0;
    if (attempt !== this.before?.attempt) this.before = null;
    this.marks.push(this.now());
    this.points = [[this.now(), 0]];
    this.known = 0;
    this.line(note(`Attempt ${attempt || "?"} began; what came before does not count.`), true);
  }

  finish(reason, error) {
    if (this.closed) return;
    this.ended = reason || "failed";
    this.line(note(error ? `${reason || error.code}: ${error.message}` : `End: ${reason}`));
    this.say("closed");
    void look();
  }

  async stop() {
    this.stopping = true;
    this.show();
    try {
      const { ref } = await ask(`v1/overview/${encodeURIComponent(this.id)}`);
      const url = new URL(`v1/stop/${encodeURIComponent(this.id)}`, root);
      const headers = { Authorization: `Bearer ${ref.token}` };
      const response = await fetch(url, { method: "POST", headers });
      if (!response.ok) throw new Refused(response.status, `The stop was answered by ${response.status}.`);
    } catch (error) {
      this.stopping = false;
      showProblem(error.message);
    }
    await look();
  }

  close() {
    this.closed = true;
    this.stream?.close();
  }

  now() {
    return (performance.now() - this.since) / 1000;
  }

  plot(time, chunks) {
    this.points.push([time, chunks]);
    // Thinned out evenly, the newest kept, when there are many.
    if (this.points.length > KEPT_POINTS) {
      this.points = this.points.filter((_, i) => i < this.known || i % 2 || i === this.points.length - 1);
    }
  }

  line(item, afresh = false) {
    if (afresh) this.waiting = [];
    this.waiting.push(item);
    if (this.waiting.length > SHOWN_CHUNKS) this.waiting.shift();
    if (afresh) at("chunks").replaceChildren();
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = false;
    if (this.closed) return;
    const list = at("chunks");
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...this.waiting);
    this.waiting = [];
    while (list.childElementCount > SHOWN_CHUNKS) list.firstElementChild.remove();
    if (follows) list.scrollTop = list.scrollHeight;
    this.show();
  }

  say(text) {
    if (this.closed) return;
    const words = { open: "live", closed: this.ended ? "all read" : "closed" };
    at("reading").textContent = words[text] ?? text;
  }

  show() {
    if (this.closed || !this.about) return;
    const about = this.about;
    badge(at("badge"), about);
    const over = about.status === "ended";
    at("stop").hidden = over;
    at("stop").disabled = this.stopping || about.stop_asked;
    at("stop").textContent = about.stop_asked || this.stopping ? "Stopping…" : "Stop";
    const message = about.error && messageOf(about.error);
    at("error").hidden = !message;
    at("error").textContent = message;
    const chunks = Math.max(about.chunks, this.chunks);
    const first = about.first_chunk_after;
    const lasted = first === null || over ? about.duration : Math.max(0, this.now() - first);
    at("facts").replaceChildren(
      ...fact("chunks", chunks.toLocaleString("en")),
      ...fact("size", shownSize(about.bytes)),
      ...fact("first chunk after", shownTime(about.first_chunk_after)),
      ...fact(over ? "streamed for" : "streaming for", shownTime(lasted)),
      ...fact("attempt", about.attempt || "none yet"),
      ...fact("asked for", `${shownTime(this.now())} ago`),
      ...(about.task_id !== this.id ? fact("task", about.task_id || "none", "wide") : []),
    );
    at("rate").textContent = lasted && chunks > 1 ? `${(chunks / lasted).toFixed(1)} a second` : "";
    const ended = over && first !== null;
    const until = ended ? first + about.duration : over || this.ended ? 0 : this.now();
    const plot = at("growth-plot");
    const data = { points: this.points, known: this.known, marks: this.marks, until, ended };
    if (plot.clientWidth) plot.replaceChildren(growthPlot(plot.clientWidth, data));
  }
}

/** What the state tells of the time before this page looked: the first chunk, and now or the end. */
function toldPoints(about) {
  if (about.first_chunk_after === null || !about.chunks) return [];
  const first = about.first_chunk_after;
  return [[first, 1], [first + about.duration, about.chunks]];
}

function chunkLine(number, time, chunk) {
  const text = typeof chunk === "string" ? chunk : JSON.stringify(chunk);
  const item = document.createElement("li");
  const parts = [
    ["no", number],
    ["at", time === null ? "before" : `${time.toFixed(3)} s`],
    ["text", text],
  ].map(([kind, value]) => Object.assign(make("span", value), { className: kind }));
  parts[1].title = time === null ? "It was there before this page looked" : "Since the stream was asked for";
  parts[2].addEventListener("click", () => {
    const open = item.classList.toggle("open");
    parts[2].textContent = open && typeof chunk !== "string" ? JSON.stringify(chunk, null, 2) : text;
  });
  item.append(...parts);
  return item;
}

function note(text) {
  return Object.assign(make("li", text), { className: "note" });
}

function fact(name, value, kind = "") {
  const pair = Object.assign(document.createElement("div"), { className: kind });
  pair.append(make("dt", name), make("dd", value));
  return [pair];
}

function messageOf(error) {
  try {
    return JSON.parse(error).message ?? error;
  } catch {
    return error;
  }
}

// What both show

function statusOf(about) {
  return about.status === "ended" ? about.end_reason : about.status;
}

function badge(span, about) {
  const kinds = { streaming: "live", open: "live", stalled: "wait", retrying: "wait", queued: "wait" };
  const failed = about.status === "ended" && !["completed", "stopped"].includes(about.end_reason);
  span.className = `badge ${failed ? "failed" : (kinds[about.status] ?? "")}`;
  span.textContent = statusOf(about);
  return span;
}

function make(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

function linkTo(id) {
  return `#${encodeURIComponent(id)}`;
}

function shownSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function showProblem(text) {
  at("problem").hidden = !text;
  at("problem").textContent = text;
}

function showKeyForm(needed, why = "") {
  at("main").hidden = needed;
  const refused = needed && sessionStorage.getItem(KEY) !== null;
  at("key-problem").hidden = !refused;
  at("key-problem").textContent = "The relay does not know this key.";
  at("key-needed").textContent = `${why}.`;
  if (needed && at("key").hidden) {
    at("key").hidden = false;
    at("key-text").focus();
  }
  at("key").hidden = !needed;
}

// The key of a link is kept in this tab, and leaves the address.
function takeKey() {
  if (!location.hash.startsWith(LINK)) return;
  sessionStorage.setItem(KEY, location.hash.slice(LINK.length));
  history.replaceState(null, "", location.pathname + location.search);
  at("key").hidden = true;
}

function chosen() {
  const written = location.hash.slice(1);
  try {
    return decodeURIComponent(written);
  } catch {
    return written; // cut off in the middle of a character
  }
}

// What is chosen is in the address, so that it survives a reload and can be sent around.
function choose() {
  const id = chosen();
  if (view?.id === id) return;
  view?.close();
  view = id ? new View(id) : null;
  at("detail").hidden = !view;
  at("main").classList.toggle("two", view !== null);
  document.title = id ? `${id} – Streams` : "Streams";
  if (at("key").hidden) void look();
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key-text").value.trim());
  at("key-text").value = "";
  void look();
});
at("filter").addEventListener("input", showList);
at("active").addEventListener("change", () => {
  showList();
  void look(); // there may be older ones than the newest
});
at("stop").addEventListener("click", () => view?.stop());
addEventListener("hashchange", () => {
  takeKey();
  choose();
});
addEventListener("resize", () => {
  showList();
  view?.show();
});
takeKey();
choose();
void watch();
