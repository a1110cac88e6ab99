import assert from "node:assert/strict";
import { test } from "node:test";
import { AbstractChat as Chat5 } from "ai5";
import { AbstractChat as Chat6 } from "ai6";
import { AbstractChat as Chat7 } from "ai7";
import { resumeOnReset, StreamTransport, type StreamTransportOptions } from "../src/ai-sdk.ts";
import { type Answer, at, closed, control, data, refusal, type Script, script, settle, sse, superseded } from "./support.ts";

const url = "https://relay.example/v1/stream/abc";
const ref = { stream_id: "abc", url, token: "t" };
const START = { type: "start", messageId: "from-the-task" };
const said = (id: string, ...deltas: string[]) => [
  START,
  { type: "text-start", id },
  ...deltas.map((delta) => ({ type: "text-delta", id, delta })),
];
const finished = (id: string) => [{ type: "text-end", id }, { type: "finish" }];

interface Shown {
  id: string;
  role: string;
  parts: { type: string; text?: string }[];
}

/** The real chat of an AI SDK, without React around it. */
function chatOf(Chat: any, transport: StreamTransport, more: object = {}): any {
  const state = {
    status: "ready",
    error: undefined,
    messages: [] as Shown[],
    pushMessage: (message: Shown) => (state.messages = [...state.messages, structuredClone(message)]),
    popMessage: () => (state.messages = state.messages.slice(0, -1)),
    replaceMessage: (index: number, message: Shown) =>
      (state.messages = state.messages.map((each, i) => (i === index ? structuredClone(message) : each))),
    snapshot: structuredClone,
  };
  const Real: new (options: object) => unknown = class extends Chat {};
  return new Real({ id: "chat-1", state, transport, ...more });
}

function texts(chat: { messages: Shown[] }): string[] {
  return chat.messages.map(({ role, parts }) => `${role}: ${parts.map(({ text = "" }) => text).join("|")}`);
}

function transportOf(relay: Script, routes: (url: string, init: RequestInit) => Response, more: StreamTransportOptions = {}) {
  const asked: { url: string; init: RequestInit }[] = [];
  const fetch = async (url: string, init: RequestInit) => {
    asked.push({ url, init });
    return routes(url, init);
  };
  return { asked, transport: new StreamTransport({ api: "/chat", fetch, stream: { fetch: relay.fetch, random: () => 0 }, ...more }) };
}

/** A relay with an unfinished answer for each question, s1 and s2, and the route to them. */
function twoAnswers(route: (response: Response) => Response | Promise<Response> = (response) => response) {
  const answer: Answer = (request) => {
    if (request.method === "POST") return refusal(202)(request);
    const name = request.path.slice(-1);
    const [, ...rest] = said("1", name);
    return sse([data(at(3), [{ type: "start", messageId: name }, ...rest])], "stay")(request);
  };
  const relay = script(...Array<Answer>(9).fill(answer));
  let asked = 0;
  const fetch = async () => {
    const id = `s${++asked}`;
    return route(Response.json({ stream_id: id, url: `https://relay.example/v1/stream/${id}`, token: "t" }));
  };
  return { relay, transport: new StreamTransport({ api: "/chat", fetch, stopOnAbort: true, stream: { fetch: relay.fetch, random: () => 0 } }) };
}

const stopPaths = (relay: Script) => relay.seen.filter(({ method }) => method === "POST").map(({ path }) => path);
const routes = () => Response.json(ref);
const stopPath = (relay: Script) => relay.seen.filter(({ path }) => path === "/v1/stop/abc");

async function until(condition: () => unknown): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < 2000, "it did not come to hold");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

