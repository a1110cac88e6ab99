import { HttpAgent } from "@ag-ui/client";
import { relayFetch } from "streamstraight-celery/ag-ui";

/** An agent whose route answers with a ref; running and aborting it are AG-UI's own. */
export function agentOf(threadId, more = {}) {
  return new HttpAgent({ url: "/api/agent", threadId, fetch: relayFetch(), ...more });
}
