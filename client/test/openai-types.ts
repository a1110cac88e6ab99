// Compiled, never run: the events of the real `openai` package, narrowed by their type.
import type OpenAI from "openai";
import { openStream, type StreamRef } from "../src/index.ts";

declare const ref: StreamRef;

export async function text(): Promise<string> {
  let text = "";
  for await (const event of openStream<OpenAI.Responses.ResponseStreamEvent>(ref)) {
    if (event.type === "response.output_text.delta") text += event.delta;
    // @ts-expect-error not every event has a delta
    else text += event.delta;
    if (event.type === "response.completed") text += event.response.usage?.total_tokens.toFixed();
    // @ts-expect-error no event of that name
    if (event.type === "response.finished") return text;
  }
  return text;
}
