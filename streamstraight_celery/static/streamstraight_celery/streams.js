// The page on which developers look at streams: what is chosen, the key, and when to look again.

import { lookAtList, showList } from "./streams-list.js";
import { at, keepKey, keptKey, Refused, showProblem } from "./streams-shared.js";
import { View } from "./streams-view.js";

const POLL = 1000; // milliseconds between two looks, at least
const REST = 4; // times as long as a look took
const LINK = "#key="; // of the link that a relay server in development prints

let view = null; // the stream that is looked at

async function look() {
  try {
    await lookAtList();
    showProblem("");
    showKeyForm(false);
    if (view) await view.update();
    show();
  } catch (error) {
    if (error.status === 401) showKeyForm(true, error.message);
    else showProblem(error instanceof Refused ? error.message : "The relay server does not answer.");
  }
}

function show() {
  showList(view?.id);
}

async function watch() {
  for (;;) {
    const began = performance.now();
    if (!document.hidden && at("key").hidden) await look();
    const rest = Math.max(POLL, REST * (performance.now() - began));
    await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

function showKeyForm(needed, why = "") {
  at("main").hidden = needed;
  const refused = needed && keptKey() !== null;
  at("key-problem").hidden = !refused;
  at("key-problem").textContent = "The relay server does not know this key.";
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
  keepKey(location.hash.slice(LINK.length));
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
  view = id ? new View(id, look) : null;
  at("detail").hidden = !view;
  at("main").classList.toggle("two", view !== null);
  document.title = id ? `${id} – Streams` : "Streams";
  if (at("key").hidden) void look();
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(at("key-text").value.trim());
  at("key-text").value = "";
  void look();
});
at("filter").addEventListener("input", show);
for (const name of ["task", "state"]) at(name).addEventListener("change", look);
at("stop").addEventListener("click", () => view?.stop());
at("as-events").addEventListener("click", () => view?.showAs("events"));
at("as-text").addEventListener("click", () => view?.showAs("text"));
// Arrow keys go from event to event; Enter opens one.
at("chunks").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const lines = [...at("chunks").querySelectorAll("button")];
  if (!step || !lines.length) return;
  const now = lines.indexOf(document.activeElement);
  const next = now < 0 ? (step > 0 ? 0 : lines.length - 1) : now + step;
  if (lines[next]) {
    event.preventDefault();
    lines[next].focus();
  }
});
addEventListener("hashchange", () => {
  takeKey();
  choose();
});
addEventListener("resize", () => {
  show();
  view?.show();
});
takeKey();
choose();
void watch();
