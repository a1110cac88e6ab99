// One stream: what is known of it, its conversation, and its chunks as events or as text. It reads
// them as any reader does, by the client.

import { openStream } from "./client.js";
import { growthPlot, shownTime } from "./streams-plots.js";
import {
  at, ask, badge, breakable, labelsOf, linkTo, make, Refused, root, shownMoment, shownSize, showProblem,
} from "./streams-shared.js";

const SHOWN_CHUNKS = 500;
const KEPT_POINTS = 2000;
const RETRY = 1000; // milliseconds until the text is asked for again

export class View {
  /** `look` asks the relay server for everything again. */
  constructor(id, look) {
    this.id = id;
    this.look = look;
    this.closed = false;
    this.stream = null;
    this.text = null; // aborts reading it
    this.chunks = 0;
    this.points = [];
    this.known = 0; // points that were told, not seen
    this.marks = [];
    this.waiting = []; // lines to be drawn with the next frame
    this.drawing = false;
    this.stopping = false;
    this.ended = "";
    for (const each of ["chunks", "text", "facts", "growth-plot"]) at(each).replaceChildren();
    for (const each of ["rate", "reading", "badge", "title"]) at(each).textContent = "";
    for (const each of ["error", "stop", "unknown", "tree"]) at(each).hidden = true;
    at("known").hidden = false;
    at("badge").className = "badge";
    at("stream-id").textContent = id;
    this.showAs("events");
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
    if (about.conversation) await this.showTree(about.conversation);
  }

  async ask() {
    try {
      return await ask(`v1/overview/${encodeURIComponent(this.id)}`);
    } catch (error) {
      if (error.status !== 404) throw error;
      if (!this.closed) this.showUnknown();
      return null;
    }
  }

  showUnknown() {
    const before = Boolean(this.about);
    at("title").textContent ||= "No such stream";
    at("stop").hidden = true;
    at("unknown").hidden = false;
    at("unknown").textContent = before
      ? "This stream has expired or was deleted."
      : "There is no stream with this id. It does not exist, has expired or was deleted.";
    at("known").hidden = !before;
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
    this.line(note(`Attempt ${attempt || "?"} began and replaces what came before.`), true);
  }

  finish(reason, error) {
    if (this.closed) return;
    this.ended = reason || "failed";
    this.line(note(error ? `${reason || error.code}: ${error.message}` : `End: ${reason}`));
    this.say("closed");
    void this.look();
  }

  async stop() {
    this.stopping = true;
    this.show();
    try {
      const { ref } = await ask(`v1/overview/${encodeURIComponent(this.id)}`);
      const url = new URL(`v1/stop/${encodeURIComponent(this.id)}`, root);
      const headers = { Authorization: `Bearer ${ref.token}` };
      const response = await fetch(url, { method: "POST", headers });
      if (!response.ok) throw new Refused(response.status, `Stopping was answered by ${response.status}.`);
    } catch (error) {
      this.stopping = false;
      showProblem(error.message);
    }
    await this.look();
  }

  close() {
    this.closed = true;
    this.stream?.close();
    this.text?.abort();
  }

  // Events or text

  showAs(kind) {
    for (const each of ["events", "text"]) at(`as-${each}`).setAttribute("aria-pressed", each === kind);
    at("chunks").hidden = kind !== "events";
    at("text").hidden = kind !== "text";
    this.text?.abort();
    this.text = null;
    if (kind === "text") void this.readText();
  }

