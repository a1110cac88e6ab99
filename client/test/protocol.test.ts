import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamError } from "../src/errors.ts";
import { Protocol } from "../src/protocol.ts";

/** What goes in, and what must come out: one case is a list of both in turn. */
type Input =
  | { connect: true }
  | { answer: number; headers?: Record<string, string>; body?: unknown; canRefresh?: boolean }
  | { data: unknown; id?: string }
  | { control: object | string }
  | { event: string; text: string }
  | { dropped: number; failed?: true }
  | { tokenFailed: true };

interface Case {
  name: string;
  position?: string;
  steps: [Input, unknown][];
  then?: string;
}

const NOW = Date.parse("2026-01-01T00:00:00Z");
const EVENTS = { "content-type": "text/event-stream; charset=utf-8" };
const again = (delay: number, code?: string) => (code ? { do: "connect", delay, code } : { do: "connect", delay });
const chunk = (value: unknown, position: string) => ({ chunk: value, position });
const query = (offset: string, more: object = {}) => ({ live: "sse", offset, ...more });

const CASES: Case[] = [
  {
    name: "a stream from its start to its end",
    steps: [
      [{ connect: true }, query("-1")],
      [{ answer: 200, headers: EVENTS }, { do: "read" }],
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ control: { streamNextOffset: "01", streamCursor: "c", upToDate: true } }, []],
      [{ data: ["b", "c"], id: "03" }, [chunk("b", "01,1,"), chunk("c", "03")]],
      [{ control: { streamNextOffset: "03", streamClosed: true, endReason: "completed" } }, [{ do: "end", reason: "completed" }]],
    ],
    then: "03",
  },
  {
    name: "offset and cursor go into the next request",
    steps: [
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ control: { streamNextOffset: "01", streamCursor: "c" } }, []],
      [{ dropped: 0 }, again(0)],
      [{ connect: true }, query("01", { cursor: "c" })],
    ],
  },
  {
    name: "a server without ids: chunks count when the control frame tells their offset",
    steps: [
      [{ data: ["a"] }, []],
      [{ data: ["b"] }, []],
      [{ control: { streamNextOffset: "02" } }, [chunk("a", "-1,1,=6d0e509e"), chunk("b", "02")]],
      [{ data: ["lost"] }, []],
      [{ connect: true }, query("02")],
      [{ data: ["c"] }, []],
      [{ control: { streamNextOffset: "03", streamClosed: true } }, [chunk("c", "03"), { do: "end", reason: "completed" }]],
    ],
    then: "03",
  },
  {
    name: "a frame seen before counts once",
    steps: [
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ data: ["a"], id: "01" }, []],
      [{ data: ["a"] }, []],
      [{ control: { streamNextOffset: "01" } }, []],
    ],
    then: "01",
  },
  {
    name: "control frames out of place, other events and empty frames bring nothing",
    steps: [
      [{ control: { streamNextOffset: "00" } }, []],
      [{ control: {} }, []],
      [{ event: "message", text: "no JSON" }, []],
      [{ data: [], id: "00" }, []],
    ],
    then: "00",
  },
  {
    name: "now becomes an offset with the first control frame",
    position: "now",
    steps: [
      [{ connect: true }, query("now")],
      [{ control: { streamNextOffset: "05", upToDate: true } }, []],
      [{ connect: true }, query("05")],
    ],
  },
  {
    name: "in the middle of a frame of a known attempt: goes on over any other framing",
    position: "02,3,",
    steps: [
      [{ connect: true }, query("02")],
      [{ data: ["x", "x"], id: "04" }, []],
      [{ data: ["x", "d"], id: "06" }, [chunk("d", "06")]],
      [{ data: ["e"], id: "07" }, [chunk("e", "07")]],
    ],
    then: "07",
  },
  {
    name: "in the middle of the first frame: goes on when the frame ends where it did",
    position: "-1,1,02",
    steps: [
      [{ connect: true }, query("-1")],
      [{ control: { streamNextOffset: "00" } }, []],
      [{ data: ["x", "b"], id: "02" }, [chunk("b", "02")]],
    ],
  },
  {
    name: "in the middle of the first frame: begins again when that cannot be told",
    position: "-1,1,02",
    steps: [
      [{ data: ["x", "y"], id: "12" }, [{ do: "reset", attempt: 0, delay: 125 }]],
      [{ connect: true }, query("-1")],
      [{ data: ["x", "y"], id: "12" }, [chunk("x", "-1,1,=f60ef986"), chunk("y", "12")]],
    ],
  },
  ...["completed", "stopped"].map((reason) => ({
    name: `${reason} is a good end`,
    steps: [[{ control: { streamClosed: true, endReason: reason } }, [{ do: "end", reason }]]] as Case["steps"],
  })),
  ...["producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired", "anything"].map((reason) => ({
    name: `${reason} is a bad end`,
    steps: [
      [{ control: { streamClosed: true, endReason: reason } }, [{ do: "end", reason, code: reason }]],
    ] as Case["steps"],
  })),
  {
    name: "the relay's own words for an end",
    steps: [
      [
        { control: { streamClosed: true, endReason: "producer-error", error: { code: "rate-limit", message: "slow down" } } },
        [{ do: "end", reason: "producer-error", code: "rate-limit", message: "slow down" }],
      ],
    ],
  },
  {
    name: "204 of a closed stream is its end",
    steps: [
      [{ answer: 204, headers: { "stream-closed": "true" } }, { do: "end", reason: "completed" }],
      [
        { answer: 204, headers: { "stream-closed": "true", "stream-end-reason": "too-large" } },
        { do: "end", reason: "too-large", code: "too-large" },
      ],
    ],
  },
  { name: "204 of an open one is nothing", steps: [[{ answer: 204 }, again(125, "unavailable")]] },
  {
    name: "an answer that is no event stream",
    steps: [[{ answer: 200, headers: { "content-type": "text/html" } }, { do: "end", code: "bad-response", status: 200 }]],
  },
  ...Object.entries({ 400: "bad-request", 403: "not-found", 404: "not-found", 405: "bad-response", 410: "gone" }).map(
    ([status, code]) => ({
      name: `${status} is fatal`,
      steps: [[{ answer: +status }, { do: "end", code, status: +status }]] as Case["steps"],
    }),
  ),
  ...[408, 425, 429, 500, 502, 503, 504].map((status) => ({
    name: `${status} is retried`,
    steps: [[{ answer: status, body: "<html>" }, again(125, "unavailable")]] as Case["steps"],
  })),
  {
    name: "Retry-After is waited out, with the jitter on top",
    steps: [
      [{ answer: 429, headers: { "retry-after": "7" } }, { ...again(7125, "unavailable"), asked: true }],
      [
        { answer: 503, headers: { "retry-after": "Thu, 01 Jan 2026 00:00:09 GMT" } },
        { ...again(9250, "unavailable"), asked: true },
      ],
      [{ answer: 503, headers: { "retry-after": "soon" } }, again(500, "unavailable")],
      [{ answer: 503, headers: { "retry-after": "99999999" } }, { ...again(3_601_000, "unavailable"), asked: true }],
    ],
  },
  {
    name: "the relay's own words for a refusal",
    steps: [
      [
        { answer: 404, body: { error: { code: "unknown-stream", message: "no such stream" } } },
        { do: "end", code: "unknown-stream", message: "no such stream", status: 404 },
      ],
      [{ answer: 404, body: "null" }, { do: "end", code: "not-found", status: 404 }],
      [{ answer: 404, body: { error: "a word" } }, { do: "end", code: "not-found", status: 404 }],
    ],
  },
  {
    name: "401: a new token once, the second 401 in a row is fatal",
    steps: [
      [{ answer: 401, canRefresh: true }, { do: "token" }],
      [{ answer: 401, canRefresh: true }, { do: "end", code: "unauthorized", status: 401 }],
    ],
  },
  {
    name: "401: a new token again when something else came in between",
    steps: [
      [{ answer: 401, canRefresh: true }, { do: "token" }],
      [{ answer: 200, headers: EVENTS, canRefresh: true }, { do: "read" }],
      [{ answer: 401, canRefresh: true }, { do: "token" }],
      [{ dropped: Number.NEGATIVE_INFINITY, failed: true }, again(125, "network")],
      [{ answer: 401, canRefresh: true }, { do: "token" }],
      [{ tokenFailed: true }, again(250, "token")],
      [{ answer: 401, canRefresh: true }, { do: "token" }],
    ],
  },
  { name: "401 with nobody to ask", steps: [[{ answer: 401 }, { do: "end", code: "unauthorized", status: 401 }]] },
  {
    name: "410 superseded: from the start, at once",
    steps: [
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ control: { streamNextOffset: "01", streamCursor: "c" } }, []],
      [{ answer: 410, body: { error: { code: "superseded" }, attempt: 2 } }, { do: "reset", attempt: 2, delay: 0 }],
      [{ connect: true }, query("-1")],
    ],
    then: "-1",
  },
  {
    name: "410 superseded at the start backs off",
    steps: [
      [{ answer: 410, body: { error: { code: "superseded" } } }, { do: "reset", attempt: 0, delay: 125 }],
      [{ answer: 410, body: { error: { code: "superseded" } } }, { do: "reset", attempt: 0, delay: 250 }],
    ],
  },
  {
    name: "the backoff doubles up to its cap, and a data frame ends it",
    steps: [
      ...[125, 250, 500, 1000, 2000, 4000, 5000, 5000].map((delay) => [{ dropped: 0, failed: true }, again(delay, "network")] as const),
      [{ control: { streamNextOffset: "00" } }, []],
      [{ dropped: 0, failed: true }, again(5000, "network")],
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ dropped: 0, failed: true }, again(125, "network")],
    ].map(([input, output]) => [input, output] as [Input, unknown]),
  },
  {
    name: "recycled after data: at once; closed without: backs off",
    steps: [
      [{ connect: true }, query("-1")],
      [{ data: ["a"], id: "01" }, [chunk("a", "01")]],
      [{ dropped: 5 }, again(0)],
      [{ connect: true }, query("01")],
      [{ data: ["a"], id: "01" }, []],
      [{ dropped: 5 }, again(125, "disconnected")],
      [{ connect: true }, query("01")],
      [{ control: { streamNextOffset: "01" } }, []],
      [{ dropped: 5 }, again(250, "disconnected")],
    ],
  },
  {
    name: "recycled after a long quiet time: at once",
    steps: [
      [{ dropped: 0, failed: true }, again(125, "network")],
      [{ dropped: 60_000 }, again(0)],
      [{ dropped: 60_000, failed: true }, again(125, "network")],
    ],
  },
  ...Object.entries({ "no JSON": "[1,", "an object": "{}", "a number": "1", nothing: "" }).map(([name, text]) => ({
    name: `a data frame with ${name}`,
    steps: [[{ event: "data", text }, [{ do: "end", code: "bad-frame" }]]] as Case["steps"],
  })),
  { name: "a control frame without JSON", steps: [[{ control: "{" }, [{ do: "end", code: "bad-frame" }]]] },
  { name: "a control frame with null", steps: [[{ control: "null" }, [{ do: "end", code: "bad-frame" }]]] },
];

