"""What is bounded: providers' places, balances, and what a balance affords."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import openai
import pytest

from filature_stack.caller import Caller, new_caller
from filature_stack.parts import Price
from filature_stack.processes import wait_until
from filature_stack.simulated import Provider, chat
from filature_stack.stack import Stack

MESSAGES = [{"role": "user", "content": "Hi"}]
SLOW = {"sim": {"tokens": 400, "itl_ms": 10}}
CHEAP = Price(prompt=1_000_000, completion=1_000_000, call=0)
THOUSAND_A_TOKEN = Price(prompt=1_000_000, completion=1_000_000_000, call=0)
"""1 nano for a token of the prompt, 1,000 nano for a token of the answer."""


def test_a_full_provider_is_said_to_be_full(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provide(own_model, CHEAP, "--concurrency", "1")
    client = caller.client
    with client.chat.completions.create(model=own_model, messages=MESSAGES, stream=True, extra_body=SLOW) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model=own_model, messages=MESSAGES)
        assert raised.value.status_code == 429
        assert raised.value.code == "providers_full"
        assert int(raised.value.response.headers["retry-after"]) >= 1

    def served() -> bool:
        try:
            return bool(client.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=1).choices)
        except openai.RateLimitError:
            return False

    wait_until(served, "the place to be free again")


def test_the_official_client_waits_and_tries_again(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provide(own_model, CHEAP, "--concurrency", "1")
    patient = caller.client.with_options(max_retries=5)
    brief = {"sim": {"tokens": 100, "itl_ms": 10}}
    with caller.client.chat.completions.create(
        model=own_model, messages=MESSAGES, stream=True, extra_body=brief
    ) as stream:
        next(iter(stream))
        # The first stream goes on at the engine while its reader waits here, and ends within a second.
        assert patient.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=1).choices
        assert list(stream)


def test_a_model_without_the_endpoint_is_not_served_there(
    caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provide(own_model, CHEAP, "--endpoints", "chat")
    with pytest.raises(openai.NotFoundError) as raised:
        caller.client.embeddings.create(model=own_model, input="Hi")
    assert raised.value.code == "no_fitting_provider"
    assert "endpoint" in raised.value.message
    assert caller.client.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=1).choices


def test_a_model_whose_only_provider_drains_is_unavailable(
    caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provider = provide(own_model)
    with caller.client.chat.completions.create(
        model=own_model, messages=MESSAGES, stream=True, extra_body=SLOW
    ) as stream:
        next(iter(stream))
        provider.agent.ask_to_end()

        def turned_away() -> openai.InternalServerError | None:
            try:
                caller.client.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=1)
            except openai.RateLimitError:
                return None  # the agent has turned it away before it has told the gateway why
            except openai.InternalServerError as error:
                return error
            return None

        error = wait_until(turned_away, "the agent to take no more calls", 5)
        assert (error.status_code, error.code) == (503, "no_provider")
        assert list(stream)[-1].choices[0].finish_reason
    assert provider.agent.wait(20) == 0


def test_a_caller_without_a_limit_gets_what_the_balance_affords(
    stack: Stack, caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provide(own_model, THOUSAND_A_TOKEN)
    poor = new_caller(stack, ton="0.0001")
    answer = poor.client.chat.completions.create(
        model=own_model, messages=MESSAGES, extra_body={"sim": {"tokens": 4_000, "echo": True}}
    )
    told = json.loads(answer.model_extra["sim_echo"]["body"])["max_tokens"]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == told
    assert 80 <= told <= 100
    assert 0 < poor.settled().spent <= 100_000
    assert poor.balance().available >= 0


def test_a_limit_the_balance_does_not_afford_is_refused(
    stack: Stack, caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provide(own_model, THOUSAND_A_TOKEN)
    poor = new_caller(stack, ton="0.0001")
    with pytest.raises(openai.APIStatusError) as raised:
        poor.client.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=200)
    assert raised.value.status_code == 402
    assert poor.settled().spent == 0
    assert poor.client.chat.completions.create(model=own_model, messages=MESSAGES, max_tokens=20).choices


def test_calls_at_once_do_not_overdraw_a_balance(
    stack: Stack, caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provide(own_model, THOUSAND_A_TOKEN, "--concurrency", "64")
    poor = new_caller(stack, ton="0.0001")
    count = 40

    async def one(client: openai.AsyncOpenAI) -> int:
        try:
            answer = await client.chat.completions.create(
                model=own_model, messages=MESSAGES, max_tokens=10, extra_body={"sim": {"tokens": 10, "ttft_ms": 100}}
            )
        except openai.APIStatusError as error:
            if error.status_code != 402:
                raise
            return 0
        return answer.usage.completion_tokens

    async def all_of_them() -> list[int]:
        async with poor.async_client as client:
            return await asyncio.gather(*(one(client) for _ in range(count)))

    tokens = asyncio.run(all_of_them())
    served = sum(1 for each in tokens if each)
    after = poor.settled()
    assert 5 <= served <= 10, "each holds about 10,000 of 100,000 nano"
    assert after.available >= 0
    assert after.spent >= served * 10_000


def test_waiting_callers_are_served_when_a_place_is_free(
    caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provider = provide(own_model, CHEAP, "--concurrency", "4")
    body = chat(own_model, max_tokens=2, sim={"tokens": 2, "ttft_ms": 20})

    async def all_of_them() -> list[int]:
        return await asyncio.gather(
            *(asyncio.to_thread(lambda: caller.send("POST", "/v1/chat/completions", body).status) for _ in range(12))
        )

    assert asyncio.run(all_of_them()) == [200] * 12
    assert provider.stats()["finished"] == 12
