// Writes streams to the relay; for jobs of any queue.
import { setTimeout as sleep } from "node:timers/promises";
import { DurableStream, IdempotentProducer } from "@durable-streams/client";

const { RELAY_URL = "http://127.0.0.1:8787", RELAY_API_KEY = "" } = process.env;
const PATIENCE_MS = 60_000;

export const headers = { Authorization: `Bearer ${RELAY_API_KEY}` };
export const streamUrl = (id) => `${RELAY_URL}/v1/stream/${encodeURIComponent(id)}`;

/** The stream was stopped, or has ended otherwise: there is no use in trying again. */
export class StreamEnded extends Error {}

/** Creates a stream, or finds the one that is there. */
export const create = (url) =>
  DurableStream.create({ url, headers, contentType: "application/json", fetch: retrying });

/**
 * Writes all chunks to the stream, each once, and ends it.
 *
 * `job`: its `id`, the number of this `attempt` (from 0), and whether it is the `last` one.
 */
export async function write(streamId, job, chunks) {
  const url = streamUrl(streamId);
  // A repeated attempt answers anew; readers are told that what the failed one wrote is gone.
  if (job.attempt > 0 && (await hasEnded(url))) return;
  let failed;
  // Numbered requests, so that one whose answer was lost can be sent again without doubling.
  const producer = new IdempotentProducer(await create(url), `job-${job.id}`, {
    epoch: job.attempt, // what an older attempt still sends is refused from then on
    fetch: retrying,
    onError: (error) => (failed ??= error),
  });
  try {
    for await (const chunk of chunks) {
      if (failed) break;
      producer.append(JSON.stringify(chunk));
    }
    await producer.flush();
    if (failed) throw failed;
    await producer.close();
  } catch (error) {
    await producer.detach();
    if (job.last && !(error instanceof StreamEnded)) await endAsFailed(url);
    throw error;
  }
}

/** Whether an earlier attempt's stream has ended; if not, it is deleted. */
async function hasEnded(url) {
  const found = await retrying(url, { method: "HEAD", headers });
  if (found.headers.get("Stream-Closed")) return true;
  const { status } = await retrying(url, { method: "DELETE", headers });
  if (status !== 204 && status !== 404) throw new Error(`DELETE ${url}: ${status}`);
  return false;
}

async function endAsFailed(url) {
  const end = { "Stream-Closed": "true", "Stream-End-Reason": "producer-error" };
  await retrying(url, { method: "POST", headers: { ...headers, ...end } });
}

/** `fetch` that asks again while the relay cannot be reached, is busy or restarts. */
export async function retrying(url, init) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
    const answer = await fetch(url, init).catch((error) => {
      if (init?.signal?.aborted || Date.now() > deadline) throw error;
    });
    // Version 0.2.7 of the producer would go on sending to a stream that has ended.
    const ended = answer?.status === 409 && answer.headers.get("Stream-End-Reason");
    if (ended) throw new StreamEnded(`the stream has ended (${ended})`);
    const settled = answer && answer.status !== 429 && answer.status < 500;
    if (settled || (answer && Date.now() > deadline)) return answer;
    await answer?.body?.cancel();
    await sleep(wait * (0.5 + Math.random() / 2));
  }
}
