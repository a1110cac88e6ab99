// Reads a stream with our client as it ships, in whatever runtime, and prints what it sees, one JSON
// text a line. The chunk "stop" makes it stop the task.
// node read_ours.mjs <client.js> <url> <token> <alone or pool>
const [client, url, token, way] = globalThis.Deno?.args ?? process.argv.slice(2);
const { openStream } = await import(client);
const print = (value) => console.log(JSON.stringify(value));

const stream = openStream({ stream_id: "any", url, token }, {
  pool: way === "pool",
  onStatus: (status) => print({ status }),
});
try {
  for await (const chunk of stream) {
    print({ chunk });
    if (chunk === "stop") await stream.stop();
  }
  print({ end: stream.endReason });
} catch (error) {
  print({ error: error.code, message: error.message });
}
