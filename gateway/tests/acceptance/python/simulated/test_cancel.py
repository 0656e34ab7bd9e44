"""A caller that leaves: its engine stops within moments, and what was made until then is paid for."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Callable

import pytest

from filature_stack.caller import Caller
from filature_stack.processes import wait_until
from filature_stack.simulated import Provider, chat

MESSAGES = [{"role": "user", "content": "Hi"}]
ENDLESS = {"sim": {"tokens": 100_000, "itl_ms": 4}}
SOON_SECONDS = 1.0


@pytest.mark.parametrize("usage", [False, True], ids=["usage not asked for", "usage asked for"])
def test_a_stream_left_in_the_middle(caller: Caller, own_model: str, provide: Callable[..., Provider], usage: bool):
    provider = provide(own_model)
    stream = caller.client.chat.completions.create(
        model=own_model,
        messages=MESSAGES,
        max_tokens=4_000,
        stream=True,
        stream_options={"include_usage": usage},
        extra_body=ENDLESS,
    )
    read = 0
    for chunk in stream:
        read += sum(1 for choice in chunk.choices if choice.delta.content)
        if read == 20:
            break
    stream.close()
    left = time.monotonic()
    wait_until(lambda: provider.stats()["cancelled"] == 1, "the engine to be told")
    assert time.monotonic() - left < SOON_SECONDS
    record = caller.receipt(stream.response.headers["x-request-id"])["record"]
    sent = provider.stats()["tokens_sent"]
    assert record["outcome"] == "cancelled"
    assert read <= record["billed"]["completion"] <= sent < 2_000
    assert record["billed"]["prompt"] > 0, "the provider did its part and is paid for it"
    after = caller.settled()
    assert after.spent == record["cost"] > 0
    generation = caller.get(f"/v1/generation?id={record['call']}")["data"]
    assert generation["cancelled"] is True


def test_a_caller_that_leaves_before_the_first_token(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provider = provide(own_model)
    connection = open_call(caller, chat(own_model, stream=True, sim={"ttft_ms": 60_000}))
    wait_until(lambda: provider.stats()["running"] == 1, "the engine to begin")
    connection.close()
    wait_until(lambda: provider.stats()["cancelled"] == 1, "the engine to be told", 5)
    assert caller.settled().spent == 0, "no output, no charge"


def test_a_caller_that_leaves_an_answer_in_one_piece(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provider = provide(own_model)
    connection = open_call(caller, chat(own_model, sim={"ttft_ms": 60_000}))
    wait_until(lambda: provider.stats()["running"] == 1, "the engine to begin")
    connection.close()
    wait_until(lambda: provider.stats()["cancelled"] == 1, "the engine to be told", 5)
    assert caller.settled().spent == 0


def test_a_caller_that_reads_nothing_holds_up_nobody(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provider = provide(own_model)
    body = chat(own_model, stream=True, max_tokens=4_000, sim={"tokens": 4_000})
    lazy = [open_call(caller, body) for _ in range(5)]
    wait_until(lambda: provider.stats()["started"] == 5, "the engine to begin")
    answer = caller.send("POST", "/v1/chat/completions", chat(own_model, max_tokens=2))
    assert answer.status == 200
    for connection in lazy:
        connection.close()
    wait_until(lambda: provider.stats()["running"] == 0, "the engine to be rid of them", 10)
    caller.settled()


def test_half_a_request_is_not_waited_for_by_others(caller: Caller, model: str):
    url = urllib.parse.urlsplit(caller.stack.origin)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("authorization", f"Bearer {caller.key}")
    connection.putheader("content-length", "1000")
    connection.endheaders(b'{"model":')
    assert caller.send("POST", "/v1/chat/completions", chat(model, max_tokens=1)).status == 200
    connection.close()
    assert caller.settled().held == 0


def open_call(caller: Caller, body: bytes) -> http.client.HTTPConnection:
    """Sends a call and reads nothing of its answer."""
    url = urllib.parse.urlsplit(caller.stack.origin)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    headers = {"authorization": f"Bearer {caller.key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body=body, headers=headers)
    return connection
