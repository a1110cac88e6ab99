// Compiled, never run: the types of what each codec sends.
import {
  type AnthropicEvent, type GeminiChunk, type LangChainEvent, type LiteLLMChunk, type LlamaIndexEvent, type OllamaChunk,
  type OpenAIAgentsEvent, type OpenAIEvent, openStream, type PydanticAIEvent, type StreamRef,
} from "../src/index.ts";

declare const ref: StreamRef;
declare function is<T>(value: T): void;

export async function texts(): Promise<void> {
  for await (const event of openStream<OpenAIEvent>(ref)) {
    if (event.type === "response.output_text.delta") is<string>(event.delta);
    else if (event.type === "response.completed") is<number | undefined>(event.response.usage?.output_tokens);
    // @ts-expect-error instructions are not sent
    if (event.type === "response.created") event.response.instructions;
  }
  for await (const event of openStream<AnthropicEvent>(ref)) {
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") is<string>(event.delta.text);
  }
  for await (const event of openStream<OpenAIAgentsEvent>(ref)) {
    if (event.type === "raw_response_event") is<OpenAIEvent>(event.data);
    else if (event.type === "agent_updated_stream_event") is<string>(event.new_agent.name);
    // @ts-expect-error the agent is not sent, only its name
    if (event.type === "agent_updated_stream_event") event.new_agent.instructions;
  }
  for await (const event of openStream<PydanticAIEvent>(ref)) {
    if (event.event_kind === "part_delta") is<string | undefined>(event.delta.content_delta);
  }
  for await (const event of openStream<LangChainEvent>(ref)) {
    if (Array.isArray(event)) is<unknown>(event[1]);
    else if ("event" in event) is<string>(event.run_id);
    else is<string>(event.type);
  }
  for await (const chunk of openStream<GeminiChunk>(ref)) is<string | undefined>(chunk.candidates[0]?.content.parts[0]?.text);
  for await (const chunk of openStream<OllamaChunk>(ref)) is<string | undefined>(chunk.message?.content);
  for await (const chunk of openStream<LiteLLMChunk>(ref)) is<string | undefined>(chunk.choices[0]?.delta.content);
  for await (const event of openStream<LlamaIndexEvent>(ref)) is<string | undefined>(event.delta);
}
