"""Dataset → board model: statsmodels fits per kind of kernel, non-negative, on relative error, robust to outliers."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import nnls

from sitecnn.dataset import read_measurements
from sitecnn.dataset.reading import read_table
from sitecnn.errors import DatasetError, ModelError
from sitecnn.models.board_model import UNSEEN, KindModel, StackModel
from sitecnn.models.correction import FEWEST_ROWS, NOISE, fit_correction
from sitecnn.models.features import (
    ELEMENTWISE,
    FEATURES,
    Array,
    Feature,
    Sizes,
    features_named,
    features_of,
    macs,
    matrix,
)
from sitecnn.models.memory import stack_memory
from sitecnn.models.priors import (
    COPIES,
    COPY_KINDS,
    RELATIVE_SD,
    UNSEEN_COPIES,
    ZEROS_SD,
    ZEROS_SHARE,
    Prior,
    Speeds,
    coefficient_priors,
)
from sitecnn.models.rounds import over_rounds
from sitecnn.models.whole_pass import UNTIMED, as_layers, fit_whole_pass, is_of_many_networks
from sitecnn.workload.kernels import KINDS_ON_VALUES, KINDS_ON_ZEROS, SIZE_NAMES

HUBER_THRESHOLD = 1.345
"""Huber's constant: 95 % efficiency under normal errors (Huber 1981; statsmodels' default)."""

LEAST_SD = 0.01
"""No model is trusted closer than the measurements are: kernels are timed to 1 %."""

LEAST_FORWARD_SD = 0.005
"""Nor is the relation of whole and layerwise passes."""

PASS_SD = 0.03
"""How well a network's whole pass and its layers are measured together, at worst."""

LAYER_NS = {"cpu": 5e3, "gpu": 1e5}
"""What lies between two layers at most, or what timing a layer alone costs: a call; a launch and a synchronisation."""

FEW_SAMPLES = 5
"""Of fewer, the lowest tenth is only the least."""

TYPICAL_SD = 0.05
"""Relative error of a measured kernel around its model: what a prior's width is held against."""

GEMMS_SD = 0.5
"""Relative error of a layer of which only the matrix multiplication was timed: SqueezeNet takes 1.7 times as long with
its im2col matrices, biases and calls on a server core."""

FASTEST, LARGE_COPY = 0.02, 1 << 18
"""The speed of the fastest one in fifty, so that one wild measurement does not count; copies of at least 1 MiB."""

FASTEST_OVER_SEEN = 2.0
"""No kernel is estimated at more than twice the fastest speed that was seen."""


def load_measurements(root: Path, board: str, processor: str) -> pd.DataFrame:
    """The usable measurements of a (board, processor), unstable ones too; ModelError if there are none."""
    measured = read_measurements(root, board, processor)
    rows = measured
    usable = (rows["median_ns"] > 0) | (rows["subject"] == "memory") | rows["kind"].isin(UNTIMED)
    rows = as_layers(rows.loc[(rows["status"] != "failed") & usable])
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
    return pd.merge(over_rounds(rows), _network_bytes(root), how="left", on=["network", "batch"])


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


def fit_stack(rows: pd.DataFrame, stack: str) -> StackModel:
    """One stack's model from its measurements, its intervals not calibrated yet."""
    processor, rows = processor_of(rows), with_steady_times(rows)
    timed = rows[rows["subject"].isin(["kernel", "layer"]) & ~rows["mode"].isin(["warm", "overhead"])]
    timed = timed[timed["median_ns"] > 0]
    only_gemms = timed.empty
    timed = layers_of_gemms(rows) if only_gemms else timed
    if processor == "gpu":
        timed = without_zeros(timed)
    if timed.empty:
        raise ModelError(f"stack {stack!r}: no kernel and no layer was measured, only passes; nothing can be fitted")
    least = _fastest(timed)
    kinds = _fit_kinds(timed, processor, least)
    if many := is_of_many_networks(rows):
        kinds = {kind: _corrected(one, timed[timed["kind"] == kind]) for kind, one in kinds.items()}
    if only_gemms:
        kinds = {kind: replace(one, rows=0, relative_sd=max(one.relative_sd, GEMMS_SD)) for kind, one in kinds.items()}
    if "convolution" in kinds and "deconvolution" not in kinds:
        fitted = kinds["convolution"]
        kinds["deconvolution"] = replace(fitted, rows=0, relative_sd=max(fitted.relative_sd, RELATIVE_SD))
    if processor == "cpu" and "source" in rows and rows["source"].eq("import").all():
        kinds |= _of_zeros(kinds)
    kinds[UNSEEN] = _unseen(timed)
    if many:
        ratio, overhead_ns, ratio_sd, pass_ns, untimed = fit_whole_pass(rows)
        kinds |= untimed
    else:
        (ratio, overhead_ns, ratio_sd), pass_ns = forward_pass(rows, processor), {}
    base_bytes, factors = stack_memory(rows, processor, stack)
    return StackModel(
        stack=stack,
        threads=int(rows["threads"].iloc[0]),
        kinds={**_guessed(kinds[UNSEEN], least.get("element"), processor), **kinds},
        forward_ratio=ratio,
        forward_ratio_sd=ratio_sd,
        unexplained_sd={"layer": 0.0, "network": 0.0},
        base_bytes=base_bytes,
        networks=tuple(sorted(rows["network"].dropna().unique())),
        layer_overhead_ns=overhead_ns,
        least_ns={name: ns / FASTEST_OVER_SEEN for name, ns in least.items()},
        memory_factors=factors,
        pass_ns=pass_ns,
    )


