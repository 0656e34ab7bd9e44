"""Completions, embeddings, models, and what the gateway tells about itself."""

from __future__ import annotations

import base64
import json

import openai
import pytest

from filature_stack.caller import Caller


def test_a_completion(client: openai.OpenAI, model: str):
    answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=5, temperature=0)
    assert answer.object == "text_completion"
    assert answer.model == model
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5


def test_a_completion_of_two_prompts(client: openai.OpenAI, model: str):
    answer = client.completions.create(model=model, prompt=["Once upon a time", "The end"], max_tokens=3)
    assert sorted(choice.index for choice in answer.choices) == [0, 1]
    assert all(choice.text for choice in answer.choices)


def test_a_streamed_completion_has_usage_only_if_asked(client: openai.OpenAI, model: str):
    chunks = list(client.completions.create(model=model, prompt="Once", max_tokens=4, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    asked = list(
        client.completions.create(
            model=model,
            prompt="Once",
            max_tokens=4,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    usages = [chunk.usage for chunk in asked if chunk.usage]
    assert len(usages) == 1
    assert usages[0].completion_tokens == 4
    assert asked[-1].usage is not None


def test_embeddings(client: openai.OpenAI, model: str):
    texts = ["silk", "a mill where threads are reeled", "silk"]
    answer = client.embeddings.create(model=model, input=texts)
    assert [item.index for item in answer.data] == [0, 1, 2]
    vectors = [item.embedding for item in answer.data]
    assert len({len(vector) for vector in vectors}) == 1
    assert all(isinstance(number, float) for number in vectors[0])
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-3)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-3)
    assert answer.usage.prompt_tokens > 0


def test_embeddings_as_floats_and_as_base64_are_the_same(client: openai.OpenAI, model: str):
    floats = client.embeddings.create(model=model, input="silk", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model=model, input="silk", encoding_format="base64").data[0].embedding
    assert len(base64.b64decode(packed)) == 4 * len(floats)


def test_models_are_listed_and_shown(client: openai.OpenAI, model: str):
    listed = client.models.list().data
    assert model in [each.id for each in listed]
    shown = client.models.retrieve(model)
    assert shown.id == model
    assert shown.object == "model"
    assert shown.created > 0
    assert shown.owned_by


def test_a_model_nobody_serves_is_not_shown(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("no-such-model")
    assert raised.value.code == "model_not_found"


def test_health_and_readiness(caller: Caller):
    assert caller.send("GET", "/healthz").status == 200
    assert caller.send("GET", "/readyz").status == 200


def test_metrics_can_be_scraped_and_name_no_key(caller: Caller, client: openai.OpenAI, model: str):
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Mulberry"}], max_tokens=1)
    caller.settled()
    answer = caller.send("GET", "/metrics")
    text = answer.body.decode()
    assert answer.status == 200
    assert "gen_ai_" in text
    assert model in text
    assert caller.key not in text
    assert caller.account not in text
    assert "Mulberry" not in text


def test_the_interface_is_described(caller: Caller):
    described = caller.get("/openapi.json")
    assert described["openapi"].startswith("3.")
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/receipts/{id}"):
        assert path in described["paths"], path


def test_the_description_can_be_browsed_without_a_network(caller: Caller):
    answer = caller.send("GET", "/docs/")
    assert answer.status == 200
    page = answer.body.decode()
    assert "swagger" in page.lower()
    assert "https://" not in page, "everything the page loads comes from the gateway itself"


def test_prompts_and_keys_are_never_logged(caller: Caller, client: openai.OpenAI, model: str):
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Sericulture"}], max_tokens=2)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=[{"role": 7, "content": "Sericulture"}])
    caller.settled()
    with open(f"{caller.stack.directory}/gateway.log", encoding="utf-8") as file:
        log = file.read()
    assert "Sericulture" not in log
    assert caller.key not in log
    assert caller.key[len("sk-fil-") : -4] not in log


def test_every_line_of_the_log_is_json(caller: Caller):
    with open(f"{caller.stack.directory}/gateway.log", encoding="utf-8") as file:
        lines = [line for line in file if line.strip() and not line.startswith("ready ")]
    assert lines
    for line in lines[:-1]:
        assert isinstance(json.loads(line), dict), line