for (const [version, Chat] of Object.entries({ ai5: Chat5, ai6: Chat6, ai7: Chat7 })) {
  test(`${version}: an answer over a dropped connection, as one message`, async () => {
    const relay = script(
      sse([data(at(3), said("1", "Hel"))], "cut"),
      sse([data(at(4), [{ type: "text-delta", id: "1", delta: "lo" }]) + data(at(6), finished("1")) + closed(at(6))]),
    );
    const { transport, asked } = transportOf(relay, routes, { headers: () => ({ "x-csrf": "1" }), body: { tenant: 2 } });
    const chat = chatOf(Chat, transport);
    await chat.sendMessage({ text: "Hi" });
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Hello"]);
    assert.equal(chat.messages[1].id, "from-the-task", "the server's id, by which it knows the message");
    assert.equal(chat.status, "ready");
    assert.equal(asked.length, 1);
    const { url: api, init } = asked[0] ?? assert.fail();
    assert.deepEqual([api, init.method, new Headers(init.headers).get("x-csrf")], ["/chat", "POST", "1"]);
    const body = JSON.parse(String(init.body));
    assert.deepEqual([body.id, body.tenant, body.trigger, body.messages.length], ["chat-1", 2, "submit-message", 1]);
  });

  test(`${version}: onStatus tells what an answer waits for`, async () => {
    const told: string[] = [];
    const waits = control(at(0), { status: "queued" }) + control(at(0), { status: "running" });
    const relay = script(sse([waits + data(at(6), [...said("1", "Hi"), ...finished("1")]) + closed(at(6))]));
    const { transport } = transportOf(relay, routes, { onStatus: (chatId, status) => told.push(`${chatId} ${status}`) });
    await chatOf(Chat, transport).sendMessage({ text: "Hi" });
    assert.deepEqual(told, ["connecting", "open", "queued", "open", "closed"].map((status) => `chat-1 ${status}`));
  });

  test(`${version}: a failure is an error, also after parts of the answer`, async () => {
    const end = closed(at(3), "producer-error", { code: "quota", message: "Quota used up" });
    const { transport } = transportOf(script(sse([data(at(3), said("1", "Hel")) + end])), routes);
    const chat = chatOf(Chat, transport);
    await chat.sendMessage({ text: "Hi" });
    assert.equal(chat.status, "error");
    assert.equal(chat.error.message, "Quota used up");
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Hel"]);
  });

  test(`${version}: a route that fails, and a stream that cannot be read`, async () => {
    const failing = chatOf(Chat, transportOf(script(), () => new Response("No more today.", { status: 429 })).transport);
    await failing.sendMessage({ text: "Hi" });
    assert.equal(failing.error.message, "No more today.");
    const unread = chatOf(Chat, transportOf(script(refusal(404, { error: { code: "not-found", message: "gone" } })), routes).transport);
    await unread.sendMessage({ text: "Hi" });
    assert.deepEqual([unread.status, unread.error.message], ["error", "gone"]);
  });

  test(`${version}: transport.stop stops the worker, and the answer keeps what was there`, async () => {
    const relay = script(sse([data(at(3), said("1", "Hel"))], "stay"), refusal(202), sse([closed(at(3), "stopped")]));
    const { transport } = transportOf(relay, routes);
    const chat = chatOf(Chat, transport);
    const sending = chat.sendMessage({ text: "Hi" });
    await until(() => texts(chat)[1] === "assistant: Hel");
    await transport.stop("chat-1");
    await sending;
    assert.equal(stopPath(relay).length, 1);
    assert.equal(stopPath(relay)[0]?.headers["authorization"], "Bearer t");
    assert.equal(chat.status, "ready");
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Hel"]);
  });

  test(`${version}: leaving the chat closes the connection and stops nothing; it is resumed from there`, async () => {
    const all = [...said("1", "Hel", "lo"), ...finished("1")];
    const relay = script(sse([data(at(3), said("1", "Hel"))], "stay"), sse([data(at(6), all) + closed(at(6))]));
    const { transport } = transportOf(relay, routes);
    const chat = chatOf(Chat, transport);
    const sending = chat.sendMessage({ text: "Hi" });
    await until(() => texts(chat)[1] === "assistant: Hel");
    await chat.stop();
    await sending;
    assert.deepEqual([relay.seen.length, relay.seen[0]?.signal.aborted], [1, true]);
    const mountedAgain = chatOf(Chat, transport);
    mountedAgain.messages = chat.messages;
    await mountedAgain.resumeStream();
    assert.deepEqual(texts(mountedAgain), ["user: Hi", "assistant: Hello"]);
    assert.equal(stopPath(relay).length, 0);
  });

  test(`${version}: a stop waits for the question under way, and finds the answer of a page that has read nothing`, async () => {
    const answers: ((response: Response) => void)[] = [];
    const relay = script(sse([data(at(3), said("1", "Hel")) + closed(at(3), "stopped")]), refusal(202), refusal(202));
    const fetch = () => new Promise<Response>((resolve) => answers.push(resolve));
    const make = () => new StreamTransport({ fetch, stream: { fetch: relay.fetch, random: () => 0 } });
    const transport = make();
    const chat = chatOf(Chat, transport);
    void chat.sendMessage({ text: "Hi" });
    await until(() => answers.length === 1);
    await chat.stop();
    const stopping = transport.stop("chat-1");
    answers[0]?.(Response.json(ref));
    await stopping;
    assert.equal(stopPath(relay).length, 1);

    const other = make().stop("chat-1");
    await until(() => answers.length === 2);
    answers[1]?.(Response.json(ref));
    await other;
    assert.equal(stopPath(relay).length, 2);
  });

  test(`${version}: stopOnAbort: stop, and the next question at once: the first one's worker is stopped`, async () => {
    for (const resumed of [false, true]) {
      const { relay, transport } = twoAnswers();
      const chat = chatOf(Chat, transport);
      void (resumed ? chat.resumeStream() : chat.sendMessage({ text: "Hi" }));
      await until(() => texts(chat).at(-1) === "assistant: 1");
      void chat.stop();
      const sending = chat.sendMessage({ text: "Or rather" });
      await until(() => texts(chat).at(-1) === "assistant: 2");
      await until(() => stopPaths(relay).length);
      assert.deepEqual(stopPaths(relay), ["/v1/stop/s1"], `resumed: ${resumed}`);
      await chat.stop();
      await sending;
    }
  });

  test(`${version}: stopOnAbort: stop before the route has answered, and the next question: the first one's worker is stopped`, async () => {
    const answers: (() => void)[] = [];
    const { relay, transport } = twoAnswers((response) => new Promise((resolve) => answers.push(() => resolve(response))));
    const chat = chatOf(Chat, transport);
    void chat.sendMessage({ text: "Hi" });
    await until(() => answers.length === 1);
    void chat.stop();
    void chat.sendMessage({ text: "Or rather" });
    await until(() => answers.length === 2);
    answers[1]?.();
    await until(() => texts(chat).at(-1) === "assistant: 2");
    answers[0]?.();
    await until(() => stopPaths(relay).length);
    assert.deepEqual(stopPaths(relay), ["/v1/stop/s1"]);
    const gone = await transport.reconnectToStream({ chatId: "chat-1" });
    await gone?.cancel();
    assert.equal(relay.seen.at(-1)?.path, "/v1/stream/s2", "the later one is the chat's latest");
    void chat.stop();
  });

  test(`${version}: a new page goes on, with the message in place of what it had kept`, async () => {
    const all = [...said("1", "Hel", "lo"), ...finished("1")];
    const relay = script(sse([data(at(6), all) + closed(at(6))]));
    const { transport, asked } = transportOf(relay, routes);
    const kept = { id: "from-the-task", role: "assistant", parts: [{ type: "text", text: "Hel" }] };
    const chat = chatOf(Chat, transport);
    chat.messages = [{ id: "u", role: "user", parts: [{ type: "text", text: "Hi" }] }, kept];
    await chat.resumeStream();
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Hello"]);
    assert.equal(asked[0]?.url, "/chat/chat-1/stream");
  });

  test(`${version}: a task that names no message gets the stream's id, in each attempt and after a reload`, async () => {
    const all = [{ type: "start" }, ...said("1", "Hello").slice(1), ...finished("1")];
    const whole = sse([data(at(5), all) + closed(at(5))]);
    const { transport } = transportOf(script(whole, whole), routes);
    const chat = chatOf(Chat, transport);
    await chat.sendMessage({ text: "Hi" });
    const reloaded = chatOf(Chat, transportOf(script(whole), routes).transport);
    reloaded.messages = chat.messages;
    await reloaded.resumeStream();
    assert.deepEqual(texts(reloaded), ["user: Hi", "assistant: Hello"]);
    assert.equal(reloaded.messages[1].id, "abc");
  });

  test(`${version}: an answer that the page has whole is not replayed`, async () => {
    const question = { id: "u", role: "user", parts: [{ type: "text", text: "Hi" }] };
    const answer = { id: "m1", role: "assistant", parts: [{ type: "text", text: "Hello" }], metadata: { stream_id: "abc" } };
    const relay = script();
    const { transport, asked } = transportOf(relay, routes, { messages: () => [question, answer] });
    const chat = chatOf(Chat, transport, { messages: [question, answer] });
    chat.messages = [question, answer];
    await chat.resumeStream();
    assert.deepEqual([chat.status, texts(chat), relay.seen.length], ["ready", ["user: Hi", "assistant: Hello"], 0]);
    assert.equal(asked[0]?.url, "/chat/chat-1/stream?have=abc");
  });

  test(`${version}: an answer that has ended is replayed, in place: the chat may be mounted anew`, async () => {
    const all = [...said("1", "Hel", "lo"), ...finished("1")];
    const whole = sse([data(at(6), all) + closed(at(6))]);
    const { transport } = transportOf(script(whole, whole, whole), routes);
    const chat = chatOf(Chat, transport);
    await chat.sendMessage({ text: "Hi" });
    await chat.resumeStream();
    assert.deepEqual([chat.status, ...texts(chat)], ["ready", "user: Hi", "assistant: Hello"]);
    const mountedAgain = chatOf(Chat, transport);
    await mountedAgain.resumeStream();
    assert.deepEqual(texts(mountedAgain), ["assistant: Hello"]);
  });

  test(`${version}: a step that continues a message stays one message, resumed in its middle`, async () => {
    const question = { id: "u", role: "user", parts: [{ type: "text", text: "Weather?" }] };
    const first = {
      id: "m1", role: "assistant", metadata: { stream_id: "first" },
      parts: [
        { type: "step-start" },
        { type: "text", text: "Let me look.", state: "done" },
        { type: "tool-weather", toolCallId: "c1", state: "output-available", input: { city: "Bonn" }, output: { sun: true } },
      ],
    };
    const second = [{ type: "start", messageId: "m1" }, { type: "start-step" }, ...said("2", "It is", " sunny.").slice(1), ...finished("2")];
    const whole = () => sse([data(at(7), second) + closed(at(7))]);
    const expected = [
      { type: "step-start" },
      { type: "text", text: "Let me look.", state: "done" },
      { type: "tool-weather", toolCallId: "c1", state: "output-available", input: { city: "Bonn" }, output: { sun: true } },
      { type: "step-start" },
      { type: "text", text: "It is sunny.", state: "done" },
    ];
    const ran: unknown[] = [];
    const more = { onToolCall: (call: unknown) => void ran.push(call) };
    const check = (chat: any) => {
      assert.equal(chat.messages.length, 2);
      assert.equal(chat.messages[1].id, "m1");
      const parts = chat.messages[1].parts.map(({ rawInput, ...part }: any) => part);
      assert.deepEqual(JSON.parse(JSON.stringify(parts)), expected);
      assert.deepEqual(ran, [], "the tool is not run again");
    };
    // Sent by this page, which then loses the answer in the middle and resumes.
    const cut = sse([data(at(4), second.slice(0, 4))], "stay");
    const { transport } = transportOf(script(cut, whole()), routes);
    const chat = chatOf(Chat, transport, more);
    chat.messages = [question, first];
    const sending = chat.sendMessage();
    await until(() => texts(chat)[1]?.endsWith("It is"));
    await chat.stop();
    await sending;
    await chat.resumeStream();
    check(chat);
    // And another page, opened with what the server had saved.
    const opened = chatOf(Chat, transportOf(script(whole()), routes, { messages: () => [question, first] }).transport, more);
    opened.messages = [question, first];
    await opened.resumeStream();
    check(opened);
  });

  test(`${version}: nothing to go on with`, async () => {
    for (const status of [204, 404]) {
      const chat = chatOf(Chat, transportOf(script(), () => new Response(null, { status })).transport);
      await chat.resumeStream();
      assert.deepEqual([chat.status, chat.messages.length], ["ready", 0]);
    }
  });

  test(`${version}: an old chat, whose answer the relay keeps no more: nothing to go on with`, async () => {
    for (const [status, code] of [[404, "not-found"], [410, "gone"]] as const) {
      const relay = script(refusal(status, { error: { code, message: "no such stream" } }));
      const chat = chatOf(Chat, transportOf(relay, routes).transport);
      chat.messages = [{ id: "abc", role: "assistant", parts: [{ type: "text", text: "Hello" }] }];
      await chat.resumeStream();
      assert.deepEqual([chat.status, chat.error, texts(chat)], ["ready", undefined, ["assistant: Hello"]]);
    }
  });

  test(`${version}: an answer that is lost while this page reads it is an error, also when it is read anew`, async () => {
    const lost = refusal(410, { error: { code: "gone", message: "lost" } });
    for (const before of [[], [superseded(2), lost]]) {
      const relay = script(sse([data(at(3), said("1", "Hel"))], "cut"), ...before, lost);
      const again = resumeOnReset(() => chat.resumeStream());
      const chat = chatOf(Chat, transportOf(relay, routes).transport, { onError: again });
      await chat.resumeStream();
      await until(() => chat.error?.message === "lost");
      assert.equal(chat.status, "error");
    }
  });

  test(`${version}: stopOnAbort: going on a second time stops no worker, and stop of it does`, async () => {
    const relay = script(
      sse([data(at(3), said("1", "Hel"))], "stay"),
      sse([data(at(3), said("1", "Hel"))], "stay"),
      refusal(202),
    );
    const chat = chatOf(Chat, transportOf(relay, routes, { stopOnAbort: true }).transport);
    void chat.resumeStream();
    await until(() => texts(chat)[0] === "assistant: Hel");
    const resumed = chat.resumeStream();
    await until(() => relay.seen.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(stopPath(relay).length, 0);
    await chat.stop();
    await resumed;
    await until(() => stopPath(relay).length === 1);
  });

  test(`${version}: going on twice, as strict mode does, with the first route's answer coming last`, async () => {
    const relay = script(sse([data(at(3), said("1", "Hel"))], "stay"), refusal(202));
    const answers: ((response: Response) => void)[] = [];
    const fetch = () => new Promise<Response>((resolve) => answers.push(resolve));
    const chat = chatOf(Chat, new StreamTransport({ fetch, stopOnAbort: true, stream: { fetch: relay.fetch, random: () => 0 } }));
    void chat.resumeStream();
    const resumed = chat.resumeStream();
    await until(() => answers.length === 2);
    answers[1]?.(Response.json(ref));
    await until(() => texts(chat)[0] === "assistant: Hel");
    answers[0]?.(Response.json(ref));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(stopPath(relay).length, 0);
    assert.equal(relay.seen.length, 1, "the first is not read at all");
    assert.equal(relay.seen[0]?.signal.aborted, false);
    void chat.stop();
    await resumed;
    await until(() => stopPath(relay).length === 1);
  });

  test(`${version}: a new attempt is one message without doubled text`, async () => {
    const second = (n: number) => at(n).replace("000001", "000002");
    const again = [...said("9", "Good ", "day"), ...finished("9")];
    const restarted: Answer = sse([data(second(6), again) + closed(second(6))]);
    const relay = script(sse([data(at(3), said("1", "Hello"))], "cut"), superseded(2), restarted, restarted);
    const chat = chatOf(Chat, transportOf(relay, routes).transport, {
      onError: resumeOnReset(() => chat.resumeStream()),
    });
    await chat.sendMessage({ text: "Hi" });
    await until(() => texts(chat)[1] === "assistant: Good day" && chat.status === "ready");
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Good day"]);
    assert.equal(chat.error, undefined);
  });

  test(`${version}: a new attempt before anything was shown goes unnoticed`, async () => {
    const second = (n: number) => at(n).replace("000001", "000002");
    const again = [...said("9", "Good day"), ...finished("9")];
    const relay = script(
      sse([data(at(1), [START])], "cut"), superseded(2), sse([data(second(5), again) + closed(second(5))]),
    );
    const errors: unknown[] = [];
    const chat = chatOf(Chat, transportOf(relay, routes).transport, { onError: (error: unknown) => errors.push(error) });
    await chat.sendMessage({ text: "Hi" });
    assert.deepEqual(texts(chat), ["user: Hi", "assistant: Good day"]);
    assert.deepEqual(errors, []);
  });

  test(`${version}: stopped elsewhere is no finished answer`, async () => {
    const relay = script(sse([data(at(3), said("1", "Hel")) + closed(at(3), "stopped")]));
    const ends: unknown[] = [];
    const chat = chatOf(Chat, transportOf(relay, routes).transport, { onFinish: (end: { isError: boolean }) => ends.push(end.isError) });
    await chat.sendMessage({ text: "Hi" });
    assert.deepEqual([texts(chat)[1], chat.status, ends], ["assistant: Hel", "ready", [false]]);
  });
}

test("a token that is refused is asked for at the chat's route", async () => {
  const relay = script(
    refusal(401), sse([control(at(0)) + data(at(3), said("1", "Hello")) + data(at(5), finished("1")) + closed(at(5))]),
  );
  const { transport, asked } = transportOf(relay, () => Response.json({ ...ref, token: asked.length > 1 ? "fresh" : "t" }));
  const chat = chatOf(Chat7, transport);
  await chat.sendMessage({ text: "Hi" });
  assert.equal(texts(chat)[1], "assistant: Hello");
  assert.deepEqual(relay.seen.map(({ headers }) => headers["authorization"]), ["Bearer t", "Bearer fresh"]);
  assert.equal(asked[1]?.url, "/chat/chat-1/stream");
});

test("what is no UI message is an error that says what to do", async () => {
  for (const chunk of [{ type: "response.created" }, { type: "message_start" }, { choices: [] }, "token", { type: "RUN_STARTED" }]) {
    const relay = script(sse([data(at(1), [chunk]), control(at(1))], "stay"));
    const { transport } = transportOf(relay, () => Response.json(ref));
    const stream = await transport.sendMessages({
      trigger: "submit-message", chatId: "c", messageId: undefined, messages: [], abortSignal: undefined,
    });
    await assert.rejects(stream.getReader().read(), /codec="ui-messages" and to_ui_messages\(events\)/);
  }
});

/** A conversation's log, and the streams' answers, as the test sends them. */
function following(latest: () => Promise<{ stream_id: string; url: string; token: string } | null>) {
  const sends = new Map<string, ReadableStreamDefaultController<Uint8Array>>();
  const fetch = async (path: string) => {
    const id = new URL(path).pathname.split("/").pop() ?? "";
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void sends.set(id, controller) });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  const send = (id: string, text: string) => sends.get(id)?.enqueue(new TextEncoder().encode(text));
  const errors: unknown[] = [];
  const transport = new StreamTransport({
    reconnect: latest, fetch: async () => Response.json(refOf("s1")),
    stream: { fetch, pool: false, random: () => 0, onError: (error) => errors.push(error) },
  });
  return { transport, send, errors };
}
const refOf = (id: string) => ({ stream_id: id, url: `https://relay.example/v1/stream/${id}`, token: "t" });
const chatRef = { ...refOf("log"), conversation: "chat-1" };

