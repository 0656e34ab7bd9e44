"""Input no well-behaved client sends: each is refused with a clear error, charges nothing and leaves nothing held."""

from __future__ import annotations

import json

import pytest

from filature_stack.caller import Caller

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
MESSAGES = '"messages":[{"role":"user","content":"Hi"}]'


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def many_keys(count: int) -> str:
    return ",".join(f'"k{number}":0' for number in range(count))


REFUSED = {
    # Not JSON at all.
    "nothing": (CHAT, b""),
    "white space": (CHAT, b" \n\t "),
    "half an object": (CHAT, b'{"model":"MODEL",'),
    "a trailing comma": (CHAT, b'{"model":"MODEL",%s,}' % MESSAGES.encode()),
    "single quotes": (CHAT, b"{'model':'MODEL'}"),
    "two objects": (CHAT, b'{"model":"MODEL",%s}{}' % MESSAGES.encode()),
    "a comment": (CHAT, b'{"model":"MODEL",/* hm */%s}' % MESSAGES.encode()),
    "NaN": (CHAT, b'{"model":"MODEL","temperature":NaN,%s}' % MESSAGES.encode()),
    "a NUL byte between": (CHAT, b'{"model":"MODEL",\x00%s}' % MESSAGES.encode()),
    "a NUL byte in a text": (CHAT, b'{"model":"MODEL","messages":[{"role":"user","content":"a\x00b"}]}'),
    "only NUL bytes": (CHAT, bytes(64)),
    "invalid UTF-8": (CHAT, b'{"model":"MODEL","messages":[{"role":"user","content":"\xff\xfe"}]}'),
    "cut UTF-8": (CHAT, b'{"model":"MODEL","messages":[{"role":"user","content":"\xe2\x82"}]}'),
    "a surrogate encoded as UTF-8": (CHAT, b'{"model":"MODEL","messages":[{"role":"user","content":"\xed\xa0\x80"}]}'),
    "UTF-16": (CHAT, ('{"model":"MODEL",' + MESSAGES + "}").encode("utf-16")),
    "multipart": (CHAT, b"--x\r\ncontent-disposition: form-data\r\n\r\n1\r\n--x--"),
    # JSON, but no request.
    "null": (CHAT, b"null"),
    "a number": (CHAT, b"17"),
    "a text": (CHAT, b'"hello"'),
    "a list": (CHAT, b"[1,2,3]"),
    "an empty object": (CHAT, b"{}"),
    "deep nesting": (CHAT, f'{{"model":"MODEL",{MESSAGES},"metadata":{deep(100)}}}'.encode()),
    "very deep nesting": (CHAT, f'{{"model":"MODEL",{MESSAGES},"metadata":{deep(100_000)}}}'.encode()),
    "unclosed nesting": (CHAT, b'{"a":' * 50_000),
    "too many keys": (CHAT, f'{{"model":"MODEL",{MESSAGES},{many_keys(5_000)}}}'.encode()),
    # The same key twice: which of them counts is anybody's guess, and so is the bill.
    "the model twice": (CHAT, f'{{"model":"MODEL","model":"no-such-model",{MESSAGES}}}'.encode()),
    "max_tokens twice": (CHAT, f'{{"model":"MODEL","max_tokens":1,{MESSAGES},"max_tokens":9999}}'.encode()),
    "messages twice": (CHAT, f'{{"model":"MODEL",{MESSAGES},{MESSAGES}}}'.encode()),
    "an escaped key twice": (CHAT, f'{{"model":"MODEL","n":1,"\\u006e":2,{MESSAGES}}}'.encode()),
    "an unknown key twice": (CHAT, f'{{"model":"MODEL","x":1,"x":2,{MESSAGES}}}'.encode()),
    # The model.
    "no model": (CHAT, f"{{{MESSAGES}}}".encode()),
    "a model that is null": (CHAT, f'{{"model":null,{MESSAGES}}}'.encode()),
    "a model that is a number": (CHAT, f'{{"model":7,{MESSAGES}}}'.encode()),
    "a model that is empty": (CHAT, f'{{"model":"",{MESSAGES}}}'.encode()),
    "a model of 10,000 letters": (CHAT, f'{{"model":"{"m" * 10_000}",{MESSAGES}}}'.encode()),
    # Messages.
    "no messages": (CHAT, b'{"model":"MODEL"}'),
    "messages that are null": (CHAT, b'{"model":"MODEL","messages":null}'),
    "empty messages": (CHAT, b'{"model":"MODEL","messages":[]}'),
    "messages that are a text": (CHAT, b'{"model":"MODEL","messages":"Hi"}'),
    "messages that are an object": (CHAT, b'{"model":"MODEL","messages":{"role":"user"}}'),
    "a message that is a text": (CHAT, b'{"model":"MODEL","messages":["Hi"]}'),
    "a message that is null": (CHAT, b'{"model":"MODEL","messages":[null]}'),
    "a message without a role": (CHAT, b'{"model":"MODEL","messages":[{"content":"Hi"}]}'),
    "a role that is a number": (CHAT, b'{"model":"MODEL","messages":[{"role":1,"content":"Hi"}]}'),
    # Numbers and flags.
    "stream as text": (CHAT, f'{{"model":"MODEL",{MESSAGES},"stream":"yes"}}'.encode()),
    "stream as number": (CHAT, f'{{"model":"MODEL",{MESSAGES},"stream":1}}'.encode()),
    "stream_options as list": (CHAT, f'{{"model":"MODEL",{MESSAGES},"stream":true,"stream_options":[]}}'.encode()),
    "include_usage as text": (
        CHAT,
        f'{{"model":"MODEL",{MESSAGES},"stream":true,"stream_options":{{"include_usage":"yes"}}}}'.encode(),
    ),
    "max_tokens 0": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":0}}'.encode()),
    "max_tokens negative": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":-1}}'.encode()),
    "max_tokens very negative": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":-9223372036854775809}}'.encode()),
    "max_tokens absurd": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":99999999999999999999}}'.encode()),
    "max_tokens with a fraction": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":1.5}}'.encode()),
    "max_tokens huge exponent": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":1e400}}'.encode()),
    "max_tokens as text": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_tokens":"5"}}'.encode()),
    "max_completion_tokens negative": (CHAT, f'{{"model":"MODEL",{MESSAGES},"max_completion_tokens":-5}}'.encode()),
    "n 0": (CHAT, f'{{"model":"MODEL",{MESSAGES},"n":0}}'.encode()),
    "n negative": (CHAT, f'{{"model":"MODEL",{MESSAGES},"n":-3}}'.encode()),
    "n absurd": (CHAT, f'{{"model":"MODEL",{MESSAGES},"n":1000000000}}'.encode()),
    "n with a fraction": (CHAT, f'{{"model":"MODEL",{MESSAGES},"n":1.5}}'.encode()),
    "n as text": (CHAT, f'{{"model":"MODEL",{MESSAGES},"n":"2"}}'.encode()),
    # Completions and embeddings.
    "no prompt": (COMPLETIONS, b'{"model":"MODEL"}'),
    "an empty list of prompts": (COMPLETIONS, b'{"model":"MODEL","prompt":[]}'),
    "a prompt that is an object": (COMPLETIONS, b'{"model":"MODEL","prompt":{"a":1}}'),
    "a prompt that is a flag": (COMPLETIONS, b'{"model":"MODEL","prompt":true}'),
    "no input": (EMBEDDINGS, b'{"model":"MODEL"}'),
    "an empty list of inputs": (EMBEDDINGS, b'{"model":"MODEL","input":[]}'),
    "an input that is null": (EMBEDDINGS, b'{"model":"MODEL","input":null}'),
    "an input that is a number": (EMBEDDINGS, b'{"model":"MODEL","input":3}'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(shared_caller: Caller, model: str, name: str):
    path, body = REFUSED[name]
    # UTF-16 has its letters two bytes apart, so that the placeholder stays there; no model is looked up in it.
    answer = shared_caller.send("POST", path, body.replace(b"MODEL", model.encode()))
    assert answer.status == 400, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error = answer.json["error"]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 10
    assert len(error["message"]) < 1_000, "an error does not send the request back"
    assert {"message", "type", "param", "code"} <= set(error)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("model", "a model that is a number"),
        ("messages", "empty messages"),
        ("max_tokens", "max_tokens absurd"),
        ("n", "n absurd"),
        ("stream", "stream as text"),
        ("prompt", "no prompt"),
        ("input", "an input that is null"),
    ],
)
def test_the_error_names_the_field(shared_caller: Caller, model: str, field: str, name: str):
    path, body = REFUSED[name]
    answer = shared_caller.send("POST", path, body.replace(b"MODEL", model.encode()))
    assert answer.json["error"]["param"] == field


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"accept": "text/html"},
        {"content-type": "application/json; charset=utf-8"},
    ],
    ids=["plain text", "no type", "wants html", "with charset"],
)
def test_headers_do_not_matter_where_the_body_is_right(shared_caller: Caller, model: str, headers: dict[str, str]):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
    answer = shared_caller.send("POST", CHAT, body, headers)
    assert answer.status == 200, answer


def test_a_body_that_never_ends_its_length_is_refused(shared_caller: Caller):
    answer = shared_caller.send("POST", CHAT, b"{}", {"content-length": "99999999999"})
    assert answer.status == 413
    assert answer.json["error"]["code"] == "request_too_large"


def test_nothing_of_all_this_was_charged(shared_caller: Caller, model: str):
    before = shared_caller.settled()
    for path, body in REFUSED.values():
        shared_caller.send("POST", path, body.replace(b"MODEL", model.encode()))
    assert shared_caller.settled() == before
