"""What was measured in rounds as one: the lower quartile of each round, the mean of the least third of the rounds.

What disturbs a machine adds time for seconds to minutes: of rounds spread over a campaign some meet each kernel
undisturbed. An estimate is of such an undisturbed pass. The single least round would be of a machine that runs faster
than usual for seconds, as a server does whose neighbours pause: it meets some networks and probes then, and not others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sitecnn.models.probe_names import is_probe
from sitecnn.workload.kernels import SIZE_NAMES

IDENTITY = ("stack", "network", "batch", "subject", "kind", "variant", *SIZE_NAMES)
"""What tells kernels of a network apart; those that have all alike are told apart by their order."""


PASS = ["stack", "network", "batch", "subject"]
"""What a whole pass is of."""


def over_rounds(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with those of rounds as one each, `median_ns` their statistic; kernels of a network are its layers then.

    Whole passes have `usual_ns`, too, the median over all rounds, and `rounds_ns`, the statistic of each. Rows without
    a round are left as they are.
    """
    if "round" not in rows or rows["round"].isna().all():
        return rows
    of_round = rows["round"].notna() & (rows["subject"] != "memory")
    rounds, others = rows[of_round], rows[~of_round]
    least = rounds.assign(median_ns=[lower_quartile(samples) for samples in rounds["samples_ns"]])
    identity = list(IDENTITY)
    place = least.groupby([*identity, "round"], dropna=False, sort=False).cumcount()
    groups = least.assign(place=place).groupby([*identity, "place"], dropna=False, sort=False)["median_ns"]
    of_third = groups.rank(method="first") <= np.ceil(groups.transform("size") / 3)
    least_ns = least["median_ns"].where(of_third).groupby(groups.ngroup()).transform("mean")
    merged = least.assign(median_ns=least_ns).loc[groups.idxmin().sort_values()]
    is_kernel = merged["subject"] == "kernel"
    index = merged.groupby(["stack", "network", "batch"], dropna=False).cumcount()
    named = {"subject": merged["subject"].mask(is_kernel, "layer"), "samples_ns": None}
    named |= {name: merged[name].mask(is_kernel, merged["kind"]) for name in ("layer", "layer_type")}
    merged = merged.assign(**named, layer_index=merged["layer_index"].mask(is_kernel, index))
    return pd.concat([others, merged.join(_of_passes(least), on=PASS)], ignore_index=True)


def _of_passes(rounds: pd.DataFrame) -> pd.DataFrame:
    """`usual_ns` and `rounds_ns` of whole passes, by what they are of."""
    passes = rounds[rounds["subject"] == "forward"].groupby(PASS)
    usual = passes["samples_ns"].agg(lambda some: float(np.median(np.concatenate(list(some)))))
    return pd.DataFrame({"usual_ns": usual, "rounds_ns": passes["median_ns"].agg(list)})


def usual_ratio(rows: pd.DataFrame) -> float:
    """What a pass of a stack mostly takes ÷ what it takes undisturbed: the median over networks, or over probes; 1."""
    if "usual_ns" not in rows:
        return 1.0
    ratios = (rows["usual_ns"] / rows["median_ns"])[rows["subject"] == "forward"].dropna().astype(float)
    real = ratios[[not is_probe(network) for network in rows.loc[ratios.index, "network"]]]
    chosen = real if len(real) else ratios
    return float(chosen.median()) if len(chosen) else 1.0


def rounds_sd(rows: pd.DataFrame) -> float:
    """Relative standard error that all passes of a campaign share, as it had these rounds and no others; 0 if unknown.

    Networks left out in turn do not show it, for what disturbs a round disturbs them all. It is the jackknife's, each
    round left out in turn, of the median over passes of their statistic (Efron & Tibshirani 1993, section 11.2).
    """
    if "rounds_ns" not in rows:
        return 0.0
    passes = rows.loc[rows["subject"] == "forward", "rounds_ns"].dropna()
    count = min(map(len, passes), default=0)
    if count < 2:
        return 0.0
    rounds_ns = np.array([some[:count] for some in passes])
    all_ns = least_third(rounds_ns)
    rises = [
        np.median(np.log(least_third(np.delete(rounds_ns, left_out, axis=1)) / all_ns)) for left_out in range(count)
    ]
    return float(np.sqrt((count - 1) * np.var(rises)))


def lower_quartile(samples: Sequence[float]) -> float:
    """The sample below which a quarter lies; the least of fewer than four."""
    return float(sorted(samples)[len(samples) // 4])


def least_third(rounds_ns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the least third, rounded up, of what passes took in each round: (passes, rounds) → (passes,)."""
    count = -(-rounds_ns.shape[1] // 3)
    mean_ns: NDArray[np.float64] = np.sort(rounds_ns, axis=1)[:, :count].mean(axis=1)
    return mean_ns


def fitted_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """What a stack's model is fitted on: where probes were measured they alone, and memory and matrix products."""
    probes = np.array([is_probe(network) for network in rows["network"]], dtype=np.bool_)
    if not probes.any():
        return rows
    return rows[probes | rows["network"].isna() | (rows["subject"] == "memory")]
