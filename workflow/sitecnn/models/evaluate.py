"""How good the estimates are: networks and families held out, measured against estimated, beside simpler methods."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sitecnn.models.baselines import BASELINES
from sitecnn.models.board_model import StackModel, estimate_pass, interval
from sitecnn.models.calibrate import calibrated, fit_board, has_kernels_or_layers
from sitecnn.models.coverage import coverage
from sitecnn.models.feature import Array
from sitecnn.models.fit import CHOICES, Choices
from sitecnn.models.measurements import (
    measured_passes,
    processor_of,
    sizes_of,
    with_steady_times,
    without_networks,
    without_zeros,
)
from sitecnn.models.memory import COLUMNS, estimated_bytes, fit_memory, measured_memory, with_parts
from sitecnn.models.network_families import family
from sitecnn.models.priors import SHIPPED_PRIORS
from sitecnn.models.probe_names import is_probe
from sitecnn.models.threads import at_threads

OURS, STRICT = "sitecnn", "sitecnn, priors of other boards"
"""What the board model is called among the methods, and one whose priors know nothing of the board that is judged."""

HELD_OUT = "held out"
"""The split of networks that are measured to be estimated, and never fitted."""

THREADS = "threads"
"""The split of stacks at a number of threads between two others', each estimated from these."""

RELEVANT_SHARE = 0.01
"""Layers under 1 % of their network's time hardly matter to it."""

CASE = ["stack", "split", "method", "network", "batch"]
PARTS_OF_LAYERS = ("gemm", "im2col")
"""Kernels that are parts of layers; every other kernel is a layer by itself."""


@dataclass(frozen=True)
class Evaluation:
    """Held-out cases as tables: times in ms, errors signed fractions (estimate ÷ measured - 1).

    `networks` and `layers` are the board model's own, each network once, with intervals; `baselines` are the networks
    by every method and split (`network`, `family`, `held out`, `threads`), `summary` a row per stack, split and
    method. `memory` has each network's process, measured and as estimated from the others, `coverage` each kind's
    kernels inside and outside of what the probes saw.
    """

    networks: pd.DataFrame
    layers: pd.DataFrame
    baselines: pd.DataFrame
    summary: pd.DataFrame
    memory: pd.DataFrame
    coverage: pd.DataFrame


@dataclass(frozen=True)
class Fold:
    """Networks left out together, and the splits that they are a fold of; `kernels_too` if theirs must go as well."""

    networks: tuple[str, ...]
    splits: tuple[str, ...]
    kernels_too: bool = True

    @property
    def never_fitted(self) -> tuple[str, ...]:
        """Networks that the board's own model does not know either."""
        return self.networks if HELD_OUT in self.splits else ()


def evaluate(rows: pd.DataFrame, level: float, held_out: Collection[str] = ()) -> Evaluation:
    """Leave-one-network-out and leave-one-family-out over every stack in `rows`, and the `held_out` networks.

    In the first two, the model knows no kernel that a left-out network has; with `held_out` networks it knows what the
    board's own model would, because their kernels were measured only where another network has them. Stacks at a
    number of threads between two others' are estimated from these as well.
    """
    cases = [
        case
        for stack, part in rows.groupby("stack", sort=True)
        for fold in folds(part.loc[part["subject"] == "layer", "network"].unique(), held_out)
        for case in _cases(part.assign(stack=str(stack)), fold, {*held_out, *fold.never_fitted}, level)
    ]
    cases += _thread_cases(rows, held_out, level)
    parts = [_memory(part, str(stack)).assign(stack=str(stack)) for stack, part in rows.groupby("stack", sort=True)]
    full = [part for part in parts if len(part)]
    memory = pd.concat(full, ignore_index=True)[MEMORY] if full else pd.DataFrame(columns=MEMORY)
    if not cases:
        return Evaluation(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), memory, coverage(rows))
    networks, layers = (pd.concat(tables, ignore_index=True) for tables in zip(*cases, strict=True))
    return Evaluation(
        networks=_once(networks),
        layers=_once(layers),
        baselines=networks[[*CASE, "measured_ms", "estimate_ms", "error"]],
        summary=summarise(networks, layers),
        memory=memory,
        coverage=coverage(rows),
    )


MEMORY = ["stack", *COLUMNS, "estimate_bytes", "error"]
"""The columns of what was found of processes' memory."""


def _memory(rows: pd.DataFrame, stack: str) -> pd.DataFrame:
    """Bytes of each network's process, measured and as a stack fitted on the other networks' estimates it."""
    measured = with_parts(measured_memory(rows, processor_of(rows)), stack)
    estimates = pd.Series(np.nan, index=measured.index)
    for name in measured["network"].unique():
        mine = measured["network"] == name
        if not mine.all():
            estimates[mine] = estimated_bytes(measured[mine], *fit_memory(measured[~mine], stack))
    return measured.assign(estimate_bytes=estimates, error=estimates / measured["total_bytes"] - 1)


