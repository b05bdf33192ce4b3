"""A results folder as the workflow leaves it, of two small networks, with times from a simple law."""

import json
import math
import random
from collections.abc import Iterator
from math import prod
from pathlib import Path

from sitecnn.boards.plan import Amount, plan
from sitecnn.cli import main
from sitecnn.network import load_network, parse_prototxt
from sitecnn.workload.engines import Engine
from sitecnn.workload.kernels import gemm, macs

TOY = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {size} dim: {size} }} }} }}
layer {{ name: {first} type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 16 kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "conv2" type: "Convolution" bottom: "pool" top: "conv2" convolution_param {{ num_output: 32 kernel_size: 3 }} }}
layer {{ name: "norm" type: "LRN" bottom: "conv2" top: "norm" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "norm" top: "fc" inner_product_param {{ num_output: 10 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""  # noqa: E501

NETWORKS = {"small": 24, "middle": 32, "large": 48}
"""Name → size of the image."""

RUN = {
    "record": "run",
    "protocol": 4,
    "processor": "cpu",
    "stack": "caffe-1.0+openblas-0.3+1-threads+performance",
    "threads": 1,
    "agent_sha256": "0" * 64,
    "commit": "abc123",
    "board": {"cpu": "a CPU", "machine": "x86_64", "kernel": "6.1", "python": "3.11",
              "engine": {"name": "caffe", "version": "1.0"}, "blas": "OpenBLAS 0.3"},
    "conditions": {"time": "2026-11-23T10:00:00Z", "load": 0.5, "cpu_mhz": [1000.0, 2000.0]},
}  # fmt: skip

COST_S = {"timed": 30.0, "warm_up": 12.0, "inputs": 9.0, "files": 1.5, "other": 7.5}
BLOCK_TASKS = 16

TILE = 16
"""Rows that the made-up matrix multiplication computes at a time."""
SYNCHRONISING_NS = 50_000.0
"""What it costs to wait for it, shared by the calls of a sample."""


def configure(root: Path, sizes: dict[str, int], first_layer: str | dict[str, str] = "conv1") -> None:
    """config/ of a board `bench` and a network for each size of image; `first_layer` is its name, or one by network."""
    folder = root / "config"
    (folder / "networks").mkdir(parents=True)
    (folder / "boards").mkdir()
    for name, size in sizes.items():
        first = first_layer if isinstance(first_layer, str) else first_layer[name]
        text = TOY.format(size=size, first=json.dumps(first))
        (folder / "networks" / f"{name}.prototxt").write_text(text, encoding="utf-8")
    (folder / "config.yaml").write_text(f"networks: [{', '.join(sizes)}]\nboards: [bench]\nsweep: false\n")
    (folder / "boards" / "bench.yaml").write_text("name: bench\nprocessors: {cpu: {threads: [1]}}\n")


def convert(root: Path, names: list[str]) -> None:
    """Stages 1 and 2."""
    for name in names:
        target = root / "results" / "networks" / name
        target.mkdir(parents=True)
        definition = str(root / "config" / "networks" / f"{name}.prototxt")
        written = str(target / "network.prototxt")
        assert (
            main(["convert", definition, "--name", name, "-o", written, "--layers", str(target / "layers.parquet")])
            == 0
        )
        assert main(["extract", written, "-o", str(target / "kernels.parquet")]) == 0


def records(
    root: Path, names: list[str], factor: float = 1.0, *, sweep: bool = False, run: str = "r1", seed: int = 2017
) -> list[dict]:
    """The plan of these networks, answered as an agent would, `factor` times as slow."""
    networks = [load_network(root / "results" / "networks" / name / "network.prototxt") for name in names]
    # Once, not in rounds: what was measured is then the median that a reader of the records computes.
    planned = plan({Engine(): networks}, Amount(rounds=1), sweep=sweep)
    once = ({name: value for name, value in task.items() if name != "round"} for task in planned)
    tasks = [*once, *([] if sweep else multiplications())]
    dice = random.Random(seed)
    answers = [line for number, task in enumerate(tasks) for line in answer(task, number, dice, factor, run)]
    done = {"record": "done", "run": run, "planned": len(tasks), "owed": 0, "seconds": 60.0, "cost_s": COST_S}
    return [{**RUN, "run": run}, *answers, done]


def multiplications() -> Iterator[dict]:
    """As the plan's sweep has them: small steps of m, and one product with ever more calls per synchronisation."""
    for m in range(4, 161, 4):
        yield {"task": "gemm", "kernel": gemm(m, 256, 256).as_dict(), "mode": "warm"}
    for power in range(11):
        kernel = gemm(64, 49, 64).as_dict()
        yield {"task": "gemm", "kernel": kernel, "mode": "overhead", "iterations": 2**power}


def answer(task: dict, number: int, dice: random.Random, factor: float, run: str) -> Iterator[dict]:
    """A measurement, and its block where it is the first of one."""
    block = f"b{number // BLOCK_TASKS}"
    if number % BLOCK_TASKS == 0:
        after = {"time": f"2026-11-23T10:{number // BLOCK_TASKS % 60:02d}:00Z", "load": 0.7, "cpu_mhz": [1000.0]}
        yield {"record": "block", "block": block, "run": run, "attempt": 1, "before": after,
               "after": after}  # fmt: skip
    said = {
        "record": "measurement",
        "key": f"{run}-{number:x}".zfill(32),
        "run": run,
        "block": block,
        "status": "ok",
        "reason": "",
    }
    yield {**task, **said, "seconds": 0.5, **RESULTS[task["task"]](task, dice, factor)}


def samples(ns: float, dice: random.Random) -> list[float]:
    return [ns * dice.uniform(0.97, 1.03) for _ in range(9)]


def timed(ns: float, dice: random.Random, iterations: int = 8) -> dict:
    taken = sorted(samples(ns, dice))
    summary = {"median_ns": taken[4], "spread_ns": (taken[6] - taken[2]) / 2, "low_ns": taken[1], "high_ns": taken[7]}
    return {"samples_ns": taken, **summary, "iterations": iterations, "warm_up": 2, "stop": "noise"}


def multiplied(task: dict, dice: random.Random, factor: float) -> dict:
    """Whole tiles of m take time; where the calls of a sample are fixed, they share a synchronisation."""
    kernel, iterations = task["kernel"], task.get("iterations", 8)
    work = 0.1 * math.ceil(kernel["m"] / TILE) * TILE * kernel["n"] * kernel["k"]
    waiting = SYNCHRONISING_NS / iterations if task["mode"] == "overhead" else 0.0
    return timed(factor * (1000 + work + waiting), dice, iterations)


def passes(task: dict, dice: random.Random, factor: float) -> dict:
    layers = parse_prototxt(task["prototxt"], "task").layers
    taken = [samples(factor * (1000 + 0.1 * macs(one) + 2 * prod(one.outputs[0])), dice) for one in layers]
    whole = [sum(column) for column in zip(*taken, strict=True)]
    named = [{"name": one.name, "type": one.type, "samples_ns": of} for one, of in zip(layers, taken, strict=True)]
    return {"layers": named, "layerwise_ns": whole, "forward_ns": [0.98 * ns for ns in whole]}


def memory(task: dict, dice: random.Random, factor: float) -> dict:
    base, total = 50 << 20, (50 << 20) + dice.randrange(1 << 20, 2 << 20)
    return {"memory_bytes": {"base": base, "loaded": base, "load_peak": total, "total": total, "peak": total}}


RESULTS = {"gemm": multiplied, "probe": passes, "network": passes, "memory": memory}


def write_records(root: Path, lines: list[dict], board: str = "bench") -> Path:
    path = root / "results" / "records" / board / "cpu-1-threads.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def make(
    root: Path,
    sizes: dict[str, int],
    first_layer: str | dict[str, str] = "conv1",
    stack: str = RUN["stack"],
    *,
    evaluated: bool = True,
) -> Path:
    """All stages up to the report; without the evaluation, which takes longest, where no chapter of it is looked at."""
    configure(root, sizes, first_layer)
    convert(root, list(sizes))
    run, *lines = records(root, list(sizes))
    write_records(root, [{**run, "stack": stack}, *lines])
    stages(root, evaluated=evaluated)
    return root


def stages(root: Path, *, evaluated: bool = True) -> None:
    """Aggregate, fit and evaluate what records there are."""
    assert main(["--root", str(root), "aggregate"]) == 0
    fit(root, "bench", evaluated=evaluated)


def fit(root: Path, board: str, *, evaluated: bool = True) -> None:
    """A board's model and how well it estimates networks that it did not see."""
    who = ["--board", board, "--processor", "cpu"]
    folder = root / "results" / "evaluation" / f"{board}-cpu"
    assert main(["--root", str(root), "fit", *who]) == 0
    if evaluated:
        assert main(["--root", str(root), "evaluate", *who, "-o", str(folder)]) == 0
