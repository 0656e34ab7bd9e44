"""What the engine receives is what the caller sent, byte for byte, and so is what comes back."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable

import openai
import pytest

from filature_stack.caller import Caller
from filature_stack.simulated import Provider, chat, events
from filature_stack.stack import Stack

ODD_BODIES = {
    "odd white space": b'{ \n\t"messages" :\r\n [ { "content" : "Hi" , "role":"user"} ] ,"max_tokens":  3 ,  "model"  :"MODEL","sim":{"echo":true}  }\n\n',
    "odd key order": b'{"sim":{"echo":true},"max_tokens":3,"zebra":1,"apple":2,"model":"MODEL","messages":[{"content":"Hi","role":"user","name":"ann"}]}',
    "unknown fields": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi","x":{"y":[1,{}]}}],"x_unknown":{"a":[null,true,{"b":"c"}]},"min_p":0.05}',
    "numbers as written": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}],"temperature":1.0e0,"top_p":0.9500000000000000000001,"big":123456789012345678901234567890,"minus":-0.0}',
    "escapes as written": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"\\u0041\\/\\ud83e\\uddf5\\u0000\\"\\\\"}],"user":"\\u00e9"}',
    "other scripts": '{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Grüße 世界 🧵 \u2028"}]}'.encode(),
    "a field within that looks like one above": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"metadata":{"model":"x","stream":true,"max_tokens":9,"max_tokens":8},"messages":[{"role":"user","content":"\\"model\\":\\"y\\""}]}',
    "duplicate keys below the top": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}],"logit_bias":{"1":1,"1":2}}',
    "an escaped key": b'{"m\\u006fdel":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}]}',
    "sixty levels deep": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}],"deep":'
    + b"[" * 60
    + b"]" * 60
    + b"}",
    "null fields": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}],"stop":null,"n":null,"stream":null,"stream_options":null}',
    "a long prompt": b'{"model":"MODEL","max_tokens":3,"sim":{"echo":true},"messages":[{"role":"user","content":"'
    + b"silk " * 20_000
    + b'"}]}',
}


@pytest.mark.parametrize("name", ODD_BODIES)
def test_the_engine_gets_the_callers_own_bytes(shared_caller: Caller, model: str, name: str):
    body = ODD_BODIES[name].replace(b"MODEL", model.encode())
    answer = shared_caller.send("POST", "/v1/chat/completions", body)
    assert answer.status == 200, answer
    assert answer.json["sim_echo"]["body"].encode() == body


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_so_on_the_other_endpoints(shared_caller: Caller, model: str, path: str):
    field = b"prompt" if path.endswith("completions") else b"input"
    body = b'{ "sim":{"echo":true}, "x":[1.0],"%s" :"Hi","max_tokens":2, "model":"%s"}' % (field, model.encode())
    answer = shared_caller.send("POST", path, body)
    assert answer.status == 200, answer
    assert answer.json["sim_echo"]["body"].encode() == body
    assert answer.json["sim_echo"]["path"] == path


def test_a_stream_that_asks_for_usage_is_not_touched(shared_caller: Caller, model: str):
    body = (
        b'{"stream_options" : {"include_usage":true , "x":1},"model":"%s","stream":true,"max_tokens":2,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}]}'
        % model.encode()
    )
    answer = shared_caller.send("POST", "/v1/chat/completions", body)
    assert events(answer.body)[0]["sim_echo"]["body"].encode() == body


@pytest.mark.parametrize(
    "options",
    [None, b'"stream_options":null,', b'"stream_options":{},', b'"stream_options":{"include_usage":false,"x":1},'],
    ids=["absent", "null", "empty", "refused"],
)
def test_a_stream_that_does_not_ask_differs_in_nothing_else(shared_caller: Caller, model: str, options: bytes | None):
    body = (
        b'{ "x":1.0, %s"model":"%s" ,"stream" : true,"max_tokens":2,"sim":{"echo":true},"messages":[{"role":"user","content":"Hi"}] }'
        % (
            options or b"",
            model.encode(),
        )
    )
    answer = shared_caller.send("POST", "/v1/chat/completions", body)
    got = events(answer.body)[0]["sim_echo"]["body"].encode()
    assert json.loads(got)["stream_options"]["include_usage"] is True
    pattern = re.compile(rb',?\s*"stream_options"\s*:\s*(null|\{[^}]*\})')
    assert pattern.sub(b"", got).replace(b",,", b",") == pattern.sub(b"", body).replace(b",,", b",")
    if options and b'"x":1}' in options:
        assert json.loads(got)["stream_options"]["x"] == 1


def test_a_renamed_model_is_all_that_changes(caller: Caller, own_model: str, provide: Callable[..., Provider]):
    provide(own_model, engine_model="inner-name")
    body = b'{"messages":[{"role":"user","content":"%s"}],  "model" : "%s", "max_tokens":2,"sim":{"echo":true}}' % (
        own_model.encode(),
        own_model.encode(),
    )
    answer = caller.send("POST", "/v1/chat/completions", body)
    assert answer.status == 200, answer
    expected = body.replace(b': "%s"' % own_model.encode(), b': "inner-name"')
    assert answer.json["sim_echo"]["body"].encode() == expected
    assert answer.json["model"] == own_model, "the caller sees the name it asked for"
    streamed = caller.send("POST", "/v1/chat/completions", chat(own_model, stream=True, max_tokens=2))
    assert {chunk["model"] for chunk in events(streamed.body)[:-1]} == {own_model}


def test_an_answer_is_what_the_engine_sent(stack: Stack, shared_caller: Caller, model: str):
    body = chat(model, "the same question", max_tokens=7, n=2, logprobs=True, sim={"echo": False, "reasoning": 2})
    through = shared_caller.send("POST", "/v1/chat/completions", body)
    engine = engine_of(stack, through.json)
    assert unnamed(through.body) == unnamed(directly(engine, body))


def test_a_stream_is_what_the_engine_sent(stack: Stack, shared_caller: Caller, model: str):
    body = chat(
        model, "the same", max_tokens=7, stream=True, stream_options={"include_usage": True}, sim={"reasoning": 2}
    )
    through = shared_caller.send("POST", "/v1/chat/completions", body)
    engine = engine_of(stack, events(through.body)[0])
    assert unnamed(through.body) == unnamed(directly(engine, body))


def engine_of(stack: Stack, answer: dict) -> str:
    """The URL of the engine that gave this answer."""
    return stack.engines[answer["system_fingerprint"].removeprefix("sim-")]


def directly(engine: str, body: bytes) -> bytes:
    request = urllib.request.Request(f"{engine}/v1/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def unnamed(body: bytes) -> bytes:
    """An answer's name and the second of its making are all that may differ from the next one's."""
    return re.sub(rb'"id":"[^"]*"', b'"id":""', re.sub(rb'"created":\d+', b'"created":0', body))


def test_the_engine_learns_which_call_it_is_and_nothing_of_the_caller(shared_caller: Caller, model: str):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "cookie": "secret=1", "x-forwarded-for": "10.1.2.3"}
    answer = shared_caller.send("POST", "/v1/chat/completions", chat(model, max_tokens=1, sim={"echo": True}), headers)
    got = {name.lower(): value for name, value in echoed_headers(answer.json["sim_echo"])}
    assert got["filature-call"] == answer.headers["x-request-id"]
    assert got["filature-attempt"] == "1"
    assert got["traceparent"].split("-")[1] == trace
    assert got["content-type"] == "application/json"
    assert shared_caller.key not in str(got)
    assert not {"authorization", "cookie", "x-forwarded-for", "user-agent"} & set(got), got


def echoed_headers(echo: dict) -> list[tuple[str, str]]:
    headers = echo["headers"]
    return list(headers.items()) if isinstance(headers, dict) else [(name, value) for name, value in headers]


def test_fields_of_the_official_client_arrive(client: openai.OpenAI, model: str):
    sent = {
        "seed": 7,
        "temperature": 0.25,
        "top_p": 0.5,
        "stop": ["END", "\n\n"],
        "presence_penalty": -0.5,
        "logit_bias": {"50256": -100},
        "user": "customer-1",
        "metadata": {"team": "silk"},
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "service_tier": "flex",
        "store": False,
    }
    messages = [{"role": "user", "content": "Hi"}]
    answer = client.chat.completions.create(
        model=model, messages=messages, max_tokens=2, extra_body={"sim": {"echo": True}, "top_k": 3}, **sent
    )
    got = json.loads(answer.model_extra["sim_echo"]["body"])
    expected = {"model": model, "messages": messages, "max_tokens": 2, "sim": {"echo": True}, "top_k": 3, **sent}
    assert got == expected


def test_two_hundred_thousand_bytes_come_back_whole(client: openai.OpenAI, model: str):
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "long"}],
        stream=True,
        max_tokens=4_000,
        extra_body={"sim": {"tokens": 4_000}},
    )
    pieces = sum(1 for chunk in stream if chunk.choices[0].delta.content)
    assert pieces == 4_000
