// Reads a stream with @durable-streams/client and prints what it gets, one JSON text a line.
// node read.mjs <url> <token> <offset> <live: sse, long-poll, true or false>
import { stream } from "@durable-streams/client";

const [url, token, offset, mode] = process.argv.slice(2);
const live = { true: true, false: false }[mode] ?? mode;
const print = (value) => console.log(JSON.stringify(value));

try {
  const response = await stream({
    url,
    offset,
    live,
    json: true,
    headers: { Authorization: `Bearer ${token}` },
    warnOnHttp: false,
  });
  const done = Promise.withResolvers?.() ?? {};
  response.subscribeJson((batch) => {
    print({ items: batch.items, offset: batch.offset, closed: batch.streamClosed });
    if (batch.streamClosed) done.resolve?.();
  });
  await response.closed;
  print({ closed: response.streamClosed, offset: response.offset });
} catch (error) {
  print({ error: error.code ?? error.name, status: error.status, message: error.message });
}
