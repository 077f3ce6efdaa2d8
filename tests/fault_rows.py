"""The faults that the desk must survive, each with what must then happen.

A test says with `@pytest.mark.fault(row, bound_s=…)` which of them it is about;
`tests.fault_table` prints the table of what was found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault. `owed` says where a test that is still missing belongs."""

    name: str
    behaviour: str
    owed: str | None = None


def _row(name: str, behaviour: str, owed: str | None = None) -> Row:
    return Row(name=name, behaviour=behaviour, owed=owed)


ROWS = (
    _row("order POST accepted, answer lost", "looked up by its id, never sent under a new one"),
    _row("504 on POST", "one order, however often it is sent"),
    _row("duplicate-id 422", "the order that exists is adopted, under either code"),
    _row("lookup answers 404 just after accept", "unresolved, and looked up again"),
    _row("REST hangs", "every request has a deadline; exits do not wait"),
    _row("502/503 with an HTML body", "passes as an outage; nothing chokes on the page"),
    _row("key revoked", "no entries, one alert; entries return with the key"),
    _row("stop refused because the price is through it", "left at once, with an alert"),
    _row("stop missing after a restart", "placed again within 5 s of the start"),
    _row("stop filled while the desk was down", "booked once"),
    _row("stop placed again after the exit", "no orphan stays, never short"),
    _row("cancel races the stop's fill", "no second sell"),
    _row("exit sell 403 for held quantity", "released first, then sold"),
    _row("entry partly filled, then idle", "the rest cancelled, a stop for what filled"),
    _row("cancelling the remainder kills the legs", "a new stop"),
    _row("order id changes on replace", "the new order is followed"),
    _row("PATCH refused in accepted", "the old stop counts; again at the open"),
    _row("wash-trade 403 on an add", "the stop stays, the add waits"),
    _row("held leg not in status=open", "not reported as uncovered"),
    _row("fill replayed x3", "booked once"),
    _row("fills missed while disconnected", "filled in over REST"),
    _row("unknown enum kills a stream event", "repaired over REST"),
    _row("mute stream", "alert, reconnect, no entry until prices are fresh"),
    _row("second connection 406", "one owner; the other waits and says so"),
    _row("slow consumer / 407", "a bounded queue; what was missed is asked for"),
    _row("NaN, zero, negative, crossed or out-of-order quote", "refused and counted"),
    _row("stale quote", "no decision on it"),
    _row("half-day, holiday", "the calendar's close and next session"),
    _row("DST change; UTC against Eastern", "the same session and display in any time zone"),
    _row("split overnight, stop not adjusted", "cancelled and resized before the open"),
    _row("actor dies around the POST or the commit", "the same decision id after the restart"),
    _row("Ray retries a method", "no second effect"),
    _row("zombie monitor; two desks", "the old epoch is refused", "test_process_*.py"),
    _row("Redis gone or failed over", "display degrades, trading goes on", "test_process_*.py"),
    _row("database down", "no entries, stops stay, nothing lost", "test_process_*.py"),
    _row("outage is not order failed", "unresolved until it is looked up"),
    _row("manual order or position at the broker", "adopted and protected"),
    _row("Telegram 429/409/timeout", "kept and sent in order; trading never waits"),
    _row("Ollama cold, 503, bad JSON, hung", "missing, never 0"),
    _row("a Ray node dies", "its monitors live again within 30 s", "test_process_*.py"),
)
"""Every row of the table, in its order."""

NAMES = frozenset(row.name for row in ROWS)
