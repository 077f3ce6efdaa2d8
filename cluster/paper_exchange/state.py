"""What of the exchange survives its process.

Decided here: an append-only journal of changed orders, ledger and executions,
and a fixed-size file with the replay's position; together they outlive a
kill -9 at any instant. Before it stands `venue`, which writes after every
change and before every answer; on a start it is read back into the core.

Notes
-----
Writes go to the page cache in one system call each, so the death of the
process loses nothing; no fsync is made, so the death of the machine may. A
journal line carries the step it belongs to, so a step is either wholly kept
or not at all. A torn last line is dropped.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cluster.paper_exchange.ledger import Position
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.orders import Order

_POSITION: Final = struct.Struct("<qqq")


class StateMismatch(ValueError):
    """The folder holds the state of another replay."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps matched and acknowledged (0 = none), and the clock (ns, UTC)."""

    matched: int = 0
    acknowledged: int = 0
    now_ns: int = 0


class Journal:
    """The files of one replay in one folder.

    Parameters
    ----------
    folder : Path
        Made if missing.
    identity : dict
        What must be the same for the state to be taken up again.

    Raises
    ------
    StateMismatch
        The folder belongs to a replay with another identity.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "journal.jsonl"
        self._load_lines(identity)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._position_file = os.open(folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        if not self._lines:
            self._append({"identity": identity})
        raw = os.pread(self._position_file, _POSITION.size, 0)
        kept = Progress(*_POSITION.unpack(raw)) if len(raw) == _POSITION.size else Progress()
        matched = max((line.get("matched", 0) for line in self._lines), default=0)
        now_ns = max((line.get("now_ns", 0) for line in self._lines), default=0)
        self.progress = Progress(
            max(kept.matched, matched), kept.acknowledged, max(kept.now_ns, now_ns)
        )

    def _load_lines(self, identity: dict[str, Any]) -> None:
        self._lines: list[dict[str, Any]] = []
        if not self._path.exists():
            return
        raw = self._path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self._path, len(whole))
        self._lines = [json.loads(line) for line in whole.splitlines()]
        if self._lines and self._lines[0].get("identity") != identity:
            raise StateMismatch(
                f"{self._path.parent} holds the state of another replay "
                f"({self._lines[0].get('identity')}); choose another data folder"
            )

    def restore(self, core: ExchangeCore) -> dict[str, Any]:
        """Put everything kept back into a fresh core.

        Returns
        -------
        dict
            The other kept values: `news` (list) and `equity` (list of
            (epoch seconds, dollars) at each close).
        """
        extra: dict[str, Any] = {"news": [], "equity": []}
        for line in self._lines:
            for record in line.get("orders", ()):
                order = Order.from_record(record)
                core.orders[order.id] = order
            core.activities.extend(line.get("activities", ()))
            core.seq = line.get("seq", core.seq)
            if "ledger" in line:
                _restore_ledger(core, line["ledger"])
            if "news" in line:
                extra["news"].append(line["news"])
            if "equity" in line:
                extra["equity"].append(tuple(line["equity"]))
        for order in core.orders.values():
            core.by_client_id[order.client_order_id] = order.id
        alive = [order for order in core.orders.values() if not order.is_terminal]
        for order in sorted(alive, key=lambda order: order.seq):
            core.live[order.symbol][order.id] = order
        self._lines = []
        return extra

    def write(
        self,
        core: ExchangeCore,
        activities: Iterable[dict[str, Any]],
        *,
        matched: int,
        now_ns: int,
        **extra: Any,
    ) -> None:
        """Append what has changed since the last write, in one line."""
        line: dict[str, Any] = {
            "matched": matched,
            "now_ns": now_ns,
            "seq": core.seq,
            "orders": [order.to_record() for order in core.changed.values()],
            "activities": list(activities),
            **extra,
        }
        if core.is_ledger_changed:
            ledger = core.ledger
            line["ledger"] = {
                "cash": str(ledger.cash),
                "last_equity": str(ledger.last_equity),
                "positions": [
                    [p.symbol, str(p.qty), str(p.cost)] for p in ledger.positions.values()
                ],
            }
        self._append(line)

    def advance(self, progress: Progress) -> None:
        """Note how far the replay has come."""
        self.progress = progress
        os.pwrite(
            self._position_file,
            _POSITION.pack(progress.matched, progress.acknowledged, progress.now_ns),
            0,
        )

    def close(self) -> None:
        """Close the files; nothing is buffered."""
        os.close(self._file)
        os.close(self._position_file)

    def _append(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def _restore_ledger(core: ExchangeCore, kept: dict[str, Any]) -> None:
    core.ledger.cash = Decimal(kept["cash"])
    core.ledger.last_equity = Decimal(kept["last_equity"])
    core.ledger.positions = {
        symbol: Position(symbol, Decimal(qty), Decimal(cost))
        for symbol, qty, cost in kept["positions"]
    }
