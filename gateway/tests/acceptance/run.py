"""Runs the acceptance suites: the official Python and Node clients against real processes.

Four stacks, one after the other: the simulated engines and SmolLM2, each with the embedded ledger and with Redis.
`run.py --up` starts one stack and leaves it running, for trying things by hand.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from filature_stack import build, parts  # noqa: E402
from filature_stack.processes import Failed  # noqa: E402
from filature_stack.stack import VARIABLE, Stack  # noqa: E402

ENGINES = ("simulated", "smollm2")
LEDGERS = ("embedded", "redis")


def main() -> int:
    """0 when every suite of every chosen stack passed."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = parts.programs(arguments.programs.resolve())
    chosen = [(engine, ledger) for engine in arguments.engine or ENGINES for ledger in arguments.ledger or LEDGERS]
    if arguments.up:
        return _up(*chosen[0], programs)
    results = {}
    for engine, ledger in chosen:
        started = time.monotonic()
        problems = _run(engine, ledger, programs, arguments.only)
        results[engine, ledger] = (problems, time.monotonic() - started)
    print("\nacceptance, by engine and ledger:")
    for (engine, ledger), (problems, seconds) in results.items():
        print(f"  {engine:<10} {ledger:<9} {seconds:6.1f} s  {'; '.join(problems) or 'passed'}")
    return 1 if any(problems for problems, _ in results.values()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, action="append", help="only this engine; all when absent")
    parser.add_argument("--ledger", choices=LEDGERS, action="append", help="only this ledger; both when absent")
    parser.add_argument("--only", choices=("python", "node"), help="only the suites of this client")
    parser.add_argument("--up", action="store_true", help="start one stack and leave it running until Ctrl-C")
    parser.add_argument(
        "--programs",
        type=pathlib.Path,
        default=parts.REPOSITORY / "target" / "debug",
        help="folder with the built programs (default: target/debug)",
    )
    return parser.parse_args()


def _directory(engine: str, ledger: str) -> pathlib.Path:
    # Not below the repository: the path of a Unix socket in it may have 107 bytes at most.
    return pathlib.Path(tempfile.mkdtemp(prefix=f"filature-{engine}-{ledger}-"))


def _run(engine: str, ledger: str, programs: dict[str, str], only: str | None) -> list[str]:
    """Runs the suites against one stack; what went wrong, in words."""
    print(f"\n=== {engine} engine, {ledger} ledger ===", flush=True)
    directory = _directory(engine, ledger)
    problems = []
    try:
        with build.stack(engine, ledger, programs, directory) as built:
            environment = {**os.environ, VARIABLE: str(directory / "stack.json")}
            for client, argv in _suites(built).items():
                if only in (None, client) and subprocess.run(argv, cwd=HERE, env=environment, check=False).returncode:
                    problems.append(f"the {client} suite failed")
    except Failed as failed:
        print(f"{failed}", flush=True)
        problems.append(str(failed).splitlines()[0])
    if problems:
        print(f"logs are kept in {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return problems


def _suites(built: Stack) -> dict[str, list[str]]:
    """The command lines of the suites that apply to a stack: those for every engine, and those for this one."""
    python = [sys.executable, "-m", "pytest", "python/every", f"python/{built.engine}"]
    files = sorted(
        str(path.relative_to(HERE))
        for folder in ("every", built.engine)
        for path in HERE.glob(f"node/{folder}/*.test.mjs")
    )
    return {"python": python, "node": ["node", "--test", "--test-reporter=spec", *files]}


def _up(engine: str, ledger: str, programs: dict[str, str]) -> int:
    directory = _directory(engine, ledger)
    try:
        with build.stack(engine, ledger, programs, directory) as built:
            account = built.operator.create_account("by hand")
            built.operator.credit(account, "100")
            _, key = built.operator.create_key(account)
            print(f"export {VARIABLE}={directory / 'stack.json'}")
            print(f"ready base_url={built.base_url} api_key={key}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
