"""The description of a running stack, which the runner writes and the suites read."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from dataclasses import dataclass

from .operator_cli import Operator

VARIABLE = "FILATURE_TEST_STACK"
"""Names the file with the description; the runner sets it for pytest and for node."""


@dataclass(frozen=True)
class Stack:
    """Where everything of one stack is."""

    engine: str
    """`simulated` or `smollm2`."""
    ledger: str
    """`redis` or `embedded`."""
    origin: str
    """The gateway, without a path."""
    model: str
    """A model that chats, completes and embeds."""
    engines: dict[str, str]
    """The engines' own base URLs by name, for their `/stats`."""
    programs: dict[str, str]
    """The built programs `filature`, `filature-provider`, `filature-loadtest`."""
    ledger_arguments: list[str]
    """What tells the operator's commands which ledger is meant."""
    directory: str
    """The stack's own folder: logs, keys, data."""

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def operator(self) -> Operator:
        return Operator(self.programs["filature"], self.ledger_arguments)

    def write(self, path: pathlib.Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2))


def running() -> Stack:
    """The stack this suite was started against."""
    path = os.environ.get(VARIABLE)
    if path is None:
        raise SystemExit(f"{VARIABLE} is not set: start the suites with gateway/tests/acceptance/run.py")
    return Stack(**json.loads(pathlib.Path(path).read_text()))
