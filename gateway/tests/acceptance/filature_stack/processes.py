"""Starts programs, waits for what they print, and ends them whatever happens.

Decides nothing about Filature: `parts` knows what is started and with which arguments. A child dies with
the process that started it, even if that one is killed, so an aborted run leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
POLL_SECONDS = 0.02

T = TypeVar("T")


class Failed(Exception):
    """A process did not do what was expected of it; the text carries the end of its log."""


def wait_until(condition: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Returns the first true value of `condition`, or raises once `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Failed(f"waited {seconds:g} s in vain: {what}")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """A port nobody listens on. For programs that cannot say which port the system gave them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """One running program with its output in one file."""

    def __init__(self, name: str, argv: Sequence[str], directory: pathlib.Path, env: dict[str, str] | None = None):
        self.name = name
        self.argv = [str(argument) for argument in argv]
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=directory,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def code(self) -> int | None:
        """The exit code, or None while the program runs."""
        return self._child.poll()

    def text(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        """The end of what it has printed, for a person to read."""
        end = "\n".join(self.text().splitlines()[-lines:])
        return f"--- the last lines of {self.name} (exit code {self.code}) ---\n{end}\n--- end of {self.name} ---"

    def wait_for(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """The first match of `pattern` in its output. Fails early if the program ends."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + seconds
        while True:
            ended = self.code is not None
            found = expression.search(self.text())
            if found:
                return found
            if ended or time.monotonic() >= deadline:
                why = "it ended" if ended else f"{seconds:g} s passed"
                raise Failed(f"{self.name} did not print /{pattern}/: {why}\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self._child.terminate()

    def wait(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        return self._child.wait(seconds)

    def end(self, seconds: float = 20.0) -> int:
        """Asks it to stop, and kills it if it does not. The exit code."""
        if self.code is None:
            self._child.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._child.returncode

    def kill(self) -> None:
        """Ends it at once."""
        if self.code is None:
            self._child.kill()
        self._child.wait()


class Processes:
    """All processes of a stack, ended in the reverse order of their start."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        self.running: list[Process] = []

    def start(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> Process:
        process = Process(name, argv, self.directory, env)
        self.running.append(process)
        return process

    def end(self, process: Process) -> int:
        """Ends one process and forgets it."""
        self.running.remove(process)
        return process.end()

    def end_all(self) -> list[str]:
        """Ends everything; what did not end well, in words."""
        complaints = []
        while self.running:
            process = self.running.pop()
            died = process.code
            code = process.end()
            if died is not None:
                complaints.append(f"{process.name} had ended before its time with exit code {died}\n{process.tail()}")
            elif code != 0:
                complaints.append(f"{process.name} ended with exit code {code} when asked to stop\n{process.tail()}")
        return complaints

    def kill_all(self) -> None:
        """Ends everything at once, without a word."""
        while self.running:
            self.running.pop().kill()
