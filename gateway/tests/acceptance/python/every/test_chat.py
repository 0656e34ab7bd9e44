"""Chat completions through the official client, on whatever engine there is."""

from __future__ import annotations

import asyncio

import openai
import pydantic
import pytest

from filature_stack.caller import Caller

QUESTION = [{"role": "user", "content": "Name a city in France and say why one might go there."}]


class Weather(pydantic.BaseModel):
    """What the model is held to by JSON schema."""

    city: str
    sunny: bool


def text_of(chunks: list, index: int = 0) -> str:
    """The text of one choice, put together from its chunks."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def finishes(chunks: list) -> list[tuple[int, str]]:
    return [(c.index, c.finish_reason) for chunk in chunks for c in chunk.choices if c.finish_reason is not None]


def test_an_answer_is_whole_and_metered(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=12)
    assert answer.object == "chat.completion"
    assert answer.model == model
    assert len(answer.choices) == 1
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_answer_says_which_call_it_was(client: openai.OpenAI, model: str):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=QUESTION, max_tokens=2)
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.headers["x-request-id"].startswith("gen-")
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_a_stream_without_usage_has_none(client: openai.OpenAI, model: str):
    stream = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=12, stream=True)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    chunks = list(stream)
    assert text_of(chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks), "a chunk without choices is there to carry usage"
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {model}
    assert len(finishes(chunks)) == 1
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_usage_refused_is_like_usage_not_asked_for(client: openai.OpenAI, model: str):
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=4, stream=True, stream_options={"include_usage": False}
    )
    chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


def test_usage_asked_for_comes_once_and_last(client: openai.OpenAI, model: str):
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert text_of(chunks)
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert 0 < usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_raw_stream_ends_with_done(caller: Caller, model: str):
    body = b'{"model":"%s","stream":true,"max_tokens":3,"messages":[{"role":"user","content":"Hi"}]}' % model.encode()
    answer = caller.send("POST", "/v1/chat/completions", body)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers.get("cache-control", "no-cache").startswith("no-")
    assert answer.body.rstrip().endswith(b"data: [DONE]")
    assert answer.body.count(b"[DONE]") == 1


def test_two_choices(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=6, n=2)
    assert sorted(choice.index for choice in answer.choices) == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def test_two_choices_streamed(client: openai.OpenAI, model: str):
    chunks = list(client.chat.completions.create(model=model, messages=QUESTION, max_tokens=6, n=2, stream=True))
    assert text_of(chunks, 0)
    assert text_of(chunks, 1)
    assert sorted(index for index, _ in finishes(chunks)) == [0, 1]


def test_max_completion_tokens_bounds_the_answer(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_completion_tokens=3, temperature=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(client: openai.OpenAI, model: str):
    free = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=24, temperature=0, seed=3)
    words = free.choices[0].message.content.split(" ")
    stop = words[3]
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=24, temperature=0, seed=3, stop=[stop]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert stop not in answer.choices[0].message.content
    assert free.choices[0].message.content.startswith(answer.choices[0].message.content)


def test_a_seed_makes_an_answer_repeatable(client: openai.OpenAI, model: str):
    def ask() -> str:
        answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=8, seed=11, temperature=0)
        return answer.choices[0].message.content

    assert ask() == ask()


def test_logprobs_come_with_every_token(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 4
    assert all(token.logprob <= 0 for token in tokens)
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content


def test_logprobs_streamed(client: openai.OpenAI, model: str):
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, max_tokens=4, temperature=0, logprobs=True, stream=True
        )
    )
    listed = [choice.logprobs.content for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert sum(len(tokens or []) for tokens in listed) == 4


def test_a_json_schema_is_kept_to(client: openai.OpenAI, model: str):
    answer = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Weather in Paris? Answer as JSON."}],
        max_tokens=120,
        temperature=0,
        response_format=Weather,
    )
    assert answer.choices[0].finish_reason == "stop"
    assert isinstance(answer.choices[0].message.parsed, Weather)


def test_the_clients_own_streaming_helper_works(client: openai.OpenAI, model: str):
    # It insists on an answer that ended by itself, so the first blank ends it.
    with client.chat.completions.stream(model=model, messages=QUESTION, max_tokens=40, stop=[" "]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content


def test_null_means_absent(client: openai.OpenAI, model: str):
    answer = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        max_tokens=2,
        extra_body={"stream": None, "n": None, "stop": None, "stream_options": None, "tools": None},
    )
    assert answer.choices[0].message.content


def test_text_survives_in_every_script(client: openai.OpenAI, model: str):
    messages = [{"role": "user", "content": 'Grüße, 世界 🧵 \u0000 " \\ \n'}]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=2)
    assert answer.choices[0].message.content is not None


def test_fifty_streams_at_once(caller: Caller, model: str):
    count = 50

    async def one(client: openai.AsyncOpenAI, number: int) -> tuple[str, list[tuple[int, str]], int]:
        messages = [{"role": "user", "content": f"Count from {number}."}]
        stream = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=6, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        return text_of(chunks), finishes(chunks), chunks[-1].usage.completion_tokens

    async def all_of_them() -> list[tuple[str, list[tuple[int, str]], int]]:
        async with caller.async_client as client:
            return await asyncio.gather(*(one(client, number) for number in range(count)))

    answers = asyncio.run(all_of_them())
    assert len(answers) == count
    for text, ends, tokens in answers:
        assert text
        assert len(ends) == 1
        assert 0 < tokens <= 6
    assert caller.settled().spent > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_async_client_is_served_alike(caller: Caller, model: str, stream: bool):
    async def ask() -> str:
        async with caller.async_client as client:
            answer = await client.chat.completions.create(model=model, messages=QUESTION, max_tokens=3, stream=stream)
            if not stream:
                return answer.choices[0].message.content
            return text_of([chunk async for chunk in answer])

    assert asyncio.run(ask())
