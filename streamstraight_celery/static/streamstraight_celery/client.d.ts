/** The fields of a `StreamError`. */
export interface Failure {
	code: string;
	message: string;
	status?: number;
	endReason?: EndReason;
	cause?: unknown;
}
/**
 * A stream that failed. `code` is the relay's if it gave one, an end reason, or:
 * retried: `network`, `timeout`, `disconnected`, `unavailable`, `token`;
 * fatal: `unauthorized`, `not-found`, `gone`, `superseded`, `bad-request`, `bad-response`, `bad-frame`.
 */
export declare class StreamError extends Error {
	name: string;
	readonly code: string;
	/** The HTTP status, if there was one. */
	readonly status?: number;
	/** Set when the stream itself ended badly, for example `producer-error`. */
	readonly endReason?: EndReason;
	/** The id of the stream: a page may read many. */
	readonly streamId?: string;
	/** False when the client retries by itself. */
	readonly fatal: boolean;
	constructor(failure: Failure, fatal?: boolean);
}
/** A new attempt began, and there is no `onReset` to drop the chunks of the old one. */
export declare class StreamResetError extends StreamError {
	name: string;
	readonly attempt: number;
	constructor(attempt: number);
}
/** The answer of your web route (`stream.ref()`): where a stream is, and the token for it. */
export interface StreamRef {
	stream_id: string;
	url: string;
	token?: string | undefined;
	expires_at?: number | string | undefined;
}
/**
 * Why a stream ended. `completed` and `stopped` end the iteration; every other reason makes the
 * iterator throw a `StreamError` after the last chunk.
 */
export type EndReason = "completed" | "stopped" | "producer-error" | "producer-disconnected" | "inactivity-timeout" | "too-large" | "expired" | (string & {});
/**
 * What the reader is doing, or waiting for:
 *
 * - `connecting`: no answer and no failure yet.
 * - `waiting-for-connection`: no answer for 3 seconds. Over HTTP/1.1 a browser has six connections to a
 *   host, for all tabs together, and they may all be in use.
 * - `queued`: connected; no worker has started the task yet.
 * - `waiting`: connected; the task waits for a message to its conversation, without a worker.
 * - `open`: connected.
 * - `stalled`: connected, but the worker has not been heard of for a while. The stream continues, or
 *   ends as `producer-disconnected`.
 * - `reconnecting`: the connection was lost and is being made again.
 * - `closed`: nothing more arrives. Chunks may still be waiting to be taken.
 */
