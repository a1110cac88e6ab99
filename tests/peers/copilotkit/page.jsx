// CopilotKit's own chat with its own agent, whose requests go to the relay; tool calls as they come.
import { createRoot } from "react-dom/client";
import { CopilotChat, CopilotKitProvider, defineToolCallRenderer } from "@copilotkit/react-core/v2";
import { agentOf } from "../../../client/examples/agent.js";

const threadId = new URLSearchParams(location.search).get("chat");
const agent = agentOf(threadId);

const tools = [
  defineToolCallRenderer({
    name: "*",
    render: ({ name, args, status, result }) => (
      <pre className="tool" data-status={status}>{JSON.stringify({ name, args, result })}</pre>
    ),
  }),
];

createRoot(document.getElementById("root")).render(
  <CopilotKitProvider selfManagedAgents={{ default: agent }} renderToolCalls={tools}>
    <CopilotChat agentId="default" threadId={threadId} />
  </CopilotKitProvider>,
);
globalThis.agent = agent;
