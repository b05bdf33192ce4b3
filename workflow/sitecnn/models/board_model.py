"""A board model: fitted coefficients that estimate kernels' times, as readable JSON; NumPy is all it needs."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from sitecnn.errors import ModelError, SiteCNNError
from sitecnn.files import write_text
from sitecnn.models.caffe_features import FREE_KINDS
from sitecnn.models.correction import Correction
from sitecnn.models.feature import Array, Sizes, stack_sizes
from sitecnn.models.features import MULTIPLYING, features_named, least_elements, macs, matrix
from sitecnn.models.priors import SHIPPED_PRIORS
from sitecnn.models.tflite_features import RELATED
from sitecnn.workload.kernels import KINDS_ON_VALUES

SCHEMA = 5

UNSEEN = "unseen"
"""The model of kinds that were never measured: a memory-bound guess from all kinds that move elements."""

SEEN_ABOVE, SEEN_BELOW = 1.1, 4.0
"""Work up to 10 % above what was seen is still called seen, and down to a quarter below: there the constant part
of a time, which was fitted, takes over, while above nothing holds an error back."""

WIDEST_SD = 1.0
"""Relative error of what can be computed at all: a 90 % interval of a fifth to five times."""

FEWEST_ROWS = 4
"""A kind of which fewer kernels were timed is a guess: a network has more layers of it than that."""

ONNXRUNTIME_FACTORS = {"weights": 1.01, "activations": 1.0, "kernels": 0.015 * 2**20}
"""Resident bytes for a byte of weights and of what the arena holds of activations, and for a kernel: what a stack is
drawn to of which few networks were measured, and has of which none was."""

EXTRAPOLATION_SD = SHIPPED_PRIORS.number("extrapolation_sd").ns
"""Relative error added for work e times larger than what was seen, as if a cache or an algorithm had changed."""


@dataclass(frozen=True)
class KindModel:
    """Time of one kind of kernel: Σ coefficient · feature, in ns.

    `covariance` (features × features, ns²) makes the errors that sums share: those of the coefficients, `shared_sd`
    times as large as their `standard_errors_ns` say. `relative_sd` is the scatter of single kernels around the model,
    `seen` the (least, most) of each feature among the `rows` kernels it was fitted on. None at all: the kind is guessed
    from its code and the stack's memory.
    """

    features: tuple[str, ...]
    units: tuple[str, ...]
    coefficients_ns: tuple[float, ...]
    standard_errors_ns: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    relative_sd: float
    seen: tuple[tuple[float, float], ...]
    rows: int
    correction: Correction | None = None

    @property
    def is_guess(self) -> bool:
        """Whether too little of the kind was timed to tell how well the model fits it."""
        return self.rows < max(FEWEST_ROWS, len(self.features) + 1)

    @cached_property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Coefficients, their covariance, the least and the most seen of each feature, as NumPy has them."""
        least, most = np.array(self.seen).T
        return np.array(self.coefficients_ns), np.array(self.covariance), least, most


@dataclass(frozen=True)
class StackModel:
    """What one stack of a (board, processor) was found to be.

    A whole forward pass takes `forward_ratio` times the sum of its layers timed one by one, plus
    `layer_overhead_ns` a layer (a timer's or a launch's; negative where timing each layer costs more).
    `unexplained_sd` is what relative errors of a `layer` and of a `network` have beyond their standard errors in
    cross-validation. No kernel takes less than `least_ns` per multiply-accumulate (`mac`) and per element that it must
    move (`element`). `base_bytes` is what a process takes besides its network, 0 if that was not measured.
    `pass_ns` is what a pass takes once (`pass`) and for each of its `weights`, however they are used.
    A pass mostly takes `usual_ratio` times what it takes undisturbed, which is what estimates are of.
    `memory_factors` is, of an engine that shares its buffers, what it takes for a byte of `weights` and of
    `activations` and for one of the `kernels`.
    `like` is the stack whose model was scaled to a few measurements or totals of this one; empty for a fitted one.
    """

    stack: str
    threads: int
    kinds: Mapping[str, KindModel]
    forward_ratio: float
    forward_ratio_sd: float
    unexplained_sd: Mapping[str, float]
    base_bytes: int
    networks: tuple[str, ...]
    layer_overhead_ns: float = 0.0
    least_ns: Mapping[str, float] = field(default_factory=dict)
    memory_factors: Mapping[str, float] = field(default_factory=dict)
    pass_ns: Mapping[str, float] = field(default_factory=dict)
    usual_ratio: float = 1.0
    like: str = ""


