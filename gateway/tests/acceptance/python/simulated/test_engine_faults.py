"""Engines that go wrong: another provider answers where that is possible, and else a clear error does.

Every test brings its own providers, so that the bad name one of them gets with the router stays its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import openai
import pytest

from filature_stack.caller import Answer, Caller
from filature_stack.parts import Price
from filature_stack.simulated import Provider, chat, events

# Dearer, and within what the router takes for the same market.
DEAR = Price(prompt=1_000_000, completion=1_000_000, call=50_000)
CHAT = "/v1/chat/completions"

# What a caller gets when the only provider fails before its first token.
EARLY = {
    "http_500": (502, "provider_error"),
    "http_429": (429, "providers_full"),
    "reset": (502, "provider_error"),
    "html": (502, "provider_error"),
    "garbage": (502, "provider_error"),
    "half_frame": (502, "provider_error"),
    "ok_with_error": (502, "provider_error"),
    "giant_line": (502, "provider_error"),
    "empty": (502, "provider_error"),
    "truncate": (502, "provider_error"),
    "hang": (504, "provider_timeout"),
}
LATE = ("reset", "stall", "garbage", "half_frame", "ok_with_error", "giant_line", "truncate")
DELIVERED = 4
"""Tokens before the late fault: event 0 is the role, so the fault at event 5 follows tokens 1 to 4."""


def faulty(kind: str, at: int = 0, engines: list[str] | None = None) -> dict:
    # What went before a late fault is to have arrived: a reset throws away what is still on its way.
    pace = {"itl_ms": 10} if at else {}
    return {"tokens": 12, "fault": {"kind": kind, "at": at, "engines": engines or []}, **pace}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", EARLY)
def test_a_failure_before_the_first_token_is_told_clearly(
    caller: Caller, own_model: str, provide: Callable[..., Provider], kind: str, stream: bool
):
    provide(own_model)
    answer = caller.send("POST", CHAT, chat(own_model, stream=stream, max_tokens=20, sim=faulty(kind)))
    status, code = EARLY[kind]
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["error"]["message"]
    assert "simulated" not in answer.json["error"]["message"], "an engine's inner troubles are its own"
    if status == 429:
        assert int(answer.headers["retry-after"]) >= 1
    assert caller.settled().spent == 0, "no output, no charge"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", EARLY)
def test_a_failure_before_the_first_token_is_not_seen_where_another_provider_serves(
    caller: Caller, own_model: str, provide: Callable[..., Provider], kind: str, stream: bool
):
    bad, good = provide(own_model), provide(own_model, DEAR)
    answer = caller.send("POST", CHAT, chat(own_model, stream=stream, max_tokens=20, sim=faulty(kind, 0, [bad.engine])))
    assert answer.status == 200, answer
    assert len(text(answer, stream)) > 0
    assert bad.stats()["started"] == 1, "the cheaper one was asked first"
    assert good.stats()["finished"] == 1
    record = caller.receipt(answer.headers["x-request-id"])["record"]
    assert [leg["price"]["call"] for leg in record["legs"]] == [DEAR.call], "only who served is paid"
    assert caller.settled().spent == record["cost"]


@pytest.mark.parametrize("kind", LATE)
def test_a_stream_that_breaks_says_so(caller: Caller, own_model: str, provide: Callable[..., Provider], kind: str):
    provide(own_model)
    answer = caller.send("POST", CHAT, chat(own_model, stream=True, max_tokens=20, sim=faulty(kind, 5)))
    assert answer.status == 200
    *chunks, last, done = events(answer.body)
    assert done == "[DONE]"
    assert last["error"]["message"]
    assert last["choices"][0]["finish_reason"] == "error"
    delivered = [
        chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"][0]["delta"].get("content")
    ]
    assert len(delivered) == DELIVERED
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks), "an end was made up"
    record = caller.receipt(answer.headers["x-request-id"])["record"]
    assert record["outcome"] == "broken"
    assert record["billed"]["prompt"] == 0, "a provider that breaks off forfeits the prompt"
    assert record["billed"]["completion"] == DELIVERED
    assert caller.settled().spent == record["cost"]


def test_the_official_client_raises_on_a_broken_stream(
    caller: Caller, own_model: str, provide: Callable[..., Provider]
):
    provide(own_model)
    stream = caller.client.chat.completions.create(
        model=own_model,
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        extra_body={"sim": faulty("reset", 5)},
    )
    seen = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(stream)
    assert len([chunk for chunk in seen if chunk.choices[0].delta.content]) == DELIVERED
    assert raised.value.message


def test_an_engine_that_refuses_the_request_is_quoted(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    first, second = provide(own_model), provide(own_model, DEAR)
    with pytest.raises(openai.BadRequestError) as raised:
        caller.client.chat.completions.create(
            model=own_model, messages=[{"role": "user", "content": "Hi"}], extra_body={"sim": faulty("http_400")}
        )
    assert raised.value.type == "invalid_request_error"
    assert (first.stats()["started"], second.stats()["started"]) == (1, 1), (
        "one provider's word is checked with another"
    )
    assert caller.settled().spent == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ["no_usage", "bad_usage"])
def test_missing_or_absurd_usage_is_counted_instead(
    caller: Caller, own_model: str, provide: Callable[..., Provider], kind: str, stream: bool
):
    provide(own_model)
    answer = caller.send("POST", CHAT, chat(own_model, stream=stream, max_tokens=20, sim=faulty(kind)))
    assert answer.status == 200, answer
    record = caller.receipt(answer.headers["x-request-id"])["record"]
    output = len(text(answer, stream).encode())
    assert 0 < record["billed"]["completion"] <= min(output, 20)
    assert 0 <= record["billed"]["prompt"] < 200
    assert record["cost"] <= record["quote"]
    assert caller.settled().spent == record["cost"]


CLAIMS = (
    '{"prompt_tokens":0,"completion_tokens":0}',
    '{"prompt_tokens":99999999,"completion_tokens":99999999}',
    "null",
    '"no"',
    "[]",
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("usage", CLAIMS)
def test_no_claim_moves_money_the_wrong_way(
    caller: Caller, own_model: str, provide: Callable[..., Provider], usage: str, stream: bool
):
    provide(own_model)
    sim = {"tokens": 12, "fault": {"kind": "bad_usage", "usage": json.loads(usage)}}
    answer = caller.send("POST", CHAT, chat(own_model, stream=stream, max_tokens=20, sim=sim))
    assert answer.status == 200, answer
    record = caller.receipt(answer.headers["x-request-id"])["record"]
    assert 0 <= record["billed"]["completion"] <= 20
    assert record["cost"] <= record["quote"]
    assert caller.settled().spent == record["cost"]


def test_a_slow_engine_is_waited_for(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provide(own_model)
    sim = {"tokens": 4, "fault": {"kind": "slow_down", "at": 2, "ms": 150}}
    answer = caller.send("POST", CHAT, chat(own_model, stream=True, sim=sim))
    assert events(answer.body)[-1] == "[DONE]"
    assert len(text(answer, stream=True)) > 0


def test_an_agent_without_an_engine(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provider = provide(own_model)
    provider.engine_process.kill()
    answer = caller.send("POST", CHAT, chat(own_model))
    assert (answer.status, answer.json["error"]["code"]) == (502, "provider_error")
    assert caller.settled().spent == 0


def test_an_agent_that_stops_lets_its_streams_finish(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provider = provide(own_model)
    stream = caller.client.chat.completions.create(
        model=own_model,
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        max_tokens=60,
        extra_body={"sim": {"tokens": 60, "itl_ms": 15}},
    )
    pieces = []
    for chunk in stream:
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        if len(pieces) == 5:
            provider.agent.ask_to_end()
        last = chunk.choices[0].finish_reason if chunk.choices else None
    assert len(pieces) == 60
    assert last == "length" or last == "stop"
    assert provider.agent.wait(20) == 0


def test_no_answer_takes_longer_than_its_deadline(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provide(own_model)
    began = time.monotonic()
    answer = caller.send("POST", CHAT, chat(own_model, stream=True, sim=faulty("stall", 0)))
    assert answer.status == 504
    assert time.monotonic() - began < 5


def text(answer: Answer, stream: bool) -> str:
    """The text of an answer's only choice."""
    if not stream:
        return answer.json["choices"][0]["message"]["content"]
    chunks = [chunk for chunk in events(answer.body) if chunk != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
