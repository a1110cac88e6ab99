// The chat page. The web application answers with a ref at once; the words come from the relay.
import { openStream, StreamError } from "streamstraight-celery";
import { blocks, build, button, copyText, element, mend } from "./markdown.js";

const $ = (id) => document.getElementById(id);
const [scroller, log, composer, prompt, status] = ["scroller", "log", "composer", "prompt", "status"].map($);

// -- the conversation, kept for this tab so that a reload resumes it

// {role: "user", text} or {role: "assistant", text, asked, id, offset, chunks, first, resumes, end,
// problem}: `end` is the stream's end reason, `problem` {words, again} what went wrong instead.
const messages = JSON.parse(sessionStorage.getItem("messages") ?? "[]");
// The answer that is being read now: {message, stream, status, opened, connected, stopping, ref}.
let live;

function save() {
  // Together, so that they agree: the text so far, and the position after its last chunk.
  if (live?.stream) live.message.offset = live.stream.offset;
  sessionStorage.setItem("messages", JSON.stringify(messages));
}

async function call(path, body) {
  const token = document.querySelector("[name=csrf-token]").content; // Django's; Flask needs none
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { "content-type": "application/json", "x-csrftoken": token },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  }).catch(() => {
    throw new Error("The server cannot be reached. Check your connection and try again.");
  });
  if (response.status === 204) return undefined;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { status: code } = response;
  throw Object.assign(new Error(answer.error?.message ?? answer.error ?? `The server answered ${code}.`), { status: code });
}

function send(text) {
  const said = messages.filter((message) => message.text).slice(-20);
  const history = said.map((message) => ({ role: message.role, content: message.text }));
  add({ role: "user", text });
  const message = add({ role: "assistant", text: "", asked: Date.now(), chunks: 0, resumes: 0 });
  follow(message, call("chat", { prompt: text, history }));
}

/** Reads the answer that `ref` promises into `message`, until it ends in one way or another. */
async function follow(message, ref) {
  const mine = (live = { message, ref, status: "asking" });
  message.said = message.text.length; // was said before a reload
  message.problem = message.notice = undefined;
  refresh(message);
  try {
    const found = await ref;
    message.id = found.stream_id;
    // "New chat" was pressed in the meantime: the worker is being stopped.
    if (live !== mine) return;
    mine.stream = openStream(found, {
      offset: message.offset,
      getToken: () => renew(message),
      onReset: () => Object.assign(message, { text: "", chunks: 0, problem: undefined, said: 0 }),
      onStatus: (now) => {
        // Connected again, or connected after a reload: it reads on from where it was.
        const isConnected = ["open", "queued", "stalled"].includes(now);
        if (isConnected && !mine.connected && (mine.opened || message.chunks)) message.resumes++;
        mine.opened ||= isConnected;
        mine.connected = isConnected;
        mine.status = now;
        refresh(message);
      },
    });
    save();
    for await (const event of mine.stream) {
      take(message, event);
      say(message, wholeSentences);
      refresh(message);
    }
    message.end = mine.stream.endReason;
    say(message, everything);
  } catch (error) {
    message.end = error.endReason;
    message.problem ??= explain(error, message);
  }
  // "New chat" was pressed in the meantime, or this answer was asked for again.
  if (live !== mine) return;
  save();
  live = undefined;
  refresh(message);
}

async function renew(message) {
  try {
    return (await call(`streams/${message.id}/token`)).token;
  } catch (error) {
    // Not there, or not ours: asking again would not help.
    if (error.status) throw new StreamError({ code: "not-found", message: error.message });
    throw error;
  }
}

function take(message, event) {
  message.chunks++;
  if (event.type === "response.output_text.delta" || event.type === "response.refusal.delta") {
    message.first ??= Date.now() - message.asked;
    message.text += event.delta;
  } else if (event.type === "response.failed") {
    message.problem = { words: `The model failed: ${event.response.error?.message ?? "it gave no reason"}.` };
  } else if (event.type === "response.incomplete") {
    message.problem = { words: "The model broke off: the answer became too long, or was filtered." };
  }
}

