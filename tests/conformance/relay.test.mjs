import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({
  baseUrl: process.env.RELAY_URL,
  longPollTimeoutMs: Number(process.env.RELAY_LONG_POLL_MS),
  subscriptions: false,
});
