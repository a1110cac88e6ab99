import { LiveConversation } from "./conversation.ts";
import { LiveStream } from "./stream.ts";
import type {
  Conversation, ConversationOptions, ConversationRef, ConversationTypes, Stream, StreamOptions, StreamRef,
} from "./types.ts";

export type {
  AnthropicEvent, BinaryValue, GeminiChunk, LangChainEvent, LangChainMessage, LiteLLMChunk, LlamaIndexEvent, OllamaChunk,
  OpenAIAgentsEvent, OpenAIChatChunk, OpenAIEvent, PydanticAIEvent, PydanticAIPart, TokenUsage,
} from "./agents.ts";
export { type Failure, StreamError, StreamResetError } from "./errors.ts";
export type {
  Clock, Conversation, ConversationEvent, ConversationOptions, ConversationRef, ConversationTypes, EndReason, OffsetStorage,
  SendOptions, Stream, StreamOptions, StreamRef, StreamStatus,
} from "./types.ts";

/**
 * Opens a stream for reading: `for await (const chunk of openStream<Chunk>(ref)) ...`
 *
 * Every chunk is delivered once and in order, over any number of dropped connections. The iteration
 * ends when the stream is complete or was stopped, and throws a `StreamError` when it failed.
 */
export function openStream<T = unknown>(source: StreamRef | string, options: StreamOptions<T> = {}): Stream<T> {
  return new LiveStream(source, options);
}

/**
 * Opens a conversation: `for await (const event of openConversation(ref)) ...`
 *
 * Every event is delivered once and in order, from the first one, or from `offset`. Open the streams that begin
 * by `openStream(event.stream_id)`: they come over the same connection.
 */
export function openConversation<T extends Partial<ConversationTypes> = {}>(
  source: ConversationRef | string,
  options: ConversationOptions<T> = {},
): Conversation<T> {
  return new LiveConversation(source, options);
}
