"""The parts a stack is made of, each a real process: ledger, engine, agent, gateway."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .processes import Failed, Process, Processes, free_port

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
PROGRAMS = ("filature", "filature-provider", "filature-loadtest")
READY = r"ready base_url=(http://\S+)/v1"
SERVES = r'"listen":"([^"]+)"'
REDIS_STARTS = 5
OFFERED = {
    "FILATURE_PROVIDER_ENDPOINTS": "chat,completions,embeddings",
    "FILATURE_PROVIDER_CAPABILITIES": "tools,json_schema,logprobs",
    "FILATURE_PROVIDER_CONTEXT_TOKENS": "131072",
    "FILATURE_PROVIDER_OUTPUT_TOKENS": "8192",
    "FILATURE_PROVIDER_CONCURRENCY": "64",
}
"""What a provider of the suites offers where its flags do not say otherwise."""


def programs(directory: pathlib.Path) -> dict[str, str]:
    """The built programs, or a word on how to build them."""
    found = {name: directory / name for name in PROGRAMS}
    missing = [name for name, path in found.items() if not path.is_file()]
    if missing:
        raise Failed(f"{', '.join(missing)} not found in {directory}: build with `cargo build --workspace --bins`")
    return {name: str(path) for name, path in found.items()}


@dataclass(frozen=True)
class Price:
    """What a provider asks, in nano per million tokens and nano per call."""

    prompt: int
    completion: int
    call: int


def start_redis(processes: Processes) -> str:
    """A Redis of its own, as durable as the README asks for; its URL."""
    data = processes.directory / "redis"
    data.mkdir()
    options = {"bind": "127.0.0.1", "dir": data, "save": "", "appendonly": "yes", "maxmemory-policy": "noeviction"}
    for _ in range(REDIS_STARTS):
        port = free_port()
        argv = ["redis-server", "--port", str(port)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        redis = processes.start("redis", argv)
        try:
            redis.wait_for("Ready to accept connections")
        except Failed:
            # Somebody else took the port between asking for a free one and binding it.
            if "Address already in use" not in redis.text():
                raise
            processes.running.remove(redis)
            continue
        return f"redis://127.0.0.1:{port}"
    raise Failed("no port for redis-server")


def start_simulated_engine(processes: Processes, program: str, name: str, model: str) -> tuple[Process, str]:
    """A simulated engine, and its URL without a path."""
    argv = [program, "engine", "--listen", "127.0.0.1:0", "--name", name, "--model", model]
    engine = processes.start(f"engine-{name}", argv)
    return engine, engine.wait_for(READY).group(1)


def start_smollm2_engine(processes: Processes, name: str, model: str) -> str:
    """SmolLM2 on this machine's processor; its URL without a path."""
    script = REPOSITORY / "gateway" / "demo" / "llm_engine.py"
    argv = [sys.executable, str(script), "--model", model]
    return processes.start(f"engine-{name}", argv).wait_for(READY, 120).group(1)


def start_agent(
    processes: Processes, program: str, gateway: str, engine: str, name: str, model: str, price: Price, *extra: str
) -> Process:
    """A provider: a key, an offer, a tunnel to the gateway."""
    key = processes.directory / f"{name}.key"
    subprocess.run([program, "key", "new", "--key-file", str(key)], check=True, capture_output=True, timeout=30)
    argv = [program, "run", "--gateway", gateway, "--engine", engine, "--key-file", str(key), "--name", name]
    argv += ["--model", model, "--price-prompt", str(price.prompt), "--price-completion", str(price.completion)]
    argv += ["--price-call", str(price.call), *extra]
    return processes.start(f"agent-{name}", argv, OFFERED)


def start_gateway(processes: Processes, program: str, ledger: Sequence[str], settings: dict[str, str]) -> str:
    """The gateway on a free port; its URL without a path."""
    gateway = processes.start("gateway", [program, "serve", "--listen", "127.0.0.1:0", *ledger], settings)
    return f"http://{gateway.wait_for(SERVES).group(1)}"


def panics(process: Process) -> list[str]:
    """Lines of a log that tell of a panic."""
    return [line for line in process.text().splitlines() if re.search(r"\bpanicked at\b|\bpanic\b", line)]
