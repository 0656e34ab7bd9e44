"""Credit, balances, generations and receipts: what a call costs, and the proof of it."""

from __future__ import annotations

import copy
import json

import openai
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from filature_stack.caller import Caller, new_caller
from filature_stack.operator_cli import NANO
from filature_stack.stack import Stack

QUESTION = [{"role": "user", "content": "Say something short."}]
PER_MILLION = 1_000_000


def canonical(value: object) -> bytes:
    """RFC 8785 for what records hold: whole numbers, text, lists and objects with ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify(receipt: dict) -> None:
    """Raises unless the gateway's key signed exactly this record."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(receipt["gateway"]))
    key.verify(bytes.fromhex(receipt["signature"]), b"filature-receipt-v2\n" + canonical(receipt["record"]))


def cost(tokens: dict, price: dict) -> int:
    """The rule of the price list, once more and independently: summed, divided once, rounded up once."""
    plain = {
        "prompt": tokens["prompt"] - tokens["cached_prompt"],
        "cached_prompt": tokens["cached_prompt"],
        "completion": tokens["completion"] - tokens["reasoning"],
        "reasoning": tokens["reasoning"],
    }
    total = sum(count * price[kind] for kind, count in plain.items())
    return -(-total // PER_MILLION) + price["call"]


def ask(caller: Caller, model: str, stream: bool) -> tuple[str, openai.types.CompletionUsage]:
    """One call; its id and the usage the caller was shown."""
    extra = {"stream_options": {"include_usage": True}} if stream else {}
    raw = caller.client.chat.completions.with_raw_response.create(
        model=model, messages=QUESTION, max_tokens=9, stream=stream, **extra
    )
    answer = raw.parse()
    usage = list(answer)[-1].usage if stream else answer.usage
    return raw.headers["x-request-id"], usage


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_costs_what_its_receipt_says(caller: Caller, model: str, stream: bool):
    before = caller.settled()
    call, usage = ask(caller, model, stream)
    receipt = caller.receipt(call)
    after = caller.settled()
    verify(receipt)
    record = receipt["record"]
    assert record["call"] == call
    assert record["account"] == caller.account
    assert record["key"] == caller.key_id
    assert record["model"] == model
    assert record["stream"] is stream
    assert record["outcome"] == "completed"
    assert record["created_ms"] <= record["ended_ms"]
    assert record["billed"]["prompt"] == usage.prompt_tokens
    assert record["billed"]["completion"] == usage.completion_tokens
    assert [leg["tokens"] for leg in record["legs"]] == [record["billed"]]
    assert record["legs"][0]["cost"] == cost(record["billed"], record["legs"][0]["price"])
    assert record["cost"] == sum(leg["cost"] for leg in record["legs"])
    assert record["fee"] == sum(leg["fee"] for leg in record["legs"])
    assert all(leg["fee"] + leg["earned"] == leg["cost"] for leg in record["legs"])
    assert record["legs"][0]["fee"] == record["legs"][0]["cost"] * record["fee_bps"] // 10_000
    assert 0 < record["cost"] <= record["quote"]
    assert after.spent - before.spent == record["cost"]
    assert before.available - after.available == record["cost"]


def test_a_receipt_that_was_tampered_with_does_not_verify(caller: Caller, model: str):
    call, _ = ask(caller, model, stream=False)
    receipt = caller.receipt(call)
    verify(receipt)
    for change in ({"cost": receipt["record"]["cost"] - 1}, {"account": "acct_other"}, {"new": 1}):
        tampered = copy.deepcopy(receipt)
        tampered["record"].update(change)
        with pytest.raises(InvalidSignature):
            verify(tampered)


def test_a_generation_tells_the_same_as_the_receipt(caller: Caller, model: str):
    call, usage = ask(caller, model, stream=True)
    record = caller.receipt(call)["record"]
    generation = caller.get(f"/v1/generation?id={call}")["data"]
    assert generation["id"] == call
    assert generation["model"] == model
    assert generation["streamed"] is True
    assert generation["cancelled"] is False
    assert generation["tokens_prompt"] == usage.prompt_tokens
    assert generation["tokens_completion"] == usage.completion_tokens
    assert generation["total_cost_nano"] == record["cost"]
    assert round(generation["total_cost"] * NANO) == record["cost"]


def test_credits_and_key_count_what_was_spent(caller: Caller, model: str):
    call, _ = ask(caller, model, stream=False)
    spent = caller.receipt(call)["record"]["cost"]
    caller.settled()
    credit = caller.get("/v1/credits")["data"]
    assert credit["total_credits_nano"] == 10 * NANO
    assert credit["total_usage_nano"] == spent
    assert round(credit["total_usage"] * NANO) == spent
    key = caller.get("/v1/key")["data"]
    assert key["usage_nano"] == spent
    assert caller.key not in json.dumps(key)
    assert caller.key[-4:] in json.dumps(key), "the hint by which a person knows the key"


def test_nobody_sees_the_calls_of_another_account(stack: Stack, caller: Caller, model: str):
    call, _ = ask(caller, model, stream=False)
    caller.receipt(call)
    stranger = new_caller(stack, ton="0")
    for path in (f"/v1/receipts/{call}", f"/v1/generation?id={call}"):
        assert stranger.send("GET", path).status == 404, path


@pytest.mark.parametrize("path", ["/v1/receipts/gen-00000000000000000000000000", "/v1/generation?id=nonsense"])
def test_a_call_that_never_was_has_no_record(shared_caller: Caller, path: str):
    answer = shared_caller.send("GET", path)
    assert answer.status == 404
    assert answer.json["error"]["message"]


def test_a_deposit_with_one_id_is_credited_once(caller: Caller):
    before = caller.balance()
    for _ in range(3):
        caller.operator.credit(caller.account, "0.000000007", "invoice-7")
    after = caller.balance()
    assert after.deposited - before.deposited == 7
    assert after.adds_up()


def test_embeddings_are_charged_by_the_prompt(caller: Caller, model: str):
    raw = caller.client.embeddings.with_raw_response.create(model=model, input=["one text", "and another"])
    usage = raw.parse().usage
    record = caller.receipt(raw.headers["x-request-id"])["record"]
    assert record["billed"] == {"prompt": usage.prompt_tokens, "cached_prompt": 0, "completion": 0, "reasoning": 0}
    assert caller.settled().spent == record["cost"] > 0
