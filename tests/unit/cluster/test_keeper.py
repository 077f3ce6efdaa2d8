"""A service that died is started again, at a bounded pace."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.keeper import Keeper, Kept
from cluster.services import ServiceError, Unavailable


class Service:
    """Dies when told, and starts as its script says."""

    def __init__(self, *script: object) -> None:
        self.is_up = False
        self.starts = 0
        self._script: Iterator[object] = iter(script)

    def is_alive(self) -> bool:
        return self.is_up

    def start(self) -> object:
        self.starts += 1
        found = next(self._script, None)
        if isinstance(found, Exception):
            raise found
        self.is_up = found is None
        return found


def keeper(*services: Service) -> Keeper:
    return Keeper([Kept(name="it", is_alive=s.is_alive, start=s.start) for s in services])


def test_look_when_a_start_fails_then_tried_again_until_it_runs() -> None:
    failing = Service(ServiceError("no disk"), Unavailable(reason="no binary"))
    well = Service()
    well.is_up = True
    eye = keeper(failing, well)
    assert [eye.look() for _ in range(4)] == [False, False, True, True]
    assert (failing.starts, well.starts) == (3, 0)


def test_look_when_one_cannot_be_started_then_the_others_are() -> None:
    failing, dead = Service(ServiceError("no disk")), Service()
    assert not keeper(failing, dead).look()
    assert dead.is_up
