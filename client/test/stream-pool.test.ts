import assert from "node:assert/strict";
import { test } from "node:test";
import { openStream, type Stream, type StreamError, type StreamOptions } from "../src/index.ts";
import { at, closed, data, drain, frames, ManualClock, never, options, script, settle, sse, take } from "./support.ts";

interface Asked {
  id: string;
  token: string;
  offset: string;
}
interface Posted {
  url: string;
  streams: Asked[];
  signal: AbortSignal;
}

const url = (id: string) => `https://relay.example/v1/stream/${id}`;
const of = (number: number, text: string) => `event: stream\ndata:${number}\n\n${text}`;
const over = "event: closed\ndata:{}\n\n";
const refused = (status: number, error: object) =>
  `event: refused\ndata:${JSON.stringify({ status, body: JSON.stringify(error) })}\n\n${over}`;

/** A relay whose shared answers are made by `answer`, from what is asked for. */
function relay(answer: (posted: Posted, round: number) => Response | Promise<Response>) {
  const posts: Posted[] = [];
  const others: string[] = [];
  const fetch = async (target: string, init: RequestInit): Promise<Response> => {
    if (init.method !== "POST" || !target.includes("/v1/streams")) {
      others.push(`${init.method ?? "GET"} ${target}`);
      const signal = init.signal ?? new AbortController().signal;
      return sse([frames(["alone"]) + closed(at(1))])({ method: "GET", path: "", query: {}, headers: {}, signal });
    }
    const posted = { url: target, ...JSON.parse(String(init.body)), signal: init.signal };
    posts.push(posted);
    return answer(posted, posts.length);
  };
  return { fetch, posts, others };
}

const stay = (text: string | string[], then: "stay" | "close" | "cut" = "stay") => (posted: Posted) =>
  sse([text].flat(), then)({ method: "POST", path: "", query: {}, headers: {}, signal: posted.signal });

function open<T>(id: string, fetch: StreamOptions<T>["fetch"], more: StreamOptions<T> = {}): Stream<T> {
  return openStream<T>(url(id), { token: `t-${id}`, pool: true, fetch, random: () => 0, ...more });
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < 2000, "it did not come to hold");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("streams that are opened together share one request, and each gets its own", async () => {
  const text = [of(1, data(at(1), ["b1"])), of(0, frames(["a1", "a2"])), of(1, data(at(2), ["b2"]) + closed(at(2)) + over)];
  const { fetch, posts } = relay(stay([...text, of(0, closed(at(2)) + over)], "close"));
  const streams = ["a", "b"].map((id) => open(id, fetch));
  assert.deepEqual(await Promise.all(streams.map(drain)), [
    { chunks: ["a1", "a2"], error: undefined },
    { chunks: ["b1", "b2"], error: undefined },
  ]);
  assert.equal(posts.length, 1);
  assert.equal(posts[0]?.url, "https://relay.example/v1/streams");
  assert.deepEqual(posts[0]?.streams, [
    { id: "a", token: "t-a", offset: "-1", cursor: "", frames: "json" },
    { id: "b", token: "t-b", offset: "-1", cursor: "", frames: "json" },
  ]);
});

test("a stream that comes later: the request is made anew, and the others go on where they are", async () => {
  const { fetch, posts } = relay((posted, round) =>
    stay(
      round === 1
        ? of(0, data(at(2), ["a1", "a2"]))
        : of(1, frames(["b1"]) + closed(at(1)) + over) + of(0, data(at(3), ["a3"]) + closed(at(3)) + over),
    )(posted),
  );
  const first = open("a", fetch);
  const iterator = first[Symbol.asyncIterator]();
  assert.deepEqual(await take(iterator, 2), ["a1", "a2"]);
  const second = open("b", fetch);
  assert.deepEqual((await drain(second)).chunks, ["b1"]);
  assert.deepEqual(await take(iterator, 1), ["a3"]);
  assert.equal((await iterator.next()).done, true);
  assert.deepEqual(posts[1]?.streams.map(({ id, offset }) => [id, offset]), [["a", at(2)], ["b", "-1"]]);
  assert.equal(posts[0]?.signal.aborted, true);
});

