"""A monitor's way to the broker that sleeps through its successor's start.

It takes the epoch, tells it, stops itself, and once it is woken tries to sell and
to cancel; the last line is what came of it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

from actors.order_gateway import OrderGateway
from actors.position_monitor import monitor_name
from cluster.wiring import build_broker, build_store
from greenlight.domain.orders import OrderKind, Role, Side, TimeInForce


def main(symbol: str) -> None:
    """Read the desk's configuration from standard input and act for a symbol."""
    config = pickle.loads(sys.stdin.buffer.read())
    gateway = OrderGateway(
        store=build_store(config),
        broker=build_broker(config),
        desk=config.desk,
        holder=monitor_name(symbol),
        sleep=time.sleep,
        desk_epoch=config.desk_epoch,
    )
    sys.stdout.write(f"{gateway.epoch}\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSTOP)
    now = datetime.now(UTC)
    outcome = gateway.send(
        decision=None,
        decision_id="zombie",
        role=Role.EXIT,
        attempt=1,
        symbol=symbol,
        side=Side.SELL,
        kind=OrderKind.LIMIT,
        qty=1,
        limit_price=Decimal(1),
        stop_price=None,
        time_in_force=TimeInForce.DAY,
        at=now,
    )
    result = {"outcome": type(outcome).__name__, "is_fenced": gateway.is_fenced}
    result["cancelled"] = gateway.cancel("any", now) is not None
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
