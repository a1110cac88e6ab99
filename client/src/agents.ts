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
      tool_calls?: { index?: number; id?: string; type?: string; function: { name?: string; arguments?: string } }[];
    };
    finish_reason?: string;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
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

interface OpenAIPlace {
  sequence_number?: number;
  item_id: string;
  output_index: number;
}

/** `codec="openai"`: an event of the Responses API. Other types than these have their own fields. */
export type OpenAIEvent =
  | (OpenAIPlace & { type: "response.output_text.delta" | "response.refusal.delta"; content_index: number; delta: string })
  | (OpenAIPlace & { type: "response.output_text.done"; content_index: number; text: string })
  | (OpenAIPlace & { type: "response.reasoning_summary_text.delta"; summary_index: number; delta: string })
  | (OpenAIPlace & { type: "response.function_call_arguments.delta"; delta: string })
  | (OpenAIPlace & { type: "response.function_call_arguments.done"; arguments: string; name?: string })
  | { type: "response.output_item.added" | "response.output_item.done"; output_index: number; item: OpenAIItem }
  | {
      type:
        | "response.created"
        | "response.queued"
        | "response.in_progress"
        | "response.completed"
        | "response.failed"
        | "response.incomplete";
      response: {
        id: string;
        status?: string;
        model?: string;
        created_at?: number;
        usage?: TokenUsage;
        error?: { code?: string; message: string };
        incomplete_details?: { reason?: string };
      };
    };

/** `codec="anthropic"`. */
export type AnthropicEvent =
  | { type: "message_start"; message: { id: string; role: "assistant"; model: string; usage?: TokenUsage } }
  | {
      type: "content_block_start";
      index: number;
      content_block: { type: string; id?: string; name?: string; text?: string; thinking?: string; input?: unknown };
    }
  | {
      type: "content_block_delta";
      index: number;
      delta:
        | { type: "text_delta"; text: string }
        | { type: "thinking_delta"; thinking: string }
        | { type: "input_json_delta"; partial_json: string };
    }
  | { type: "content_block_stop"; index: number }
  | { type: "message_delta"; delta: { stop_reason?: string | null }; usage: TokenUsage }
  | { type: "message_stop" }
  /** Of `messages.stream()`, beside the above. */
  | { type: "text"; text: string }
  | { type: "thinking"; thinking: string }
  | { type: "input_json"; partial_json: string };

/** A message of a model or a tool, or a piece of one. */
export interface LangChainMessage {
  type: "AIMessageChunk" | "ai" | "tool" | (string & {});
  id?: string;
  content: string | { type: string; [field: string]: unknown }[];
  reasoning_content?: string;
  tool_call_chunks?: { index?: number; id?: string; name?: string; args?: string }[];
  tool_calls?: { id?: string; name: string; args: Record<string, unknown> }[];
  tool_call_id?: string;
  name?: string;
  status?: string;
  finish_reason?: string;
  usage_metadata?: TokenUsage;
}

type LangGraphPair = [LangChainMessage, { langgraph_node?: string; langgraph_step?: number }];
type LangGraphMessages = Record<string, { messages: LangChainMessage[] }>;

/** `codec="langchain"`: messages, events of `astream_events()`, and LangGraph's chunks by stream mode. */
export type LangChainEvent =
  | LangChainMessage
  | LangGraphPair
  | ["messages", LangGraphPair]
  | ["updates", LangGraphMessages]
  | ["values", { messages: LangChainMessage[] }]
  | ["custom", unknown]
  | {
      event: string;
      name: string;
      run_id: string;
      langgraph_node?: string;
      data?: { chunk?: LangChainMessage | string; output?: Partial<LangChainMessage> | string; [field: string]: unknown };
    };

/** `codec="openai-agents"`. */
export type OpenAIAgentsEvent =
  | { type: "raw_response_event"; data: OpenAIEvent }
  | {
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
    }
  | { type: "agent_updated_stream_event"; new_agent: { name: string } };

export interface PydanticAIPart {
  part_kind: string;
  content?: unknown;
  tool_name?: string;
  tool_call_id?: string;
  args?: string | Record<string, unknown>;
  outcome?: string;
}

/** `codec="pydantic-ai"`. */
export type PydanticAIEvent =
  | { event_kind: "part_start"; index: number; part: PydanticAIPart }
  | {
      event_kind: "part_delta";
      index: number;
      delta: {
        part_delta_kind: "text" | "thinking" | "tool_call";
        content_delta?: string;
        args_delta?: string | Record<string, unknown>;
        tool_name_delta?: string;
        tool_call_id?: string;
      };
    }
  | { event_kind: "part_end"; index: number }
  | { event_kind: "final_result"; tool_name?: string; tool_call_id?: string }
  | { event_kind: "function_tool_call" | "function_tool_result"; part: PydanticAIPart }
  | { event_kind: "agent_run_result"; output?: unknown; usage: TokenUsage & { requests?: number; tool_calls?: number } };

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
        function_call?: { id?: string; name: string; args?: Record<string, unknown> };
        executable_code?: { code: string; language?: string };
        code_execution_result?: { outcome: string; output?: string };
        inline_data?: BinaryValue;
      }[];
    };
  }[];
  usage_metadata?: { prompt_token_count?: number; candidates_token_count?: number; total_token_count?: number };
  prompt_feedback?: { block_reason?: string };
}

/** `codec="ollama"`. */
export interface OllamaChunk {
  done: boolean;
  done_reason?: string;
  message?: {
    role: string;
    content?: string;
    thinking?: string;
    tool_calls?: { function: { name: string; arguments: Record<string, unknown> } }[];
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
  tool_calls?: { id?: string; name: string; arguments: unknown }[];
  tool_name?: string;
  tool_id?: string;
  tool_kwargs?: Record<string, unknown>;
  output?: string;
  prefix?: string;
  usage?: { prompt_tokens?: number; completion_tokens?: number; total_tokens?: number };
}
