"""A direct line: answers, errors, timeouts, ends, and callers without the key."""

from __future__ import annotations

import threading
from dataclasses import replace
from multiprocessing import AuthenticationError

import pytest

from cluster.fast_lane import Line, LineServer

HOST = "127.0.0.1"


class Plain:
    """What an actor's process holds."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def add(self, a: int, *, b: int) -> int:
        return a + b

    def fail(self) -> None:
        raise TimeoutError("of the method's own")

    def wait(self) -> str:
        self.may_answer.wait(10)
        return "late"

    def unsendable(self) -> object:
        return threading.Lock()

    def fail_unsendably(self) -> None:
        raise ValueError(threading.Lock())


@pytest.fixture
def plain() -> Plain:
    return Plain()


@pytest.fixture
def server(plain: Plain) -> LineServer:
    return LineServer(plain, HOST)


def ask(line: Line, method: str, *args: object, **kwargs: object) -> tuple[bool, object]:
    return line.receive(line.send(method, args, kwargs), 5.0)


def test_receive_when_asked_twice_then_each_gets_its_answer(server: LineServer) -> None:
    line = Line(server.address)
    first, second = line.send("add", (1,), {"b": 2}), line.send("add", (10,), {"b": 20})
    assert line.receive(first, 5.0) == (True, 3)
    assert line.receive(second, 5.0) == (True, 30)


def test_receive_when_the_method_raises_then_the_error_is_an_answer(server: LineServer) -> None:
    is_value, error = ask(Line(server.address), "fail")
    assert not is_value
    assert isinstance(error, TimeoutError)
    assert str(error) == "of the method's own"


@pytest.mark.parametrize("method", ["unsendable", "fail_unsendably"])
def test_receive_when_the_answer_cannot_be_sent_then_says_so(
    server: LineServer, method: str
) -> None:
    line = Line(server.address)
    is_value, error = ask(line, method)
    assert not is_value
    assert method in str(error)
    assert ask(line, "add", 1, b=1) == (True, 2)


def test_receive_when_silent_then_times_out_and_the_late_answer_is_passed_over(
    server: LineServer, plain: Plain
) -> None:
    line = Line(server.address)
    number = line.send("wait", (), {})
    with pytest.raises(TimeoutError):
        line.receive(number, 0.05)
    plain.may_answer.set()
    assert ask(line, "add", 2, b=3) == (True, 5)


def test_line_when_one_caller_waits_then_another_is_served(
    server: LineServer, plain: Plain
) -> None:
    waiting, other = Line(server.address), Line(server.address)
    number = waiting.send("wait", (), {})
    assert ask(other, "add", 1, b=2) == (True, 3)
    plain.may_answer.set()
    assert waiting.receive(number, 5.0) == (True, "late")


def test_line_when_the_key_is_wrong_then_refused_and_the_server_goes_on(
    server: LineServer,
) -> None:
    with pytest.raises(AuthenticationError):
        Line(replace(server.address, key=b"guess"))
    assert ask(Line(server.address), "add", 1, b=1) == (True, 2)


def test_address_when_shown_then_without_its_key(server: LineServer) -> None:
    assert repr(server.address.key) not in repr(server.address)
