"""The measurements that a model is fitted on: of a board, of a stack, without networks, as at an average moment."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sitecnn.dataset import read_measurements
from sitecnn.dataset.reading import read_table
from sitecnn.errors import DatasetError
from sitecnn.models.feature import Sizes, stack_sizes
from sitecnn.models.rounds import over_rounds
from sitecnn.models.whole_pass import UNTIMED, as_layers
from sitecnn.workload.kernels import KINDS_ON_VALUES, SIZE_NAMES

FEW_SAMPLES = 5
"""Of fewer, the lowest tenth is only the least."""


def load_measurements(root: Path, board: str, processor: str) -> pd.DataFrame:
    """The usable measurements of a (board, processor), their rounds as one; DatasetError if there are none."""
    return over_rounds(load_rounds(root, board, processor))


def load_rounds(root: Path, board: str, processor: str) -> pd.DataFrame:
    """The usable measurements of a (board, processor), each round's, unstable ones too; DatasetError if none."""
    measured = read_measurements(root, board, processor)
    usable = (measured["median_ns"] > 0) | (measured["subject"] == "memory") | measured["kind"].isin(UNTIMED)
    rows = as_layers(measured.loc[(measured["status"] != "failed") & usable])
    if rows.empty and len(measured):
        reason = measured.loc[measured["status"] == "failed", "reason"].value_counts().index
        why = f"most often: {reason[0]}; fix that" if len(reason) else "none has a time; measure again"
        raise DatasetError(
            f"{root / 'results' / 'dataset'}: of {len(measured)} measurements on board {board!r}, processor"
            f" {processor!r}, none is usable; {why}, move results/records/{board} away and run `sitecnn profile` again"
        )
    if rows.empty:
        raise DatasetError(
            f"{root / 'results' / 'dataset'}: nothing measured on board {board!r}, processor {processor!r};"
            f" run `sitecnn profile` or `sitecnn import`, then `sitecnn aggregate`"
        )
    return pd.merge(rows, _network_bytes(root), how="left", on=["network", "batch"])


def _network_bytes(root: Path) -> pd.DataFrame:
    """`touched_bytes` and `weights_bytes` of each measured network at each batch."""
    layers = read_table(root, "networks").to_pandas().drop_duplicates(["network", "batch", "layer_index"], keep="last")
    groups = layers.groupby(["network", "batch"], as_index=False)
    sums: pd.DataFrame = groups[["touched_bytes", "weights_bytes"]].sum(min_count=1)
    return sums


def measured_passes(rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, float]]:
    """Each network at each batch: its layers in their order, and ns of its whole pass, of its layers if unknown."""
    for _, passes in rows.groupby(["network", "batch"]):
        layers = passes[passes["subject"] == "layer"].sort_values("layer_index")
        if len(layers):
            whole = passes.loc[passes["subject"] == "forward", "median_ns"]
            yield layers, float(whole.median()) if len(whole) else float(layers["median_ns"].sum())


def without_networks(rows: pd.DataFrame, networks: Collection[str]) -> pd.DataFrame:
    """`rows` without anything that tells of `networks`: their passes, their layers, and every kernel of theirs.

    A kernel that two networks share goes too, although another network would have had it measured.
    """
    held_out = rows["network"].isin(networks)
    key = _kernel_identity(rows)
    seen_there = set(key[held_out & (rows["subject"] == "layer")])
    timed_parts = rows["subject"].eq("kernel") & key.isin(seen_there)
    return rows[~held_out & ~timed_parts]


def without_zeros(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with kernels of zeros as what they are of other values."""
    return rows.assign(kind=rows["kind"].replace(KINDS_ON_VALUES))


def layers_of_gemms(rows: pd.DataFrame) -> pd.DataFrame:
    """Matrix multiplications as the layers that are nothing else, for a board without an engine.

    With B transposed it is an FC layer of m images (inner_product_layer.cpp), otherwise a 1×1 convolution of one
    (base_conv_layer.cpp). Bias additions, k = 1, are neither.
    """
    gemms = rows[(rows["kind"] == "gemm") & (rows["mode"] == "warm") & (rows["k"] > 1)]
    m, n, k = (gemms[name] for name in "mnk")
    is_product = gemms["trans_b"] == 1
    ones = dict.fromkeys(("group", "kernel_h", "kernel_w", "stride_h", "stride_w", "height", "out_height"), 1)
    zeros = dict.fromkeys(("pad_h", "pad_w"), 0)
    shapes = {"channels": k, "width": n, "out_width": n, "images": m.where(is_product, 1)}
    shapes |= {"out_channels": m.where(~is_product, n), "parameters": (m * k).where(~is_product, n * k)}
    moved = {"in_elements": (k * n).where(~is_product, m * k), "out_elements": m * n}
    kinds = np.where(is_product, "inner_product", "convolution")
    return gemms.assign(kind=kinds, **ones, **zeros, **shapes, **moved)


def with_steady_times(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` of a stack with `median_ns` of kernels and layers as on the machine's average, not at that moment.

    What disturbs a machine only ever adds time, and comes and goes in minutes: medians of kernels taken at different
    moments are not of one machine. Their lower deciles are, and all are raised by what the medians of the networks'
    layers, or of the kernels where there are none, are above theirs. Fewer samples than FEW_SAMPLES are left alone.
    """
    if "samples_ns" not in rows:
        return rows
    timed_parts = rows["subject"].isin(["kernel", "layer"]) & (rows["samples_ns"].str.len() >= FEW_SAMPLES)
    if not timed_parts.any():
        return rows
    low = np.array([sorted(samples)[len(samples) // 10] for samples in rows.loc[timed_parts, "samples_ns"]])
    median = rows.loc[timed_parts, "median_ns"].to_numpy(dtype=float)
    layers = rows.loc[timed_parts, "subject"].eq("layer").to_numpy()
    told = layers if layers.any() else np.ones_like(layers)
    steady = rows["median_ns"].astype(float)
    steady[timed_parts] = low * median[told].sum() / low[told].sum()
    return rows.assign(median_ns=steady)


def processor_of(rows: pd.DataFrame) -> str:
    """`cpu` or `gpu`, whichever all `rows` are of."""
    return str(rows["processor"].iloc[0]) if "processor" in rows else "cpu"


def sizes_of(rows: pd.DataFrame) -> Sizes:
    """The size columns of `rows` as float arrays, NaN where a kind has no such size, and what their stack adds."""
    sizes = {name: rows[name].to_numpy(dtype=float, na_value=np.nan) for name in SIZE_NAMES}
    stack = str(rows["stack"].iloc[0]) if "stack" in rows and len(rows) else ""
    return sizes | stack_sizes(stack, len(rows))


def _kernel_identity(rows: pd.DataFrame) -> "pd.Series[Any]":
    """What a kernel is, whichever pass it is of."""
    names = ["kind", "variant", *(name for name in SIZE_NAMES if name != "pass_bytes")]
    return pd.util.hash_pandas_object(rows[names].astype("string"), index=False)