@dataclass(frozen=True, repr=False)
class BoardModel:
    """All stacks of a (board, processor), with where they come from."""

    board: str
    processor: str
    stacks: tuple[StackModel, ...]
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<BoardModel {self.board} {self.processor}: {len(self.stacks)} stacks>"

    def only(self, stack: StackModel) -> "BoardModel":
        """The same processor with one stack alone."""
        return replace(self, stacks=(stack,))


@dataclass(frozen=True)
class KernelEstimates:
    """Per kernel: time and standard error in ns, and how it was come by; `by_kind` has them kind by kind.

    `modelled` are kernels of kinds that were measured, `unknown` those of kinds of which nothing at all is known.
    """

    ns: Array
    sd_ns: Array
    modelled: np.ndarray[Any, np.dtype[np.bool_]]
    unknown: np.ndarray[Any, np.dtype[np.bool_]]
    extrapolated: np.ndarray[Any, np.dtype[np.bool_]]
    total_sd_ns: float
    by_kind: "tuple[KindEstimates, ...]"


@dataclass(frozen=True)
class KindEstimates:
    """Kernels of one kind, which stand at `rows` among all: `ns`, `work` (kernels × features) and the scatter of each.

    `beyond_sd_ns` is what work beyond all that was seen adds: of one sign in all kernels, as an unknown effect is.
    So is all that is unknown of a kind that `is_guess`.
    """

    rows: np.ndarray[Any, np.dtype[np.int_]]
    fitted: KindModel
    work: Array
    ns: Array
    scatter_sd_ns: Array
    beyond_sd_ns: Array
    extrapolated: np.ndarray[Any, np.dtype[np.bool_]]
    is_guess: bool

    def shared_variance(self, work: Array) -> Array:
        """Variance (rows) of sums of these kernels, from the errors that the coefficients share; `work` is summed."""
        return np.asarray(((work @ self.fitted.arrays[1]) * work).sum(axis=1))


def estimate_kinds(model: StackModel, kinds: np.ndarray[Any, Any], sizes: Sizes) -> tuple[KindEstimates, ...]:
    """Kernels kind by kind; not those of kinds that move nothing and were not timed."""
    estimates = []
    for kind in dict.fromkeys(kinds.tolist()):
        # A stack that no zeros were measured on runs on values.
        names = (kind, KINDS_ON_VALUES.get(kind, kind), *RELATED.get(kind, ()))
        fitted = next((model.kinds[name] for name in names if name in model.kinds), None)
        if fitted is not None or kind not in FREE_KINDS:
            rows = np.flatnonzero(kinds == kind)
            of_kind = _Rows(sizes, rows)
            of_kind |= stack_sizes(model.stack, len(rows))
            estimates.append(_estimate_kind(model, kind, fitted, rows, of_kind))
    return tuple(estimates)


class _Rows(dict[str, Array]):
    """Some rows of columns, each taken when it is asked for: a kind has few of all sizes."""

    def __init__(self, columns: Sizes, rows: np.ndarray[Any, Any]) -> None:
        self.columns, self.rows = columns, rows

    def __missing__(self, name: str) -> Array:
        column: Array = self.columns[name][self.rows]
        self[name] = column
        return column


def _estimate_kind(
    model: StackModel, kind: str, known: KindModel | None, rows: np.ndarray[Any, Any], sizes: Sizes
) -> KindEstimates:
    fitted = known or model.kinds[UNSEEN]
    is_guess = known is None or fitted.is_guess
    scatter = np.full(len(rows), max(fitted.relative_sd, WIDEST_SD) if known is None else fitted.relative_sd)
    work = matrix(features_named(kind, fitted.features), sizes)
    coefficients, _, least, most = fitted.arrays
    ns = np.maximum(work @ coefficients, _least_ns(model, kind, sizes))
    if fitted.correction:
        logarithm, sd = fitted.correction.log_factor(sizes)
        ns, scatter = ns * np.exp(logarithm), np.hypot(scatter, sd)
    outside = (work > most * SEEN_ABOVE) | (work < least / SEEN_BELOW)
    extrapolated = np.asarray(outside.any(axis=1) | is_guess)
    beyond_sd_ns = np.zeros(len(rows))
    if extrapolated.any():
        beyond = np.log(np.maximum(work / np.where(most > 0, most, np.inf), 1)).max(axis=1)
        beyond_sd_ns = EXTRAPOLATION_SD * np.where(extrapolated, beyond, 0) * ns
    return KindEstimates(rows, fitted, work, ns, scatter * ns, beyond_sd_ns, extrapolated, is_guess)


