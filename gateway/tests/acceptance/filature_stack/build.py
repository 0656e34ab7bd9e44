"""Puts a whole stack together, and takes it down with a last look at what it did."""

from __future__ import annotations

import contextlib
import json
import pathlib
import urllib.error
import urllib.request
from collections.abc import Iterator

from . import parts
from .parts import Price
from .processes import Failed, Processes, wait_until
from .stack import Stack

MODELS = {"simulated": "sim-small", "smollm2": "smollm2-135m-instruct"}
"""The model every suite uses, by engine."""

SIMULATED_PRICES = {
    "e1": Price(prompt=100_000_000, completion=400_000_000, call=1_000),
    "e2": Price(prompt=150_000_000, completion=600_000_000, call=2_000),
    "e3": Price(prompt=200_000_000, completion=800_000_000, call=3_000),
}
SMOLLM2_PRICE = Price(prompt=50_000_000, completion=200_000_000, call=500)

SETTINGS = {
    # Faults are found out quickly, so that a suite that provokes them need not be patient.
    "simulated": {
        "FILATURE_UPSTREAM_FIRST_TOKEN_TIMEOUT_MS": "1500",
        "FILATURE_UPSTREAM_GAP_TIMEOUT_MS": "1500",
        "FILATURE_UPSTREAM_CALL_TIMEOUT_MS": "5000",
        "FILATURE_ROUTING_QUEUE_WAIT_MS": "400",
    },
    # Fifty calls share four slots: the last of them waits its turn.
    "smollm2": {"FILATURE_ROUTING_QUEUE_WAIT_MS": "120000", "FILATURE_ROUTING_STANDING_WAIT_MS": "120000"},
}
COMMON_SETTINGS = {
    "FILATURE_TELEMETRY_LOG_FORMAT": "json",
    "FILATURE_TUNNELS_STATUS_EVERY_MS": "200",
    "FILATURE_KEYS_CACHE_MS": "200",
    "FILATURE_SERVER_BODY_BYTES_MAX": str(2 << 20),
    "RUST_BACKTRACE": "1",
}


@contextlib.contextmanager
def stack(engine: str, ledger: str, programs: dict[str, str], directory: pathlib.Path) -> Iterator[Stack]:
    """A running stack. Leaving it without an exception checks that everything ended well."""
    processes = Processes(directory)
    try:
        built = _start(engine, ledger, programs, processes)
        built.write(directory / "stack.json")
        yield built
        _check_money(built)
        logs = list(processes.running)
        complaints = processes.end_all()
        complaints += [f"{process.name} panicked: {line}" for process in logs for line in parts.panics(process)]
        if complaints:
            raise Failed("\n".join(complaints))
    except Failed:
        for process in processes.running:
            print(process.tail(), flush=True)
        raise
    finally:
        processes.kill_all()


def _start(engine: str, ledger: str, programs: dict[str, str], processes: Processes) -> Stack:
    if ledger == "redis":
        ledger_arguments = ["--redis", parts.start_redis(processes)]
        # The gateway's own keys and its journal still need a folder.
        gateway_arguments = [*ledger_arguments, "--data", str(processes.directory / "data")]
    else:
        ledger_arguments = ["--data", str(processes.directory / "data")]
        gateway_arguments = ledger_arguments
    settings = {**COMMON_SETTINGS, **SETTINGS[engine]}
    origin = parts.start_gateway(processes, programs["filature"], gateway_arguments, settings)
    model = MODELS[engine]
    engines = _start_providers(engine, programs, processes, origin, model)
    built = Stack(
        engine=engine,
        ledger=ledger,
        origin=origin,
        model=model,
        engines=engines,
        programs=programs,
        ledger_arguments=ledger_arguments,
        directory=str(processes.directory),
    )
    _wait_for_providers(processes, len(engines))
    _wait_until_ready(built)
    return built


def _start_providers(
    engine: str, programs: dict[str, str], processes: Processes, origin: str, model: str
) -> dict[str, str]:
    agent, simulator = programs["filature-provider"], programs["filature-loadtest"]
    if engine == "smollm2":
        url = parts.start_smollm2_engine(processes, "smollm2", model)
        # More context than it has: a prompt that is too long is to be refused in the engine's own words.
        # The gateway's own queue holds what is beyond the engine's four slots.
        parts.start_agent(processes, agent, origin, url, "smollm2", model, SMOLLM2_PRICE, "--concurrency", "4")
        return {"smollm2": url}
    engines = {}
    for name, price in SIMULATED_PRICES.items():
        _, engines[name] = parts.start_simulated_engine(processes, simulator, name, model)
        parts.start_agent(processes, agent, origin, engines[name], name, model, price)
    return engines


def _wait_for_providers(processes: Processes, count: int) -> None:
    gateway = next(process for process in processes.running if process.name == "gateway")
    try:
        wait_until(lambda: gateway.text().count("a provider joined") >= count, f"{count} providers to join")
    except Failed as failed:
        raise Failed(f"{failed}\n{gateway.tail()}") from None


def _wait_until_ready(built: Stack) -> None:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{built.origin}/readyz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    wait_until(ready, "/readyz to say 200")


def _check_money(built: Stack) -> None:
    """The invariant of the ledger, over everything the suites did: nothing is held and every sum is right."""
    balances = built.operator.balances()
    if not balances:
        raise Failed("the suites left no account behind: nothing was tested")
    wrong = {account: balance for account, balance in balances.items() if balance.held or not balance.adds_up()}
    if wrong:
        raise Failed(f"money does not add up, or is still held: {json.dumps({k: vars(v) for k, v in wrong.items()})}")
    books = built.operator.books()
    totals = books["totals"]
    spent = sum(balance.spent for balance in balances.values())
    if (
        not books["conserved"]
        or totals["holds"]
        or totals["spent"] != spent
        or totals["earned"] + totals["fees"] != spent
    ):
        raise Failed(f"the books do not add up: {json.dumps(books)}; the accounts spent {spent}")
    print(f"money: {len(balances)} accounts, {spent} nano spent and earned, nothing held, every sum right", flush=True)
