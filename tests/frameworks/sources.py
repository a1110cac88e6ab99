"""Each framework's events, as its documentation says to get them, with canaries in what is secret.

A source takes the models' address and returns the events of one answer that calls a tool first.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

# None of them is to phone home.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"

CANARY = "canary-7f3a"
KEY = f"sk-{CANARY}"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": CANARY}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": CANARY, "parameters": SCHEMA}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
CHAT: list[Any] = [
    {"role": "system", "content": CANARY},
    {"role": "user", "content": f"earlier: {CANARY}"},
]


def need(name: str) -> Any:
    """Import a package; where it is missing the test is skipped, but never in CI."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI"):
            raise
        return pytest.skip(f"{name} is not installed: pip install -e '.[frameworks]'")


async def _all(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def get_weather(city: str) -> str:
    """canary-7f3a"""
    return f"sunny in {city}"


# -- the SDKs


def openai_responses(url: str) -> list[Any]:
    client = need("openai").OpenAI(base_url=f"{url}/v1", api_key=KEY)
    tools = [{"type": "function", **FUNCTION, "strict": True}]
    asked = {"model": "m", "input": CANARY, "instructions": CANARY, "tools": tools}
    with client.responses.create(**asked, stream=True) as events:
        found = list(events)
    with client.responses.create(**{**asked, "tools": []}, stream=True) as events:
        return found + list(events)


def openai_responses_helper(url: str) -> list[Any]:
    client = need("openai").OpenAI(base_url=f"{url}/v1", api_key=KEY)
    with client.responses.stream(model="m", input=CANARY, instructions=CANARY) as events:
        return list(events)


def openai_chat(url: str) -> list[Any]:
    client = need("openai").OpenAI(base_url=f"{url}/v1", api_key=KEY)
    create = client.chat.completions.create
    found = list(create(model="m", messages=CHAT, tools=TOOLS, stream=True))
    return found + list(create(model="m", messages=CHAT, stream=True))


def openai_chat_helper(url: str) -> list[Any]:
    client = need("openai").OpenAI(base_url=f"{url}/v1", api_key=KEY)
    strict = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
    with client.chat.completions.stream(model="m", messages=CHAT, tools=strict) as events:
        found = list(events)
    with client.chat.completions.stream(model="m", messages=CHAT) as events:
        return found + list(events)


def _anthropic(url: str) -> tuple[Any, dict[str, Any]]:
    client = need("anthropic").Anthropic(base_url=url, api_key=KEY)
    asked = {"model": "m", "max_tokens": 99, "system": CANARY, "messages": CHAT[1:]}
    return client, asked


ANTHROPIC_TOOLS = [{"name": "get_weather", "description": CANARY, "input_schema": SCHEMA}]


def anthropic_messages(url: str) -> list[Any]:
    client, asked = _anthropic(url)
    found = list(client.messages.create(**asked, tools=ANTHROPIC_TOOLS, stream=True))
    return found + list(client.messages.create(**asked, stream=True))


def anthropic_helper(url: str) -> list[Any]:
    client, asked = _anthropic(url)
    with client.messages.stream(**asked, tools=ANTHROPIC_TOOLS) as events:
        found = list(events)
    with client.messages.stream(**asked) as events:
        return found + list(events)


def google_genai(url: str) -> list[Any]:
    genai = need("google.genai")
    types = need("google.genai.types")
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))
    declaration = types.FunctionDeclaration(name="get_weather", description=CANARY)
    tool = types.Tool(function_declarations=[declaration])
    off = types.AutomaticFunctionCallingConfig(disable=True)
    found: list[Any] = []
    for tools in ([tool], []):
        config = types.GenerateContentConfig(
            system_instruction=CANARY, tools=tools, automatic_function_calling=off
        )
        ask = client.models.generate_content_stream
        found += ask(model="m", contents=CANARY, config=config)
    client.close()
    return found


def ollama(url: str) -> list[Any]:
    client = need("ollama").Client(host=url, headers={"authorization": KEY})
    found = list(client.chat("m", messages=CHAT, tools=TOOLS, stream=True))
    return found + list(client.chat("m", messages=CHAT, stream=True))


def litellm(url: str) -> list[Any]:
    completion = need("litellm").completion
    asked: dict[str, Any] = {"model": "openai/m", "base_url": f"{url}/v1", "api_key": KEY}
    asked |= {"messages": CHAT, "stream": True, "stream_options": {"include_usage": True}}
    return [*completion(**asked, tools=TOOLS), *completion(**asked)]


def llama_index(url: str) -> list[Any]:
    llms = need("llama_index.llms.openai")
    message = need("llama_index.core.llms").ChatMessage
    tool = need("llama_index.core.tools").FunctionTool.from_defaults(get_weather)
    model = llms.OpenAI(model="gpt-4o", api_base=f"{url}/v1", api_key=KEY)
    chat = [message(**each) for each in CHAT]
    found = list(model.stream_chat_with_tools([tool], chat_history=chat))
    return found + list(model.stream_chat(chat))