def doubtful_variance(variance: Any, ns: Any) -> Any:
    """The variance of guessed times `ns` (either a float or an array), from that of their logarithm times ns².

    A guess is off by a factor: a log-normal time reaches further up than down, and a sum of it and of better known
    times has its whole variance (Johnson & Kotz 1970, chapter 14), e^s²·(e^s² - 1)·ns² for a logarithm's s.
    """
    squared = np.minimum(variance / np.where(ns > 0, ns, np.inf) ** 2, WIDEST_SD**2)
    return np.exp(squared) * np.expm1(squared) * ns**2


def _least_ns(model: StackModel, kind: str, sizes: Sizes) -> Array:
    """The physical floor of each kernel, 0 where none is known."""
    least = np.zeros(len(sizes["in_elements"]))
    if kind in MULTIPLYING:
        least = model.least_ns.get("mac", 0.0) * macs(kind, sizes)
    if kind not in FREE_KINDS:
        least = np.fmax(least, model.least_ns.get("element", 0.0) * least_elements(kind, sizes))
    return np.fmax(least, 0.0)


def estimate_kernels(model: StackModel, kinds: np.ndarray[Any, Any], sizes: Sizes) -> KernelEstimates:
    """Estimate many kernels at once; `kinds` names the kind of each, `sizes` holds their columns.

    The total's variance adds the coefficients' part within each kind before squaring, because layers of a kind
    share their coefficients' errors, and the scatter of single kernels independently. What is unknown of a guessed
    kind enters it in full.
    """
    count = len(kinds)
    ns, variance = np.zeros(count), np.zeros(count)
    modelled, unknown, extrapolated = (np.zeros(count, dtype=bool) for _ in range(3))
    modelled[:] = True
    total_variance = 0.0
    by_kind = estimate_kinds(model, kinds, sizes)
    for of_kind in by_kind:
        rows = of_kind.rows
        ns[rows], extrapolated[rows] = of_kind.ns, of_kind.extrapolated
        modelled[rows], unknown[rows] = not of_kind.is_guess, of_kind.fitted is model.kinds.get(UNSEEN)
        own = of_kind.scatter_sd_ns**2
        variance[rows] = of_kind.shared_variance(of_kind.work) + own + of_kind.beyond_sd_ns**2
        whole = of_kind.shared_variance(of_kind.work.sum(axis=0, keepdims=True))
        scatter = of_kind.scatter_sd_ns.sum() ** 2 if of_kind.is_guess else own.sum()
        kind_variance = float(whole[0] + scatter + of_kind.beyond_sd_ns.sum() ** 2)
        total_variance += doubtful_variance(kind_variance, of_kind.ns.sum()) if of_kind.is_guess else kind_variance
    sd_ns = np.sqrt(variance)
    return KernelEstimates(ns, sd_ns, modelled, unknown, extrapolated | ~modelled, float(total_variance**0.5), by_kind)


@dataclass(frozen=True)
class PassEstimate:
    """A network's forward pass: its layers, and the whole with its standard error, in ns."""

    layers: KernelEstimates
    forward_ns: float
    forward_sd_ns: float


def estimate_pass(model: StackModel, kinds: np.ndarray[Any, Any], sizes: Sizes) -> PassEstimate:
    """A network's forward pass from the kernels of its layers; standard errors are those found in cross-validation."""
    layers = estimate_kernels(model, kinds, sizes)
    total = float(layers.ns.sum())
    variance = (model.forward_ratio * layers.total_sd_ns) ** 2 + (model.forward_ratio_sd * total) ** 2
    widened = replace(layers, sd_ns=np.sqrt(with_unexplained(model, "layer", layers.sd_ns**2, layers.ns)))
    return PassEstimate(
        widened,
        whole_pass_ns(model, layers.ns, sizes),
        float(with_unexplained(model, "network", variance, total, once_ns(model, sizes))) ** 0.5,
    )


def with_unexplained(model: StackModel, part: str, variance: Any, ns: Any, once: float = 0.0) -> Any:
    """The variance of times `ns` (either a float or an array) with what cross-validation found beyond it, in ns².

    Coefficients that no data told apart do not make an error of more than WIDEST_SD. `once` is what a pass takes
    besides its kernels: cross-validation found the relative error of the whole.
    """
    return np.minimum(variance, (WIDEST_SD * ns) ** 2) + (model.unexplained_sd[part] * (ns + once)) ** 2


