"""How well ONNX Runtime's passes are estimated from probes alone: measured in this environment, in rounds.

Each round is a process of its own and has every probe and every network once. The kernels are those that our lowering
says, joined with the profile by operator and shapes; what cannot be joined is told. Networks are ONNX files whose
weights lie beside them or in them; nothing of them is in the fit.

    .venv/bin/python benchmarks/onnxruntime_probes.py NETWORK.onnx… --rounds 6
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from sitecnn.boards.plan import PROBES, ROUNDS
from sitecnn.boards.probes import probe_models
from sitecnn.boards.probes.graph import WEIGHTS_BYTES, WEIGHTS_FILE
from sitecnn.models.evaluate import OURS, evaluate
from sitecnn.models.probe_names import is_probe
from sitecnn.models.rounds import over_rounds
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import ONNXRUNTIME, Engine
from sitecnn.workload.kernels import SIZE_NAMES
from sitecnn.workload.lowering import LoweredKernel, lower

PROFILED, PLAIN, MOST = 6, 6, 60
"""Passes of each kind in a round, after one that is not counted; of a network more until NETWORK_S."""

NETWORK_S = 0.3
"""Seconds of each kind of passes of a network: it is the truth, while of a probe rounds count for more than passes."""

PROVIDERS = ["CPUExecutionProvider"]


def options(threads: int, profile: str = "") -> onnxruntime.SessionOptions:
    """A session's options as users have them, with a profile where its name is given."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads, found.inter_op_num_threads = threads, 1
    found.add_session_config_entry("session.force_spinning_stop", "1")
    found.enable_profiling, found.profile_file_prefix = bool(profile), profile or "profile"
    return found


def measure(model: Path, threads: int, folder: str) -> dict[str, Any]:
    """One network: its nodes in the order of a profile with the ns of each pass, and plain passes."""
    session = onnxruntime.InferenceSession(str(model), options(threads, f"{folder}/{model.stem}"), PROVIDERS)
    image = session.get_inputs()[0]
    feed = {image.name: np.random.default_rng(0).standard_normal(image.shape, dtype=np.float32)}
    seconds = 0.0 if is_probe(model.stem) else NETWORK_S
    passes(session, feed, PROFILED, seconds)
    profile = Path(session.end_profiling())
    nodes: dict[str, dict[str, Any]] = {}
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            told = event["args"]
            shapes = [[next(iter(one.values())) for one in told[f"{side}_type_shape"]] for side in ("input", "output")]
            place = f"{told['node_index']} {event['name']}"
            node = nodes.setdefault(place, {"op": told["op_name"], "inputs": shapes[0], "outputs": shapes[1], "ns": []})
            node["ns"].append(1000.0 * event["dur"])
    profile.unlink()
    forward = passes(session, feed, PLAIN, seconds)
    return {"nodes": [node | {"ns": node["ns"][1:]} for node in nodes.values()], "forward_ns": forward}


def passes(session: onnxruntime.InferenceSession, feed: dict[str, Any], fewest: int, seconds: float) -> list[float]:
    """ns of so many passes, after one that is not counted, and of more until so many seconds have passed."""
    session.run(None, feed)
    found: list[float] = []
    while len(found) < fewest or (len(found) < MOST and sum(found) < 1e9 * seconds):
        begun = time.perf_counter_ns()
        session.run(None, feed)
        found.append(float(time.perf_counter_ns() - begun))
    return found


def signature(op: str, inputs: Any, outputs: Any) -> str:
    """What a profile's node and a kernel of the lowering have alike; where weights are shown they tell these apart."""
    return json.dumps([op, list(inputs[0]) if inputs else [], [list(shape) for shape in outputs]])


def unknown(node: dict[str, Any]) -> dict[str, Any]:
    """A node that the lowering does not know, by its size alone."""
    read, written = (sum(map(math.prod, node[side])) for side in ("inputs", "outputs"))
    return {"kind": f"unknown_{node['op']}", "in_elements": read, "out_elements": written, "parameters": 0}


def rows_of(
    network: str, number: int, found: dict[str, Any], kernels: tuple[LoweredKernel, ...]
) -> Iterator[dict[str, Any]]:
    """The dataset's rows of one network in one round; nodes that the lowering does not know are of an unknown kind."""
    known: dict[str, list[LoweredKernel]] = defaultdict(list)
    for one in kernels:
        known[signature(one.op, one.input_shapes, one.output_shapes)].append(one)
    common = {"network": network, "round": number, "mode": "network"}
    for node in found["nodes"]:
        waiting = known[signature(node["op"], node["inputs"], node["outputs"])]
        given = [tuple(shape) for shape in node["inputs"]]
        waiting.sort(key=lambda one: list(one.input_shapes) != given)
        sizes = waiting.pop(0).kernel.as_dict() if waiting else unknown(node)
        yield common | {"subject": "kernel", "samples_ns": node["ns"], **sizes}
    yield common | {"subject": "forward", "samples_ns": found["forward_ns"]}


