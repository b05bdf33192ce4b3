"""A board model: fitted coefficients that estimate kernels' times, as readable JSON; NumPy is all it needs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import exp
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from sitecnn.errors import SiteCNNError
from sitecnn.files import write_text
from sitecnn.models.features import ELEMENTWISE, FREE_KINDS, Array, Feature, Sizes, features_of, matrix

SCHEMA = 1

UNSEEN = "unseen"
"""The model of kinds that were never measured: a memory-bound guess from all kinds that move elements."""

SEEN_ABOVE, SEEN_BELOW = 1.1, 4.0
"""Work up to 10 % above what was seen is still called seen, and down to a quarter below: there the constant part
of a time, which was fitted, takes over, while above nothing holds an error back."""


@dataclass(frozen=True)
class KindModel:
    """Time of one kind of kernel: Σ coefficient · feature, in ns.

    `covariance` is of the coefficients (features × features, ns²), `relative_sd` the scatter of single kernels
    around the model, `seen` the (least, most) of each feature among the `rows` kernels it was fitted on.
    """

    features: tuple[str, ...]
    units: tuple[str, ...]
    coefficients_ns: tuple[float, ...]
    standard_errors_ns: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    relative_sd: float
    seen: tuple[tuple[float, float], ...]
    rows: int


@dataclass(frozen=True)
class StackModel:
    """What one stack of a (board, processor) was found to be.

    `forward_ratio` is a whole forward pass over the sum of its layers timed one by one; `calibration` widens
    the standard errors of layers and of networks until intervals held in cross-validation; `base_bytes` is
    the process before any network, as far as measured.
    """

    stack: str
    threads: int
    kinds: Mapping[str, KindModel]
    forward_ratio: float
    forward_ratio_sd: float
    calibration: Mapping[str, float]
    base_bytes: int
    networks: tuple[str, ...]


@dataclass(frozen=True)
class BoardModel:
    """All stacks of a (board, processor), with where they come from."""

    board: str
    processor: str
    stacks: tuple[StackModel, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class KernelEstimates:
    """Per kernel: time and standard error in ns, and how it was come by; `groups` are rows of one kind."""

    ns: Array
    sd_ns: Array
    modelled: np.ndarray[Any, np.dtype[np.bool_]]
    extrapolated: np.ndarray[Any, np.dtype[np.bool_]]
    total_sd_ns: float


def estimate_kernels(model: StackModel, kinds: np.ndarray[Any, Any], sizes: Sizes) -> KernelEstimates:
    """Estimate many kernels at once; `kinds` names the kind of each, `sizes` holds their columns.

    The total's variance adds the coefficients' part within each kind before squaring, because layers of a kind
    share their coefficients' errors, and the scatter of single kernels independently.
    """
    count = len(kinds)
    ns, variance = np.zeros(count), np.zeros(count)
    modelled, extrapolated = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    total_variance = 0.0
    for kind in dict.fromkeys(kinds.tolist()):
        rows = np.flatnonzero(kinds == kind)
        fitted = model.kinds.get(kind)
        if fitted is None:
            if kind in FREE_KINDS:
                continue
            fitted, modelled[rows] = model.kinds[UNSEEN], False
        work = matrix(features_for(kind, fitted), {name: column[rows] for name, column in sizes.items()})
        ns[rows] = work @ np.array(fitted.coefficients_ns)
        covariance = np.array(fitted.covariance)
        scatter = (fitted.relative_sd * ns[rows]) ** 2
        variance[rows] = np.einsum("ij,jk,ik->i", work, covariance, work) + scatter
        least, most = np.array(fitted.seen).T
        extrapolated[rows] = ((work > most * SEEN_ABOVE) | (work < least / SEEN_BELOW)).any(axis=1)
        whole = work.sum(axis=0)
        total_variance += float(whole @ covariance @ whole + scatter.sum())
    return KernelEstimates(ns, np.sqrt(variance), modelled, extrapolated | ~modelled, total_variance**0.5)


@dataclass(frozen=True)
class PassEstimate:
    """A network's forward pass: its layers, and the whole with its standard error, in ns."""

    layers: KernelEstimates
    forward_ns: float
    forward_sd_ns: float


def estimate_pass(model: StackModel, kinds: np.ndarray[Any, Any], sizes: Sizes) -> PassEstimate:
    """A network's forward pass from the kernels of its layers; standard errors are calibrated."""
    layers = estimate_kernels(model, kinds, sizes)
    total = float(layers.ns.sum())
    variance = (model.forward_ratio * layers.total_sd_ns) ** 2 + (model.forward_ratio_sd * total) ** 2
    calibrated = replace(layers, sd_ns=layers.sd_ns * model.calibration["layer"])
    return PassEstimate(calibrated, model.forward_ratio * total, model.calibration["network"] * variance**0.5)


def interval(estimate: float, sd: float, level: float) -> tuple[float, float]:
    """(low, high) that hold the truth with probability `level`: a log-normal, because times are positive."""
    if estimate <= 0:
        return 0.0, float(NormalDist().inv_cdf(0.5 + level / 2) * sd)
    factor = exp(NormalDist().inv_cdf(0.5 + level / 2) * sd / estimate)
    return estimate / factor, estimate * factor


def features_for(kind: str, fitted: KindModel) -> tuple[Feature, ...]:
    """The features behind a kind model's coefficients, in their order."""
    known = {feature.name: feature for feature in (*features_of(kind), *ELEMENTWISE)}
    return tuple(known[name] for name in fitted.features)


def model_file(root: Path, board: str, processor: str) -> Path:
    """results/models/{board}-{processor}.json."""
    return root / "results" / "models" / f"{board}-{processor}.json"


def save(model: BoardModel, path: Path) -> None:
    """Write a model as indented JSON, whole or not at all."""
    write_text(path, json.dumps({"schema": SCHEMA, **asdict(model)}, indent=1) + "\n")


def load(path: Path) -> BoardModel:
    """Read a model; SiteCNNError if the file is not one or of another schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise SiteCNNError(f"{path}: model schema {content['schema']}, this SiteCNN reads {SCHEMA}; fit it again")
        stacks = tuple(_stack(stack) for stack in content["stacks"])
        return BoardModel(content["board"], content["processor"], stacks, content["provenance"])
    except OSError as error:
        raise SiteCNNError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SiteCNNError(f"{path}: not a board model ({type(error).__name__}: {error}); fit it again") from error


def _stack(content: dict[str, Any]) -> StackModel:
    kinds = {
        kind: KindModel(**{name: _tuples(value) for name, value in fitted.items()})
        for kind, fitted in content.pop("kinds").items()
    }
    return StackModel(kinds=kinds, **{name: _tuples(value) for name, value in content.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
