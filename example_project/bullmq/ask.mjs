// Asks a question and shows the answer as it comes: `node ask.mjs "Why is the sky blue?"`
import { randomUUID } from "node:crypto";
import { stream } from "@durable-streams/client";
import { Queue } from "bullmq";
import { connection, QUEUE } from "./queue.mjs";
import { create, headers, streamUrl } from "./relay.mjs";

const prompt = process.argv[2] ?? "How does this work?";
const streamId = process.argv[3] ?? randomUUID();
const url = streamUrl(streamId);

// The stream first, so that readers find it however long the job waits.
await create(url);
const queue = new Queue(QUEUE, { connection });
await queue.add("answer", { prompt, streamId }, { attempts: 3 });
await queue.close();

const reading = await stream({ url, headers, offset: "-1", live: "sse" });
for await (const chunk of reading.jsonStream()) process.stdout.write(chunk.delta);
process.stdout.write("\n");