def _corrected(fitted: KindModel, rows: pd.DataFrame) -> KindModel:
    """A kind with what its work misses of `rows`, and the scatter that stays around both, where there are enough."""
    if len(rows) < FEWEST_ROWS:
        return fitted
    sizes, ns = sizes_of(rows), rows["median_ns"].to_numpy(dtype=float)
    work = matrix(features_named(str(rows["kind"].iloc[0]), fitted.features), sizes)
    correction = fit_correction(sizes, np.log(ns / (work @ np.array(fitted.coefficients_ns))))
    return replace(fitted, correction=correction, relative_sd=NOISE)


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


def _fit_kinds(timed: pd.DataFrame, processor: str, least: Mapping[str, float]) -> dict[str, KindModel]:
    """A model per kind; convolutions first, because they tell what a call takes."""
    kinds: dict[str, KindModel] = {}
    parts = {str(kind): part for kind, part in timed.groupby("kind")}
    for kind in sorted({*parts, *COPIES[processor]}, key=lambda kind: kind != "convolution"):
        found = kinds.get("convolution")
        per = dict(zip(found.features, found.coefficients_ns, strict=True)) if found else {}
        speeds = Speeds(least.get("element"), least.get("mac"), per.get("calls"))
        priors = coefficient_priors(kind, processor, speeds)
        features = features_of(kind, processor)
        # A kind whose sizes are nowhere whole stays unseen.
        if kind in parts and np.isfinite(matrix(features, sizes_of(parts[kind]))).all(axis=1).any():
            kinds[kind] = _fit_kind(features, parts[kind], priors)
        # Priors of convolutions leave out multiplying: there they are no model by themselves.
        elif kind in COPIES[processor] and any(prior.ns > 0 for prior in priors.values()):
            kinds[kind] = _from_priors(features, priors)
    return kinds


