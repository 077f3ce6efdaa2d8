"""One seeded run of the desk against faults, and what must hold in it.

The invariants are those of the desk's design: protection, one order a
decision, the exact ledger, the risk ceiling, and that once the faults have
stopped the desk and the broker agree within one reconcile period. They are
checked after every step and every second that passes, on the exchange's own
books.

Repeat a seed with ``python -m tests.faults.simulation --seed N``; many seeds
with ``make simulate SEEDS=N``.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from actors.position_monitor import PositionMonitor, monitor_name
from actors.reconciler import reconciled
from actors.risk_gate import HOLDER
from greenlight.domain.orders import OrderIntent, OrderStatus, Role, Side, covered_qty, parents
from greenlight.ports import Store
from greenlight.testing import FakeStore
from tests.faults.sim_desk import DESK, HUB, LIMITS, SimDesk
from tests.faults.sim_world import SYMBOLS, Board, Fault, World

STEPS = 120
STEP_S = 2.0
MINUTE = 15
"""Steps between two bars."""
SETTLE_S = 130.0
"""A reconcile period, what a sleeping fault may have delayed, and one more look."""
NAKED_S = 5.0
CALM_S = 2.0
"""The broker counts as answering this long after the last fault."""
MOST_FAULTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What did not hold, when."""

    invariant: str
    step: int
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant} (step {self.step}): {self.detail}"


class Violated(BaseException):
    """Ends a run at its first violation."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The product, or the product less one rule."""

    store: Callable[[Store], Any] = lambda store: store
    monitor: type[PositionMonitor] = PositionMonitor


PRODUCT = Twin()


def faults_of(seed: int) -> list[Fault]:
    """The misfortunes of a seed."""
    source = random.Random(f"faults:{seed}")
    owners = [HUB, HOLDER, monitor_name("")]
    kinds: list[Callable[[int], Fault]] = [
        lambda step: Fault(
            step=step,
            kind="crash",
            owner=source.choice(owners),
            phase=source.choice(["before", "after"]),
            skip=source.randrange(12),
        ),
        lambda step: Fault(
            step=step,
            kind="crash",
            owner=source.choice(owners[1:]),
            method=source.choice(["submit", "record_outcome", "record_intent", "cancel"]),
            phase=source.choice(["before", "after"]),
        ),
        lambda step: Fault(
            step=step,
            kind="broker_lost",
            method=source.choice(["", "submit", "cancel", "open_orders", "find_order", "order"]),
            phase=source.choice(["before", "after"]),
            skip=source.randrange(3),
            count=source.choice([1, 1, 2, 5]),
        ),
        lambda step: Fault(
            step=step,
            kind="store_lost",
            method=source.choice(["", "", "record_intent", "record_outcome", "book_fill"]),
            phase=source.choice(["before", "after"]),
            skip=source.randrange(5),
            count=source.choice([1, 1, 3]),
        ),
        lambda step: Fault(step=step, kind="hide"),
        lambda step: Fault(step=step, kind="refuse", method=source.choice(["protect", "exit"])),
        lambda step: Fault(step=step, kind="partial", seconds=source.randrange(1, 30)),
        lambda step: Fault(step=step, kind="fill_on_cancel"),
        lambda step: Fault(step=step, kind="slow_cancel", seconds=source.choice([0.5, 3, 20])),
        lambda step: Fault(step=step, kind="stream_cut", seconds=source.choice([1, 10, 40])),
        lambda step: Fault(
            step=step, kind="stream_slow", seconds=source.choice([1, 8, 30]), count=2
        ),
        lambda step: Fault(step=step, kind="stream_again", count=3),
        lambda step: Fault(
            step=step,
            kind="buy_by_hand",
            symbol=source.choice(SYMBOLS),
            count=source.randrange(1, 20),
        ),
        lambda step: Fault(step=step, kind="cancel_by_hand", symbol=source.choice(SYMBOLS)),
        lambda step: Fault(step=step, kind="jump", seconds=source.choice([30, 300, 900])),
        lambda step: Fault(step=step, kind="kill_all"),
        lambda step: Fault(
            step=step,
            kind="part",
            owner=source.choice([HOLDER, *(monitor_name(s) for s in SYMBOLS)]),
            count=source.randrange(1, 12),
        ),
        lambda step: Fault(step=step, kind="flatten"),
    ]
    number = source.randint(0, MOST_FAULTS)
    return [source.choice(kinds)(source.randrange(STEPS)) for _ in range(number)]


