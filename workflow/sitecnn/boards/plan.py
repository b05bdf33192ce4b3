"""Networks → the tasks of a board's engines: passes of probes and networks in rounds, memory, matrix products."""

import base64
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sitecnn.boards.probes import caffe_probes, probe_models
from sitecnn.errors import NetworkError
from sitecnn.network import parse_prototxt, write_prototxt
from sitecnn.network.graph import Network
from sitecnn.network.onnx import external_bytes, parse_onnx, to_onnx
from sitecnn.workload.engines import CAFFE, ONNXRUNTIME, Engine
from sitecnn.workload.kernels import Kernel, gemm, unique_kernels
from sitecnn.workload.lowering import EngineMemory, LoweredKernel, lower_whole
from sitecnn.workload.memory import footprint_bytes

Task = dict[str, Any]

PROBES, ROUNDS = {CAFFE: 45, ONNXRUNTIME: 60}, {CAFFE: 4, ONNXRUNTIME: 7}
"""What a campaign has unless asked otherwise: on a server core a round of so many probes takes 9 and 15 s."""

SEED = 1

MEMORY_SHARE = 0.8
"""Of what a board has free, so much may be a process's: the agent is there, too, and files are in the cache."""

PROCESS_BYTES = {CAFFE: 120 << 20, ONNXRUNTIME: 90 << 20}
"""What a worker takes besides its network: Python, NumPy, the engine and its libraries; measured on a server."""

OVERHEAD_ITERATIONS = tuple(2**power for power in range(11))
"""Calls per synchronisation of the curve that shows how its cost spreads."""

SMALL_GEMM = gemm(64, 49, 64)
"""Short against a GPU's synchronisation, long against a CPU's timer."""


@dataclass(frozen=True)
class Amount:
    """How much is measured: probe networks (an engine's own number unless given; 0 for none), rounds, and a seed.

    `chosen` has the names of the probes that are measured, all if it is None. `memory_bytes` is what a process may
    take on the board: probes and networks that would need more are left out, and said on stderr.
    """

    probes: int | None = None
    rounds: int | None = None
    seed: int = SEED
    chosen: Collection[str] | None = None
    memory_bytes: int | None = None

    def has(self, name: str) -> bool:
        """Whether a probe is measured."""
        return self.chosen is None or name in self.chosen


def plan(networks: Mapping[Engine, Sequence[Network]], amount: Amount | None = None, *, sweep: bool) -> list[Task]:
    """The tasks of each engine: round 0 of all probes and networks, then round 1, and so on; memory; matrix products.

    Rounds are spread over the campaign and interleaved between engines, so that what disturbs the board for minutes
    meets some of the rounds only. Without `sweep` there are no probes unless their number is given, and the products
    are those of the networks' own layers. NetworkError for a network that an engine cannot run.
    """
    amount = amount or Amount()
    amount = amount if sweep or amount.probes is not None else replace(amount, probes=0)
    rounds = {engine: amount.rounds or ROUNDS[engine.name] for engine in networks}
    tasks = {engine: _networks(some, engine, amount) for engine, some in networks.items()}
    passes = {
        engine: _spread(_fitting(_probes(engine, amount), amount), [first for first, _ in of])
        for engine, of in tasks.items()
    }
    in_rounds = [
        {**task, "round": number}
        for number in range(max(rounds.values(), default=0))
        for engine, some in passes.items()
        for task in some
        if number < rounds[engine]
    ]
    memory = [second for of in tasks.values() for _, second in of]
    own = [network for engine, some in networks.items() if engine.name == CAFFE for network in some]
    products = sweep_products() if sweep else map(_warm, _products(own))
    return [*in_rounds, *memory, *(products if any(engine.name == CAFFE for engine in networks) else ())]


def plan_lines(tasks: Iterable[Task]) -> str:
    """The plan file's text: one JSON object per line."""
    return "".join(json.dumps(task, separators=(",", ":")) + "\n" for task in tasks)


def _spread(probes: Sequence[Task], networks: Sequence[Task]) -> list[Task]:
    """Networks evenly among the probes: what disturbs a board for seconds meets what is fitted and what judges it."""
    places = [((index + 0.5) / len(part), task) for part in (probes, networks) for index, task in enumerate(part)]
    return [task for _, task in sorted(places, key=lambda placed: placed[0])]


def _fitting(probes: Iterable[tuple[Task, int]], amount: Amount) -> list[Task]:
    """The probes whose process fits into the board's memory; print how many do not."""
    some = list(probes)
    fitting = [task for task, need in some if amount.memory_bytes is None or need <= amount.memory_bytes]
    if len(fitting) < len(some):
        left_out = f"{len(some) - len(fitting)} of {len(some)} probes are left out: they take up to"
        print(f"{left_out} {_mib(max(need for _, need in some))}, {_has_only(amount)}", file=sys.stderr)
    return fitting


