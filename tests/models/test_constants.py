"""Numbers that models rest on, as they were found and documented: who changes one changes it here, and says why."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from sitecnn.errors import DatasetError
from sitecnn.models import measurements
from sitecnn.models.board_model import KindModel, StackModel, whole_pass_ns
from sitecnn.models.evaluate import summarise
from sitecnn.models.fit import fit_stack
from sitecnn.models.transfer import transfer
from tests.models.fixtures import board

VALUES = {
    # A kind of fewer kernels, or of work ten percent beyond what was seen, or a quarter of it, is a guess.
    "board_model": {"SEEN_ABOVE": 1.1, "SEEN_BELOW": 4.0, "WIDEST_SD": 1.0, "FEWEST_ROWS": 4, "WIDEST": 500.0},
    # ONNX Runtime's arena holds activations as they are and weights 1 % larger; a kernel takes 15 KiB.
    "memory": {
        "ONNXRUNTIME_FACTORS": {"weights": 1.01, "activations": 1.0, "kernels": 15.36 * 1024},
        "SESSION_BYTES": 10 * 2**20, "MEMORY_SD": 0.02,
        "PRIOR_SD": {"base": 8 * 2**20, "weights": 0.03, "activations": 0.1, "kernels": 15.36 * 1024},
    },
    # The level of intervals (docs/evaluation.md); what other boards tell of a new one's networks.
    "calibrate": {
        "LEVEL": 0.9, "PRIOR_NETWORKS": 2, "MOST_FOLDS": 16,
    },
    "correction": {"LENGTH": 4.0, "AMPLITUDE": 0.3, "NOISE": 0.03, "FEWEST_ROWS": 8, "FEWEST_NETWORKS": 20},
    "design": {"KIND_SD": 0.5, "OWN_SD": 0.5, "NOISE_SD": 0.05, "LIKENESS": 0.5, "OVERHEAD_S": 0.02, "PASSES": 6.0},
    "transfer": {"LONE_KIND_SD": 0.5, "OTHERS_WEIGHT": 2.0},
    # What timing a layer alone costs at most: a call on a CPU, a launch and a synchronisation on a GPU.
    "pass_ratio": {"LAYER_NS": {"cpu": 5e3, "gpu": 1e5}},
    "regression": {"HUBER_THRESHOLD": 1.345, "LEAST_SD": 0.01, "TYPICAL_SD": 0.05},
    "whole_pass": {"HUBER_THRESHOLD": 1.345, "RIDGE": 1e-3},
    "evaluate": {"RELEVANT_SHARE": 0.01},
    "fit": {"FASTEST": 0.02, "LARGE_COPY": 2**20 // 4},
    "measurements": {"FEW_SAMPLES": 5},
    "baselines": {"FEWEST_ROWS": 8, "DEGREES": (2, 3)},
}  # fmt: skip


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in VALUES.items() for name in names])
def test_a_number_is_the_one_that_was_found(module: str, name: str) -> None:
    assert getattr(import_module(f"sitecnn.models.{module}"), name) == VALUES[module][name]


def stack(**settings: object) -> StackModel:
    kind = KindModel(("calls",), ("call",), (1.0,), (0.1,), ((0.01,),), 0.05, ((1.0, 1.0),), 9)
    common = {"forward_ratio": 0.9, "forward_ratio_sd": 0.0, "unexplained_sd": {}, "base_bytes": 0, "networks": ()}
    return StackModel("s", 1, {"relu": kind}, **common | settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kernel_ns", "expected"), [(10.0, 0.9 * 600 + 2 * 10 + 1000 + 0.5 * 70), (-900.0, 300 + 1035)]
)
def test_a_pass_of_an_imported_stack_is_its_kernels_its_launches_its_weights_and_what_it_takes_once(
    kernel_ns: float, expected: float
) -> None:
    """Kernels within a pass take at least half of what they take alone, however dear their timing was."""
    model = stack(pass_ns={"pass": 1000.0, "weights": 0.5}, layer_overhead_ns=kernel_ns)
    sizes = {"parameters": np.array([70.0, np.nan]), "in_elements": np.array([1.0, 1.0])}
    assert whole_pass_ns(model, np.array([200.0, 400.0]), sizes) == pytest.approx(expected)


def test_a_scaled_stack_is_as_usual_as_undisturbed_and_forgets_what_is_warm() -> None:
    """Loops of a call's cost, and kernels that found their operands in a cache, tell nothing of a board's speed."""
    rows = board(6, noise=0.0)
    model = replace(fit_stack(rows, "x"), usual_ratio=1.6)
    one = rows[rows["kind"] == "relu"].head(1)
    warm = one.assign(mode="warm", median_ns=one["median_ns"] / 50)
    moved = transfer(
        model, pd.concat([one.assign(median_ns=2 * one["median_ns"]), warm, warm.assign(mode="overhead")]), "y"
    )
    assert moved.usual_ratio == 1.0
    relu = dict(zip(model.kinds["relu"].features, model.kinds["relu"].coefficients_ns, strict=True))
    scaled = dict(zip(moved.kinds["relu"].features, moved.kinds["relu"].coefficients_ns, strict=True))
    assert scaled == pytest.approx({name: 2 * ns for name, ns in relu.items()}, rel=0.01)


def read(monkeypatch: pytest.MonkeyPatch, tmp_path, *rows: dict[str, object]) -> list[str]:
    table = pd.DataFrame([{"subject": "layer", "kind": "relu", "reason": "", "source": "agent", **row} for row in rows])
    table = table.reindex(columns=[*table, *({"status", "median_ns", "network", "batch", "layer_index"} - {*table})])
    monkeypatch.setattr(measurements, "read_measurements", lambda *_: table)
    columns = ["network", "batch", "touched_bytes", "weights_bytes"]
    monkeypatch.setattr(
        measurements, "_network_bytes", lambda _: pd.DataFrame(columns=columns).astype({"network": str})
    )
    return measurements.load_measurements(tmp_path, "shelf", "cpu")["network"].tolist()


def test_what_is_unstable_is_used_and_what_failed_or_has_no_time_is_not(monkeypatch, tmp_path) -> None:
    rows = [
        {"network": "ok", "status": "ok", "median_ns": 1.0},
        {"network": "unstable", "status": "unstable", "median_ns": 1.0},
        {"network": "failed", "status": "failed", "median_ns": 1.0},
        {"network": "none", "status": "ok", "median_ns": np.nan},
        {"network": "memory", "status": "ok", "median_ns": np.nan, "subject": "memory"},
        {"network": "untimed", "status": "ok", "median_ns": np.nan, "kind": "tflite_pad"},
    ]
    rows = [{"batch": 1, **row} for row in rows]
    assert read(monkeypatch, tmp_path, *rows) == ["ok", "unstable", "memory", "untimed"]
    failed = [{**rows[2], "reason": reason} for reason in ("rare", "often", "often")]
    with pytest.raises(
        DatasetError, match=r"of 3 measurements on board 'shelf', processor 'cpu', none is usable; most"
    ):
        read(monkeypatch, tmp_path, *failed)
    with pytest.raises(DatasetError, match=r"most often: often; fix that, move results/records/shelf away"):
        read(monkeypatch, tmp_path, *failed)
    with pytest.raises(DatasetError, match=r"none has a time; measure again"):
        read(monkeypatch, tmp_path, rows[3])


def test_layers_of_a_summary_are_those_over_one_percent_with_nine_in_ten_of_their_errors() -> None:
    label = {"stack": "s", "split": "network", "method": "sitecnn", "network": "a", "batch": 1}
    whole = {"error": 0.0, "measured_ms": 1.0, "estimate_ms": 1.0, "low_ms": 1.0, "high_ms": 1.1, "covered": True}
    layers = pd.DataFrame(
        [{**label, **whole, "error": -0.01 * index, "share": 0.011, "modelled": index % 4 > 0} for index in range(101)]
        + [{**label, **whole, "error": 9.0, "share": 0.01, "modelled": False}]
    )
    row = summarise(pd.DataFrame([{**label, **whole, "modelled_time_fraction": 0.5}]), layers).iloc[0]
    assert (row.layer_median_error, row.layer_90_error) == pytest.approx((0.5, 0.9))
    assert (row.layers_modelled, row.modelled_time_fraction) == pytest.approx((75 / 101, 0.5))
