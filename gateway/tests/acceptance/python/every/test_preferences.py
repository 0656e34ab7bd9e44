"""What a caller wishes of providers, said through the official client."""

from __future__ import annotations

import openai
import pytest

from filature_stack.caller import Caller

MESSAGES = [{"role": "user", "content": "Hi"}]


def providers(caller: Caller, model: str) -> list[str]:
    """Who serves the model, by the ids that wishes name."""
    return [each["tag"] for each in caller.get(f"/v1/models/{model}/endpoints")["data"]["endpoints"]]


def ask(caller: Caller, model: str, **extra: object):
    return caller.client.chat.completions.with_raw_response.create(
        model=model, messages=MESSAGES, max_tokens=4, extra_body=extra
    )


def test_only_the_provider_named_serves(caller: Caller, model: str):
    for tag in providers(caller, model):
        answer = ask(caller, model, provider={"only": [tag]})
        assert answer.headers["filature-provider"] == tag
        # Sixteen characters of a provider's key are name enough.
        answer = ask(caller, model, provider={"order": [tag[:16]], "allow_fallbacks": False})
        assert answer.headers["filature-provider"] == tag


def test_a_variant_is_a_way_to_sort(caller: Caller, model: str):
    for variant in ("floor", "nitro"):
        assert ask(caller, f"{model}:{variant}").parse().model == model


def test_the_next_model_serves_where_nobody_has_the_first(caller: Caller, model: str):
    answer = ask(caller, "nobody-has-this", models=[model])
    assert answer.parse().model == model


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"max_price": {"prompt": 0.000000001}}, "provider.max_price"),
        ({"only": ["nobody-with-this-id"]}, "provider.only"),
        ({"quantizations": ["fp32"]}, "provider.quantizations"),
        ({"data_collection": "deny"}, "provider.data_collection"),
    ],
)
def test_a_wish_that_nobody_meets_is_named(caller: Caller, model: str, wish: dict, named: str):
    with pytest.raises(openai.APIStatusError) as raised:
        caller.client.with_options(max_retries=0).chat.completions.create(
            model=model, messages=MESSAGES, extra_body={"provider": wish}
        )
    assert raised.value.status_code in (404, 503)
    assert named in raised.value.message


def test_a_wish_that_is_none_is_refused(caller: Caller, model: str):
    with pytest.raises(openai.BadRequestError):
        caller.client.chat.completions.create(model=model, messages=MESSAGES, extra_body={"provider": {"onyl": ["x"]}})
