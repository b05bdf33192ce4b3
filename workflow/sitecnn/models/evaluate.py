"""How good the estimates are: each network held out, measured against estimated, as tables."""

import pandas as pd

from sitecnn.models.board_model import interval
from sitecnn.models.calibrate import HeldOut, held_out_cases


def evaluate(rows: pd.DataFrame, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(networks, layers) of leave-one-network-out over every stack in `rows`; times in ms, errors signed fractions."""
    cases = [
        (str(stack), case)
        for stack, part in rows.groupby("stack", sort=True)
        for case in held_out_cases(part, str(stack), calibrate=True)
    ]
    networks = pd.DataFrame([_network_row(stack, case, level) for stack, case in cases])
    layers = [_layer_rows(stack, case, level) for stack, case in cases]
    return networks, pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()


def _network_row(stack: str, case: HeldOut, level: float) -> dict[str, object]:
    found = case.estimate
    low, high = interval(found.forward_ns, found.forward_sd_ns, level)
    modelled = float(case.layers["median_ns"].to_numpy()[found.layers.modelled].sum() / case.measured_layerwise_ns)
    return {
        "stack": stack,
        "network": case.network,
        "batch": case.batch,
        "measured_ms": case.measured_forward_ns / 1e6,
        "measured_layerwise_ms": case.measured_layerwise_ns / 1e6,
        "estimate_ms": found.forward_ns / 1e6,
        "low_ms": low / 1e6,
        "high_ms": high / 1e6,
        "error": found.forward_ns / case.measured_forward_ns - 1,
        "covered": low <= case.measured_forward_ns <= high,
        "modelled_time_fraction": modelled,
    }


def _layer_rows(stack: str, case: HeldOut, level: float) -> pd.DataFrame:
    found = case.estimate.layers
    rows = case.layers[["network", "batch", "layer", "layer_type", "kind"]].reset_index(drop=True)
    measured = case.layers["median_ns"].to_numpy(dtype=float)
    bounds = [interval(float(ns), float(sd), level) for ns, sd in zip(found.ns, found.sd_ns, strict=True)]
    return rows.assign(
        stack=stack,
        measured_ms=measured / 1e6,
        share=measured / case.measured_layerwise_ns,
        estimate_ms=found.ns / 1e6,
        low_ms=[low / 1e6 for low, _ in bounds],
        high_ms=[high / 1e6 for _, high in bounds],
        error=found.ns / measured - 1,
        covered=[low <= ns <= high for (low, high), ns in zip(bounds, measured, strict=True)],
        modelled=found.modelled,
        extrapolated=found.extrapolated,
    )
