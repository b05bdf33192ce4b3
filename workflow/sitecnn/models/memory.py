"""What a process takes for a network: what was measured, and a stack's base and factors fitted on it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from sitecnn.models.board_model import ONNXRUNTIME_FACTORS
from sitecnn.models.feature import Array
from sitecnn.workload.engines import ONNXRUNTIME, engine_of_stack

SESSION_BYTES = 10 << 20
"""What a session of ONNX Runtime adds to its process whatever its network is: code that has run, tables, inputs."""

PRIOR_SD = {"base": 8 << 20, "weights": 0.03, "activations": 0.1, "kernels": 0.015 * 2**20}
"""How far stacks differ from that."""

MEMORY_SD = 0.02
"""Relative error of a process's memory around a fitted model: what a prior's width is held against."""

PARTS = {name: f"engine_{name}{'' if name == 'kernels' else '_bytes'}" for name in ONNXRUNTIME_FACTORS}
"""Columns of the dataset: what decides the memory of an engine that shares its buffers, as its plan told."""

COLUMNS = ["network", "batch", "total_bytes", "network_bytes", "base_bytes", *PARTS.values()]


def measured_memory(rows: pd.DataFrame, processor: str) -> pd.DataFrame:
    """Each network's process, a row for each batch: COLUMNS, medians of what was measured.

    `network_bytes` is what Caffe's pass touches; a GPU's part is counted where the agent saw it apart from the
    process's, and weights stand there twice.
    """
    measured = rows[rows["subject"] == "memory"]
    if measured.empty:
        return pd.DataFrame({name: [] for name in COLUMNS})
    apart = (measured["gpu_total_bytes"] - measured["gpu_base_bytes"]).fillna(0)
    copies = measured["weights_bytes"] if processor == "gpu" else 0
    parts = {name: measured[name].astype(float) if name in measured else np.nan for name in PARTS.values()}
    processes = measured[["network", "batch"]].assign(
        total_bytes=(measured["total_bytes"] + apart).astype(float),
        network_bytes=(measured["touched_bytes"] + copies).astype(float),
        base_bytes=measured["base_bytes"].astype(float) if "base_bytes" in measured else np.nan,
        **parts,
    )
    return processes.dropna(subset="total_bytes").groupby(["network", "batch"], as_index=False).median()


def with_parts(measured: pd.DataFrame, stack: str) -> pd.DataFrame:
    """The rows of `measured_memory` of which it is known what the stack's engine needs for their network."""
    shares_buffers = engine_of_stack(stack).name == ONNXRUNTIME
    return measured.dropna(subset=list(PARTS.values()) if shares_buffers else "network_bytes")


def stack_memory(rows: pd.DataFrame, processor: str, stack: str) -> tuple[int, dict[str, float]]:
    """(base in bytes, factors) of a stack from its measurements: `fit_memory` of `measured_memory`."""
    return fit_memory(measured_memory(rows, processor), stack)


def fit_memory(measured: pd.DataFrame, stack: str) -> tuple[int, dict[str, float]]:
    """(base in bytes, factors) of a stack from the networks' processes as `measured_memory` gives them.

    Caffe's base is the median of what a process takes besides its network, more than the empty process: libraries have
    buffers of their own once they run. It has no factors: what its pass touches is exact. ONNX Runtime's base and
    factors are fitted together, non-negative, on relative error, drawn to ONNXRUNTIME_FACTORS. The base is 0 where
    no memory was measured.
    """
    told = with_parts(measured, stack)
    if engine_of_stack(stack).name != ONNXRUNTIME:
        rest = told["total_bytes"] - told["network_bytes"]
        return (max(int(rest.median()), 0) if len(rest) else 0), {}
    if measured["base_bytes"].isna().all():
        return 0, {}
    base = float(measured["base_bytes"].median()) + SESSION_BYTES
    known = {"base": base, **ONNXRUNTIME_FACTORS}
    units = np.array([PRIOR_SD[name] for name in known])
    total = told["total_bytes"].to_numpy()
    rows = _amounts(told) * units / total[:, None] / MEMORY_SD
    goals = np.append(np.full(len(total), 1 / MEMORY_SD), np.array(list(known.values())) / units)
    solution, _ = nnls(np.vstack([rows, np.eye(len(units))]), goals)
    fitted = dict(zip(known, (solution * units).tolist(), strict=True))
    return round(fitted.pop("base")), fitted


def estimated_bytes(measured: pd.DataFrame, base: int, factors: Mapping[str, float]) -> Array:
    """What a stack's base and factors say of the networks of `measured`."""
    if not factors:
        return measured["network_bytes"].to_numpy() + base
    return np.asarray(_amounts(measured) @ np.array([base, *(factors[name] for name in PARTS)]))


def _amounts(measured: pd.DataFrame) -> Array:
    """Columns of 1 and of what each factor counts."""
    return np.column_stack([np.ones(len(measured)), *(measured[column] for column in PARTS.values())])
