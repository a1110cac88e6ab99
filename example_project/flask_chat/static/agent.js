// An agent's conversation: what happens in it is drawn in the order of its log, in every tab alike.

import { openConversation } from "streamstraight-celery";

const find = (id) => document.getElementById(id);
const given = JSON.parse(find("conversation").textContent);
const here = `/agent/${given.conversation}`;
const [log, prompt, scroller] = [find("log"), find("prompt"), find("scroller")];

const conversation = openConversation(given, {
  getToken: async () => (await (await fetch(`${here}/ref`)).json()).token,
});
/** What is not over: the agent's streams and its helpers', and its questions, by their ids. */
const streams = new Map();
const questions = new Map();
/** What has its place among the agent's words: elements that came before it, and places before them. */
const early = { helpers: [], question: [], note: [] };
const places = { helpers: [], question: [], note: [] };
let agent = null; // where its words go

find("other").href = here;
find("composer").addEventListener("submit", submit);
find("stop").addEventListener("click", () => conversation.stop({ tree: true }).catch(fail));
for (const idea of document.querySelectorAll("#ideas button"))
  idea.addEventListener("click", () => tell(idea.textContent));
prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
});
follow().catch(fail);

async function follow() {
  for await (const event of conversation) {
    find("welcome").hidden = true;
    if (event.type === "input" && !event.answers) arrive("note", bubble(event.value.text));
    if (event.type === "stream") begin(event);
    if (event.type === "ended") end(event);
    if (event.type === "question") ask(event);
    if (event.type === "input" && event.answers) settle(event.answers, event.value.approved ? "You agreed." : "You said no.");
    if (event.type === "closed") settle(event.question, "Nobody answered in time.");
  }
}

function bubble(text) {
  return make("div", "message user", make("div", "body", text));
}

function begin({ stream_id, parent, title }) {
  if (parent) return beginHelper(stream_id, parent, title);
  add(bubble(title));
  continueBelow();
  streams.set(stream_id, { helpers: null });
  const onStatus = (status) => streams.has(stream_id) && show(status === "waiting" ? "waiting" : "working");
  read(conversation.openStream(stream_id, { onStatus }), (chunk) => {
    if (typeof chunk === "string") agent.querySelector(".body").append(chunk);
    else place(chunk.place);
  });
  show("working");
}

function beginHelper(id, parent, title) {
  const family = streams.get(parent) ?? {};
  if (!family.helpers) arrive("helpers", (family.helpers = make("div", "helpers")));
  const [bar, text] = [make("progress"), make("p", "", "Waiting for a worker")];
  const element = make("section", "helper", make("h3", "", title), bar, text);
  family.helpers.append(element);
  bar.setAttribute("aria-label", `${title}: progress`);
  bar.value = 0;
  streams.set(id, { element });
  read(conversation.openStream(id), ({ done, of, found }) => {
    [bar.value, bar.max] = [done, of];
    text.textContent = `${done} of ${of} files, ${found} old`;
  });
}

/** An element that the agent gives a place, perhaps later, perhaps already. */
function arrive(kind, element) {
  const waiting = places[kind].shift();
  if (waiting) return waiting.replaceWith(element), stick();
  early[kind].push(element);
  find("later").append(element);
  stick();
}

/** Here in the agent's words stands the next element of that kind. */
function place(kind) {
  const element = early[kind].shift() ?? make("div");
  if (element.parentNode !== find("later")) places[kind].push(element);
  add(element);
  continueBelow();
}

/** Let the agent's next words stand at the end. */
function continueBelow() {
  agent?.classList.remove("running");
  agent = add(make("div", "message assistant running", make("div", "body")));
}

async function read(stream, take) {
  try {
    for await (const chunk of stream) {
      take(chunk);
      stick();
    }
  } catch (error) {
    fail(error);
  }
}

function end({ stream_id, reason, error }) {
  const stream = streams.get(stream_id);
  if (!stream) return;
  streams.delete(stream_id);
  const element = stream.element ?? agent;
  if (reason !== "completed") element.append(make("p", "note", reason === "stopped" ? "Stopped." : error.message));
  if (stream.element) return;
  agent.classList.remove("running");
  for (const id of questions.keys()) settle(id, "No longer needed.");
  show("idle");
}

function ask({ id, value }) {
  const row = make("div", "row");
  for (const [label, approved, look] of [["Delete them", true, "primary"], ["Keep them", false, ""]]) {
    const button = make("button", look, label);
    button.addEventListener("click", async () => {
      for (const each of row.children) each.disabled = true;
      // Another tab may have been faster: then the log says what it has answered.
      await conversation.answer(id, { approved }).catch((error) => error.status === 409 || fail(error));
    });
    row.append(button);
  }
  const text = make("p", "", "It waits without a worker. You may close this page.");
  const element = make("section", "question", make("h3", "", `Delete ${value.count} files about “${value.topic}”?`), text, row);
  element.setAttribute("aria-label", "A question");
  questions.set(id, { row, text, element });
  arrive("question", element);
}

function settle(id, words) {
  const question = questions.get(id);
  if (!question) return;
  questions.delete(id);
  question.row.remove();
  question.text.textContent = words;
  question.element.classList.add("settled");
}

async function submit(event) {
  event.preventDefault();
  const text = prompt.value.trim();
  if (text && (await tell(text))) prompt.value = "";
}

/** Start the agent, or tell it something while it works. */
async function tell(text) {
  find("send").disabled = true;
  try {
    const response = await fetch(here, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text }),
    });
    if (!response.ok) throw new Error((await response.json()).error);
    return true;
  } catch (error) {
    fail(error);
  } finally {
    find("send").disabled = false;
  }
}

const WORDS = { idle: "Ready", working: "Working", waiting: "Waiting for you, without a worker" };
const LOOKS = { idle: "idle", working: "streaming", waiting: "waiting" };

function show(what) {
  find("state").textContent = WORDS[what];
  find("status").dataset.state = LOOKS[what];
  find("stop").hidden = what === "idle";
  agent?.classList.toggle("running", what === "working");
  prompt.placeholder = what === "idle" ? "What should it clean up?" : "Tell it something";
}

function fail(error) {
  find("state").textContent = error.message;
  find("status").dataset.state = "failed";
}

function add(element) {
  log.append(element);
  stick();
  return element;
}

function stick() {
  scroller.scrollTop = scroller.scrollHeight;
}

function make(name, className = "", ...parts) {
  const element = document.createElement(name);
  element.className = className;
  element.append(...parts);
  return element;
}
