"""What an agent is given to measure by ONNX Runtime: probe networks and networks in rounds, and memory."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from sitecnn.boards.probes.chains import probe_models
from sitecnn.network import Network
from sitecnn.network.onnx import external_bytes, parse_onnx, to_onnx
from sitecnn.workload.engines import Engine
from sitecnn.workload.lowering import engine_memory, lower

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
    networks = list(networks)
    passes = [*_probe_tasks(engine, seed, probes), *(_task("network", one, engine) for one in networks)]
    memory = [_memory_task(network, engine) for network in networks]
    in_rounds = [{**task, "round": number} for number in range(rounds) for task in passes]
    return [*in_rounds, *memory]


def _probe_tasks(engine: Engine, seed: int, count: int) -> Iterator[Task]:
    for model in probe_models(seed, count):
        content, name = model.SerializeToString(), model.graph.name
        yield _with_kernels("probe", parse_onnx(content, name), content, engine)


def _task(task: str, network: Network, engine: Engine) -> Task:
    content = to_onnx(network, "external")
    return _with_kernels(task, network, content, engine) | {"weights_bytes": external_bytes(network)}


def _memory_task(network: Network, engine: Engine) -> Task:
    """A process of its own; its record keeps what decides the memory, as the engine is expected to need it."""
    parts = engine_memory(network, engine)
    named = {"task": "memory", "engine": engine.name, "network": network.name, "batch": network.batch}
    model = {"model": base64.b64encode(to_onnx(network, "external")).decode(), "weights_bytes": external_bytes(network)}
    told = {"weights": parts.weights_bytes, "activations": parts.activations_bytes, "kernels": parts.kernels}
    return {**named, **model, "parts": told}


def _with_kernels(task: str, network: Network, content: bytes, engine: Engine) -> Task:
    kernels = [
        one.kernel.as_dict() | {"op": one.op, "inputs": one.input_shapes, "outputs": one.output_shapes}
        for one in lower(network, engine)
    ]
    named = {"task": task, "engine": engine.name, "network": network.name, "batch": network.batch}
    return {**named, "model": base64.b64encode(content).decode(), "kernels": kernels}