test("follow asks again when the route to the latest answer fails", async () => {
  let asked = 0;
  const { transport, errors } = following(async () => {
    if (!asked++) throw new Error("the web server restarts");
    return refOf("s1");
  });
  let resumed = 0;
  const leave = transport.follow("chat-1", chatRef, { resumeStream: async () => void resumed++, setMessages: () => {} });
  await until(() => resumed);
  leave();
  assert.deepEqual([asked, String(errors[0])], [2, "Error: the web server restarts"]);
});

test("follow leaves an answer alone that is still read", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { transport, send } = following(async () => null);
  const chat = chatOf(Chat7, transport);
  const answered = chat.sendMessage({ text: "Hi" });
  let resumed = 0;
  const leave = transport.follow("chat-1", chatRef, { resumeStream: async () => void resumed++, setMessages: () => {} });
  await settle();
  send("s1", data(at(3), said("1", "Hel")));
  const began = ["s1", "s2"].map((stream_id) => ({ type: "stream", at: 1, stream_id }));
  send("log", data(at(2), began));
  for (let i = 0; i < 3; i++) {
    await settle();
    t.mock.timers.tick(6000);
  }
  await settle();
  assert.equal(resumed, 0);
  send("s1", data(at(5), finished("1")) + closed(at(5)));
  await answered;
  await settle();
  assert.equal(resumed, 1);
  leave();
});
