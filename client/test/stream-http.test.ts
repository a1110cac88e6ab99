import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { openStream } from "../src/index.ts";
import { at, closed, data, drain, frames } from "./support.ts";

/** The same over real sockets, with the platform's fetch. */
const CHUNKS = Array.from({ length: 40 }, (_, i) => ({ type: "delta", text: `token ${i} \u{1f600}` }));

let handle = (_request: IncomingMessage, _response: ServerResponse): void => {};
const server = createServer((request, response) => handle(request, response)).listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/stream/abc`;
after(() => server.close());

const random = () => 0;

function from(request: IncomingMessage): number {
  const offset = new URL(request.url ?? "", url).searchParams.get("offset");
  return offset === "-1" ? 0 : CHUNKS.findIndex((_, i) => at(i + 1) === offset) + 1;
}

test("a socket that is cut after every 7th chunk", async () => {
  let connections = 0;
  handle = (request, response) => {
    connections++;
    response.writeHead(200, { "content-type": "text/event-stream" });
    const start = from(request);
    const end = Math.min(start + 7, CHUNKS.length);
    const last = end === CHUNKS.length;
    const text = frames(CHUNKS.slice(0, end), start) + (last ? closed(at(end)) : "event: data\nid: never\ndata:[");
    response.write(text, () => (last ? response.end() : response.destroy()));
  };
  const { chunks, error } = await drain(openStream(url, { random }));
  assert.equal(error, undefined);
  assert.deepEqual(chunks, CHUNKS);
  assert.equal(connections, 6);
});

test("break ends the connection on the server's side", async () => {
  let ended: Promise<unknown> = Promise.resolve();
  handle = (_request, response) => {
    ended = once(response, "close");
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(data(at(1), [1]));
  };
  for await (const chunk of openStream(url)) {
    assert.equal(chunk, 1);
    break;
  }
  await ended;
});

test("stop is a POST with the token", async () => {
  const seen: unknown[] = [];
  handle = (request, response) => {
    if (request.method === "POST") {
      seen.push(request.url, request.headers.authorization);
      response.writeHead(202).end('{"status":"asked"}');
    } else {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(data(at(1), [1]));
    }
  };
  const stream = openStream(url, { token: "t" });
  for await (const _chunk of stream) {
    await stream.stop();
    break;
  }
  assert.deepEqual(seen, ["/v1/stop/abc", "Bearer t"]);
});