test("closing one leaves the others alone, closing the last closes the connection", async () => {
  const { fetch, posts } = relay((posted) => stay(posted.streams.map((_, i) => of(i, data(at(1), [i]))))(posted));
  const [first, second] = [open("a", fetch), open("b", fetch)];
  const iterators = [first, second].map((stream) => stream[Symbol.asyncIterator]());
  for (const each of iterators) await take(each, 1);
  first.close();
  await until(() => posts.length === 2);
  assert.deepEqual(posts[1]?.streams.map(({ id, offset }) => [id, offset]), [["b", at(1)]]);
  assert.equal(second.status, "open");
  second.close();
  await until(() => posts[1]?.signal.aborted === true);
});

test("a refusal concerns its own stream: 404 is thrown, 401 asks for a token, 410 begins anew", async () => {
  const { fetch, posts } = relay((posted, round) => {
    if (round > 1) return stay(posted.streams.map((_, i) => of(i, frames(["fresh"]) + closed(at(1)) + over)).join(""))(posted);
    const answers = [
      refused(404, { error: { code: "not-found", message: "no such stream" } }),
      refused(401, { error: { code: "expired-token", message: "old" } }),
      refused(410, { error: { code: "superseded", message: "newer" }, attempt: 2 }),
    ];
    return stay(answers.map((answer, i) => of(i, answer)).join(""))(posted);
  });
  const resets: number[] = [];
  const streams = [
    open("gone", fetch),
    open("old", fetch, { getToken: async () => "t-new" }),
    open("again", fetch, { offset: at(3), onReset: (attempt) => resets.push(attempt) }),
  ];
  const [gone, old, again] = await Promise.all(streams.map(drain));
  assert.equal((gone?.error as { message: string }).message, "no such stream");
  assert.deepEqual([old?.chunks, again?.chunks, resets], [["fresh"], ["fresh"], [2]]);
  const asked = posts.slice(1).flatMap(({ streams }) => streams.map(({ id, token, offset }) => `${id} ${token} ${offset}`));
  assert.deepEqual([...new Set(asked)].sort(), ["again t-again -1", "old t-new -1"]);
});

for (const then of ["cut", "close"] as const) {
  test(`${then} of the shared connection: each comes back where it was`, async () => {
    const { fetch, posts } = relay((posted, round) =>
      round === 1
        ? stay(of(0, data(at(1), ["a1"])) + of(1, data(at(1), ["b1"])), then)(posted)
        : stay(posted.streams.map(({ id, offset }, i) => {
            assert.equal(offset, at(1));
            return of(i, data(at(2), [`${id}2`]) + closed(at(2)) + over);
          }))(posted),
    );
    const drained = await Promise.all(["a", "b"].map((id) => drain(open(id, fetch))));
    assert.deepEqual(drained.map(({ chunks }) => chunks), [["a1", "a2"], ["b1", "b2"]]);
    assert.ok(posts.length <= 3);
  });
}

test("a shared answer that is no event stream is fatal, as one's own is", async () => {
  const html = { status: 200, headers: { "content-type": "text/html" } };
  const { fetch } = relay(() => new Response("<h1>log in</h1>", html));
  const { error } = await drain(open("a", fetch));
  assert.equal((error as StreamError).code, "bad-response");
});

test("a refusal of the whole is everybody's, and is retried", async () => {
  const { fetch } = relay((posted, round) =>
    round === 1
      ? new Response("", { status: 503 })
      : stay(posted.streams.map((_, i) => of(i, frames(["x"]) + closed(at(1)) + over)))(posted),
  );
  const failures: unknown[] = [];
  const onError = ({ status }: { status?: number }) => failures.push(status);
  const drained = await Promise.all(["a", "b"].map((id) => drain(open(id, fetch, { onError }))));
  assert.deepEqual(drained.map(({ chunks }) => chunks), [["x"], ["x"]]);
  assert.deepEqual(failures, [503, 503]);
});

test("a server without that door is asked for each stream alone", async () => {
  const { fetch, posts, others } = relay(() => new Response("", { status: 404 }));
  assert.deepEqual((await drain(open("a", fetch))).chunks, ["alone"]);
  assert.deepEqual((await drain(open("b", fetch))).chunks, ["alone"]);
  assert.equal(posts.length, 1, "it is not asked again");
  assert.deepEqual(others, ["a", "b"].map((id) => `GET ${url(id)}?live=sse&offset=-1&frames=json`));
});