def once_ns(model: StackModel, sizes: Sizes) -> float:
    """What a pass of kernels of these sizes takes besides its kernels; 0 of a stack that has no such part."""
    if not model.pass_ns:
        return 0.0
    return model.pass_ns["pass"] + model.pass_ns["weights"] * float(np.nansum(sizes["parameters"]))


def within_pass_ns(model: StackModel, ns: Array) -> Array:
    """What each layer, `ns` when timed by itself, takes within a whole pass: never less than half."""
    return model.forward_ratio * ns + np.maximum(model.layer_overhead_ns, -ns / 2)


def whole_pass_ns(model: StackModel, ns: Array, sizes: Sizes) -> float:
    """A pass of kernels of `ns` and `sizes`."""
    if not model.pass_ns:
        return float(within_pass_ns(model, ns).sum())
    kernels_ns = max(model.forward_ratio * float(ns.sum()) + model.layer_overhead_ns * len(ns), float(ns.sum()) / 2)
    return kernels_ns + once_ns(model, sizes)


def shares_of_pass_ns(model: StackModel, ns: Array, sizes: Sizes) -> tuple[Array, float]:
    """(what each of a pass's kernels takes of it, what is of none of them): together `whole_pass_ns`."""
    shares = within_pass_ns(model, ns)
    if not model.pass_ns:
        return shares, 0.0
    weights = model.pass_ns["weights"] * np.nan_to_num(sizes["parameters"])
    of_kernels = whole_pass_ns(model, ns, sizes) - model.pass_ns["pass"] - float(weights.sum())
    return shares * (of_kernels / max(float(shares.sum()), 1.0)) + weights, model.pass_ns["pass"]


WIDEST = 500.0
"""Logarithm of an interval's half width at most: beyond it a time would be no float."""


@lru_cache
def _deviations(level: float) -> float:
    """Standard deviations on either side that hold a normal value with probability `level`."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def interval(estimate: Any, sd: Any, level: float) -> tuple[Array, Array]:
    """(low, high) that contain the true value with probability `level`: a log-normal, because times are positive.

    `estimate` and `sd` are arrays of one shape, or floats, and so are the bounds. SiteCNNError for another level than
    one between 0 and 1.
    """
    if not 0.5 < 0.5 + level / 2 < 1:
        raise SiteCNNError(f"level {level}: expected a probability between 0 and 1, such as 0.9")
    estimate, width = np.asarray(estimate), _deviations(level) * np.asarray(sd)
    positive = estimate > 0
    factor = np.exp(np.minimum(width / np.where(positive, estimate, 1.0), WIDEST))
    return np.where(positive, estimate / factor, 0.0), np.where(positive, estimate * factor, width)


def model_file(root: Path, board: str, processor: str) -> Path:
    """results/models/{board}-{processor}.json."""
    return root / "results" / "models" / f"{board}-{processor}.json"


INNERMOST = re.compile(r"\[[^][{}\"]*\]")
"""Lists of numbers alone: a line each."""


def save(model: BoardModel, path: Path) -> None:
    """Write a model as indented JSON, whole or not at all."""
    text = json.dumps({"schema": SCHEMA, **asdict(model)}, indent=1)
    write_text(path, INNERMOST.sub(lambda numbers: " ".join(numbers[0].split()), text) + "\n")


def load(path: Path) -> BoardModel:
    """Read a model; ModelError if the file is not one or of another schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ModelError(f"{path}: model schema {content['schema']}, this SiteCNN reads {SCHEMA}; fit it again")
        stacks = tuple(_stack(stack) for stack in content["stacks"])
        return BoardModel(content["board"], content["processor"], stacks, content["provenance"])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise ModelError(f"{path}: not a board model: it has no {error}; fit it again") from error
    except (AttributeError, TypeError, ValueError) as error:
        what = str(error).rpartition("__init__() ")[2]
        raise ModelError(f"{path}: not a board model: {what}; fit it again") from error


def _stack(content: dict[str, Any]) -> StackModel:
    kinds = {
        kind: KindModel(**{name: _member(name, value) for name, value in fitted.items()})
        for kind, fitted in content.pop("kinds").items()
    }
    for kind, fitted in kinds.items():
        try:
            features_named(kind, fitted.features)
        except KeyError as error:  # of another release
            raise ValueError(f"{kind} counts {error}, a feature that this SiteCNN does not have") from error
    return StackModel(kinds=kinds, **{name: _tuples(value) for name, value in content.items()})


def _member(name: str, value: Any) -> Any:
    if name != "correction":
        return _tuples(value)
    return Correction(**{part: _tuples(there) for part, there in value.items()}) if value else None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
