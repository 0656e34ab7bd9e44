"""A stream whose engine dies goes on at another, and the official client notices nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from filature_stack.caller import Caller
from filature_stack.parts import Price
from filature_stack.processes import wait_until
from filature_stack.simulated import Provider, chat

DEAR = Price(prompt=1_000_000, completion=1_000_000, call=50_000)
MESSAGES = [{"role": "user", "content": "Tell me of the silk road."}]
TOKENS = 30


@pytest.fixture
def two(own_model: str, provide: Callable[..., Provider]) -> tuple[Provider, Provider]:
    """Two providers of the same model; the first is cheaper and asked first."""
    return (
        provide(own_model, Price(1_000_000, 1_000_000, 0), "--dialect", "vllm"),
        provide(own_model, DEAR, "--dialect", "vllm"),
    )


@pytest.mark.parametrize("kind", ["close", "reset", "stall", "truncate", "half_frame", "garbage", "ok_with_error"])
def test_a_broken_stream_goes_on_elsewhere(caller: Caller, own_model: str, two: tuple[Provider, Provider], kind: str):
    bad, good = two
    fields = {"model": own_model, "messages": MESSAGES, "max_tokens": TOKENS, "extra_body": {"sim": {"tokens": TOKENS}}}
    whole = caller.client.chat.completions.create(**fields).choices[0].message.content
    sim = {"tokens": TOKENS, "itl_ms": 5, "fault": {"kind": kind, "at": 12, "engines": [bad.engine]}}
    fields["extra_body"] = {"sim": sim}
    chunks = list(caller.client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == whole
    assert len({chunk.id for chunk in chunks}) == 1
    assert [choice.delta.role for choice in choices if choice.delta.role] == ["assistant"]
    assert len([choice for choice in choices if choice.finish_reason]) == 1
    [usage] = [chunk.usage for chunk in chunks if chunk.usage]
    assert usage.completion_tokens == TOKENS
    assert (bad.stats()["faults"], good.stats()["continued"]) == ({kind: 1}, 1)


def test_a_spliced_answer_has_a_leg_for_each_provider(caller: Caller, own_model: str, two: tuple[Provider, Provider]):
    bad, _ = two
    sim = {"tokens": TOKENS, "itl_ms": 5, "fault": {"kind": "truncate", "at": 12, "engines": [bad.engine]}}
    answer = caller.send("POST", "/v1/chat/completions", chat(own_model, stream=True, max_tokens=TOKENS, sim=sim))
    last = next(line for line in answer.body.decode().splitlines() if '"filature":' in line)
    [splice] = json.loads(last[len("data: ") :])["filature"]["splices"]
    record = caller.receipt(answer.headers["x-request-id"])["record"]
    first, second = record["legs"]
    assert (second["provider"], second["from_byte"]) == (splice["provider"], splice["at_byte"])
    assert first["tokens"]["prompt"] == 0, "who breaks off forfeits the prompt"
    assert first["tokens"]["completion"] + second["tokens"]["completion"] == TOKENS
    assert record["outcome"] == "completed"
    assert caller.settled().spent == record["cost"] == first["cost"] + second["cost"]


def test_a_killed_engines_stream_goes_on(caller: Caller, own_model: str, two: tuple[Provider, Provider]):
    bad, good = two
    fields = {"model": own_model, "messages": MESSAGES, "max_tokens": 200}
    sim = {"tokens": 200, "itl_ms": 10}
    whole = caller.client.chat.completions.create(**fields, extra_body={"sim": {"tokens": 200}})
    pieces: list[str] = []
    for chunk in caller.client.chat.completions.create(**fields, stream=True, extra_body={"sim": sim}):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        if len(pieces) == 20:
            bad.engine_process.kill()
    assert "".join(pieces) == whole.choices[0].message.content
    wait_until(lambda: good.stats()["continued"] == 1, "the other engine to have gone on")
