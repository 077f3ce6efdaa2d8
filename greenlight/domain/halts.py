"""When equity itself stops the trading: the day's loss, and the fall from the 30-day high.

Before it stand the marks of equity; after it the halts in the store and the
risk chain. A halt stops entries and never an exit. US dollars, times aware UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.desk_state import RiskLimits, finite

DAILY_LOSS: Final = "daily_loss"
DRAWDOWN: Final = "drawdown"
LOSS_HALT: Final = timedelta(hours=24)
"""How long the day's loss halts (seeds)."""
HIGH_WINDOW: Final = timedelta(days=30)
"""How far back the high is looked for (seeds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Money that the owner moved in (out: below zero), and equity just before, if it is known."""

    usd: Decimal
    before_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityAt:
    """Equity at an instant, and the transfers since, oldest first: it does not have them in it."""

    at: datetime
    equity_usd: Decimal
    later: tuple[Transfer, ...] = ()

    @property
    def with_later_usd(self) -> Decimal:
        """What a loss in dollars counts from after the transfers: each adds its own."""
        return self.equity_usd + sum(transfer.usd for transfer in self.later)

    @property
    def in_proportion_usd(self) -> Decimal | None:
        """What a fall as a fraction counts from after the transfers; None is not known.

        Notes
        -----
        Each makes of it ``(B + F) / B`` of what it was, with equity ``B`` before
        a transfer ``F``, so that no transfer changes how far equity lies below it.
        Where ``B`` is not known, nothing is taken to have happened since the mark.
        """
        own, scale = self.equity_usd, Decimal(1)
        for transfer in self.later:
            before = finite(transfer.before_usd)
            before = own if before is None else before
            if before <= 0 or before + transfer.usd <= 0:
                return None
            scale *= (before + transfer.usd) / before
            own = before + transfer.usd
        return self.equity_usd * scale


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityBase:
    """What equity is held against; None is not known.

    `loss_base_usd` is where the day's loss counts from, `high_usd` the highest
    equity of the last 30 days.
    """

    loss_base_usd: Decimal | None
    high_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueHalt:
    """A halt that the limits demand; `until` None is until a person lifts it."""

    kind: str
    until: datetime | None
    reason: str


def equity_base(
    closes: Sequence[EquityAt],
    session_open: datetime,
    *,
    loss_lift: EquityAt | None,
    drawdown_lift: EquityAt | None,
) -> EquityBase:
    """What today's equity is held against.

    Parameters
    ----------
    closes : Sequence[EquityAt]
        Equity after each session's close (and at the account's start) within
        `HIGH_WINDOW` before the session, oldest first.
    session_open : datetime
        Of the session that is judged.
    loss_lift, drawdown_lift : EquityAt | None
        Equity when a person last lifted a halt of that kind. The count starts
        again from there, or lifting it would last a minute.

    Notes
    -----
    The day's loss counts from the last close, as the broker's own figure for
    the day does, so a gap overnight belongs to the day. The high is that of
    the closes: one wrong quote inside a session cannot set it. Both move with
    the transfers since: what the owner moves is neither gain nor loss.
    """
    loss_base = closes[-1].with_later_usd if closes else None
    if loss_lift is not None and loss_lift.at >= session_open:
        loss_base = loss_lift.with_later_usd
    marks = list(closes)
    if drawdown_lift is not None:
        marks = [drawdown_lift, *(mark for mark in closes if mark.at > drawdown_lift.at)]
    highs = [high for mark in marks if (high := mark.in_proportion_usd) is not None]
    return EquityBase(loss_base_usd=loss_base, high_usd=max(highs, default=None))


def loss_usd(equity: Decimal | None, base: Decimal | None) -> Decimal | None:
    """The day's loss, realised and not; below zero it is a gain, None is not known."""
    now, before = finite(equity), finite(base)
    return None if now is None or before is None else before - now


def drawdown_frac(equity: Decimal | None, high: Decimal | None) -> Decimal | None:
    """How far equity lies below its high, as a fraction; 0 above it, None is not known."""
    now, top = finite(equity), finite(high)
    if now is None or top is None or top <= 0:
        return None
    return max(Decimal(0), 1 - now / top)


def is_loss_kept(loss: Decimal | None, limits: RiskLimits) -> bool:
    """Whether the day's loss is known and has not reached its limit."""
    return loss is not None and loss < Decimal(repr(limits.max_daily_loss_usd))


def is_drawdown_kept(fall: Decimal | None, limits: RiskLimits) -> bool:
    """Whether the fall from the high is known and has not reached its limit."""
    return fall is not None and fall < Decimal(repr(limits.max_drawdown_frac))


def due_halts(
    equity: Decimal, base: EquityBase, limits: RiskLimits, now: datetime
) -> tuple[DueHalt, ...]:
    """The halts that equity demands now; nothing where an input is not known."""
    due: list[DueHalt] = []
    loss = loss_usd(equity, base.loss_base_usd)
    if loss is not None and not is_loss_kept(loss, limits):
        reason = f"{DAILY_LOSS}: {loss:.2f} USD lost today, at most {limits.max_daily_loss_usd:g}"
        due.append(DueHalt(kind=DAILY_LOSS, until=now + LOSS_HALT, reason=reason))
    fall = drawdown_frac(equity, base.high_usd)
    if fall is not None and not is_drawdown_kept(fall, limits):
        reason = (
            f"{DRAWDOWN}: {fall:.2%} below the 30-day high of {base.high_usd:.2f} USD, "
            f"at most {limits.max_drawdown_frac:.0%}"
        )
        due.append(DueHalt(kind=DRAWDOWN, until=None, reason=reason))
    return tuple(due)


def halt_kind(reason: str) -> str:
    """The kind of a halt from its reason: what stands before the colon."""
    return reason.partition(":")[0]
