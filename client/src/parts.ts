import type { Message, Part } from "./ai-sdk.ts";

/**
 * The events that rebuild a message's parts, replayed before those of a stream that continues it.
 * A tool's input comes as a delta: `tool-input-available` would make the page run the tool again.
 */
export function* rebuild(message: Message): Generator<Part> {
  for (const [i, part] of (message.parts ?? []).entries()) {
    const { type, text, state, toolName = type.slice(5), ...rest } = part as Part & { toolName?: string };
    const { toolCallId, input, output, errorText, approval } = rest;
    const id = `before-${i}`;
    if (type === "step-start") yield { type: "start-step" };
    else if (type === "text" || type === "reasoning") {
      yield { ...rest, type: `${type}-start`, id };
      yield { type: `${type}-delta`, id, delta: text };
      yield { type: `${type}-end`, id };
    } else if (type === "dynamic-tool" || type.startsWith("tool-")) {
      const { title, providerExecuted } = rest;
      const dynamic = type === "dynamic-tool";
      yield { type: "tool-input-start", toolCallId, toolName, ...defined({ title, providerExecuted, dynamic }) };
      yield { type: "tool-input-delta", toolCallId, inputTextDelta: JSON.stringify(input ?? null) };
      const { id: approvalId, approved, reason } = (approval ?? {}) as Record<string, unknown>;
      if (approvalId) yield { type: "tool-approval-request", approvalId, toolCallId };
      if (approvalId && approved !== undefined && state !== "output-available")
        yield { type: "tool-approval-response", approvalId, approved, ...defined({ reason }) };
      if (state === "output-available") yield { type: "tool-output-available", toolCallId, output };
      if (state === "output-error") yield { type: "tool-output-error", toolCallId, errorText };
      if (state === "output-denied") yield { type: "tool-output-denied", toolCallId };
    } else yield part as Part;
  }
}

function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
}