  /** The words alone, as `/v1/text/` gives them: until a good end; cut off, it begins again. */
  async readText() {
    const control = (this.text = new AbortController());
    const pane = at("text");
    while (!control.signal.aborted) {
      try {
        const { ref } = await ask(`v1/overview/${encodeURIComponent(this.id)}`);
        const headers = { Authorization: `Bearer ${ref.token}` };
        const url = new URL(`v1/text/${encodeURIComponent(this.id)}`, root);
        const response = await fetch(url, { headers, signal: control.signal });
        if (!response.ok) throw new Refused(response.status, "");
        let text = "";
        for await (const piece of piecesOf(response.body)) {
          const follows = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
          pane.textContent = text += piece;
          if (follows) pane.scrollTop = pane.scrollHeight;
        }
        if (!text) pane.textContent = "These events have no text.";
        return;
      } catch {
        if (control.signal.aborted || this.ended || this.about?.status === "ended") return;
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
  }

  // What is drawn

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
    const title = about.task || "No task";
    if (at("title").textContent !== title) at("title").replaceChildren(...breakable(title));
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
    const labels = labelsOf(about);
    at("facts").replaceChildren(
      fact("requested", `${shownMoment(about.requested_at)} (${shownTime(this.now())} ago)`),
      fact("first chunk", shownTime(first)),
      fact("lasted", shownTime(lasted)),
      fact("chunks", chunks.toLocaleString("en")),
      fact("size", shownSize(about.bytes)),
      fact("attempt", about.attempt || "none yet"),
      fact("queue", about.queue || "–"),
      fact("worker", about.worker || "–"),
      ...(about.task_id && about.task_id !== this.id ? [fact("task id", about.task_id)] : []),
      ...(labels.length ? [fact("labels", ...labels)] : []),
    );
    at("rate").textContent = lasted && chunks > 1 ? `${(chunks / lasted).toFixed(1)} a second` : "";
    const ended = over && first !== null;
    const until = ended ? first + about.duration : over || this.ended ? 0 : this.now();
    const plot = at("growth-plot");
    const data = { points: this.points, known: this.known, marks: this.marks, until, ended };
    if (!plot.clientWidth) return;
    const svg = growthPlot(plot.clientWidth, data);
    svg.setAttribute("aria-label", `Chunks over time: ${chunks} in ${shownTime(lasted)}`);
    plot.replaceChildren(svg);
  }

  /** The streams of its conversation; those that others started are indented. */
  async showTree(name) {
    const { streams } = await ask(`v1/overview?conversation=${encodeURIComponent(name)}`).catch(() => ({ streams: [] }));
    if (this.closed) return;
    const shown = JSON.stringify(streams.map((each) => [each.stream_id, each.depth, each.title, each.end_reason, each.status]));
    at("tree").hidden = !streams.length;
    if (this.tree === shown) return;
    this.tree = shown;
    const items = streams.map((each) => {
      const item = make("li");
      item.style.setProperty("--depth", Math.min(each.depth, 8));
      const link = make("a", "", { href: linkTo(each.stream_id) });
      link.append(...breakable(each.title || each.task || each.stream_id));
      if (each.stream_id === this.id) link.setAttribute("aria-current", "true");
      item.append(link, badge(make("span"), each));
      return item;
    });
    const list = make("ul");
    list.append(...items);
    const head = make("p", "Conversation ");
    head.append(make("code", name));
    at("tree").replaceChildren(head, list);
  }
}

async function* piecesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
}

/** What the state tells of the time before this page looked: the first chunk, and now or the end. */
function toldPoints(about) {
  if (about.first_chunk_after === null || !about.chunks) return [];
  const first = about.first_chunk_after;
  return [[first, 1], [first + about.duration, about.chunks]];
}

function chunkLine(number, time, chunk) {
  const text = typeof chunk === "string" ? chunk : JSON.stringify(chunk);
  const item = make("li");
  const when = make("span", time === null ? "before" : `${time.toFixed(3)} s`, {
    className: "at",
    title: time === null ? "It was there before this page looked" : "Since the stream was requested",
  });
  const shown = make("button", text, { type: "button", className: "text", tabIndex: -1 });
  shown.setAttribute("aria-expanded", "false");
  shown.addEventListener("click", () => {
    const open = item.classList.toggle("open");
    shown.setAttribute("aria-expanded", open);
    shown.textContent = open && typeof chunk !== "string" ? JSON.stringify(chunk, null, 2) : text;
  });
  item.append(make("span", number, { className: "no" }), when, shown);
  return item;
}

function note(text) {
  return make("li", text, { className: "note" });
}

function fact(name, ...values) {
  const pair = make("div");
  const value = make("dd");
  value.append(...values); // texts, numbers or elements
  pair.append(make("dt", name), value);
  return pair;
}

function messageOf(error) {
  try {
    return JSON.parse(error).message ?? error;
  } catch {
    return error;
  }
}
