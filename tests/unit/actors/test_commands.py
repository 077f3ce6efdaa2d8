"""Who is answered, what is asked back, and what a command does."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from actors.commands import Commander, Controls
from greenlight.domain.market import Unavailable
from greenlight.domain.orders import Side
from greenlight.domain.reports import Period, Report, report
from greenlight.ports import Asked, BrokerAccount
from greenlight.testing import FakeClock, FakeMessenger, FakeStore
from jobs import controls
from tests.ledger_cases import T0, fill, minute, open_position, run
from tests.report_cases import WED, inputs

COMMANDS = (
    "status",
    "positions",
    "trades",
    "profit",
    "daily",
    "weekly",
    "monthly",
    "performance",
    "balance",
    "stops",
    "readiness",
    "why",
    "risk",
    "decisions",
    "halt",
    "resume",
    "flatten",
    "ack",
    "health",
    "logs",
    "version",
    "help",
)
ACCOUNT = BrokerAccount(
    account_number="PA1",
    status="ACTIVE",
    equity=Decimal("100250.50"),
    last_equity=Decimal(100_000),
    cash=Decimal(99_000),
    buying_power=Decimal(198_000),
    is_trading_blocked=False,
)


class Scene:
    def __init__(self) -> None:
        self.store = FakeStore()
        self.messenger = FakeMessenger()
        self.clock = FakeClock(T0)
        self.store.start_run(run())
        self._nonces = iter(f"n{number}" for number in range(100))
        self.commander = Commander(
            store=self.store,
            messenger=self.messenger,
            controls=self._controls(),
            allowed=("42",),
            now=self.clock.now,
            nonce=lambda: next(self._nonces),
            source=lambda: "PAPER",
        )

    def _controls(self) -> Controls:
        def found(period: Period, day: date | None) -> Report | Unavailable:
            return report(inputs(period, day or WED))

        def halt(reason: str) -> str:
            controls.halt(self.store, reason, self.clock.now())
            return f"halted: {reason}"

        def flatten(reason: str) -> str:
            controls.flatten(self.store, reason, self.clock.now())
            return "leaving"

        def resume(reason: str) -> str:
            return f"{controls.resume(self.store, reason, self.clock.now()).count} lifted"

        return Controls(
            present=self.clock.now,
            report=found,
            draw=lambda _: b"",
            readiness=lambda: [("green", "Uptime", "100%"), ("red", "Win rate", "40% < 50%")],
            account=lambda: ACCOUNT,
            limits=lambda: ["2% a trade"],
            parts=lambda: ["🟢 recorder"],
            version=lambda: "greenlight 0.1.0",
            halt=halt,
            flatten=flatten,
            resume=resume,
        )

    def ask(
        self,
        text: str,
        *,
        chat: str = "42",
        user: str = "7",
        query: str | None = None,
        at: datetime | None = None,
    ) -> str:
        before = len(self.messenger.sent)
        asked = Asked(chat=chat, user=user, text=text, at=at or self.clock.now(), query=query)
        self.commander.handle(asked)
        return "\n".join(message.text for message in self.messenger.sent[before:])


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_handle_when_each_command_is_given_then_answered_with_the_source(scene: Scene) -> None:
    open_position(scene.store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    scene.store.book_fill(stop, Decimal(0))
    for name in COMMANDS:
        reason = " because" if name in {"halt", "resume", "flatten"} else ""
        said = scene.ask(f"/{name}{reason}")
        assert said.startswith(("<b>PAPER</b>\n", "📊 <b>PAPER")), name
        assert len(said) > len("<b>PAPER</b>\n")
    for name in COMMANDS:
        assert f"/{name} — " in scene.ask("/help")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/trades", "AAPL <code>-$51.0"),
        ("/balance", "equity <code>$100,250.50</code> (<code>+$250.50</code> today)"),
        ("/readiness", "🔴 Win rate: 40% &lt; 50%"),
        ("/why aapl", "entry taken: oversold"),
        ("/why", "name a symbol"),
        ("/logs", "stop_hit AAPL <b>waiting</b>"),
        ("/daily 2008-01-15", "net P&amp;L <code>-$500.00</code>"),
        ("/daily tomorrow", "write a day like"),
        ("/weekly", "Weekly report, 2008-01-14 to 2008-01-20"),
        ("/status@desk_bot", "no halt"),
        ("/nonsense", "/help — "),
    ],
)
def test_handle_when_asked_then_the_figures(scene: Scene, command: str, words: str) -> None:
    open_position(scene.store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    scene.store.book_fill(stop, Decimal(0))
    assert words in scene.ask(command)


def test_handle_when_a_stranger_writes_then_silence_and_a_line_in_the_log(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert scene.ask("/halt now", chat="666", user="13") == ""
        assert scene.ask("yes:n0", chat="666", query="q1") == ""
    assert scene.messenger.settled == []
    assert [record.message for record in caplog.records] == ["a stranger wrote"] * 2
    assert caplog.records[0].__dict__["chat"] == "666"


def test_halt_when_confirmed_then_halted_with_reason_and_person(scene: Scene) -> None:
    assert scene.ask("/halt  bad   news") == "<b>PAPER</b>\nhalt: bad news?"
    assert scene.store.halts_in_force(T0) == []
    assert scene.messenger.sent[-1].buttons == (("Yes, halt", "yes:n0"), ("No", "no:n0"))
    assert "halted: bad news" in scene.ask("yes:n0", query="q1")
    (halt,) = scene.store.halts_in_force(T0)
    assert halt.reason == "manual: bad news (Telegram user 7)"
    assert scene.messenger.settled == [("q1", "done")]


def test_flatten_and_resume_when_confirmed_then_as_the_command_does(scene: Scene) -> None:
    scene.ask("/flatten enough")
    scene.ask("yes:n0", query="q1")
    assert scene.store.halts_in_force(T0)[0].reason.startswith("flatten: enough")
    scene.ask("/resume seen")
    assert "1 lifted" in scene.ask("yes:n1", query="q2")
    assert scene.store.halts_in_force(T0) == []


@pytest.mark.parametrize("text", ["/halt", "/flatten", "/resume  "])
def test_change_when_no_reason_is_given_then_asked_for(scene: Scene, text: str) -> None:
    assert "say why" in scene.ask(text)
    assert scene.messenger.sent[-1].buttons == ()


def test_press_when_repeated_foreign_or_made_up_then_nothing_is_done(scene: Scene) -> None:
    scene.ask("/halt now")
    scene.ask("yes:n0", query="q1", user="8")
    scene.ask("yes:guess", query="q2")
    assert scene.store.halts_in_force(T0) == []
    scene.ask("no:n0", query="q3")
    scene.ask("yes:n0", query="q4")
    assert scene.store.halts_in_force(T0) == []
    words = [said for _, said in scene.messenger.settled]
    assert words == [
        "this button is no longer good",
        "this button is no longer good",
        "nothing was done",
        "this button is no longer good",
    ]


def test_press_when_a_minute_has_passed_then_too_late(scene: Scene) -> None:
    scene.ask("/halt now")
    scene.clock.advance(61)
    scene.ask("yes:n0", query="q1")
    assert scene.messenger.settled == [("q1", "too late; ask again")]
    assert scene.store.halts_in_force(scene.clock.now()) == []


def test_handle_when_the_command_is_old_then_not_carried_out(scene: Scene) -> None:
    assert scene.ask("/status", at=T0 - timedelta(minutes=6)) == ""


def test_handle_when_the_store_is_away_then_says_so(scene: Scene) -> None:
    scene.store.up = False
    assert "no answer" in scene.ask("/positions")


def test_ack_when_criticals_were_told_then_counted(scene: Scene) -> None:
    assert scene.ask("/ack").endswith("acknowledged 0 alerts")
