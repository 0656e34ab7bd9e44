"""A caller of the gateway: an account with credit, its key, the official client and plain HTTP."""

from __future__ import annotations

import functools
import http.client
import itertools
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

import openai

from .operator_cli import Balance, Operator
from .processes import wait_until
from .stack import Stack

CREDIT_TON = "10"
NUMBERS = itertools.count(1)


OPENED: list[openai.OpenAI] = []
"""Every client the suites opened, to be closed when all tests are over."""


@dataclass(frozen=True)
class Answer:
    """A raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    """An account with credit, its key, and clients that use it."""

    stack: Stack
    account: str
    key_id: str
    key: str

    @property
    def operator(self) -> Operator:
        return self.stack.operator

    @functools.cached_property
    def client(self) -> openai.OpenAI:
        """The official client as it comes, but without retries: each error is to be seen."""
        return official_client(self.stack, self.key)

    @property
    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.stack.base_url, api_key=self.key, max_retries=0, timeout=120)

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request, byte for byte, without a client's help."""
        url = urllib.parse.urlsplit(self.stack.origin)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def balance(self) -> Balance:
        return self.operator.balance(self.account)

    def settled(self) -> Balance:
        """The balance once nothing is held, which must be soon: a call settles when it ends."""
        wait_until(lambda: self.balance().held == 0, f"nothing to be held for {self.account}")
        balance = self.balance()
        assert balance.adds_up(), balance
        return balance

    def get(self, path: str) -> Any:
        """A read-only answer of the gateway."""
        answer = self.send("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def receipt(self, call: str) -> Any:
        """The receipt of a call, which is there once the call is settled."""
        found = wait_until(
            lambda: (answer := self.send("GET", f"/v1/receipts/{call}")).status == 200 and answer,
            f"the receipt of {call}",
        )
        return found.json


def official_client(stack: Stack, key: str) -> openai.OpenAI:
    """The official client with this key, without retries."""
    client = openai.OpenAI(base_url=stack.base_url, api_key=key, max_retries=0, timeout=120)
    OPENED.append(client)
    return client


def new_caller(stack: Stack, ton: str = CREDIT_TON) -> Caller:
    """An account of its own; without credit if `ton` is 0."""
    account = stack.operator.create_account(f"suite {next(NUMBERS)}")
    if ton != "0":
        stack.operator.credit(account, ton)
    key_id, key = stack.operator.create_key(account)
    return Caller(stack, account, key_id, key)
