"""What every test starts from: the running stack, a caller with money, and a look at the money afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from filature_stack.caller import OPENED, Caller, new_caller
from filature_stack.processes import Failed
from filature_stack.stack import Stack, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The running stack."""
    yield running()
    for client in OPENED:
        client.close()


@pytest.fixture(scope="session")
def model(stack: Stack) -> str:
    return stack.model


@pytest.fixture
def caller(stack: Stack) -> Iterator[Caller]:
    """A caller of this test alone. Afterwards nothing may be held and the sums must be right."""
    caller = new_caller(stack)
    yield caller
    try:
        caller.settled()
    except Failed as failed:
        pytest.fail(str(failed))


@pytest.fixture
def client(caller: Caller) -> openai.OpenAI:
    return caller.client


@pytest.fixture(scope="module")
def shared_caller(stack: Stack) -> Iterator[Caller]:
    """A caller of all tests of a file, for those that charge nothing or do not count."""
    caller = new_caller(stack)
    yield caller
    try:
        caller.settled()
    except Failed as failed:
        pytest.fail(str(failed))
