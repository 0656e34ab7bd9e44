"""What only a real model shows: its own usage, its own tokenizer, tools held to a grammar, a queue of its own."""

from __future__ import annotations

import json
import time

import openai
import pytest

from filature_stack.caller import Caller
from filature_stack.processes import wait_until

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                "required": ["city"],
            },
        },
    }
]
# So small a model calls no tool of its own accord: the call is begun for it, and the grammar holds it to the rest.
BEGUN = [
    {"role": "user", "content": "What is the weather in Paris?"},
    {"role": "assistant", "content": "<tool_call>\n"},
]
TOOL_CALL = {"tools": TOOLS, "tool_choice": "required", "temperature": 0, "max_tokens": 40}


def test_it_knows_something(client: openai.OpenAI, model: str):
    answer = client.completions.create(model=model, prompt="The capital of France is", max_tokens=4, temperature=0)
    assert answer.choices[0].text.startswith(" Paris")
    question = [{"role": "user", "content": "What is gravity?"}]
    chat = client.chat.completions.create(model=model, messages=question, max_tokens=20, temperature=0)
    assert "gravity" in chat.choices[0].message.content.lower()


def test_a_tool_is_called(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=BEGUN, **TOOL_CALL)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


def test_a_tool_call_is_streamed_and_counted(caller: Caller, model: str):
    stream = caller.client.chat.completions.create(model=model, messages=BEGUN, stream=True, **TOOL_CALL)
    parts = [tool for chunk in stream for choice in chunk.choices for tool in choice.delta.tool_calls or []]
    first = "".join(part.function.arguments or "" for part in parts if part.index == 0)
    assert parts[0].function.name == "weather"
    assert json.loads(first)["city"] in ("Paris", "Rome")
    record = caller.receipt(stream.response.headers["x-request-id"])["record"]
    assert 0 < record["billed"]["completion"] <= 40


def test_a_prompt_too_long_for_the_model_is_refused_in_its_own_words(caller: Caller, model: str):
    messages = [{"role": "user", "content": "silk " * 4_000}]
    with pytest.raises(openai.BadRequestError) as raised:
        caller.client.chat.completions.create(model=model, messages=messages, max_tokens=5)
    assert raised.value.message
    assert caller.settled().spent == 0


def test_a_stream_left_in_the_middle_frees_the_model(caller: Caller, model: str):
    stream = caller.client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Count to one thousand."}],
        max_tokens=1_500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    read = 0
    for chunk in stream:
        read += bool(chunk.choices[0].delta.content)
        if read == 5:
            break
    stream.close()
    left = time.monotonic()
    record = caller.receipt(stream.response.headers["x-request-id"])["record"]
    assert time.monotonic() - left < 5
    assert record["outcome"] == "cancelled"
    assert read <= record["billed"]["completion"] < 200
    # The next call does not wait for 1,500 tokens of nobody's.
    again = time.monotonic()
    caller.client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
    assert time.monotonic() - again < 5
    wait_until(lambda: caller.balance().held == 0, "nothing to be held")


def test_the_models_own_count_is_what_is_billed(caller: Caller, model: str):
    raw = caller.client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": "Tell me about silk, briefly."}],
        max_tokens=24,
        temperature=0,
    )
    usage = raw.parse().usage
    record = caller.receipt(raw.headers["x-request-id"])["record"]
    assert record["claimed"]["prompt"] == record["billed"]["prompt"] == usage.prompt_tokens
    assert record["claimed"]["completion"] == record["billed"]["completion"] == usage.completion_tokens