def folds(networks: Iterable[str], held_out: Collection[str] = ()) -> list[Fold]:
    """What is left out together: each network, each family, the held-out ones; none that leaves nothing to fit on.

    Where probes were measured a model is fitted on them alone, and all other networks are held out.
    """
    networks = set(networks)
    real = {network for network in networks if not is_probe(network)}
    if real and real != networks:
        return [Fold(tuple(sorted(real)), (HELD_OUT,), kernels_too=False)]
    known = sorted(networks - set(held_out))
    groups: dict[tuple[str, ...], list[str]] = {(network,): ["network"] for network in known}
    for name in dict.fromkeys(map(family, known)):
        relatives = tuple(network for network in known if family(network) == name)
        groups.setdefault(relatives, []).append("family")
    left_out = [Fold(group, tuple(splits)) for group, splits in groups.items() if len(group) < len(known)]
    measured_only = tuple(sorted(networks & set(held_out)))
    return [*left_out, Fold(measured_only, (HELD_OUT,), kernels_too=False)] if measured_only and known else left_out


def summarise(networks: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """One row per stack, split and method: errors of networks and of layers over 1 % of their network's time.

    `*_covered` and `*_width` (median of high ÷ low - 1) are of the board model's intervals, NaN for other methods.
    """
    rows = []
    relevant = layers[layers["share"] > RELEVANT_SHARE]
    for group, part in networks.groupby(["stack", "split", "method"], sort=False):
        stack, split, method = group
        of = relevant[(relevant["stack"] == stack) & (relevant["split"] == split) & (relevant["method"] == method)]
        rows.append(
            {"stack": stack, "split": split, "method": method, "cases": len(part)}
            | {"networks": part["network"].nunique(), "bias": part["error"].median()}
            | {"median_error": part["error"].abs().median(), "worst_error": part["error"].abs().max()}
            | {f"within_{limit}": (part["error"].abs() <= limit / 100).mean() for limit in (5, 10)}
            | {"rank_correlation": _spearman(part)}
            | {"layer_median_error": of["error"].abs().median(), "layer_90_error": of["error"].abs().quantile(0.9)}
            | {"networks_covered": part["covered"].mean(), "networks_width": _width(part)}
            | {"layers_covered": of["covered"].mean(), "layers_width": _width(of)}
            | {
                "layers_modelled": of["modelled"].mean(),
                "modelled_time_fraction": part["modelled_time_fraction"].mean(),
            }
        )
    return pd.DataFrame(rows)


def _once(cases: pd.DataFrame) -> pd.DataFrame:
    """The board model's cases with every network once: not those of its family's fold."""
    chosen = cases[(cases["method"] == OURS) & cases["split"].isin(["network", HELD_OUT])]
    return chosen.drop(columns="method").reset_index(drop=True)


def _cases(
    rows: pd.DataFrame, fold: Fold, held_out: Collection[str], level: float
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """(networks, layers) of a fold by every method, once for each split that it belongs to."""
    others = rows[~rows["network"].isin(held_out)]
    if fold.kernels_too:
        others = without_networks(others, fold.networks)
    others_steady = with_steady_times(others)
    timed = others_steady[others["subject"].isin(["layer", "kernel"]) & ~others["mode"].isin(["warm", "overhead"])]
    # Kernels of which a table tells only that they ran have no time to learn from.
    timed = timed[timed["median_ns"] > 0]
    if timed.empty:
        return
    models = {
        name: fit_board(others, "", "", {}, choices=choices).stacks[0] for name, choices in _choices(rows).items()
    }
    whole_layers = without_zeros(timed[~timed["kind"].isin(PARTS_OF_LAYERS)])
    simpler = {name: fit(whole_layers) for name, fit in BASELINES.items()}
    ratio = _pass_ratio(others)
    for layers, measured_ns in measured_passes(rows[rows["network"].isin(fold.networks)]):
        judged = [_our_case(name, model, layers, measured_ns, level) for name, model in models.items()]
        judged += [
            _simple_case(name, estimate(without_zeros(layers)), layers, measured_ns, ratio)
            for name, estimate in simpler.items()
        ]
        for case in judged:
            yield from (_named(case, layers, split) for split in fold.splits)


def _choices(rows: pd.DataFrame) -> dict[str, Choices]:
    """By method: what a fit takes as given; a board that shipped priors know of is judged without them, too."""
    boards = set(rows["board"]) if "board" in rows else set()
    others = SHIPPED_PRIORS.without(boards)
    return {OURS: CHOICES} | ({STRICT: Choices(others)} if others != SHIPPED_PRIORS else {})


def _thread_cases(
    rows: pd.DataFrame, held_out: Collection[str], level: float
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """(networks, layers) of each stack at a number of threads that can be read between those of two others."""
    for _, part in rows.groupby(rows["stack"].astype(str).str.replace(r"\+\d+-threads", "", regex=True), sort=True):
        fitted = part[~part["network"].isin(held_out)].groupby("stack", sort=True)
        timed_parts = {str(stack): others for stack, others in fitted if has_kernels_or_layers(others)}
        # Between two others lies none of two.
        models = [calibrated(others, stack) for stack, others in timed_parts.items()] if len(timed_parts) > 2 else []
        for stack, measured in part.groupby("stack", sort=True):
            others = [model for model in models if model.stack != stack]
            if model := at_threads(others, int(measured["threads"].iloc[0])):
                for layers, measured_ns in measured_passes(measured.assign(stack=str(stack))):
                    yield _named(_our_case(OURS, model, layers, measured_ns, level), layers, THREADS)


def _named(
    case: tuple[dict[str, object], pd.DataFrame], layers: pd.DataFrame, split: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A case's tables with the stack, the split, the network and the batch that they are of."""
    label = {"stack": layers["stack"].iloc[0], "split": split}
    named = {"network": str(layers["network"].iloc[0]), "batch": int(layers["batch"].iloc[0])}
    return pd.DataFrame([label | named | case[0]]), case[1].assign(**label)


def _our_case(
    method: str, model: StackModel, layers: pd.DataFrame, measured_ns: float, level: float
) -> tuple[dict[str, object], pd.DataFrame]:
    estimate = estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers))
    low, high = interval(estimate.forward_ns, estimate.forward_sd_ns, level)
    lows, highs = interval(estimate.layers.ns, estimate.layers.sd_ns, level)
    ns = layers["median_ns"].to_numpy(dtype=float)
    intervals = {"low_ms": lows / 1e6, "high_ms": highs / 1e6, "covered": (lows <= ns) & (ns <= highs)}
    table = _layer_table(method, layers, estimate.layers.ns).assign(
        **intervals, modelled=estimate.layers.modelled, extrapolated=estimate.layers.extrapolated
    )
    row = _network_row(method, layers, measured_ns, estimate.forward_ns)
    row |= {"low_ms": low / 1e6, "high_ms": high / 1e6, "covered": low <= measured_ns <= high}
    return row | {"modelled_time_fraction": float(ns[estimate.layers.modelled].sum() / ns.sum())}, table


def _simple_case(
    method: str, ns: Array, layers: pd.DataFrame, measured_ns: float, ratio: float
) -> tuple[dict[str, object], pd.DataFrame]:
    return _network_row(method, layers, measured_ns, ratio * float(ns.sum())), _layer_table(method, layers, ns)


def _network_row(method: str, layers: pd.DataFrame, measured_ns: float, ns: float) -> dict[str, object]:
    return {
        "method": method,
        "measured_ms": measured_ns / 1e6,
        "measured_layerwise_ms": float(layers["median_ns"].sum()) / 1e6,
        "estimate_ms": ns / 1e6,
        "error": ns / measured_ns - 1,
    }


def _layer_table(method: str, layers: pd.DataFrame, ns: Array) -> pd.DataFrame:
    measured = layers["median_ns"].to_numpy(dtype=float)
    named = layers[["network", "batch", "layer", "layer_type", "kind"]].reset_index(drop=True)
    return named.assign(
        method=method,
        measured_ms=measured / 1e6,
        share=measured / measured.sum(),
        estimate_ms=ns / 1e6,
        # Unknown of kernels of which a table tells only that they ran.
        error=np.divide(ns, measured, out=np.full(len(ns), np.nan), where=measured > 0) - 1,
    )


def _pass_ratio(rows: pd.DataFrame) -> float:
    """Median over networks of forward pass ÷ layerwise pass, which simpler methods are granted too; 1 if unknown."""
    passes = rows[rows["subject"].isin(["forward", "layerwise"])]
    table = passes.pivot_table(index=["network", "batch"], columns="subject", values="median_ns")
    if not {"forward", "layerwise"} <= set(table.columns):
        return 1.0
    ratio = float((table["forward"] / table["layerwise"]).median())
    return ratio if np.isfinite(ratio) else 1.0


def _spearman(cases: pd.DataFrame) -> float:
    return float(cases["measured_ms"].corr(cases["estimate_ms"], method="spearman")) if len(cases) > 1 else np.nan


def _width(cases: pd.DataFrame) -> float:
    return float((cases["high_ms"] / cases["low_ms"] - 1).median())