class Simulation:
    """One run; see the module."""

    def __init__(self, seed: int, faults: Sequence[Fault], twin: Twin = PRODUCT) -> None:
        self.board = Board()
        self.world = World(seed, self.board)
        self.store = FakeStore()
        self.faults = faults
        self.desk = SimDesk(
            self.world, self.store, store_twin=twin.store, monitor_class=twin.monitor
        )
        self.step = 0
        self.is_settling = False
        self._naked_s = dict.fromkeys(SYMBOLS, 0.0)
        self._troubled_until = self.world.now()
        self._entered: set[str] = set()
        self._wake_at: set[int] = set()
        self.world.on_accept = self._accepted
        self.world.on_time = self._passing
        self.board.on_fire = self._trouble

    def run(self) -> Violation | None:
        """The first violation, or None."""
        try:
            self.desk.turn(0, bars=False)
            for number in range(1, STEPS + 1):
                self._one_step(number, [f for f in self.faults if f.step == number])
            self._settle()
        except Violated as found:
            return found.violation
        return None

    def _one_step(self, number: int, faults: Sequence[Fault]) -> None:
        self.step = number
        self.board.step(number)
        for fault in faults:
            self._befall(fault)
        self.world.sleep(STEP_S)
        self.world.tick(number)
        if number in self._wake_at:
            self.desk.wake_zombies()
        self.desk.turn(number, bars=number % MINUTE == 0)
        self._check_books()

    def _befall(self, fault: Fault) -> None:
        kind = fault.kind
        if kind in ("kill_all", "part", "jump", "buy_by_hand", "cancel_by_hand", "flatten"):
            self._trouble()
        if kind == "kill_all":
            self.desk.kill_all()
        elif kind == "part":
            self.desk.part(fault.owner)
            self._wake_at.add(self.step + fault.count)
        elif kind == "jump":
            # The machine slept: the exchange went on, the desk heard nothing.
            self._troubled_until = self.world.now()
            for _ in range(int(fault.seconds // 30)):
                self._trouble()
                self.world.sleep(30.0)
        elif kind == "buy_by_hand":
            self.world.buy_by_hand(fault.symbol, fault.count, self.step)
        elif kind == "cancel_by_hand":
            self.world.cancel_by_hand(fault.symbol)
        elif kind == "flatten":
            self.store.halt(at=self.world.now(), until=None, reason="flatten: simulated")
        else:
            self.board.arm(fault)

    def _settle(self) -> None:
        self.board.armed.clear()
        self.desk.wake_zombies()
        self.is_settling = True
        number = STEPS
        until = self.world.now().timestamp() + SETTLE_S
        while self.world.now().timestamp() < until:
            number += 1
            self.step = number
            self.world.sleep(STEP_S)
            self.world.tick(number)
            self.desk.turn(number, bars=False)
            self._check_books()
        self._check_agreement()

    # -- what must hold
    def _fail(self, invariant: str, detail: str) -> None:
        raise Violated(Violation(invariant=invariant, step=self.step, detail=detail))

    def _trouble(self) -> None:
        self._troubled_until = self.world.now()

    def _is_calm(self) -> bool:
        since = (self.world.now() - self._troubled_until).total_seconds()
        return since > CALM_S and not self.world.is_withholding and self.desk.is_up

    def _passing(self, seconds: float) -> None:
        """Protection: whatever is held is under a live stop or an exit at work."""
        is_calm = self._is_calm()
        for symbol in SYMBOLS:
            held = int(self.world.core.ledger.qty(symbol))
            if held < 0:
                self._fail("protection", f"{symbol}: net short {held}")
            sells = [o for o in self.world.open_orders(symbol) if o.side is Side.SELL]
            selling = sum(o.remaining for o in parents(sells))
            if selling > held:
                self._fail("protection", f"{symbol}: {selling} to sell of {held}")
            alone = sum(o.remaining for o in parents(sells) if not o.legs and o.stop_price is None)
            if covered_qty(sells) + alone >= held:
                self._naked_s[symbol] = 0.0
            elif is_calm:
                self._naked_s[symbol] += seconds
                if self._naked_s[symbol] > NAKED_S:
                    self._fail(
                        "protection",
                        f"{symbol}: {held} held, {covered_qty(sells)} covered for more than "
                        f"{NAKED_S} s",
                    )

    def _accepted(self, intent: OrderIntent) -> None:
        """One order a decision, no fenced epoch, and the risk ceiling."""
        name = intent.client_order_id
        if self.store.order(name) is None:
            self._fail("one order", f"{name} was sent before its intent was in the store")
        current = self.store.epoch(intent.holder)
        if intent.epoch != current:
            self._fail("one order", f"{name} bears epoch {intent.epoch}, it is {current}")
        if intent.role is not Role.ENTRY:
            return
        # A price that changes is a new order in the place of the old one.
        if intent.replaces is None and intent.decision_id in self._entered:
            self._fail("one order", f"{name}: a second order of its decision")
        self._entered.add(intent.decision_id)
        halts = self.store.halts_in_force(self.world.now())
        if any(halt.at < intent.at for halt in halts):
            self._fail("risk ceiling", f"{name}: an entry while {halts[0].reason}")
        wanted = {
            symbol
            for symbol in SYMBOLS
            if symbol not in self.world.by_hand
            and (
                self.world.core.ledger.qty(symbol) > 0
                or any(o.is_buy for o in self.world.core.live[symbol].values())
            )
        }
        if len(wanted) > LIMITS.max_positions:
            self._fail("risk ceiling", f"{name}: {sorted(wanted)} held or wanted")
        cost = intent.qty * (intent.limit_price or Decimal(0))
        equity = self.world.core.ledger.equity(self.world.core.markets)
        # It may have filled at once, and the spread is already paid; a changed price was
        # allowed for when the entry was judged, by the equity of then.
        slack = Decimal("1.001") if intent.replaces is None else Decimal("1.005")
        most = Decimal(repr(LIMITS.max_weight_frac)) * equity * slack
        if cost > most:
            self._fail("risk ceiling", f"{name}: costs {cost}, at most {most}")

    def _check_books(self) -> None:
        """The ledger never has a fill that the broker has not, nor one twice."""
        theirs = Counter(
            (row["order_id"], int(row["cum_qty"]), int(row["qty"]))
            for row in self.world.core.activities
        )
        ours = Counter((f.order_id, f.cum_qty, f.qty) for f in self.store.fills(limit=None))
        if extra := ours - theirs:
            self._fail("exact ledger", f"fills that the broker does not have: {dict(extra)}")
        net: Counter[str] = Counter()
        for fill in self.store.fills(limit=None):
            net[fill.symbol] += fill.qty if fill.side is Side.BUY else -fill.qty
        for symbol in SYMBOLS:
            position = self.store.position(symbol)
            if net[symbol] != (0 if position is None else position.qty):
                self._fail("exact ledger", f"{symbol}: fills make {net[symbol]}, not {position}")

    def _check_agreement(self) -> None:
        """Once the faults have stopped, both sides say the same."""
        theirs = Counter(
            (row["order_id"], int(row["cum_qty"]), row["qty"]) for row in self.world.core.activities
        )
        ours = Counter((f.order_id, f.cum_qty, str(f.qty)) for f in self.store.fills(limit=None))
        if ours != theirs:
            missing, extra = dict(theirs - ours), dict(ours - theirs)
            self._fail("exact ledger", f"missing {missing}, extra {extra}")
        if self.store.cash() != self.world.core.ledger.cash:
            self._fail("exact ledger", f"cash {self.store.cash()}, {self.world.core.ledger.cash}")
        live = {o.order_id for o in self.world.open_orders()}
        recorded = {
            r.order_id
            for r in self.store.open_orders()
            if r.status not in (OrderStatus.INTENDED, OrderStatus.UNRESOLVED)
        }
        prefix = f"gl-{DESK}-"
        named = {
            o.order_id for o in self.world.open_orders() if o.client_order_id.startswith(prefix)
        }
        if recorded - live or named - recorded:
            self._fail(
                "liveness",
                f"orders: gone at the broker {recorded - live}, unknown to us {named - recorded}",
            )
        state = reconciled(self.store)
        if state is not True:
            self._fail("liveness", f"not reconciled: {state}")


def run(seed: int, twin: Twin = PRODUCT, faults: Sequence[Fault] | None = None) -> Violation | None:
    """The first violation of a seed's run, or None."""
    return Simulation(seed, faults_of(seed) if faults is None else faults, twin).run()


def shrink(seed: int, twin: Twin = PRODUCT) -> list[Fault]:
    """The fewest faults of a failing seed with which it still fails."""
    kept = faults_of(seed)
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for index in range(len(kept)):
            fewer = kept[:index] + kept[index + 1 :]
            if run(seed, twin, fewer) is not None:
                kept, is_smaller = fewer, True
                break
    return kept


def first_failing(seeds: range, twin: Twin) -> tuple[int, Violation] | None:
    """The first of the seeds that fails, with its violation."""
    for seed in seeds:
        found = run(seed, twin)
        if found is not None:
            return seed, found
    return None


def explain(seed: int, twin: Twin = PRODUCT) -> str:
    """A failing seed's violation, its minimal trace and how to repeat it."""
    kept = shrink(seed, twin)
    lines = [f"seed {seed}: {run(seed, twin, kept)}"]
    lines += [f"  {fault}" for fault in sorted(kept, key=lambda f: f.step)]
    lines.append(f"  repeat: python -m tests.faults.simulation --seed {seed}")
    return "\n".join(lines)


def _one(seed: int) -> tuple[int, str | None]:
    logging.disable(logging.CRITICAL)
    found = run(seed)
    return seed, None if found is None else explain(seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run many seeds over all cores, or one with its trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args(argv)
    say = partial(print, flush=True)
    if wanted.seed is not None:
        found = run(wanted.seed)
        say("no violation" if found is None else explain(wanted.seed))
        return 1 if found else 0
    violations = 0
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    with ProcessPoolExecutor(wanted.jobs) as pool:
        for _, text in pool.map(_one, seeds, chunksize=10):
            if text is not None:
                violations += 1
                say(text)
    say(f"{wanted.seeds} seeds, {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