export type StreamStatus = "connecting" | "waiting-for-connection" | "queued" | "waiting" | "open" | "stalled" | "reconnecting" | "closed";
/** Time, replaceable in tests. */
export interface Clock {
	setTimeout(callback: () => void, milliseconds: number): unknown;
	clearTimeout(timer: unknown): void;
	/** Milliseconds since 1970. */
	now(): number;
}
/** `localStorage`, `sessionStorage`, or what behaves like them. */
export interface OffsetStorage {
	getItem(key: string): string | null;
	setItem(key: string, value: string): void;
}
export interface StreamOptions<T> {
	/** The bearer token, when it is not in the ref. */
	token?: string | undefined;
	/**
	 * Asked for a token when there is none, and again each time the relay refuses the one in use.
	 * A rejection is retried with backoff; reject with a `StreamError` to give up for good.
	 */
	getToken?: (() => Promise<string>) | undefined;
	/** Where to continue: an earlier `Stream.offset`, or `-10` for the last ten. Default: the start. */
	offset?: string | undefined;
	/** Seconds to wait for a stream that is not there yet, at most 300. Without it that is `not-found`. */
	wait?: number | undefined;
	/**
	 * Keeps `offset` over reloads: without an `offset`, the stream continues after the last chunk that
	 * the consumer had finished with. A key of `sessionStorage`, or a key and a storage. Keeping what was
	 * rendered is up to the page.
	 */
	persist?: string | {
		key: string;
		storage: OffsetStorage;
	} | undefined;
	/**
	 * Turns the string of a custom codec into a value. Without it, a chunk is its JSON value; of a
	 * stream that is not JSON it is text (`text/*`) or a `Uint8Array`.
	 */
	decoder?: ((text: string) => T) | undefined;
	/** Aborting closes the connection and makes the iterator throw the signal's reason. */
	signal?: AbortSignal | undefined;
	/**
	 * Share one connection with all streams of the same relay that have this option: over HTTP/1.1 a
	 * browser has six connections to a host, for all tabs together.
	 */
	pool?: boolean | undefined;
	/**
	 * `pause` (default): a tab that has been hidden for 5 seconds closes its connection, and catches up
	 * when it is shown. `read`: it keeps the connection, for pages that act on an answer in the
	 * background.
	 */
	whileHidden?: "pause" | "read" | undefined;
	/** It must respect the signal in `init`. Default: the platform's. */
	fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
	/**
	 * A new attempt began: drop what was rendered, all of it is sent again. Called between the last
	 * chunk of the old attempt and the first of the new one; with 0 when the attempt is not known.
	 * Without it the iterator throws a `StreamResetError`, unless no chunk had been delivered yet.
	 */
	onReset?: ((attempt: number) => void) | undefined;
	onStatus?: ((status: StreamStatus) => void) | undefined;
	/** Called for every failure, also for retried ones (`error.fatal` is false). */
	onError?: ((error: StreamError) => void) | undefined;
	/** Seconds of failures in a row after which the iterator throws. Default: it retries forever. */
	giveUpAfter?: number | undefined;
	/** In [0, 1): spreads the retries. Default: `Math.random`. */
	random?: (() => number) | undefined;
	clock?: Clock | undefined;
}
/** An open stream, for one consumer. Reading starts at once, and pauses while the consumer lags. */
export interface Stream<T> extends AsyncIterable<T> {
	readonly status: StreamStatus;
	/**
	 * The position after the last chunk delivered, for `options.offset` later. Opaque, and only for
	 * this client: between two chunks of one frame it is more than one of the relay's offsets.
	 */
	readonly offset: string;
	/** Set once the relay has said that the stream ended. */
	readonly endReason: EndReason | undefined;
	/**
	 * Asks the relay to stop the task. Reading continues until the relay confirms with `stopped`. Rejects
	 * with a `StreamError` when the relay refuses or does not answer; it is not retried.
	 */
	stop(): Promise<void>;
	/** The same chunks as a `ReadableStream`, in place of the iteration. Cancelling it closes. */
	toReadableStream(): ReadableStream<T>;
	/** Closes the connection and ends the iteration. The task continues. */
	close(): void;
}
/** The answer of your web route (`chat.ref()`): where a conversation is, and the token for it and its streams. */
export interface ConversationRef extends StreamRef {
	conversation: string;
}
/**
 * What goes through a conversation: `openConversation<{ chunk: Token; answer: Approval }>(ref)`. What is left out
 * is `unknown`, and there are no events of the application's own.
 */
