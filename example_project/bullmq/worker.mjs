// A BullMQ worker that streams through the relay: `node worker.mjs`
import { setTimeout as sleep } from "node:timers/promises";
import { UnrecoverableError, Worker } from "bullmq";
import { connection, QUEUE } from "./queue.mjs";
import { StreamEnded, write } from "./relay.mjs";

async function run(job) {
  const attempt = job.attemptsStarted - 1;
  const last = job.attemptsStarted >= job.opts.attempts;
  try {
    await write(job.data.streamId, { id: job.id, attempt, last }, answer(job.data.prompt));
  } catch (error) {
    throw error instanceof StreamEnded ? new UnrecoverableError(error.message) : error;
  }
}

/** Stands in for a language model: words at a human pace. A prompt "fail ..." fails half-way. */
async function* answer(prompt) {
  const text = `You asked: "${prompt}". This answer comes from a BullMQ job, one word at a time.`;
  for (const [index, word] of text.split(" ").entries()) {
    await sleep(Number(process.env.PACE_MS ?? 40));
    if (index === 5 && prompt.startsWith("fail")) throw new Error("the model failed");
    yield { type: "text-delta", delta: `${word} ` };
  }
}

const worker = new Worker(QUEUE, run, { connection });
worker.on("failed", (job, error) => console.error(`job ${job?.id} failed: ${error.message}`));
worker.on("completed", (job) => console.log(`job ${job.id} completed`));
await worker.waitUntilReady();
console.log("ready");

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await worker.close();
    process.exit();
  });
}
