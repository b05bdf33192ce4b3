"""How the errors of networks fall with the time that a board is measured: models of the first rounds of its probes."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from sitecnn.models.board_model import estimate_pass
from sitecnn.models.fit import fit_stack
from sitecnn.models.measurements import measured_passes, sizes_of
from sitecnn.models.probe_names import is_probe
from sitecnn.models.rounds import fitted_rows, over_rounds

BOARD_TIME = ["stack", "rounds", "seconds", "networks", "median_error", "worst_error", "bias"]
"""The columns of the errors by the number of rounds."""


def errors_by_rounds(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors of each stack's networks by models that know its probes' first rounds only: 1, 2, 4, … and all.

    `rows` are measurements as `load_rounds` gives them, each round a row. `seconds` is what the board needed for the
    probes of these rounds. What is estimated is the pass as all rounds tell it. A row for each number of rounds; none
    of a stack without rounds, probes, or networks beside them. Errors are fractions, estimate ÷ measured - 1.
    """
    tables = [_of_stack(part, str(stack)) for stack, part in rows.groupby("stack", sort=True)]
    return pd.DataFrame([row for table in tables for row in table], columns=BOARD_TIME)


def _of_stack(rows: pd.DataFrame, stack: str) -> list[dict[str, object]]:
    probes = np.array([is_probe(network) for network in rows["network"]], dtype=np.bool_)
    in_round = rows["round"].notna().to_numpy() if "round" in rows else np.zeros(len(rows), dtype=np.bool_)
    networks = over_rounds(rows[in_round & ~probes])
    if not (in_round & probes).any() or networks.empty:
        return []
    return [
        _of_rounds(rows[~(in_round & probes) | (rows["round"] < count)], networks, stack, count)
        for count in counts(int(rows.loc[in_round, "round"].max()) + 1)
    ]


def counts(rounds: int) -> Collection[int]:
    """Numbers of rounds that a model is fitted on: powers of two, and all.

    >>> counts(7)
    [1, 2, 4, 7]
    """
    return sorted({*(1 << power for power in range(rounds.bit_length())), rounds})


def _of_rounds(rows: pd.DataFrame, networks: pd.DataFrame, stack: str, count: int) -> dict[str, object]:
    """The errors by a model of these rows, whose probes are of so many rounds."""
    fitted = fitted_rows(rows)
    model = fit_stack(over_rounds(fitted), stack)
    errors = [
        estimate_pass(model, layers["kind"].to_numpy(dtype=str), sizes_of(layers)).forward_ns / measured_ns - 1
        for layers, measured_ns in measured_passes(networks)
    ]
    of_probes = fitted[fitted["round"].notna()].drop_duplicates(["network", "batch", "round"])
    return {
        "stack": stack, "rounds": count, "seconds": float(of_probes["seconds"].sum()), "networks": len(errors),
        "median_error": float(np.median(np.abs(errors))), "worst_error": float(np.abs(errors).max()),
        "bias": float(np.median(errors)),
    }  # fmt: skip
