"""Each error raises in the official client what it raises against OpenAI, and charges nothing."""

from __future__ import annotations

import json
import re

import openai
import pytest

from filature_stack.caller import Caller, new_caller, official_client
from filature_stack.processes import wait_until
from filature_stack.stack import Stack

MESSAGES = [{"role": "user", "content": "Hi"}]


def check_envelope(error: openai.APIStatusError, status: int, kind: str, code: str | None) -> None:
    """OpenAI's envelope: what its clients and the programs built on them read."""
    assert error.status_code == status
    assert error.response.headers["content-type"] == "application/json"
    assert error.request_id, "an error names its request"
    body = json.loads(error.response.content)
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"])
    assert body["error"]["message"]
    assert (error.type, error.code) == (kind, code)


def test_a_key_that_does_not_exist(stack: Stack, model: str):
    client = official_client(stack, "sk-fil-" + "x" * 43)
    with pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(model=model, messages=MESSAGES)
    check_envelope(raised.value, 401, "invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic dTpw"},
        {"authorization": "Bearer \t"},
    ],
    ids=["empty", "no key", "basic", "blank"],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/key", "/v1/credits", "/v1/generation?id=x", "/v1/receipts/x"])
def test_no_usable_key(shared_caller: Caller, headers: dict[str, str], path: str):
    answer = shared_caller.send("GET", path, headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json["error"]["code"] == "invalid_api_key"


def test_the_limits_of_a_key_are_told_as_openai_tells_them(caller: Caller, model: str):
    caller.operator.update_key(caller.key_id, "--requests-per-min", "2", "--tokens-per-min", "1000000")
    for left in ("1", "0"):
        raw = caller.client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=1)
        assert raw.parse().choices
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        assert raw.headers["x-ratelimit-remaining-requests"] == left
        assert re.fullmatch(r"(\d+m)?\d+(\.\d+)?m?s", raw.headers["x-ratelimit-reset-requests"])
        assert raw.headers["x-ratelimit-limit-tokens"] == "1000000"
        assert 0 < int(raw.headers["x-ratelimit-remaining-tokens"]) < 1_000_000
        assert re.fullmatch(r"\d+(\.\d+)?m?s", raw.headers["x-ratelimit-reset-tokens"])
    with pytest.raises(openai.RateLimitError) as raised:
        caller.client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    check_envelope(raised.value, 429, "requests", "rate_limit_exceeded")
    assert 1 <= int(raised.value.response.headers["retry-after"]) <= 30
    assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_key_confined_to_other_models(caller: Caller, model: str):
    caller.operator.update_key(caller.key_id, "--model", "another")
    with pytest.raises(openai.PermissionDeniedError) as raised:
        caller.client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    check_envelope(raised.value, 403, "invalid_request_error", "model_not_found")
    assert not list(caller.client.models.list())


def test_a_revoked_key(caller: Caller, model: str):
    client = caller.client
    client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    caller.operator.revoke(caller.key_id)
    with pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    check_envelope(raised.value, 401, "invalid_request_error", "invalid_api_key")
    wait_until(lambda: caller.send("GET", "/v1/key").status == 401, "the key to be refused everywhere")


def test_an_expired_key(caller: Caller, model: str):
    _, key = caller.operator.create_key(caller.account, "--expires", "1s")
    client = official_client(caller.stack, key)

    def refused() -> openai.AuthenticationError | None:
        try:
            client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
        except openai.AuthenticationError as error:
            return error
        return None

    error = wait_until(refused, "the key to expire", 5)
    check_envelope(error, 401, "invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_account_without_credit(stack: Stack, model: str, stream: bool):
    caller = new_caller(stack, ton="0")
    with pytest.raises(openai.APIStatusError) as raised:
        caller.client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5, stream=stream)
    check_envelope(raised.value, 402, "insufficient_quota", "insufficient_quota")
    assert caller.settled().spent == 0


@pytest.mark.parametrize("call", ["chat", "completion", "embedding"])
def test_a_model_nobody_serves(shared_caller: Caller, call: str):
    client, model = shared_caller.client, "no-such-model"
    calls = {
        "chat": lambda: client.chat.completions.create(model=model, messages=MESSAGES),
        "completion": lambda: client.completions.create(model=model, prompt="Hi"),
        "embedding": lambda: client.embeddings.create(model=model, input="Hi"),
    }
    with pytest.raises(openai.NotFoundError) as raised:
        calls[call]()
    check_envelope(raised.value, 404, "invalid_request_error", "model_not_found")
    assert raised.value.param == "model"


def test_a_bad_request_names_the_field(shared_caller: Caller, model: str):
    with pytest.raises(openai.BadRequestError) as raised:
        shared_caller.client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=-1)
    check_envelope(raised.value, 400, "invalid_request_error", raised.value.code)
    assert raised.value.param == "max_tokens"


def test_a_body_over_the_limit(shared_caller: Caller, model: str):
    messages = [{"role": "user", "content": "x" * (3 << 20)}]
    with pytest.raises(openai.APIStatusError) as raised:
        shared_caller.client.chat.completions.create(model=model, messages=messages)
    check_envelope(raised.value, 413, "invalid_request_error", "request_too_large")


def test_a_path_that_does_not_exist(shared_caller: Caller):
    with pytest.raises(openai.NotFoundError) as raised:
        shared_caller.client.get("/no/such/path", cast_to=object)
    check_envelope(raised.value, 404, "invalid_request_error", "not_found")


def test_a_method_that_does_not_exist(shared_caller: Caller):
    answer = shared_caller.send("GET", "/v1/chat/completions")
    assert answer.status == 405
    assert answer.json["error"]["code"] == "method_not_allowed"


def test_a_head_over_the_limit(shared_caller: Caller):
    answer = shared_caller.send("GET", "/v1/models", headers={"x-filler": "x" * 100_000})
    assert answer.status == 431