def llama_index_agent(url: str) -> list[Any]:
    llms = need("llama_index.llms.openai")
    workflow = need("llama_index.core.agent.workflow")
    model = llms.OpenAI(model="gpt-4o", api_base=f"{url}/v1", api_key=KEY)
    agent = workflow.FunctionAgent(
        llm=model, tools=[get_weather], system_prompt=CANARY, streaming=True
    )

    async def run() -> list[Any]:
        handler = agent.run(CANARY)
        found = await _all(handler.stream_events())
        await handler
        return found

    return asyncio.run(run())


# -- agent frameworks


def openai_agents(url: str) -> list[Any]:
    agents = need("agents")
    client = need("openai").AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)

    async def run() -> list[Any]:
        agent = agents.Agent(
            name="Weather",
            instructions=CANARY,
            tools=[agents.function_tool(get_weather)],
            model=agents.OpenAIResponsesModel("m", client),
        )
        history = [{"role": "user", "content": CANARY}]
        result = agents.Runner.run_streamed(agent, history)
        return await _all(result.stream_events())

    return asyncio.run(run())


def openai_agents_quickstart(url: str) -> list[Any]:
    """An agent without tools and model: all of its fields are data."""
    agents = need("agents")
    client = need("openai").AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)
    provider = agents.OpenAIProvider(openai_client=client)

    async def run() -> list[Any]:
        agent = agents.Agent(name="Assistant", instructions=CANARY)
        config = agents.RunConfig(model_provider=provider)
        return await _all(
            agents.Runner.run_streamed(agent, "hi", run_config=config).stream_events()
        )

    return asyncio.run(run())


def pydantic_ai(url: str) -> list[Any]:
    agent_type = need("pydantic_ai").Agent
    model = need("pydantic_ai.models.openai").OpenAIChatModel
    provider = need("pydantic_ai.providers.openai").OpenAIProvider
    chat = model("m", provider=provider(base_url=f"{url}/v1", api_key=KEY))
    agent = agent_type(chat, instructions=CANARY, system_prompt=CANARY, tools=[get_weather])

    async def run() -> list[Any]:
        async with agent.run_stream_events(CANARY) as events:
            return await _all(events)

    return asyncio.run(run())


def _langchain(url: str) -> Any:
    openai = need("langchain_openai")
    return openai.ChatOpenAI(
        model="m", base_url=f"{url}/v1", api_key=KEY, streaming=True, stream_usage=True
    )


def langchain(url: str) -> list[Any]:
    model = _langchain(url)
    return [*model.bind_tools([get_weather]).stream(CHAT), *model.stream(CHAT)]


def _graph(url: str) -> Any:
    return need("langgraph.prebuilt").create_react_agent(
        _langchain(url), [get_weather], prompt=CANARY
    )


ASKED = {"messages": [("user", CANARY)]}


def langchain_events(url: str) -> list[Any]:
    return asyncio.run(_all(_graph(url).astream_events(ASKED, version="v2")))


def langgraph(*modes: str) -> Callable[[str], list[Any]]:
    mode: Any = modes[0] if len(modes) == 1 else list(modes)

    def source(url: str) -> list[Any]:
        return list(_graph(url).stream(ASKED, stream_mode=mode))

    return source


def langgraph_subgraphs(url: str) -> list[Any]:
    return list(_graph(url).stream(ASKED, stream_mode=["messages", "updates"], subgraphs=True))


# The codec for each source, and whether it streams text and tool calls.
SOURCES: dict[str, tuple[str, Callable[[str], list[Any]]]] = {
    "openai responses": ("openai", openai_responses),
    "openai responses.stream": ("openai", openai_responses_helper),
    "openai chat": ("openai", openai_chat),
    "openai chat.stream": ("openai", openai_chat_helper),
    "anthropic": ("anthropic", anthropic_messages),
    "anthropic stream": ("anthropic", anthropic_helper),
    "google-genai": ("google-genai", google_genai),
    "ollama": ("ollama", ollama),
    "litellm": ("litellm", litellm),
    "llama-index": ("llama-index", llama_index),
    "llama-index agent": ("llama-index", llama_index_agent),
    "openai-agents": ("openai-agents", openai_agents),
    "openai-agents quickstart": ("openai-agents", openai_agents_quickstart),
    "pydantic-ai": ("pydantic-ai", pydantic_ai),
    "langchain": ("langchain", langchain),
    "langchain events": ("langchain", langchain_events),
    "langgraph messages": ("langchain", langgraph("messages")),
    "langgraph updates": ("langchain", langgraph("updates")),
    "langgraph values": ("langchain", langgraph("values")),
    "langgraph tasks": ("langchain", langgraph("tasks")),
    "langgraph debug": ("langchain", langgraph("debug")),
    "langgraph several": ("langchain", langgraph("messages", "updates", "values", "custom")),
    "langgraph debugging": ("langchain", langgraph("debug", "tasks", "checkpoints")),
    "langgraph subgraphs": ("langchain", langgraph_subgraphs),
}
