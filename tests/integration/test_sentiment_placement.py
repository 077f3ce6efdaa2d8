"""Ray places the model by its tags: a GPU node and a CPU node, and the GPU node dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import GetTimeoutError, RayError

from actors.sentiment import RESOURCE, placement
from cluster.desk_config import NAMESPACE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GPU_NODE = {"num_cpus": 1, "num_gpus": 1, "resources": {RESOURCE: 1}}


class Where:
    """Tells on which node it lives and which GPUs Ray gave it."""

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    def gpus(self) -> list[str]:
        return [str(gpu) for gpu in ray.get_gpu_ids()]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    found.add_node(num_cpus=1, num_gpus=0)
    ray.init(address=found.address, namespace=NAMESPACE, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def start(gpu_frac: float) -> Any:
    """The actor with the desk's own placement, as `launch.create` starts it."""
    options = {key: value for key, value in placement(gpu_frac).items() if key != "name"}
    return (
        ray.remote(Where)
        .options(
            **options, name="sentiment", lifetime="detached", max_restarts=-1, max_task_retries=0
        )
        .remote()
    )


def until(condition: Callable[[], bool], within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.5)


def node_of(actor: Any) -> str | None:
    try:
        found: str = ray.get(actor.node.remote(), timeout=5)
    except (RayError, GetTimeoutError):
        return None
    return found


def test_placement_when_one_node_has_a_gpu_then_there_alone_and_it_moves_when_that_dies(
    cluster: Cluster,
) -> None:
    # Without a GPU node it waits, and holds nobody up.
    actor = start(0.6)
    with pytest.raises(GetTimeoutError):
        ray.get(actor.node.remote(), timeout=3)

    first = cluster.add_node(**GPU_NODE)
    until(lambda: node_of(actor) == first.node_id)
    assert ray.get(actor.gpus.remote()) == ["0"]
    # What is left of the GPU is smaller than what another job wants.
    greedy = ray.remote(lambda: "ran").options(num_gpus=0.6).remote()
    with pytest.raises(GetTimeoutError):
        ray.get(greedy, timeout=3)
    ray.cancel(greedy)
    modest = ray.remote(lambda: "ran").options(num_gpus=0.4, num_cpus=0.1).remote()
    assert ray.get(modest, timeout=60) == "ran"

    second = cluster.add_node(**GPU_NODE)
    cluster.remove_node(first, allow_graceful=False)
    until(lambda: node_of(actor) == second.node_id)
    assert ray.get(actor.gpus.remote()) == ["0"]


def test_placement_when_the_cpu_is_set_then_on_a_node_that_offers_the_model_without_a_gpu(
    cluster: Cluster,
) -> None:
    offering = cluster.add_node(num_cpus=1, num_gpus=0, resources={RESOURCE: 1})
    actor = start(0.0)
    until(lambda: node_of(actor) == offering.node_id)
    assert ray.get(actor.gpus.remote()) == []
