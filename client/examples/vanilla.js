import { openStream } from "streamstraight-celery";

/** Shows an answer in `output` while it is written; the button stops the worker. */
export async function show(ref, output, button) {
  const stream = openStream(ref, {
    // Asked when the token has expired: your route looks the stream up and returns its ref().
    getToken: async () => (await (await fetch(`/streams/${ref.stream_id}`)).json()).token,
    onReset: () => output.replaceChildren(), // a new attempt began: it all comes again
    onStatus: (status) => (output.dataset.status = status),
  });
  button.onclick = () => stream.stop().catch((error) => alert(error.message));
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") output.append(event.delta);
  }
  return stream.endReason; // "completed" or "stopped"; every other end throws a StreamError
}
