"""What an agent is given to measure by ONNX Runtime: probe networks and networks in rounds, and memory."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from sitecnn.boards.probes.chains import probe_models
from sitecnn.network import Network
from sitecnn.network.onnx import external_bytes, parse_onnx, to_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import LoweredKernel, lower_whole

Task = dict[str, Any]

PROBES, ROUNDS, SEED = 48, 5, 1
"""What a campaign has unless asked otherwise: on a server core a round of so many probes takes 15 s."""


def engine_plan(
    networks: Iterable[Network], engine: Engine, *, probes: int = PROBES, rounds: int = ROUNDS, seed: int = SEED
) -> list[Task]:
    """Round 0 of all probes and of the networks' passes, then round 1 of all, and so on, then the networks' memory.

    Every task has the kernels that the engine is expected to run, with the operators and shapes of its profile.
    Raises BoardError for a network that cannot be written as ONNX.
    """
    tasks = [_network_tasks(one, engine) for one in networks]
    passes = [*_probe_tasks(engine, seed, probes), *(task for task, _ in tasks)]
    memory = [task for _, task in tasks]
    in_rounds = [{**task, "round": number} for number in range(rounds) for task in passes]
    return [*in_rounds, *memory]


def _probe_tasks(engine: Engine, seed: int, count: int) -> Iterator[Task]:
    for model in probe_models(seed, count):
        content, name = model.SerializeToString(), model.graph.name
        network = parse_onnx(content, name)
        kernels = _as_profiled(lower_whole(network, engine)[0])
        yield {"task": "probe", **_common(network, content, engine), "kernels": kernels}


def _network_tasks(network: Network, engine: Engine) -> tuple[Task, Task]:
    """(passes, memory) of a network; the record of its memory keeps what decides it, as it is expected here."""
    content = to_onnx(network, "external")
    kernels, parts = lower_whole(network, engine)
    common = {**_common(network, content, engine), "weights_bytes": external_bytes(network)}
    told = {name.removesuffix("_bytes"): value for name, value in asdict(parts).items()} if parts else {}
    passes = {"task": "network", **common, "kernels": _as_profiled(kernels)}
    return passes, {"task": "memory", **common, "parts": told}


def _common(network: Network, content: bytes, engine: Engine) -> Task:
    named = {"engine": engine.name, "network": network.name, "batch": network.batch}
    return {**named, "model": base64.b64encode(content).decode()}


def _as_profiled(kernels: Iterable[LoweredKernel]) -> list[Task]:
    return [
        one.kernel.as_dict() | {"op": one.op, "inputs": one.input_shapes, "outputs": one.output_shapes}
        for one in kernels
    ]
