import { LiveStream } from "./stream.ts";
import type { Stream, StreamOptions, StreamRef } from "./types.ts";

export type {
  AnthropicEvent, BinaryValue, GeminiChunk, LangChainEvent, LangChainMessage, LiteLLMChunk, LlamaIndexEvent, OllamaChunk,
  OpenAIAgentsEvent, OpenAIChatChunk, OpenAIEvent, PydanticAIEvent, PydanticAIPart, TokenUsage,
} from "./agents.ts";
export { type Failure, StreamError, StreamResetError } from "./errors.ts";
export type { Clock, EndReason, OffsetStorage, Stream, StreamOptions, StreamRef, StreamStatus } from "./types.ts";

/**
 * Opens a stream for reading: `for await (const chunk of openStream<Chunk>(ref)) ...`
 *
 * Every chunk is delivered once and in order, over any number of dropped connections. The iteration
 * ends when the stream is complete or was stopped, and throws a `StreamError` when it failed.
 */
export function openStream<T = unknown>(source: StreamRef | string, options: StreamOptions<T> = {}): Stream<T> {
  return new LiveStream(source, options);
}
