import { HttpAgent } from "@ag-ui/client";
import { joinable, relayFetch } from "streamstraight-celery/ag-ui";

class Agent extends joinable(HttpAgent) {}

/**
 * An agent whose route answers with a ref. `runAgent()` begins a run, `connectAgent()` joins the
 * thread's latest one, for example after a reload; `abortRun()` stops it.
 */
export function agentOf(threadId, more = {}) {
  return new Agent({ url: "/api/agent", threadId, fetch: relayFetch(), ...more });
}
