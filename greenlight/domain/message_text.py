"""The words of alerts and reports: one text for Telegram, the console and the page.

Before it stand alerts and reports; after it whoever shows them. The text is the
small HTML that Telegram takes (bold, code); `plain` takes the tags off. Times are
Eastern. Every message names its source in bold, PAPER or LIVE.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from greenlight.domain.alerts import EXITS, Alert, Event
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.reports import Group, Period, Report, Totals, dollars
from greenlight.domain.trades import Trade

LIMIT: Final = 4096
"""Characters that Telegram takes in one message."""
DUPLICATE: Final = "🔁 <i>may be a duplicate</i>"
_TRADES: Final = 20
"""Closed trades that a report lists, the last ones."""
_TAG: Final = re.compile(r"</?(?:b|i|code|pre)>")
_SIGNS: Final = {
    Event.POSITION_OPENED: "🟢",
    Event.STOP_HIT: "🛑",
    Event.TARGET_HIT: "🎯",
    Event.TIME_EXIT: "⏱",
    Event.SCORE_EXIT: "📉",
    Event.MANUAL_EXIT: "✋",
    Event.HALT: "⛔",
    Event.RESUMED: "▶️",
    Event.NAKED_POSITION: "🚨",
    Event.BREAKER: "🔌",
    Event.DRIFT: "⚖️",
    Event.PROMOTED: "🚦",
    Event.DEMOTED: "🚫",
    Event.PNL_MILESTONE: "🏁",
    Event.DISK: "💽",
    Event.DATABASE: "🗄",
    Event.INPUT_REFUSED: "❓",
    Event.TROUBLE: "⚠️",
    Event.REPORT: "📊",
}
_WORDS: Final = {
    Event.STOP_HIT: "stop hit",
    Event.TARGET_HIT: "target reached",
    Event.TIME_EXIT: "left after its time",
    Event.SCORE_EXIT: "left for its score",
    Event.MANUAL_EXIT: "left by hand",
    Event.NAKED_POSITION: "no stop at the broker",
    Event.HALT: "no new entries",
    Event.RESUMED: "entries go on",
    Event.DRIFT: "the ledger and the broker differ",
    Event.BREAKER: "breaker open",
    Event.PROMOTED: "readiness: every light is green",
    Event.DEMOTED: "readiness lost",
    Event.PNL_MILESTONE: "milestone",
    Event.DISK: "disk",
    Event.DATABASE: "database",
    Event.INPUT_REFUSED: "input refused",
    Event.TROUBLE: "look at this",
}


def label(account_kind: str, *, source: str = "", is_synthetic: bool = False) -> str:
    """The source of a message: LIVE, PAPER, or PAPER with what is replayed."""
    if account_kind == "live":
        return "LIVE"
    if account_kind != "replay":
        return "PAPER"
    made_up = ", synthetic intraday path" if is_synthetic else ""
    return f"PAPER, replay of {source}{made_up}" if source else "PAPER, replay"


def eastern(at: datetime) -> str:
    """An instant as a person reads it: 2008-01-14 10:31 ET."""
    return f"{at.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"


def plain(text: str) -> str:
    """The text without its tags."""
    return html.unescape(_TAG.sub("", text))


def code(value: object) -> str:
    """A value in monospace, escaped."""
    return f"<code>{html.escape(str(value), quote=False)}</code>"


def escaped(value: object) -> str:
    """Words that somebody else wrote."""
    return html.escape(str(value), quote=False)


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Parts of at most `limit` characters, broken between lines.

    A line alone that is longer loses its tags and is broken inside. Tags never
    span lines, so every part is whole.
    """
    parts: list[str] = []
    for line in text.split("\n"):
        for piece in _pieces(line, limit):
            if parts and len(parts[-1]) + 1 + len(piece) <= limit:
                parts[-1] += "\n" + piece
            else:
                parts.append(piece)
    return [part for part in parts if part.strip()]


def _pieces(line: str, limit: int) -> list[str]:
    if len(line) <= limit:
        return [line]
    bare, size = plain(line), limit // 6  # An escaped character has five more at most.
    return [escaped(bare[i : i + size]) for i in range(0, len(bare), size)]


# -- alerts