def table(rounds: list[dict[str, Any]], models: list[Path], engine: Engine, stack: str, threads: int) -> pd.DataFrame:
    """All rounds as the dataset has them."""
    kernels = {model.stem: lower(parse_onnx(model.read_bytes(), str(model)), engine) for model in models}
    rows = [row for n, one in enumerate(rounds) for name in one for row in rows_of(name, n, one[name], kernels[name])]
    empty = dict.fromkeys(SIZE_NAMES, np.nan) | {"variant": "", "layer": None, "layer_type": None, "layer_index": None}
    found = pd.DataFrame([empty | row for row in rows])
    common = {"stack": stack, "threads": threads, "processor": "cpu", "batch": 1, "source": "agent"}
    return found.assign(**common, median_ns=np.nan, base_bytes=np.nan)


def main() -> None:
    """Measure and print each network's error, and those of simpler methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", type=Path)
    parser.add_argument("--probes", type=int, default=PROBES[ONNXRUNTIME])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS[ONNXRUNTIME])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--block", type=int, default=16, help="channels that this CPU keeps side by side: 0, 8 or 16")
    parser.add_argument("--keep", type=Path, help="a JSON file: rounds measured before come from it, new ones go there")
    parser.add_argument("--one-round", nargs=2, type=Path, metavar=("MODELS", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_round:
        models, out = args.one_round
        with tempfile.TemporaryDirectory() as folder:
            found = {
                Path(name).stem: measure(Path(name), args.threads, folder)
                for name in json.loads(models.read_text(encoding="utf-8"))
            }
        out.write_text(json.dumps(found), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        probes = write_probes(Path(folder), args.seed, args.probes)
        rounds = json.loads(args.keep.read_text(encoding="utf-8")) if args.keep and args.keep.exists() else []
        for _ in range(args.rounds):
            for part in (probes, args.networks):
                rounds.append(one_round(Path(folder), part, args.threads))
        if args.keep:
            args.keep.write_text(json.dumps(rounds), encoding="utf-8")
        report(rounds, [*probes, *args.networks], args.block, args.threads)


def write_probes(folder: Path, seed: int, count: int) -> list[Path]:
    """The probes as files, and a file of weights."""
    weights = np.random.default_rng(0).normal(0, 0.05, WEIGHTS_BYTES // 4).astype(np.float32)
    weights.tofile(folder / WEIGHTS_FILE)
    paths = []
    for model in probe_models(seed, count):
        paths.append(folder / f"{model.graph.name}.onnx")
        paths[-1].write_bytes(model.SerializeToString())
    return paths


def one_round(folder: Path, models: list[Path], threads: int) -> dict[str, Any]:
    """Networks measured by a fresh process."""
    listed, out = folder / "models.json", folder / "round.json"
    listed.write_text(json.dumps([str(model.resolve()) for model in models]), encoding="utf-8")
    begun = time.monotonic()
    command = [sys.executable, __file__, "--one-round", str(listed), str(out), "--threads", str(threads)]
    subprocess.run(command, check=True)
    print(f"{len(models)} models: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def report(rounds: list[dict[str, Any]], models: list[Path], block: int, threads: int) -> None:
    """Print what came of it."""
    engine = Engine(ONNXRUNTIME, onnxruntime.__version__, block)
    stack = f"onnxruntime-{onnxruntime.__version__}+cpu+nchwc-{block}+fp32+{threads}-threads+clock-unknown"
    rows = over_rounds(table(rounds, models, engine, stack, threads))
    layers = rows[rows["subject"] == "layer"]
    unknown = layers["kind"].str.startswith("unknown_")
    share = layers.loc[unknown, "median_ns"].sum() / layers["median_ns"].sum()
    print(
        f"{len(layers)} kernels; not joined: {share:.2%} of the time",
        layers.loc[unknown, "kind"].value_counts().to_dict(),
    )
    found = evaluate(rows, 0.9)
    for row in found.networks.itertuples():
        print(f"{row.network:20} {row.measured_ms:8.2f} ms {row.error:+6.1%}  {row.low_ms:.2f}–{row.high_ms:.2f}")
    columns = [
        "method",
        "median_error",
        "worst_error",
        "bias",
        "layer_median_error",
        "layer_90_error",
        "networks_covered",
    ]
    print(found.summary[columns].to_string(index=False))
    ours = found.layers[(found.layers["share"] > 0.01)]
    print(f"layers over 1 % within 15 %: {(ours['error'].abs() <= 0.15).mean():.0%}", OURS)
    seen = found.coverage
    print(f"inside of what the probes saw: {seen['inside_ms'].sum() / seen['ms'].sum():.1%} of the networks' time")


if __name__ == "__main__":
    main()
