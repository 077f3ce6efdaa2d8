"""Ray for a command's work: the cluster it was submitted to, the desk's, or one of its own.

Before it stand the commands that fan work out; after it `fanout`. Whoever starts a
node here ends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import ray

from cluster.desk_config import NAMESPACE
from cluster.desk_file import DeskFile
from cluster.launch import joined_ray
from cluster.processes import StartError
from greenlight.settings import Settings

_OBJECT_STORE_BYTES = 512 * 1024 * 1024


@contextlib.contextmanager
def workers(settings: Settings, count: int | None) -> Iterator[int]:
    """Connect to Ray; yields how many tasks may run at once.

    Parameters
    ----------
    count : int | None
        Tasks at once; None: as many as the cluster, or this machine, has cores.

    Raises
    ------
    StartError
        Ray does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    desk = DeskFile.read(settings.home)
    if address is None and desk is not None and desk.is_alive():
        address = desk.ray_address
    if address is not None:
        with joined_ray(address):
            yield count or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
        return
    cores = count or _cores()
    try:
        ray.init(
            address="local",
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            num_cpus=cores,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StartError(f"Ray does not start: {error}") from error
    try:
        yield cores
    finally:
        ray.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