def without_zeros(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with kernels of zeros as what they are of other values."""
    return rows.assign(kind=rows["kind"].replace(KINDS_ON_VALUES))


def _of_zeros(kinds: Mapping[str, KindModel]) -> dict[str, KindModel]:
    """Kinds on zeros, and on other values, from each other where only one of both was measured."""
    found = {}
    for kind, of_zeros in KINDS_ON_ZEROS.items():
        if of_zeros in kinds and (kind not in kinds or not kinds[kind].rows):
            found[kind] = scaled(kinds[of_zeros], 1 / ZEROS_SHARE, ZEROS_SD)
        elif of_zeros not in kinds and kind in kinds:
            found[of_zeros] = scaled(kinds[kind], ZEROS_SHARE, ZEROS_SD)
    return found


def scaled(fitted: KindModel, scale: float, relative_sd: float) -> KindModel:
    """A kind's times `scale` times as long, the scale known to `relative_sd`."""
    coefficients = scale * np.array(fitted.coefficients_ns)
    covariance = scale**2 * np.array(fitted.covariance) + relative_sd**2 * np.outer(coefficients, coefficients)
    return replace(
        fitted,
        coefficients_ns=tuple(coefficients.tolist()),
        standard_errors_ns=tuple(np.sqrt(np.diag(covariance)).tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
    )


def _from_priors(features: tuple[Feature, ...], priors: Mapping[str, Prior]) -> KindModel:
    """A kind that was not measured, as other boards suggest."""
    known = [(feature, priors[feature.name]) for feature in features if feature.name in priors]
    return KindModel(
        features=tuple(feature.name for feature, _ in known),
        units=tuple(feature.unit for feature, _ in known),
        coefficients_ns=tuple(prior.ns for _, prior in known),
        standard_errors_ns=tuple(prior.sd_ns for _, prior in known),
        covariance=tuple(map(_floats, np.diag([prior.sd_ns**2 for _, prior in known]))),
        relative_sd=RELATIVE_SD,
        seen=((0.0, 0.0),) * len(known),
        rows=0,
    )


def processor_of(rows: pd.DataFrame) -> str:
    """`cpu` or `gpu`, whichever all `rows` are of."""
    return str(rows["processor"].iloc[0]) if "processor" in rows else "cpu"


def _fastest(timed: pd.DataFrame) -> dict[str, float]:
    """ns per `mac` of the fastest convolutions and per `element` of the fastest copies, as far as measured."""
    found = {}
    convolutions = timed[timed["kind"] == "convolution"]
    if len(convolutions):
        speed = convolutions["median_ns"].to_numpy(dtype=float) / macs("convolution", sizes_of(convolutions))
        found["mac"] = float(np.quantile(speed, FASTEST))
    copies = timed[timed["kind"].isin(COPY_KINDS)]
    if len(copies):
        elements = copies["out_elements"].to_numpy(dtype=float)
        large = elements >= min(LARGE_COPY, elements.max())
        speed = copies["median_ns"].to_numpy(dtype=float)[large] / elements[large]
        found["element"] = float(np.quantile(speed, FASTEST))
    return {name: ns for name, ns in found.items() if np.isfinite(ns) and ns > 0}


def _guessed(unseen: KindModel, copy_ns: float | None, processor: str) -> dict[str, KindModel]:
    """Kinds that no network had, from the copies that their code makes; none without a copy's time."""
    if copy_ns is None:
        return {}
    per = dict(zip(unseen.features, unseen.coefficients_ns, strict=True))
    call_ns = per.get("calls", 0.0)
    return {
        kind: _guess(prior.ns * copy_ns, call_ns, prior.sd_ns / prior.ns)
        for kind, prior in UNSEEN_COPIES[processor].items()
    }


def _unseen(timed: pd.DataFrame) -> KindModel:
    """What moves elements, from all kinds that do nothing else; where none was measured, from what memory can do."""
    moving = timed[~timed["kind"].isin(list(FEATURES))]
    if len(moving):
        return _fit_kind(ELEMENTWISE, moving, {})
    moved = timed[["in_elements", "out_elements", "parameters"]].astype(float).fillna(0).sum(axis=1)
    fastest = (timed["median_ns"].astype(float) / moved)[moved > 0]
    return _guess(2 * float(fastest.quantile(FASTEST)) if len(fastest) else 0.0, 0.0, 1.0)


def _guess(element_ns: float, call_ns: float, relative_sd: float) -> KindModel:
    sds = (element_ns * relative_sd, call_ns)
    return KindModel(
        features=("out_elements", "calls"),
        units=("element written", "call"),
        coefficients_ns=(element_ns, call_ns),
        standard_errors_ns=sds,
        covariance=((sds[0] ** 2, 0.0), (0.0, sds[1] ** 2)),
        relative_sd=relative_sd,
        seen=((0.0, 0.0), (0.0, 0.0)),
        rows=0,
    )


def _fit_kind(features: tuple[Feature, ...], rows: pd.DataFrame, priors: Mapping[str, Prior]) -> KindModel:
    work, time_ns = matrix(features, sizes_of(rows)), rows["median_ns"].to_numpy(dtype=float)
    usable = np.isfinite(work).all(axis=1)
    seen, count = work[usable], int(usable.sum())
    prior_rows, prior_goals = _as_rows(features, priors)
    # Everything relative to the times: a row of `share` is what each unit of coefficient makes of its time.
    share = np.vstack([seen / time_ns[usable, None], prior_rows])
    goal = np.append(np.ones(count), prior_goals)
    importance = np.append(_importance(time_ns[usable]), np.ones(len(prior_goals)))
    weights, active = _robust_weights(share, goal, importance, count)
    fitted = sm.WLS(goal, share[:, active], weights=weights).fit()
    coefficients = np.asarray(fitted.params)
    freedom = count - len(active)
    relative = 1 - share[:count, active] @ coefficients
    spread = float(np.sqrt(np.sum(weights[:count] * relative**2) / max(freedom, 1)))
    covariance = np.asarray(fitted.cov_params()) if freedom > 0 else np.diag(coefficients**2)
    chosen = [features[index] for index in active]
    return KindModel(
        features=tuple(feature.name for feature in chosen),
        units=tuple(feature.unit for feature in chosen),
        coefficients_ns=_floats(coefficients),
        standard_errors_ns=_floats(np.sqrt(np.diag(covariance))),
        covariance=tuple(map(_floats, covariance)),
        relative_sd=max(spread, LEAST_SD) if freedom > 0 else 1.0,
        seen=tuple((float(column.min()), float(column.max())) for column in seen[:, active].T),
        rows=count,
    )


def _as_rows(features: tuple[Feature, ...], priors: Mapping[str, Prior]) -> tuple[Array, Array]:
    """Each prior as a row and its goal, as if it had been measured that well (Theil & Goldberger 1961)."""
    known = [(index, priors[feature.name]) for index, feature in enumerate(features) if feature.name in priors]
    rows = np.zeros((len(known), len(features)))
    for row, (index, prior) in enumerate(known):
        rows[row, index] = TYPICAL_SD / prior.sd_ns
    return rows, np.array([TYPICAL_SD * prior.ns / prior.sd_ns for _, prior in known])


def _importance(time_ns: Array) -> Array:
    """A weight for each kernel, 1 on average, as the root of its time: a network's time is that of its large layers."""
    root = np.sqrt(time_ns)
    return np.asarray(root / root.mean()) if len(root) else root


def _robust_weights(share: Array, goal: Array, importance: Array, count: int) -> tuple[Array, list[int]]:
    """Huber weights of the first `count` rows and the features with a positive coefficient (Lawson & Hanson)."""
    scale = np.abs(share).max(axis=0)
    scale[scale == 0] = 1
    scaled = np.column_stack([share / scale, goal])
    following = importance
    for _ in range(4):
        weights = following
        # The same minimum from a triangle of one row per feature, whatever the number of rows.
        triangle = np.asarray(np.linalg.qr(scaled * np.sqrt(weights)[:, None], mode="r"))
        coefficients, _ = nnls(triangle[:, :-1], triangle[:, -1])
        residuals = np.abs(goal - scaled[:, :-1] @ coefficients)[:count]
        spread = max(1.4826 * float(np.median(residuals)), 1e-6)
        following = importance.copy()
        following[:count] *= np.minimum(1, HUBER_THRESHOLD * spread / np.maximum(residuals, 1e-12))
    active = [int(index) for index in np.flatnonzero(coefficients > 0)]
    return weights, active or [share.shape[1] - 1]


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


def forward_pass(rows: pd.DataFrame, processor: str) -> tuple[float, float, float]:
    """(ratio, ns a layer, spread) of forward ÷ sum of layers = ratio + ns·layers/sum.

    Few networks tell the two apart badly, so both are drawn to what is known of any engine: passes are their layers
    to a tenth, and a layer costs no more than LAYER_NS. (1, 0, 0.02) where passes were not measured.
    """
    forward = rows[rows["subject"] == "forward"].groupby(["network", "batch"])["median_ns"].median()
    layers = rows[rows["subject"] == "layer"].groupby(["network", "batch"])["median_ns"].agg(["sum", "size"])
    if layers.empty:
        sums = rows[rows["subject"] == "layerwise"].groupby(["network", "batch"])["median_ns"].median()
        layers = pd.DataFrame({"sum": sums, "size": 0})
    table = layers.join(forward.rename("forward")).dropna().astype(float)
    if table.empty:
        return 1.0, 0.0, 0.02
    ratios = (table["forward"] / table["sum"]).to_numpy()
    unit = LAYER_NS[processor]
    known = np.column_stack([np.ones(len(table)), unit * table["size"] / table["sum"]])
    noise = _scatter(known, ratios, table.index.get_level_values("network").nunique())
    priors = np.diag([noise / 0.1, noise])
    found = np.linalg.lstsq(np.vstack([known, priors]), np.append(ratios, [noise / 0.1, 0.0]), rcond=None)[0]
    spread = float(np.sqrt(np.mean((ratios - known @ found) ** 2)))
    return float(found[0]), float(found[1]) * unit, max(spread, 0.02 if len(ratios) < 3 else LEAST_FORWARD_SD)


def _scatter(known: Array, goal: Array, networks: int) -> float:
    """Standard deviation of `goal` around a line through it, at most PASS_SD, which it also is of few networks."""
    freedom = len(goal) - known.shape[1]
    if networks < 3 or freedom < 2:
        return PASS_SD
    residuals = goal - known @ np.linalg.lstsq(known, goal, rcond=None)[0]
    return float(np.clip(np.sqrt((residuals**2).sum() / freedom), LEAST_FORWARD_SD, PASS_SD))


def sizes_of(rows: pd.DataFrame) -> Sizes:
    """The size columns of `rows` as float arrays, NaN where a kind has no such size."""
    return {name: rows[name].to_numpy(dtype=float, na_value=np.nan) for name in SIZE_NAMES}


def _kernel_identity(rows: pd.DataFrame) -> "pd.Series[Any]":
    return pd.util.hash_pandas_object(rows[["kind", "variant", *SIZE_NAMES]].astype("string"), index=False)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