def alert_text(
    alert: Alert, source: str, *, folded: int = 0, is_duplicate: bool = False, missed: int = 0
) -> str:
    """The message of an alert.

    Parameters
    ----------
    source : str
        See `label`.
    folded : int
        Alerts of the same kind that this one stands for besides.
    is_duplicate : bool
        An earlier request was cut off, so it may have arrived.
    missed : int
        Messages before this one of which nobody knows whether they arrived.
    """
    if alert.event is Event.REPORT:
        lines = [str(alert.facts.get("text", ""))]
    else:
        head = f"{_SIGNS[alert.event]} <b>{escaped(source)}</b>"
        lines = [f"{head} {' '.join(_headline(alert))}", *_details(alert)]
        trade = "" if alert.position_id is None else f", trade {code(alert.position_id)}"
        lines.append(f"{eastern(alert.at)}{trade}")
    if folded:
        lines.append(f"and {folded} more like it")
    if missed:
        lines.append(f"{missed} before this may not have arrived; /logs lists them")
    if is_duplicate:
        lines.append(DUPLICATE)
    return "\n".join(lines)


def _headline(alert: Alert) -> list[str]:
    symbol = [] if alert.symbol is None else [f"<b>{escaped(alert.symbol)}</b>"]
    if alert.event is Event.POSITION_OPENED:
        return [*symbol, "opened"]
    return [*symbol, _WORDS[alert.event]]


def _details(alert: Alert) -> list[str]:
    facts = alert.facts
    if alert.event is Event.POSITION_OPENED:
        of = facts.get("ordered_qty")
        part = f" of {of}" if of not in (None, facts.get("qty")) else ""
        exit_by = eastern(datetime.fromisoformat(str(facts["exit_by"])))
        return [
            f"{code(facts['qty'])}{part} shares at {code(price(facts['price']))}, "
            f"{escaped(facts['strategy'])}",
            f"stop {code(price(facts['stop_price']))}, target "
            f"{code(price(facts['target_price']))}, leaves by {exit_by}",
        ]
    if alert.event in EXITS.values():
        net, share = Decimal(str(facts["net_usd"])), float(str(facts["return_frac"]))
        return [
            f"{code(facts['qty'])} shares, {code(price(facts['entry_price']))} → "
            f"{code(price(facts['exit_price']))}",
            f"net {code(dollars(net))} ({code(f'{share:+.2%}')}), exit: "
            f"{escaped(facts['exit_reason'])}, {escaped(facts['strategy'])}",
        ]
    lines = [escaped(facts["reason"])] if "reason" in facts else []
    if "qty" in facts:
        lines.append(f"{code(facts['qty'])} shares")
    if "ours" in facts:
        lines.append(f"ours {code(facts['ours'])}, the broker's {code(facts['theirs'])}")
    if alert.event is Event.HALT:
        until = facts.get("until")
        end = "until /resume" if until is None else eastern(datetime.fromisoformat(str(until)))
        lines.append(f"in force {'' if until is None else 'until '}{end}; exits go on")
    if alert.is_critical:
        lines.append("repeated until /ack")
    return lines


def price(value: object) -> str:
    """A price in dollars and cents, more digits only where it has them."""
    number = Decimal(str(value))
    return f"{number:,.2f}" if number == round(number, 2) else f"{number:,.4f}"


# -- reports


def report_text(found: Report) -> str:
    """The message of a report; long ones are for `split`."""
    source = label(found.account_kind, source=found.source, is_synthetic=found.is_synthetic)
    lines = [f"📊 <b>{escaped(source)}</b>", f"<b>{_title(found)}</b>", ""]
    lines += _money(found)
    if found.trades:
        more = len(found.trades) - _TRADES
        lines += ["", "<b>Closed</b>", *(_trade_line(t) for t in found.trades[-_TRADES:])]
        lines += [f"and {counted(more, 'trade')} before"] if more > 0 else []
    if found.span.period is not Period.DAILY:
        lines += _groups("By strategy", found.by_strategy)
        lines += _groups("Best", [g for g in found.by_symbol if g.net_usd > 0][:3])
        worst = [g for g in found.by_symbol if g.net_usd < 0][-3:]
        lines += _groups("Worst", worst[::-1])
        lines += _risk(found.so_far, found)
        lines += _trend(found)
    if found.span.period is Period.MONTHLY:
        lines += _states(found)
    if found.span.period is not Period.DAILY and found.suggestions:
        lines += ["", "<b>Worth a look</b>", *(f"• {escaped(said)}" for said in found.suggestions)]
    return "\n".join(lines)


