"""A stack at a number of threads at which nothing was measured, between two at which it was."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sitecnn.models.board_model import KindModel, StackModel
from sitecnn.models.priors import SHIPPED_PRIORS


def at_threads(stacks: Sequence[StackModel], threads: int) -> StackModel | None:
    """The stack at `threads`, or None where none was measured at fewer or none at more.

    A time is taken for a part that threads share and a part that they do not, a + b/threads (Amdahl 1967), so that
    between two numbers of threads it is linear in 1/threads. Coefficients are, and with them every time.
    """
    fewer = [stack for stack in stacks if 0 < stack.threads < threads]
    more = [stack for stack in stacks if stack.threads > threads]
    if not fewer or not more:
        return None
    below, above = max(fewer, key=lambda stack: stack.threads), min(more, key=lambda stack: stack.threads)
    part = (1 / threads - 1 / above.threads) / (1 / below.threads - 1 / above.threads)
    pairs = {kind: (below.kinds[kind], above.kinds[kind]) for kind in below.kinds if kind in above.kinds}

    def between(one: float, other: float) -> float:
        return part * one + (1 - part) * other

    return replace(
        below,
        stack=f"{below.stack}, read between {below.threads} and {above.threads} threads at {threads}",
        threads=threads,
        kinds={kind: _mixed(*pair, part) for kind, pair in pairs.items()},
        forward_ratio=between(below.forward_ratio, above.forward_ratio),
        forward_ratio_sd=max(below.forward_ratio_sd, above.forward_ratio_sd),
        layer_overhead_ns=between(below.layer_overhead_ns, above.layer_overhead_ns),
        least_ns={
            name: between(below.least_ns[name], above.least_ns[name]) for name in below.least_ns.keys() & above.least_ns
        },
        unexplained_sd={
            of: float(np.hypot(max(sd, above.unexplained_sd[of]), SHIPPED_PRIORS.number("between_threads_sd").ns))
            for of, sd in below.unexplained_sd.items()
        },
        base_bytes=max(below.base_bytes, above.base_bytes),
    )


def _mixed(below: KindModel, above: KindModel, part: float) -> KindModel:
    """`part` of one and the rest of the other, whose coefficients' errors are independent."""
    names = tuple(dict.fromkeys([*below.features, *above.features]))
    units = dict(zip((*below.features, *above.features), (*below.units, *above.units), strict=True))
    shares = ((below, part), (above, 1 - part))
    coefficients, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    seen: dict[str, tuple[float, float]] = {}
    for model, share in shares:
        places = [names.index(name) for name in model.features]
        coefficients[places] += share * np.array(model.coefficients_ns)
        covariance[np.ix_(places, places)] += share**2 * np.array(model.covariance)
        seen |= dict(zip(model.features, model.seen, strict=True))
    return KindModel(
        features=names,
        units=tuple(units[name] for name in names),
        coefficients_ns=tuple(coefficients.tolist()),
        standard_errors_ns=tuple(np.sqrt(np.diag(covariance)).tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        relative_sd=max(below.relative_sd, above.relative_sd),
        seen=tuple(seen[name] for name in names),
        rows=min(below.rows, above.rows),
    )
