"""Networks → the tasks a board's agent is to measure, most useful first."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from sitecnn.boards.context import in_context, up_to
from sitecnn.boards.sweep import SMALL_GEMM, gemm_sizes, sweep_layers
from sitecnn.errors import NetworkError
from sitecnn.network import write_prototxt
from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import Kernel, unique_kernels
from sitecnn.workload.memory import footprint_bytes

Task = dict[str, Any]


EVICT_PASSES = 3
"""How many footprints of strange data age the caches as one real pass does, which touches its own several times, and
a last level keeps what it has seen twice (on an Intel server one footprint leaves layers 4 to 8 % too fast)."""

DATA_DEPENDENT = frozenset({("pooling", "MAX")})
"""Kernels whose branches depend on their input's values: they are given what their network would give them."""

OVERHEAD_ITERATIONS = tuple(2**power for power in range(11))
"""Calls per synchronisation of the curve that shows how its cost spreads."""


@dataclass(frozen=True)
class Place:
    """Where a kernel is met: a layer of a network, and what is touched between two of its passes."""

    network: Network
    layer: Layer
    evict_bytes: int


def heaviest_first(kernels: Sequence[Kernel]) -> list[Kernel]:
    """A board that runs out of time has left out those that weigh least."""
    return sorted(kernels, key=_weight, reverse=True)


def plan(
    networks: Iterable[Network],
    *,
    sweep: bool,
    truth_only: Iterable[Network] = (),
    choose: Callable[[Sequence[Kernel]], Sequence[Kernel]] = heaviest_first,
) -> list[Task]:
    """The networks' passes and memory, which are the truth, then their kernels and, if asked, the sweep's.

    Of the networks `truth_only`, no kernel is planned: they show how well a model estimates what it never saw.

    `choose` says which kernels are measured, in which order.
    """
    networks, truth_only = list(networks), list(truth_only)
    for network in (*networks, *truth_only):
        _refuse_unmodelled(network)
    truth = [task for network in (*networks, *truth_only) for task in _network_tasks(network)]
    found: dict[Kernel, Place] = {}
    for network in networks:
        touched = EVICT_PASSES * footprint_bytes(network)
        for kernel, layer in unique_kernels(network.layers).items():
            found.setdefault(kernel, Place(network, layer, touched))
    if sweep:
        touched = max((place.evict_bytes for place in found.values()), default=0)
        for network, layer in sweep_layers():
            for kernel in unique_kernels([layer]):
                found.setdefault(kernel, Place(network, layer, touched))
    tasks = [task for kernel in choose(list(found)) for task in _kernel_tasks(kernel, found[kernel])]
    return [*truth, *tasks, *(_gemm_tasks() if sweep else ())]


def _refuse_unmodelled(network: Network) -> None:
    for layer in network.layers:
        if not layer.modelled:
            raise NetworkError(
                f"{network.name}: layer {layer.name!r} ({layer.type}): Caffe cannot run it, so it cannot be measured;"
                " estimate the network instead, or leave it out of config/config.yaml"
            )


def plan_lines(tasks: Iterable[Task]) -> str:
    """The plan file's text: one JSON object per line."""
    return "".join(json.dumps(task, separators=(",", ":")) + "\n" for task in tasks)


def _network_tasks(network: Network) -> Iterator[Task]:
    prototxt = write_prototxt(network)
    for task in ("network", "memory"):
        yield {"task": task, "network": network.name, "batch": network.batch, "prototxt": prototxt}


def _kernel_tasks(kernel: Kernel, place: Place) -> Iterator[Task]:
    if kernel.kind == "gemm":
        yield {"task": "gemm", "kernel": kernel.as_dict(), "mode": "warm"}
        return
    piece = _im2col(kernel, place.layer) if kernel.kind == "im2col" else None
    context = in_context(place.network, place.layer, piece)
    cold = {"mode": "cold", "evict_bytes": place.evict_bytes}
    task = {"task": "layer", "kernel": kernel.as_dict(), **cold, "prototxt": write_prototxt(context.network)}
    if (kernel.kind, kernel.variant) in DATA_DEPENDENT and context.fills:
        source = write_prototxt(up_to(place.network, place.layer))
        yield {**task, "source": source, "inputs": context.blobs}
    else:
        yield {**task, "fills": context.fills}


def _gemm_tasks() -> Iterator[Task]:
    """GEMMs in fine and in coarse steps of each size, and the curve of the overhead of synchronising."""
    for kernel in gemm_sizes():
        yield {"task": "gemm", "kernel": kernel.as_dict(), "mode": "warm"}
    for iterations in OVERHEAD_ITERATIONS:
        yield {"task": "gemm", "kernel": SMALL_GEMM.as_dict(), "mode": "overhead", "iterations": iterations}


def _im2col(kernel: Kernel, layer: Layer) -> Layer:
    """Caffe's own Im2col layer on one image of a convolution's input."""
    columns = kernel["channels"] * kernel["kernel_h"] * kernel["kernel_w"]
    return replace(
        layer,
        type="Im2col",
        inputs=((1, kernel["channels"], kernel["height"], kernel["width"]),),
        outputs=((1, columns, kernel["out_height"], kernel["out_width"]),),
        bottoms=layer.bottoms[:1],
        tops=("columns",),
        parameters=(),
    )


def _weight(kernel: Kernel) -> int:
    """MACs for a gemm, else values read: a rough order of time, enough to put what matters first."""
    if kernel.kind == "gemm":
        return kernel["m"] * kernel["n"] * kernel["k"]
    return prod(size for name, size in kernel.sizes if name in ("images", "channels", "height", "width"))