def _title(found: Report) -> str:
    first, last = found.span.first, found.span.last
    if found.span.period is Period.DAILY:
        return f"Daily report, {first:%A} {first}"
    if found.span.period is Period.WEEKLY:
        return f"Weekly report, {first} to {last}"
    return f"Monthly report, {first:%B %Y}"


def _money(found: Report) -> list[str]:
    totals = found.totals
    rate = totals.win_rate
    won = (
        f"— ({escaped(rate.reason)})"
        if isinstance(rate, Unavailable)
        else f"{code(f'{rate.frac:.1%}')} ({rate.wins} of {rate.trades})"
    )
    count = f"{totals.trades} closed"
    held = counted(found.open_positions, "position")
    equity = found.equity_usd
    worth = "—" if isinstance(equity, Unavailable) else code(f"${equity:,.2f}")
    return [
        f"💰 net P&amp;L {code(dollars(totals.net_usd))}, {count}",
        f"📈 return {share(totals.return_frac, sign=True)}, equity {worth}",
        f"🎯 win rate {won}",
        f"📉 drawdown {share(totals.drawdown_frac)}",
        f"📂 {held} open",
    ]


def _trade_line(trade: Trade) -> str:

    sign = _SIGNS[EXITS.get(trade.exit_reason, Event.MANUAL_EXIT)]
    return (
        f"{sign} {escaped(trade.symbol)} {code(dollars(trade.net_usd))} "
        f"({trade.return_frac:+.2%}), {escaped(trade.exit_reason)}, {code(trade.position_id)}"
    )


def _groups(title: str, groups: Sequence[Group]) -> list[str]:
    if not groups:
        return []
    return [
        "",
        f"<b>{title}</b>",
        *(
            f"{escaped(g.name)} {code(dollars(g.net_usd))}, {g.wins} of {g.trades} won"
            for g in groups
        ),
    ]


def _risk(so_far: Totals, found: Report) -> list[str]:
    since = "" if found.since is None else f" since {found.since}"
    rate = so_far.win_rate
    won = None if isinstance(rate, Unavailable) else f"{rate.frac:.1%}"
    return [
        "",
        f"<b>Risk{since}</b>",
        f"Sharpe {number(so_far.sharpe_ann)}, profit factor {number(so_far.profit_factor)}",
        f"drawdown {share(so_far.drawdown_frac)}, CAGR {share(so_far.cagr_frac, sign=True)}",
        f"win rate {'—' if won is None else code(won)} of {counted(so_far.trades, 'trade')}, "
        f"net {code(dollars(so_far.net_usd))}",
    ]


def _trend(found: Report) -> list[str]:
    if not found.months:
        return []
    rows = [
        f"{m.first:%Y-%m} {share(m.return_frac, sign=True)}, {counted(m.trades, 'trade')}, "
        f"net {code(dollars(m.net_usd))}"
        for m in found.months
    ]
    mean = f"mean of months with trades {share(found.mean_month_frac, sign=True)}"
    return ["", "<b>By month</b>", *rows, mean]


def _states(found: Report) -> list[str]:
    states = found.regimes
    if isinstance(states, Unavailable):
        return ["", f"<b>Regimes</b> — ({escaped(states.reason)})"]
    rows = [
        f"{row.volatility}, {row.trend}: {share(row.return_frac, sign=True)} in "
        f"{counted(row.sessions, 'session')} (market {share(row.market_frac, sign=True)}), "
        f"Sharpe {number(row.sharpe_ann)}"
        for row in states.rows
    ]
    now = f"now: {states.volatility} ({states.volatility_ann:.0%} a year), {states.trend}"
    return ["", "<b>Regimes</b>", *rows, now]


def share(value: float | Unavailable, *, sign: bool = False) -> str:
    """A fraction as a percentage, or a dash with the reason."""
    if isinstance(value, Unavailable):
        return f"— ({escaped(value.reason)})"
    return code(f"{value:+.2%}" if sign else f"{value:.2%}")


def counted(number_of: int, noun: str) -> str:
    """A number with its noun: 1 trade, 2 trades."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def number(value: float | Unavailable) -> str:
    """A ratio with two digits, or a dash with the reason."""
    return (
        f"— ({escaped(value.reason)})" if isinstance(value, Unavailable) else code(f"{value:.2f}")
    )
