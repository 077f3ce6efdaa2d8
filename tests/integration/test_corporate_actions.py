"""A whole desk over a dividend, a fee, a deposit and a symbol change.

A person bought the shares.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest

from cluster.cli_facts import summarise
from greenlight.domain.audit import DecisionKind, Verdict
from greenlight.domain.market import sessions_between
from tests.desk_harness import RunningDesk, running_desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FIRST, EX_DATE, LAST = date(2014, 6, 3), date(2014, 6, 9), date(2014, 6, 11)
WINDOW = (datetime(2014, 6, 3, tzinfo=UTC), datetime(2014, 6, 12, tzinfo=UTC))


def write_source(folder: Path) -> str:
    """PAYS pays 82 cents on the ex-date; OLDX is called NEWX from that day on."""
    folder.mkdir()
    for symbol, price in (("PAYS", 100.0), ("OLDX", 50.0), ("NEWX", 50.0)):
        lines = ["date,open,high,low,close,volume"]
        for session in sessions_between(date(2013, 6, 3), LAST):
            is_after = session.day >= EX_DATE
            if (symbol == "OLDX" and is_after) or (symbol == "NEWX" and not is_after):
                continue
            lines.append(f"{session.day},{price},{price + 0.5},{price - 0.5},{price},10000")
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    (folder / "dividends.csv").write_text(f"symbol,ex_date,usd_a_share\nPAYS,{EX_DATE},0.82\n")
    (folder / "name_changes.csv").write_text(f"date,old,new\n{EX_DATE},OLDX,NEWX\n")
    return f"csv:{folder}?symbols=PAYS,OLDX,NEWX"


def buy(running: RunningDesk, symbol: str) -> None:
    url = running.desk.exchange_url
    assert url is not None
    trading = TradingClient("PAPER", "paper-exchange", url_override=url)
    request = MarketOrderRequest(symbol=symbol, qty=10, side="buy", time_in_force="day")
    trading.submit_order(request)


def post(running: RunningDesk, kind: str, usd: str) -> None:
    url = f"{running.desk.exchange_url}/control/activity"
    assert requests.post(url, json={"type": kind, "usd": usd}, timeout=10).status_code == 201


def test_desk_when_shares_pay_and_are_renamed_and_cash_moves_then_exact_and_all_covered(
    tmp_path: Path,
) -> None:
    with running_desk(
        tmp_path / "home",
        source=write_source(tmp_path / "source"),
        start=FIRST.isoformat(),
        end=LAST.isoformat(),
        symbols="PAYS,OLDX",
    ) as running:
        assert running.wait_until("2014-06-03T14:00:00+00:00")
        for symbol in ("PAYS", "OLDX"):
            buy(running, symbol)
        post(running, "FEE", "-0.01")
        assert running.wait_until("2014-06-04T14:00:00+00:00")
        post(running, "CSD", "25000")
        running.finish()
        store = running.store()
        positions = {p.symbol: p for p in store.open_positions()}
        dividends = store.dividends()
        moved = store.cash_movements()
        compared = store.decisions(kind=DecisionKind.RECONCILE, verdict=Verdict.REFUSED)
        halts = store.halts_in_force(WINDOW[1])
        found = summarise(store, seconds=1)
        cash = store.cash()
        bars = store.bars("NEWX", "1Min", *WINDOW)
        reasons = [
            (row.decision.reason, row.decision.symbol)
            for row in store.decisions(limit=None)
            if row.decision.kind is DecisionKind.ADJUST
        ]
        last = {c.symbol: c for c in store.coverage(*WINDOW)}
        store.close()
        account = running.broker.account()
        orders = running.broker.open_orders()

    assert {symbol: p.qty for symbol, p in positions.items()} == {"NEWX": 10, "PAYS": 10}
    assert [(d.symbol, d.usd) for d in dividends] == [("PAYS", Decimal("8.2"))]
    assert dividends[0].position_id == positions["PAYS"].position_id
    assert cash == account.cash
    assert [(m.activity_type, m.usd) for m in moved] == [
        ("FEE", Decimal("-0.01")),
        ("CSD", Decimal(25_000)),
    ]
    assert sorted(reasons, key=str) == [
        ("cash: CSD", None),
        ("cash: FEE", None),
        ("dividend", "PAYS"),
        ("symbol change", "NEWX"),
    ]
    assert (compared, halts) == ([], [])
    # A quarter of the account came in, and none of it was earned.
    assert found["end_usd"] > 124_000  # type: ignore[operator]
    assert abs(found["return_frac"]) < 0.001  # type: ignore[arg-type]
    assert found["max_drawdown_frac"] < 0.001  # type: ignore[operator]
    # Every minute under the new name came over the stream: three whole sessions.
    assert len(bars) == 3 * 390
    assert {s: (c.covered_qty, c.position_qty) for s, c in last.items() if s != "OLDX"} == {
        "NEWX": (10, 10),
        "PAYS": (10, 10),
    }
    stops = [o for o in orders if o.stop_price is not None]
    assert sorted((o.symbol, o.remaining) for o in stops) == [("NEWX", 10), ("PAYS", 10)]
