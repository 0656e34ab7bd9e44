"""What only an engine that does as it is told can show: tools, exact usage, exact text."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import openai
import pytest

from filature_stack.caller import Caller
from filature_stack.simulated import chat
from filature_stack.stack import Stack

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name} of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Lyon", "Como"]}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "population")
]
MESSAGES = [{"role": "user", "content": "What about Lyon?"}]
NAMED = {"type": "function", "function": {"name": "population"}}


@pytest.mark.parametrize(
    ("choice", "name"), [("required", "weather"), (NAMED, "population")], ids=["required", "named"]
)
def test_a_tool_is_called(client: openai.OpenAI, model: str, choice, name: str):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS, tool_choice=choice)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == name
    assert json.loads(call.function.arguments) == {"city": "Lyon"}


def test_a_tool_call_is_streamed_and_counted(caller: Caller, model: str):
    stream = caller.client.chat.completions.create(
        model=model,
        messages=MESSAGES,
        tools=TOOLS,
        tool_choice="required",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    parts = [tool for chunk in chunks for choice in chunk.choices for tool in choice.delta.tool_calls or []]
    assert parts[0].function.name == "weather"
    assert json.loads("".join(part.function.arguments for part in parts)) == {"city": "Lyon"}
    record = caller.receipt(stream.response.headers["x-request-id"])["record"]
    assert record["billed"]["completion"] == chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_tool_need_not_be_called(client: openai.OpenAI, model: str, choice: str):
    answer = client.chat.completions.create(
        model=model, messages=MESSAGES, tools=TOOLS, tool_choice=choice, max_tokens=3
    )
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


def test_a_conversation_with_tools_goes_on(client: openai.OpenAI, model: str):
    first = client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS, tool_choice="required")
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "12 degrees"}
    answer = client.chat.completions.create(
        model=model, messages=[*MESSAGES, message, result], tools=TOOLS, max_tokens=3
    )
    assert answer.choices[0].message.content


def test_different_seeds_give_different_answers(client: openai.OpenAI, model: str):
    answers = {
        client.chat.completions.create(model=model, messages=MESSAGES, seed=seed, max_tokens=8)
        .choices[0]
        .message.content
        for seed in (1, 2, 3)
    }
    assert len(answers) == 3


def test_reasoning_is_passed_on_and_billed_as_its_own_kind(caller: Caller, model: str):
    raw = caller.client.chat.completions.with_raw_response.create(
        model=model,
        messages=MESSAGES,
        max_tokens=10,
        extra_body={"sim": {"tokens": 4, "reasoning": 3, "cached_tokens": 2}},
    )
    answer = raw.parse()
    assert answer.choices[0].message.model_extra["reasoning_content"]
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    billed = caller.receipt(raw.headers["x-request-id"])["record"]["billed"]
    assert (billed["completion"], billed["reasoning"], billed["cached_prompt"]) == (7, 3, 2)


def test_fifty_streams_are_not_mixed_up(stack: Stack, caller: Caller, model: str):
    count, tokens = 50, 40
    engine = next(iter(stack.engines.values()))

    def expected(number: int) -> str:
        body = chat(model, f"thread {number}", max_tokens=tokens, sim={"tokens": tokens})
        request = urllib.request.Request(f"{engine}/v1/chat/completions", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": f"thread {number}"}],
            max_tokens=tokens,
            stream=True,
            extra_body={"sim": {"tokens": tokens, "itl_ms": 5}},
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them() -> list[str]:
        async with caller.async_client as client:
            return await asyncio.gather(*(one(client, number) for number in range(count)))

    texts = asyncio.run(all_of_them())
    assert texts == [expected(number) for number in range(count)]
    assert len(set(texts)) == count


def test_absurd_but_lawful_limits_do_not_move_absurd_money(caller: Caller, model: str):
    body = chat(model, max_tokens=2_000_000_000, sim={"tokens": 5})
    answer = caller.send("POST", "/v1/chat/completions", body)
    assert answer.status in (200, 400, 402), answer
    if answer.status == 200:
        assert caller.receipt(answer.headers["x-request-id"])["record"]["billed"]["completion"] == 5
    caller.settled()
