"""Networks → the tasks a board's agent is to measure, most useful first."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod
from statistics import median
from typing import Any

from sitecnn.boards.sweep import sweep_layers
from sitecnn.errors import SiteCNNError
from sitecnn.network import write_prototxt
from sitecnn.network.graph import Layer, Network
from sitecnn.workload.kernels import Kernel, unique_kernels
from sitecnn.workload.memory import footprint_bytes

Task = dict[str, Any]


def plan(networks: Iterable[Network], *, sweep: bool) -> list[Task]:
    """The networks' passes and memory, which are the truth, then their kernels and, if asked, the sweep's.

    Kernels come longest first: a board that runs out of time has left out those that weigh least.
    """
    networks = list(networks)
    for network in networks:
        _refuse_unmodelled(network)
    truth = [task for network in networks for task in _network_tasks(network)]
    footprints = {network: footprint_bytes(network) for network in networks}
    found: dict[Kernel, tuple[Layer, int]] = {}
    for network, footprint in footprints.items():
        for kernel, layer in unique_kernels(network.layers).items():
            found.setdefault(kernel, (layer, footprint))
    for kernel, layer in unique_kernels(sweep_layers()).items() if sweep else ():
        found.setdefault(kernel, (layer, int(median(footprints.values()))))
    ordered = sorted(found, key=_weight, reverse=True)
    return [*truth, *(task for kernel in ordered for task in _kernel_tasks(kernel, *found[kernel]))]


def _refuse_unmodelled(network: Network) -> None:
    for layer in network.layers:
        if not layer.modelled:
            raise SiteCNNError(
                f"{network.name}: layer {layer.name!r} ({layer.type}): Caffe cannot run it, so it cannot be measured;"
                " estimate the network instead, or leave it out of config/config.yaml"
            )


def plan_lines(tasks: Iterable[Task]) -> str:
    """The plan file's text: one JSON object per line."""
    return "".join(json.dumps(task, separators=(",", ":")) + "\n" for task in tasks)


def one_layer_network(layer: Layer) -> Network:
    """An Input for each bottom and the layer itself: what the agent loads to time a layer alone."""
    plain = _plain(layer)
    inputs = tuple(
        Layer(name=bottom, type="Input", bottoms=(), tops=(bottom,), inputs=(), outputs=(shape,))
        for bottom, shape in dict(zip(plain.bottoms, plain.inputs, strict=True)).items()
    )
    return Network(name=layer.type, batch=layer.inputs[0][0], layers=(*inputs, plain))


def _plain(layer: Layer) -> Layer:
    """The layer under neutral names, so that equal layers of two networks give the same text, hence the same key."""
    names = {blob: f"in{index}" for index, blob in enumerate(dict.fromkeys(layer.bottoms))}
    tops = tuple(names.get(blob, f"out{index}") for index, blob in enumerate(layer.tops))
    return replace(layer, name="layer", bottoms=tuple(names[blob] for blob in layer.bottoms), tops=tops)


def _network_tasks(network: Network) -> Iterator[Task]:
    prototxt = write_prototxt(network)
    for task in ("network", "memory"):
        yield {"task": task, "network": network.name, "batch": network.batch, "prototxt": prototxt}


def _kernel_tasks(kernel: Kernel, layer: Layer, evict_bytes: int) -> Iterator[Task]:
    if kernel.kind == "gemm":
        yield {"task": "gemm", "kernel": kernel.as_dict(), "mode": "warm"}
        return
    prototxt = write_prototxt(one_layer_network(_im2col(kernel, layer) if kernel.kind == "im2col" else layer))
    fill = "activations" if kernel.kind == "pooling" else "gaussian"
    cold = {"mode": "cold", "evict_bytes": evict_bytes}
    yield {"task": "layer", "kernel": kernel.as_dict(), **cold, "prototxt": prototxt, "fill": fill}


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