const WORDS = {
  "producer-disconnected": "The answer was interrupted: its worker was lost.",
  "inactivity-timeout": "The answer was interrupted: the model did not respond.",
  "too-large": "The answer became too large.",
  "not-found": "This answer is no longer kept.",
  gone: "This answer is no longer kept.",
};

function explain(error, message) {
  const code = error.endReason ?? (error.status === 404 ? "not-found" : error.code);
  const over = error.endReason || ["not-found", "gone"].includes(code);
  return { words: WORDS[code] ?? error.message, again: !over && message.id ? "resume" : "ask" };
}

function retry(message, again) {
  if (again === "resume") return follow(message, call(`streams/${message.id}/token`));
  const [question] = messages.splice(messages.indexOf(message) - 1);
  for (const gone of [message, question]) views.get(gone).article.remove();
  return send(question.text);
}

async function stop() {
  if (!live || live.stopping) return;
  const { message } = Object.assign(live, { stopping: true });
  refresh(message);
  try {
    await call(`streams/${(await live.ref).stream_id}/stop`, {});
  } catch (error) {
    if (live?.message === message) live.stopping = false;
    message.notice = `It could not be stopped. ${error.message}`;
    refresh(message);
  }
}

// -- for screen readers: an answer by sentences, not by tokens

const wholeSentences = /^[^]*(?:[.!?:]["')*_`\]]*\s|\n)/;
const everything = /^[^]+/;
const KEPT_SENTENCES = 20;

/** Adds what is new and matches to the live region; `said` is how far that has come. */
function say(message, what) {
  const [piece] = message.text.slice(message.said).match(what) ?? [""];
  const words = piece.replace(/```\w*|[*_`#>|]/g, "").trim();
  message.said += piece.length;
  if (!words) return;
  $("spoken").append(element("p", { textContent: words }));
  if ($("spoken").childElementCount > KEPT_SENTENCES) $("spoken").firstElementChild.remove();
}

// -- rendering

const views = new Map();
const waiting = new Set();
let stuck = true;

function add(message) {
  const before = messages.at(-1);
  messages.push(message);
  // Only the last answer has buttons.
  if (before?.role === "assistant") refresh(before);
  show(message);
  stuck = true;
  return message;
}

function show(message) {
  const mine = message.role === "user";
  const name = element("h2", { className: "unseen", textContent: mine ? "You" : "Answer" });
  const body = element("div", { className: "body", textContent: mine ? message.text : "" });
  const note = element("div", { className: "note" });
  const article = element("article", { className: `message ${message.role}` }, name, body, note);
  views.set(message, { article, body, note, keys: [] });
  log.append(article);
  if (!mine) refresh(message);
}

/** Redraws a message, at most once per frame however fast it grows. */
function refresh(message) {
  if (!waiting.size) requestAnimationFrame(drawAll);
  waiting.add(message);
}

function drawAll() {
  for (const message of waiting) if (messages.includes(message)) draw(message);
  waiting.clear();
  drawPage();
}

function draw(message) {
  const view = views.get(message);
  const running = live?.message === message;
  const next = blocks(message.end === "completed" ? message.text : mend(message.text));
  const keys = next.map((block) => JSON.stringify(block));
  // What stands stays, so that a selection in it does too: only blocks that changed are built.
  let same = 0;
  while (same < keys.length && keys[same] === view.keys[same]) same++;
  while (view.body.childNodes.length > same) view.body.lastChild.remove();
  view.body.append(...next.slice(same).map(build));
  view.keys = keys;
  view.article.classList.toggle("running", running);
  drawNote(message, view.note, running);
}

// What the reader waits for, where the page would show nothing.
const WAITS = {
  queued: "Waiting for a worker. The answer begins when one is free.",
  "waiting-for-connection": "Waiting for a connection. Other tabs may be using all that the browser has for this server.",
  reconnecting: "The connection was lost. Reconnecting.",
  stalled: "The worker does not respond. The answer continues if it comes back.",
};

function drawNote(message, note, running) {
  const { problem } = message;
  const notice = message.notice ?? WAITS[live?.status];
  const words = problem?.words ?? (running ? notice : message.end === "stopped" && "You stopped this answer.");
  note.className = problem ? "note problem" : "note";
  if (problem) note.setAttribute("role", "alert");
  else note.removeAttribute("role");
  note.replaceChildren();
  if (words) note.append(element("p", { textContent: words }));
  if (running || message !== messages.at(-1)) return;
  if (problem || message.end === "stopped") {
    const again = problem?.again ?? "ask";
    note.append(button(again === "ask" ? "Try again" : "Continue", () => retry(message, again)));
  }
  if (message.text) note.append(button("Copy", (copy) => copyText(copy, message.text)));
}

const STATES = {
  idle: "Ready",
  asking: "Sending",
  connecting: "Connecting",
  "waiting-for-connection": "Waiting for a connection",
  queued: "Waiting for a worker",
  waiting: "Waiting for the first token",
  streaming: "Streaming",
  stalled: "The worker does not respond",
  reconnecting: "Reconnecting",
  stopping: "Stopping",
  completed: "Ended: complete",
  stopped: "Ended: stopped",
  failed: "Ended: failed",
};

function stateOf(message) {
  if (!message) return "idle";
  if (!live) return message.problem ? "failed" : message.end;
  if (live.stopping) return "stopping";
  if (live.status !== "open" && live.status !== "closed") return live.status;
  return message.text ? "streaming" : "waiting";
}

function drawPage() {
  const message = messages.at(-1);
  const state = stateOf(message);
  status.dataset.state = state;
  const interrupted = state === "failed" && ["producer-disconnected", "inactivity-timeout"].includes(message.end);
  const words = interrupted ? "Ended: interrupted" : STATES[state];
  if ($("state").textContent !== words) $("state").textContent = words;
  $("numbers").textContent = message ? numbers(message) : "";
  if (!live && document.activeElement === $("stop")) prompt.focus();
  $("send").hidden = !!live;
  $("stop").hidden = !live;
  $("stop").disabled = !!live?.stopping;
  $("send").disabled = !prompt.value.trim();
  $("welcome").hidden = messages.length > 0;
  $("fresh").hidden = messages.length === 0;
  if (stuck) scroller.scrollTop = scroller.scrollHeight;
  $("latest").hidden = stuck;
}

function numbers({ chunks, first, resumes }) {
  const took = first < 1000 ? `${first} ms` : `${(first / 1000).toFixed(1)} s`;
  const parts = [
    chunks && `${chunks} chunks`,
    first !== undefined && `first token ${took}`,
    resumes && `resumed ${resumes}×`,
  ];
  return parts.filter(Boolean).join(" · ");
}

// -- buttons and keys

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (!text || live) return;
  prompt.value = "";
  grow();
  send(text);
  // On a phone the keyboard would hide the answer.
  if (matchMedia("(pointer: coarse)").matches) prompt.blur();
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});
prompt.addEventListener("input", grow);
addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && stop());
addEventListener("pagehide", save);
$("stop").addEventListener("click", stop);
$("ideas").addEventListener("click", ({ target }) => target.matches("button") && send(target.textContent));
$("latest").addEventListener("click", () => {
  stuck = true;
  drawPage();
});
scroller.addEventListener("scroll", () => {
  stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
  $("latest").hidden = stuck;
});
$("fresh").addEventListener("click", () => {
  stop();
  live?.stream?.close();
  live = undefined;
  messages.length = 0;
  log.replaceChildren();
  save();
  drawPage();
  prompt.focus();
});

function grow() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
  drawPage();
}

messages.forEach(show);
drawPage();
const last = messages.at(-1);
if (last?.role === "assistant" && !last.end && !last.problem) {
  if (last.id) {
    follow(last, call(`streams/${last.id}/token`));
  } else {
    last.problem = { words: "The page was reloaded before the server had answered.", again: "ask" };
  }
}