export interface ConversationTypes {
	/** A chunk of its streams. */
	chunk: unknown;
	/** The value of a message, as `send` takes it. */
	input: unknown;
	/** The value of a task's question. */
	question: unknown;
	/** The value of an answer to it. */
	answer: unknown;
	/** The application's own events: by type, what their value is. */
	events: object;
}
export type Own<E> = {
	[K in keyof E]: {
		type: K;
		at: number;
		id: string;
		value: E[K];
		stream_id?: string;
	};
}[keyof E];
export type Of<T, K extends keyof ConversationTypes> = T extends {
	[_ in K]: infer V;
} ? V : unknown;
/** An event of a conversation. `at`: milliseconds since 1970. */
export type ConversationEvent<T extends Partial<ConversationTypes> = {}> = 
/** A stream was asked for. `parent`: the stream whose task started it. */
{
	type: "stream";
	at: number;
	stream_id: string;
	task?: string;
	task_id?: string;
	title?: string;
	parent?: string;
}
/** It has ended. `error` is what its readers are told. */
 | {
	type: "ended";
	at: number;
	stream_id: string;
	reason: EndReason;
	error?: {
		code: string;
		message: string;
	};
}
/** A message to the conversation's tasks. `answers`: the question that it answers. */
 | {
	type: "input";
	at: number;
	id: string;
	value: Of<T, "input"> | Of<T, "answer">;
	stream_id?: string;
	answers?: string;
}
/** A task asks. */
 | {
	type: "question";
	at: number;
	id: string;
	stream_id: string;
	value: Of<T, "question">;
}
/** It does not wait for the answer any more. */
 | {
	type: "closed";
	at: number;
	question: string;
}
/** The message `input` did not fit. `answers`: the question that it was to answer, which is open again. */
 | {
	type: "refused";
	at: number;
	input: string;
	message: string;
	stream_id?: string;
	answers?: string;
} | (T extends {
	events: infer E;
} ? Own<E> : never);
export interface ConversationOptions<T extends Partial<ConversationTypes> = {}> extends StreamOptions<ConversationEvent<T>> {
	/** The events before `offset`, when they were delivered to an earlier reader: `stop` goes by them too. */
	seen?: readonly ConversationEvent<T>[] | undefined;
}
export interface SendOptions {
	/** Names the message: of several with one id only the first is added. */
	id?: string | undefined;
	/** The id of the question that it answers. */
	answers?: string | undefined;
}
/** An open conversation: its events, for one consumer. It does not end by itself. */
export interface Conversation<T extends Partial<ConversationTypes> = {}> extends AsyncIterable<ConversationEvent<T>> {
	readonly status: StreamStatus;
	/** The position after the last event delivered, for `options.offset` later. */
	readonly offset: string;
	/** Opens one of its streams, with the same token and over the same connection. */
	openStream<C = Of<T, "chunk">>(id: string, options?: StreamOptions<C>): Stream<C>;
	/**
	 * Sends a message to its tasks, and tries again when the network fails; it is added once. Resolves to its id.
	 * Rejects with a `StreamError` when the relay refuses or does not answer.
	 */
	send(value: Of<T, "input">, options?: SendOptions): Promise<string>;
	/** Answers a question. Rejects with code `answered` when another answer came first or nobody waits any more. */
	answer(question: {
		id: string;
	} | string, value: Of<T, "answer">): Promise<string>;
	/**
	 * Asks the relay to stop the active stream, of those that were delivered or `seen`. `tree`: also the streams that its
	 * task has started.
	 */
	stop(options?: {
		tree?: boolean | undefined;
	}): Promise<void>;
	/** Closes the connection and ends the iteration, also those of its streams. The tasks continue. */
	close(): void;
}
/** What the codecs of agent frameworks send: `openStream<OpenAIAgentsEvent>(ref)`. */
/** Bytes inside a chunk: `Uint8Array.from(atob(value.base64), (each) => each.charCodeAt(0))`. */
export interface BinaryValue {
	type: "bytes";
	base64: string;
	media_type?: string;
}
export interface TokenUsage {
	input_tokens?: number;
	output_tokens?: number;
	total_tokens?: number;
}
/** `codec="openai"`: a chunk of Chat Completions. */
export interface OpenAIChatChunk {
	id: string;
	object?: "chat.completion.chunk";
	model?: string;
	created?: number;
	choices: {
		index: number;
		delta: {
			role?: string;
			content?: string;
			refusal?: string;
			reasoning_content?: string;
			tool_calls?: {
				index?: number;
				id?: string;
				type?: string;
				function: {
					name?: string;
					arguments?: string;
				};
			}[];
		};
		finish_reason?: string;
	}[];
	usage?: {
		prompt_tokens: number;
		completion_tokens: number;
		total_tokens: number;
	};
}
/** An item of a response: a message, a tool call, reasoning. */
export interface OpenAIItem {
	id?: string;
	type: string;
	status?: string;
	call_id?: string;
	name?: string;
	arguments?: string;
	[field: string]: unknown;
}
export interface OpenAIPlace {
	sequence_number?: number;
	item_id: string;
	output_index: number;
}
/** `codec="openai"`: an event of the Responses API. Other types than these have their own fields. */
export type OpenAIEvent = (OpenAIPlace & {
	type: "response.output_text.delta" | "response.refusal.delta";
	content_index: number;
	delta: string;
}) | (OpenAIPlace & {
	type: "response.output_text.done";
	content_index: number;
	text: string;
}) | (OpenAIPlace & {
	type: "response.reasoning_summary_text.delta";
	summary_index: number;
	delta: string;
}) | (OpenAIPlace & {
	type: "response.function_call_arguments.delta";
	delta: string;
}) | (OpenAIPlace & {
	type: "response.function_call_arguments.done";
	arguments: string;
	name?: string;
}) | {
	type: "response.output_item.added" | "response.output_item.done";
	output_index: number;
	item: OpenAIItem;
} | {
	type: "response.created" | "response.queued" | "response.in_progress" | "response.completed" | "response.failed" | "response.incomplete";
	response: {
		id: string;
		status?: string;
		model?: string;
		created_at?: number;
		usage?: TokenUsage;
		error?: {
			code?: string;
			message: string;
		};
		incomplete_details?: {
			reason?: string;
		};
	};
};
/** `codec="anthropic"`. */
export type AnthropicEvent = {
	type: "message_start";
	message: {
		id: string;
		role: "assistant";
		model: string;
		usage?: TokenUsage;
	};
} | {
	type: "content_block_start";
	index: number;
	content_block: {
		type: string;
		id?: string;
		name?: string;
		text?: string;
		thinking?: string;
		input?: unknown;
	};
} | {
	type: "content_block_delta";
	index: number;
	delta: {
		type: "text_delta";
		text: string;
	} | {
		type: "thinking_delta";
		thinking: string;
	} | {
		type: "input_json_delta";
		partial_json: string;
	};
} | {
	type: "content_block_stop";
	index: number;
} | {
	type: "message_delta";
	delta: {
		stop_reason?: string | null;
	};
	usage: TokenUsage;
} | {
	type: "message_stop";
}
/** Of `messages.stream()`, beside the above. */
 | {
	type: "text";
	text: string;
} | {
	type: "thinking";
	thinking: string;
} | {
	type: "input_json";
	partial_json: string;
};
/** A message of a model or a tool, or a piece of one. */
export interface LangChainMessage {
	type: "AIMessageChunk" | "ai" | "tool" | (string & {});
	id?: string;
	content: string | {
		type: string;
		[field: string]: unknown;
	}[];
	reasoning_content?: string;
	tool_call_chunks?: {
		index?: number;
		id?: string;
		name?: string;
		args?: string;
	}[];
	tool_calls?: {
		id?: string;
		name: string;
		args: Record<string, unknown>;
	}[];
	tool_call_id?: string;
	name?: string;
	status?: string;
	finish_reason?: string;
	usage_metadata?: TokenUsage;
}
export type LangGraphPair = [
	LangChainMessage,
	{
		langgraph_node?: string;
		langgraph_step?: number;
	}
];
export type LangGraphMessages = Record<string, {
	messages: LangChainMessage[];
}>;
/** `codec="langchain"`: messages, events of `astream_events()`, and LangGraph's chunks by stream mode. */
export type LangChainEvent = LangChainMessage | LangGraphPair | [
	"messages",
	LangGraphPair
] | [
	"updates",
	LangGraphMessages
] | [
	"values",
	{
		messages: LangChainMessage[];
	}
] | [
	"custom",
	unknown
] | {
	event: string;
	name: string;
	run_id: string;
	langgraph_node?: string;
	data?: {
		chunk?: LangChainMessage | string;
		output?: Partial<LangChainMessage> | string;
		[field: string]: unknown;
	};
};
/** `codec="openai-agents"`. */
export type OpenAIAgentsEvent = {
	type: "raw_response_event";
	data: OpenAIEvent;
} | {
	type: "run_item_stream_event";
	name: string;
	item: {
		type: string;
		id?: string;
		text?: string;
		call_id?: string;
		name?: string;
		arguments?: string;
		output?: unknown;
		source?: string;
		target?: string;
	};
} | {
	type: "agent_updated_stream_event";
	new_agent: {
		name: string;
	};
};
export interface PydanticAIPart {
	part_kind: string;
	content?: unknown;
	tool_name?: string;
	tool_call_id?: string;
	args?: string | Record<string, unknown>;
	outcome?: string;
}
/** `codec="pydantic-ai"`. */
export type PydanticAIEvent = {
	event_kind: "part_start";
	index: number;
	part: PydanticAIPart;
} | {
	event_kind: "part_delta";
	index: number;
	delta: {
		part_delta_kind: "text" | "thinking" | "tool_call";
		content_delta?: string;
		args_delta?: string | Record<string, unknown>;
		tool_name_delta?: string;
		tool_call_id?: string;
	};
} | {
	event_kind: "part_end";
	index: number;
} | {
	event_kind: "final_result";
	tool_name?: string;
	tool_call_id?: string;
} | {
	event_kind: "function_tool_call" | "function_tool_result";
	part: PydanticAIPart;
} | {
	event_kind: "agent_run_result";
	output?: unknown;
	usage: TokenUsage & {
		requests?: number;
		tool_calls?: number;
	};
};
/** `codec="google-genai"`. */
export interface GeminiChunk {
	response_id?: string;
	candidates: {
		index?: number;
		finish_reason?: string;
		content: {
			role: "model";
			parts: {
				text?: string;
				thought?: boolean;
				function_call?: {
					id?: string;
					name: string;
					args?: Record<string, unknown>;
				};
				executable_code?: {
					code: string;
					language?: string;
				};
				code_execution_result?: {
					outcome: string;
					output?: string;
				};
				inline_data?: BinaryValue;
			}[];
		};
	}[];
	usage_metadata?: {
		prompt_token_count?: number;
		candidates_token_count?: number;
		total_token_count?: number;
	};
	prompt_feedback?: {
		block_reason?: string;
	};
}
/** `codec="ollama"`. */
export interface OllamaChunk {
	done: boolean;
	done_reason?: string;
	message?: {
		role: string;
		content?: string;
		thinking?: string;
		tool_calls?: {
			function: {
				name: string;
				arguments: Record<string, unknown>;
			};
		}[];
	};
	/** Of `generate()`. */
	response?: string;
	thinking?: string;
	prompt_eval_count?: number;
	eval_count?: number;
	total_duration?: number;
}
/** `codec="litellm"`. */
export type LiteLLMChunk = OpenAIChatChunk;
/** `codec="llama-index"`. */
export interface LlamaIndexEvent {
	type?: "AgentStream" | "AgentOutput" | "ToolCall" | "ToolCallResult" | "InputRequiredEvent" | "StopEvent";
	delta?: string;
	thinking_delta?: string;
	current_agent_name?: string;
	tool_calls?: {
		id?: string;
		name: string;
		arguments: unknown;
	}[];
	tool_name?: string;
	tool_id?: string;
	tool_kwargs?: Record<string, unknown>;
	output?: string;
	prefix?: string;
	usage?: {
		prompt_tokens?: number;
		completion_tokens?: number;
		total_tokens?: number;
	};
}
/**
 * Opens a stream for reading: `for await (const chunk of openStream<Chunk>(ref)) ...`
 *
 * Every chunk is delivered once and in order, over any number of dropped connections. The iteration
 * ends when the stream is complete or was stopped, and throws a `StreamError` when it failed.
 */
export declare function openStream<T = unknown>(source: StreamRef | string, options?: StreamOptions<T>): Stream<T>;
/**
 * Opens a conversation: `for await (const event of openConversation(ref)) ...`
 *
 * Every event is delivered once and in order, from the first one, or from `offset`. Open the streams that begin
 * by `openStream(event.stream_id)`: they come over the same connection.
 */
export declare function openConversation<T extends Partial<ConversationTypes> = {}>(source: ConversationRef | string, options?: ConversationOptions<T>): Conversation<T>;

export {};
