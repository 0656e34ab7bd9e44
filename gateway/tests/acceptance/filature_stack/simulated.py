"""Words the suites of the simulated engine share: bodies, events, counts, providers."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import urllib.request
from typing import Any

from .caller import Caller
from .processes import Process
from .stack import Stack


@dataclasses.dataclass(frozen=True)
class Provider:
    """A simulated engine and the agent that sells it."""

    engine: str
    """The engine's name, by which faults are aimed at it."""
    engine_url: str
    engine_process: Process
    agent: Process

    def stats(self) -> dict[str, int]:
        return stats(self.engine_url)


def stats(url: str) -> dict[str, int]:
    """What an engine counted so far."""
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as answer:
        return json.load(answer)


def served(stack: Stack) -> dict[str, int]:
    """What all engines of the stack counted, added up."""
    counts = [stats(url) for url in stack.engines.values()]
    return {name: sum(count[name] for count in counts) for name in counts[0] if isinstance(counts[0][name], int)}


def log(stack: Stack) -> str:
    return pathlib.Path(stack.directory, "gateway.log").read_text(errors="replace")


def is_listed(caller: Caller, model: str) -> bool:
    return model in [each["id"] for each in caller.get("/v1/models")["data"]]


def chat(model: str, content: str = "Hi", **fields: Any) -> bytes:
    """The body of a chat call, as the official client writes it."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def events(body: bytes) -> list[Any]:
    """The data of a stream's events; the last is the text `[DONE]`."""
    data = [line[len(b"data: ") :] for line in body.splitlines() if line.startswith(b"data: ")]
    return [each.decode() if each == b"[DONE]" else json.loads(each) for each in data]
