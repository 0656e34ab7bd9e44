"""Providers that one test brings along, so that what it does to them is nobody else's trouble."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Iterator

import pytest

from filature_stack import parts
from filature_stack.caller import Caller
from filature_stack.parts import Price
from filature_stack.processes import Processes, wait_until
from filature_stack.simulated import Provider, is_listed, log
from filature_stack.stack import Stack

NUMBERS = itertools.count(1)
CHEAP = Price(prompt=1_000_000, completion=1_000_000, call=0)


@pytest.fixture
def provide(stack: Stack, caller: Caller, tmp_path: pathlib.Path) -> Iterator[Callable[..., Provider]]:
    """Starts providers of `model`, and sees them drain and leave when the test is over."""
    processes = Processes(tmp_path)
    models = set()

    def start(model: str, price: Price = CHEAP, *extra: str, engine_model: str | None = None) -> Provider:
        number = next(NUMBERS)
        name = f"own{number}"
        joined = log(stack).count("a provider joined")
        engine, url = parts.start_simulated_engine(
            processes, stack.programs["filature-loadtest"], name, engine_model or model
        )
        sold = f"{model}={engine_model}" if engine_model else model
        program = stack.programs["filature-provider"]
        agent = parts.start_agent(processes, program, stack.origin, url, name, sold, price, *extra)
        wait_until(lambda: log(stack).count("a provider joined") > joined, f"{name} to join")
        models.add(model)
        return Provider(name, url, engine, agent)

    try:
        yield start
        codes = {
            process.name: process.end() for process in reversed(processes.running) if process.name.startswith("agent")
        }
        assert not any(codes.values()), f"agents drain and end with 0: {codes}"
        for model in models:
            wait_until(lambda model=model: not is_listed(caller, model), f"{model} to be gone")
    finally:
        processes.kill_all()


@pytest.fixture
def own_model() -> str:
    """A model's name that no other test uses."""
    return f"sim-own-{next(NUMBERS)}"
