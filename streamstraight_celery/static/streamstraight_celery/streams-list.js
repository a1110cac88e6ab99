// The list of streams: filters, percentiles, a plot and a table.

import { firstChunkPlot, quantile, shownTime } from "./streams-plots.js";
import {
  at, ask, badge, breakable, labelsOf, linkTo, make, shownMoment, shownSize, statusOf,
} from "./streams-shared.js";

const LIMIT = 200;
const PLOTTED_STREAMS = 100;
const EMPTY = "No streams yet. They appear here as soon as a task is enqueued.";

let streams = [];
let total = 0;
let active = 0; // have not ended
const rows = new Map(); // by stream id
const tasks = new Set();
let plotted = "";
let asked = 0; // number of the newest look

/** Ask for the streams that the filters choose. */
export async function lookAtList() {
  const mine = ++asked;
  const query = new URLSearchParams({ limit: LIMIT });
  if (at("task").value) query.set("task", at("task").value);
  if (at("state").value) query.set("state", at("state").value);
  const found = await ask(`v1/overview?${query}`);
  if (mine === asked) ({ streams, total, active } = found);
}

/** Show what was found; `chosen` is the stream that is looked at. */
export function showList(chosen) {
  const words = at("filter").value.trim().toLowerCase();
  const found = streams.filter((each) => textOf(each).includes(words));
  const filtered = words || at("task").value || at("state").value;
  at("counts").textContent = `${counted(total)}, ${active} running`;
  showTasks();
  showRows(found.map((each) => row(each, chosen)));
  at("table").hidden = !found.length;
  at("empty").hidden = found.length > 0;
  at("empty").textContent = filtered ? "No matching streams." : EMPTY;
  const all = at("state").value === "active" ? active : total;
  at("more").hidden = streams.length < LIMIT || all <= streams.length;
  at("more").textContent = at("state").value && at("state").value !== "active"
    ? `The newest ${streams.length}.`
    : `The newest ${streams.length} of ${all}.`;
  showTimes(found, chosen);
}

function counted(number) {
  return `${number.toLocaleString("en")} ${number === 1 ? "stream" : "streams"}`;
}

function textOf(each) {
  const labels = Object.entries(each.labels).map(([name, value]) => `${name}=${value}`);
  const { task, stream_id, task_id, queue, worker, conversation } = each;
  return [task, stream_id, task_id, statusOf(each), queue, worker, conversation, ...labels].join("\n").toLowerCase();
}

/** The tasks that were seen, to choose from. */
function showTasks() {
  const before = tasks.size;
  for (const { task } of streams) if (task) tasks.add(task);
  if (tasks.size === before) return;
  const chosen = at("task").value;
  const options = [...tasks].sort().map((name) => new Option(name, name, false, name === chosen));
  at("task").replaceChildren(at("task").options[0], ...options);
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
function row(each, chosen) {
  let tr = rows.get(each.stream_id);
  if (!tr) {
    tr = newRow(each);
    rows.set(each.stream_id, tr);
  }
  tr.classList.toggle("chosen", chosen === each.stream_id);
  const [, status, ...cells] = tr.children;
  badge(status.firstChild, each);
  const values = [
    each.chunks.toLocaleString("en"),
    shownSize(each.bytes),
    shownTime(each.first_chunk_after),
    shownTime(each.duration),
    each.queue || "–",
    each.worker || "–",
    shownMoment(each.requested_at),
  ];
  values.forEach((value, i) => {
    if (cells[i].textContent === String(value)) return;
    cells[i].replaceChildren(...(cells[i].className === "place" ? breakable(value) : [value]));
  });
  cells.at(-1).title = `${shownTime(each.age)} ago`;
  return tr;
}

function newRow(each) {
  const tr = make("tr");
  const link = make("a", "", { href: linkTo(each.stream_id) });
  link.append(...breakable(each.task || "no task"));
  const id = make("code");
  id.append(...breakable(each.stream_id));
  const names = cell("names");
  names.append(link, id, ...labelsOf(each));
  const status = cell("status");
  status.append(make("span"));
  const kinds = ["chunks", "size", "first", "lasted", "queue", "worker", "requested"];
  const cells = kinds.map((name) => cell(["queue", "worker"].includes(name) ? "place" : "num", name));
  tr.append(names, status, ...cells);
  tr.addEventListener("click", () => (location.hash = linkTo(each.stream_id)));
  return tr;
}

function cell(kind, name = kind) {
  const td = make("td", "", { className: kind });
  td.dataset.name = name;
  return td;
}

/** Percentiles of the streams that are listed, and the plot of their first chunks. */
function showTimes(found, chosen) {
  const shown = found.filter((each) => each.first_chunk_after !== null).slice(0, PLOTTED_STREAMS).reverse();
  const plot = at("first-plot");
  plot.closest("figure").hidden = !shown.length;
  if (!shown.length || !plot.clientWidth) return;
  const seen = [chosen, plot.clientWidth, ...shown.map((each) => [each.stream_id, each.end_reason])];
  if (plotted === String(seen)) return;
  plotted = String(seen);
  const first = percentiles(shown.map((each) => each.first_chunk_after));
  const ended = shown.filter((each) => each.status === "ended").map((each) => each.duration);
  at("summary").replaceChildren(
    pair("Time to first chunk", first),
    pair("Duration", ended.length ? percentiles(ended) : "none has ended"),
    make("span", shown.length === 1 ? "of one stream" : `of the newest ${shown.length} streams`, { className: "soft" }),
  );
  const svg = firstChunkPlot(plot.clientWidth, shown, chosen, (id) => (location.hash = linkTo(id)));
  svg.setAttribute("aria-label", `Time to first chunk of ${shown.length} streams: ${first}`);
  plot.replaceChildren(svg);
}

function pair(name, value) {
  const span = make("span");
  span.append(make("strong", name), ` ${value}`);
  return span;
}

function percentiles(values) {
  const shown = (part) => `p${100 * part} ${shownTime(quantile(values, part))}`.replaceAll(" ", "\u00a0");
  return `${shown(0.5)}, ${shown(0.95)}`;
}