function feed(protocol: Protocol, input: Input): unknown {
  if ("connect" in input) return protocol.connect();
  if ("tokenFailed" in input) return protocol.tokenFailed(new Error("offline"));
  if ("dropped" in input) {
    return protocol.dropped(input.dropped, input.failed && new StreamError({ code: "network", message: "" }));
  }
  if ("answer" in input) {
    const { answer: status, body = "", canRefresh = false } = input;
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return protocol.answered({ status, headers: new Headers(input.headers), body: text }, canRefresh, NOW);
  }
  if ("data" in input) return protocol.frame({ event: "data", id: input.id, data: JSON.stringify(input.data) });
  if ("event" in input) return protocol.frame({ event: input.event, data: input.text });
  const { control } = input;
  return protocol.frame({ event: "control", data: typeof control === "string" ? control : JSON.stringify(control) });
}

/** A move as the cases write it: its failure's fields beside its own, as far as they are asked for. */
function plain(output: unknown, expected: unknown): unknown {
  if (Array.isArray(output)) return output.map((item, i) => plain(item, (expected as unknown[])[i]));
  const { failure, ...move } = output as { failure?: StreamError };
  const all = { ...failure, ...move, ...(failure && { message: failure.message }) };
  if (!("do" in move)) return move;
  const keys = new Set([...Object.keys(expected ?? {}), ...(failure ? ["code"] : []), "do"]);
  if ((move as { asked?: boolean }).asked) keys.add("asked");
  return Object.fromEntries(Object.entries(all).filter(([key]) => keys.has(key)));
}

for (const { name, position = "-1", steps, then } of CASES) {
  test(name, () => {
    const protocol = new Protocol(position, () => 0.5);
    for (const [input, expected] of steps) {
      const output = feed(protocol, input);
      assert.deepEqual(plain(output, expected), expected, JSON.stringify(input));
    }
    if (then) assert.equal(protocol.position, then);
  });
}

test("full jitter: anywhere between nothing and the ceiling", () => {
  const values = [0, 0.999, 0.25];
  const protocol = new Protocol("-1", () => values.shift() ?? 0);
  const delays = values.slice().map(() => (protocol.dropped(0) as { delay: number }).delay);
  assert.deepEqual(delays, [0, 499.5, 250]);
});
