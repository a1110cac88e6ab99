// Two small plots as SVG elements. Times are seconds.

import { hasFailed } from "./streams-shared.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;

/** A time as people say it: `85 ms`, `1.2 s`, `3:05 min`, `2:10 h`. */
export function shownTime(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const pair = (high, low) => `${high}:${String(low).padStart(2, "0")}`;
  if (whole < 3600) return `${pair(Math.floor(whole / 60), whole % 60)} min`;
  return `${pair(Math.floor(whole / 3600), Math.floor((whole % 3600) / 60))} h`;
}

/**
 * Chunks over the time since a stream was asked for.
 *
 * `points` are [time, chunks] in order, `known` the number of those that were only told afterwards:
 * between them nobody watched, so they are joined by dots. `marks` are times at which attempts began.
 * `until` is when the stream ended, or now: since the last point nothing came.
 */
export function growthPlot(width, { points: seen, known, marks, until, ended }) {
  const newest = seen.at(-1) ?? [0, 0];
  const last = [Math.max(newest[0], until), newest[1]];
  const points = seen.length ? [...seen, last] : [];
  const plot = frame(width, 170, Math.max(last[0], 0.1), last[1], 1);
  const at = ([time, chunks]) => [plot.x(time), plot.y(chunks)];
  const path = (some) => some.map((point, i) => `${i ? "L" : "M"}${at(point).map(round).join(" ")}`).join("");
  if (points.length > 1) {
    const [first] = points;
    const floor = `L${round(plot.x(last[0]))} ${plot.y(0)}L${round(plot.x(first[0]))} ${plot.y(0)}Z`;
    plot.add("path", { class: "area", d: path(points) + floor });
    plot.add("path", { class: "unseen", d: path(points.slice(0, known)) });
    plot.add("path", { class: "line", d: path(points.slice(Math.max(known - 1, 0))) });
  }
  for (const time of marks) plot.vertical(time, "mark");
  if (ended) plot.vertical(until, "end");
  return plot.svg;
}

/** The time to first chunk of each stream, the oldest at the left; `choose` is told the id. */
export function firstChunkPlot(width, streams, chosen, choose) {
  const values = streams.map((each) => each.first_chunk_after);
  const plot = frame(width, 130, Math.max(streams.length - 1, 1), Math.max(...values), 0.001, {
    xText: () => "",
    yText: shownTime,
  });
  const middle = quantile(values, 0.5);
  plot.add("line", {
    class: "median", x1: LEFT, x2: width - RIGHT, y1: plot.y(middle), y2: plot.y(middle),
  });
  streams.forEach((each, i) => {
    const classes = ["dot", hasFailed(each) && "failed", each.stream_id === chosen && "chosen"];
    const dot = plot.add("circle", {
      class: classes.filter(Boolean).join(" "),
      cx: streams.length > 1 ? plot.x(i) : width / 2,
      cy: plot.y(each.first_chunk_after),
      r: streams.length > 100 ? 3 : 4.5,
    });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${each.task || each.stream_id}: ${shownTime(each.first_chunk_after)}`;
    dot.append(title);
    dot.addEventListener("click", () => choose(each.stream_id));
  });
  return plot.svg;
}

/** The value below which that part of the values lies. */
export function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

/** The top of an axis whose middle has two digits at most, and is a multiple of `unit`. */
function roundTop(highest, unit) {
  const middle = Math.max(highest / 2, unit);
  const step = Math.max(10 ** Math.floor(Math.log10(middle)) / 10, unit);
  return 2 * step * Math.ceil(middle / step - 1e-9);
}

function frame(width, height, maxX, highest, unit, { xText = shownTime, yText = shownNumber } = {}) {
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  const right = width - RIGHT;
  const floor = height - BOTTOM;
  const maxY = roundTop(highest, unit);
  const x = (value) => LEFT + (value / maxX) * (right - LEFT);
  const y = (value) => floor - (value / maxY) * (floor - TOP);
  const add = (name, attributes, text = "") => {
    const made = element(name, attributes);
    made.textContent = text;
    svg.append(made);
    return made;
  };
  for (const value of [0, maxY / 2, maxY]) {
    add("line", { class: "grid", x1: LEFT, x2: right, y1: y(value), y2: y(value) });
    const label = value ? yText(value) : "0";
    add("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, label);
  }
  add("text", { x: LEFT, y: height - 4 }, xText(0));
  add("text", { x: right, y: height - 4, "text-anchor": "end" }, xText(maxX));
  const vertical = (value, kind) => {
    add("line", { class: kind, x1: x(value), x2: x(value), y1: TOP, y2: floor });
  };
  return { svg, x, y, add, vertical };
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function shownNumber(value) {
  return value >= 10000 ? `${(value / 1000).toFixed(0)} k` : String(Math.round(value));
}

function round(value) {
  return Math.round(value * 10) / 10;
}