def _networks(networks: Sequence[Network], engine: Engine, amount: Amount) -> list[tuple[Task, Task]]:
    """(passes, memory) of each network whose process fits into the board's memory; print which do not."""
    fitting = []
    for network in networks:
        passes, memory, need = _tasks_of(network, engine)
        if amount.memory_bytes is None or need <= amount.memory_bytes:
            fitting.append((passes, memory))
        else:
            print(
                f"{network.name}: left out: {engine.name} takes {_mib(need)} for it, {_has_only(amount)}",
                file=sys.stderr,
            )
    return fitting


def _has_only(amount: Amount) -> str:
    return f"the board leaves {_mib(amount.memory_bytes or 0)} to a process"


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _probes(engine: Engine, amount: Amount) -> Iterator[tuple[Task, int]]:
    """(task, bytes that its process takes) of the probes that an engine runs in each round."""
    count = PROBES[engine.name] if amount.probes is None else amount.probes
    if engine.name == CAFFE:
        texts = caffe_probes(amount.seed, count) if count else {}
        named = ((name, text) for name, text in texts.items() if amount.has(name))
        for name, text in named:
            need = _caffe_bytes(parse_prototxt(text, name)) if amount.memory_bytes else 0
            yield {"task": "probe", "network": name, "batch": 1, "prototxt": text}, need
        return
    for model in probe_models(amount.seed, count):
        content, name = model.SerializeToString(), model.graph.name
        if amount.has(name):
            network = parse_onnx(content, name)
            kernels, parts = lower_whole(network, engine)
            task = {"task": "probe", **_common(network, content, engine), "kernels": _as_profiled(kernels)}
            yield task, _shared_bytes(parts)


def _caffe_bytes(network: Network) -> int:
    return PROCESS_BYTES[CAFFE] + footprint_bytes(network)


def _shared_bytes(parts: EngineMemory | None) -> int:
    return PROCESS_BYTES[ONNXRUNTIME] + (parts.weights_bytes + parts.activations_bytes if parts else 0)


def _tasks_of(network: Network, engine: Engine) -> tuple[Task, Task, int]:
    """(passes, memory, bytes of the process) of a network; ONNX Runtime's record of memory keeps what decides it."""
    if engine.name == CAFFE:
        _refuse_unmodelled(network)
        named = {"network": network.name, "batch": network.batch, "prototxt": write_prototxt(network)}
        return {"task": "network", **named}, {"task": "memory", **named}, _caffe_bytes(network)
    _refuse_other_precision(network, engine)
    network = network.fixed
    kernels, parts = lower_whole(network, engine)
    common = _common(network, to_onnx(network, "external"), engine) | {"weights_bytes": external_bytes(network)}
    sizes = {name.removesuffix("_bytes"): value for name, value in asdict(parts).items()} if parts else {}
    passes = {"task": "network", **common, "kernels": _as_profiled(kernels)}
    return passes, {"task": "memory", **common, "parts": sizes}, _shared_bytes(parts)


def _refuse_unmodelled(network: Network) -> None:
    for layer in network.layers:
        if not layer.modelled:
            raise NetworkError(
                f"{network.name}: layer {layer.name!r} ({layer.type}): Caffe cannot run it, so it cannot be measured;"
                " estimate the network instead, or leave it out of config/config.yaml"
            )


def _refuse_other_precision(network: Network, engine: Engine) -> None:
    if network.precision != engine.precision:
        raise NetworkError(
            f"{network.name}: the file is {network.precision}, and only {engine.precision} is measured yet; plan the"
            f" {engine.precision} network that it was made from"
        )


def _common(network: Network, content: bytes, engine: Engine) -> Task:
    named = {"engine": engine.name, "network": network.name, "batch": network.batch}
    return {**named, "model": base64.b64encode(content).decode()}


def _as_profiled(kernels: Iterable[LoweredKernel]) -> list[Task]:
    return [
        one.kernel.as_dict() | {"op": one.op, "inputs": one.input_shapes, "outputs": one.output_shapes}
        for one in kernels
    ]


def gemm_sizes() -> Iterator[Kernel]:
    """m, n and k in turn: doubled from 16 to 4096 and, for m and n, in steps of 4 that show the edges of tiles."""
    for size in (2**power for power in range(4, 13)):
        yield from dict.fromkeys((gemm(size, 512, 512), gemm(512, size, 512), gemm(512, 512, size)))
    for size in range(4, 81, 4):
        yield from (gemm(size, 256, 256), gemm(256, size, 256))


def sweep_products() -> Iterator[Task]:
    """GEMMs in fine and in coarse steps of each size, and the curve of the overhead of synchronising."""
    for kernel in gemm_sizes():
        yield _warm(kernel)
    for iterations in OVERHEAD_ITERATIONS:
        yield {"task": "gemm", "kernel": SMALL_GEMM.as_dict(), "mode": "overhead", "iterations": iterations}


def _products(networks: Sequence[Network]) -> list[Kernel]:
    """The matrix products of networks' layers, the largest first: a board without Caffe knows nothing else."""
    products = {kernel for network in networks for kernel in unique_kernels(network.layers) if kernel.kind == "gemm"}
    return sorted(products, key=lambda kernel: (-kernel["m"] * kernel["n"] * kernel["k"], kernel.sizes))


def _warm(kernel: Kernel) -> Task:
    return {"task": "gemm", "kernel": kernel.as_dict(), "mode": "warm"}
