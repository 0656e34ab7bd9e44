"""What an operator does by hand, through the same command line: accounts, credit, keys, balances."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .processes import Failed

NANO = 1_000_000_000


@dataclass(frozen=True)
class Balance:
    """An account's money, in nano."""

    deposited: int
    withdrawn: int
    available: int
    held: int
    spent: int

    def adds_up(self) -> bool:
        """Nothing appeared and nothing vanished."""
        return self.deposited == self.available + self.held + self.spent + self.withdrawn


@dataclass(frozen=True)
class Operator:
    """The program `filature` against one ledger."""

    program: str
    ledger: Sequence[str]

    def run(self, *arguments: str) -> Any:
        """Runs one command and reads the JSON it prints."""
        argv = [self.program, *arguments, *self.ledger, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Failed(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def create_account(self, name: str) -> str:
        """A new account without credit; its id."""
        return self.run("accounts", "create", name)["id"]

    def credit(self, account: str, ton: str, deposit_id: str | None = None) -> Any:
        """Adds credit; the same deposit id adds it once."""
        extra = ["--id", deposit_id] if deposit_id else []
        return self.run("accounts", "credit", account, ton, *extra)

    def create_key(self, account: str, *extra: str) -> tuple[str, str]:
        """A new key: its id, and the secret that is shown this once."""
        created = self.run("keys", "create", "--account", account, *extra)
        return created["record"]["id"], created["key"]

    def update_key(self, key: str, *changes: str) -> Any:
        """Changes a key's name, expiry or limits."""
        return self.run("keys", "update", key, *changes)

    def keys(self, account: str) -> list[dict[str, Any]]:
        """The account's keys, without their secrets."""
        return self.run("keys", "list", "--account", account)["keys"]

    def revoke(self, key: str) -> Any:
        """Ends a key for good."""
        return self.run("keys", "revoke", key)

    def balance(self, account: str) -> Balance:
        """One account's money."""
        return _balance(self.run("accounts", "show", account))

    def balances(self) -> dict[str, Balance]:
        """Every account's money, by account id."""
        return {account["id"]: _balance(account) for account in self.run("accounts", "show")["accounts"]}

    def books(self) -> dict[str, Any]:
        """The sums over everything, and whether they add up."""
        return self.run("accounts", "books")


def _balance(account: dict[str, Any]) -> Balance:
    return Balance(*(account[field] for field in ("deposited", "withdrawn", "available", "held", "spent")))
