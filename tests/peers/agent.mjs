// Runs the example's agent, AG-UI's HttpAgent, and prints its events, one JSON text a line, and in the end
// the conversation. A line on stdin aborts the run.
// node agent.mjs <url> <thread> [join [messages]] (bundled: our client is not among the packages here)
import { createInterface } from "node:readline";
import { agentOf } from "../../client/examples/agent.js";

const [url, threadId, join, more = "[]"] = process.argv.slice(2);
const print = (value) => console.log(JSON.stringify(value));
const messages = [{ id: "question", role: "user", content: "hello" }, ...JSON.parse(more)];
const agent = agentOf(threadId, { url, initialMessages: messages, initialState: { asked: 1 } });
const input = createInterface(process.stdin).once("line", () => agent.abortRun());

try {
  await (join ? agent.connectAgent : agent.runAgent).call(agent, { runId: "run" }, { onEvent: ({ event }) => print({ event }) });
} catch (error) {
  print({ thrown: `${error}` });
}
print({ messages: agent.messages, state: agent.state });
input.close();
process.stdin.destroy();