test("a consumer that lags is left out and comes back, the others go on", async () => {
  const large = "x".repeat(400_000);
  const { fetch, posts } = relay((posted) =>
    stay(posted.streams.map(({ id, offset }, i) => {
      if (id === "b") return of(i, offset === "-1" ? data(at(1), ["b1"]) : "");
      const from = offset === "-1" ? 0 : Number(offset.split("_")[1]);
      const rest = Array.from({ length: 12 - from }, (_, n) => data(at(from + n + 1), [large])).join("");
      return of(i, rest + closed(at(12)) + over);
    }))(posted),
  );
  // More chunks in its inbox than it reads ahead.
  const slow = open("a", fetch);
  const other = open("b", fetch);
  assert.deepEqual(await take(other[Symbol.asyncIterator](), 1), ["b1"]);
  assert.equal((await drain(slow)).chunks.length, 12);
  assert.ok(posts.length > 1);
  other.close();
});

test("a heartbeat is everybody's: quiet streams are not given up while the connection lives", async () => {
  const clock = new ManualClock();
  let beat = () => {};
  const { fetch, posts } = relay((posted) => {
    const text = new TextEncoder().encode(of(0, data(at(1), ["a"])) + of(1, data(at(1), ["b"])));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(text);
        beat = () => controller.enqueue(new TextEncoder().encode(": ping\n\n"));
        posted.signal.addEventListener("abort", () => controller.error(posted.signal.reason));
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  const streams = ["a", "b"].map((id) => open(id, fetch, { clock }));
  for (const stream of streams) await take(stream[Symbol.asyncIterator](), 1);
  for (let i = 0; i < 3; i++) {
    await clock.pass(40_000);
    beat();
    await settle();
  }
  assert.deepEqual(streams.map(({ status }) => status), ["open", "open"]);
  assert.equal(posts.length, 1);
  await clock.pass(46_000);
  await until(() => posts.length === 2);
  for (const stream of streams) stream.close();
});

test("more than a hundred streams take a second connection", async () => {
  const { fetch, posts } = relay((posted) => stay(posted.streams.map((_, i) => of(i, frames(["x"]) + closed(at(1)) + over)))(posted));
  const ids = Array.from({ length: 130 }, (_, i) => `s${i}`);
  const drained = await Promise.all(ids.map((id) => drain(open(id, fetch))));
  assert.ok(drained.every(({ chunks }) => chunks.length === 1));
  assert.deepEqual(posts.map(({ streams }) => streams.length), [100, 30]);
});

test("the page's own fetch may be given, which browsers let nobody call as another object's method", async () => {
  const { fetch } = relay((posted) => stay(posted.streams.map((_, i) => of(i, frames(["x"]) + closed(at(1)) + over)))(posted));
  const own = async function (this: unknown, target: string, init: RequestInit): Promise<Response> {
    if (this !== undefined) throw new TypeError("Illegal invocation");
    return fetch(target, init);
  };
  const stream = open("a", own, { onError: () => stream.close() });
  assert.deepEqual((await drain(stream)).chunks, ["x"]);
});

test("stop goes its own way", async () => {
  const { fetch, others } = relay(() => never()({ method: "", path: "", query: {}, headers: {}, signal: new AbortController().signal }));
  const stream = open("a", fetch);
  await stream.stop();
  assert.deepEqual(others, ["POST https://relay.example/v1/stop/a"]);
  stream.close();
});

test("a stream that is not JSON is what the relay says it is", async () => {
  const parts = [
    'event: stream\ndata:0\n\nevent: content\ndata:text/plain\n\n',
    'event: data\nid: o1\ndata:["WzEsMl0="]\n\nevent: control\ndata:{"streamNextOffset":"o1","streamClosed":true}\n\n',
    'event: closed\ndata:{}\n\n',
  ];
  const served = script(sse(parts, "stay"));
  const { chunks, error } = await drain(openStream(url("a"), options(served, { pool: true })));
  assert.deepEqual(chunks, ["[1,2]"]);
  assert.equal(error, undefined);
});
