"""What a process takes for a network, fitted on made-up stacks whose factors are known."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.evaluate import evaluate
from sitecnn.models.memory import (
    ONNXRUNTIME_FACTORS,
    SESSION_BYTES,
    estimated_bytes,
    fit_memory,
    measured_memory,
    stack_memory,
)

MIB = 2**20
STACK = "onnxruntime-1.32.0+cpu+nchwc-16+fp32+1-threads+clock-unknown"
TRUTH = {"base": 70 * MIB, "weights": 1.05, "activations": 1.2, "kernels": 0.03 * MIB}


def made_rows(count: int, stack: str = STACK, noise: float = 0.0) -> pd.DataFrame:
    """A memory row for each of `count` networks of a stack that takes what TRUTH says."""
    random = np.random.default_rng(3)
    weights, activations = (random.uniform(2, 200, count) * MIB for _ in range(2))
    kernels = random.integers(10, 500, count)
    total = TRUTH["base"] + 1.05 * weights + 1.2 * activations + TRUTH["kernels"] * kernels
    nothing = dict.fromkeys(("gpu_total_bytes", "gpu_base_bytes", "touched_bytes", "weights_bytes"), np.nan)
    common = {"stack": stack, "processor": "cpu", "subject": "memory", "batch": 1, "base_bytes": 64 * MIB, **nothing}
    return pd.DataFrame(
        {
            "network": [f"net-{number}" for number in range(count)],
            "engine_weights_bytes": weights.round(),
            "engine_activations_bytes": activations.round(),
            "engine_kernels": kernels,
            "total_bytes": (total * (1 + noise * random.standard_normal(count))).round(),
        }
    ).assign(**common)


def test_many_networks_tell_the_factors() -> None:
    measured = measured_memory(made_rows(40), "cpu")
    base, factors = fit_memory(measured, STACK)
    # Drawn to what is known of other stacks, but little by so many; all kernels together are a hundredth of these.
    assert {"base": base, **factors} == pytest.approx(TRUTH, rel=0.1)
    assert estimated_bytes(measured, base, factors) == pytest.approx(measured["total_bytes"], rel=0.01)


def test_no_network_at_all_leaves_what_is_known_of_other_stacks() -> None:
    rows = made_rows(2).assign(engine_weights_bytes=np.nan)
    base, factors = stack_memory(rows, "cpu", STACK)
    assert base == 64 * MIB + SESSION_BYTES
    assert factors == pytest.approx(ONNXRUNTIME_FACTORS)


def test_one_network_moves_the_prior_and_is_met() -> None:
    measured = measured_memory(made_rows(1), "cpu")
    base, factors = fit_memory(measured, STACK)
    assert estimated_bytes(measured, base, factors) == pytest.approx(measured["total_bytes"], rel=0.01)
    assert factors["weights"] == pytest.approx(ONNXRUNTIME_FACTORS["weights"], abs=0.1)


def test_without_any_memory_there_is_neither_base_nor_factor() -> None:
    assert stack_memory(made_rows(1).assign(subject="layer"), "cpu", STACK) == (0, {})


def test_caffes_base_is_the_median_of_what_a_pass_does_not_touch() -> None:
    rows = made_rows(3, "caffe-1+cpu+1-threads").assign(total_bytes=[100.0, 130.0, 150.0], touched_bytes=[90, 100, 110])
    assert stack_memory(rows, "cpu", "caffe-1+cpu+1-threads") == (30, {})


def test_both_engines_of_a_processor_are_evaluated() -> None:
    caffe = made_rows(3, "caffe-1+cpu+1-threads").assign(touched_bytes=50 * MIB)
    rows = pd.concat([made_rows(3), caffe], ignore_index=True)
    memory = evaluate(rows.assign(median_ns=0.0, status="ok", threads=1, layer=None, mode=None), 0.9).memory
    assert memory.dropna(subset="error").groupby("stack").size().to_dict() == {STACK: 3, "caffe-1+cpu+1-threads": 3}


def test_a_network_is_estimated_without_itself() -> None:
    rows = made_rows(12, noise=0.01).assign(median_ns=0.0, status="ok", threads=1, layer=None, mode=None)
    before = evaluate(rows, 0.9).memory.set_index("network")
    assert before["error"].abs().median() < 0.02
    changed = rows.assign(total_bytes=rows["total_bytes"].mask(rows["network"] == "net-3", rows["total_bytes"] * 3))
    after = evaluate(changed, 0.9).memory.set_index("network")
    assert after.loc["net-3", "estimate_bytes"] == before.loc["net-3", "estimate_bytes"]
    assert after.loc["net-4", "estimate_bytes"] != before.loc["net-4", "estimate_bytes"]


def test_a_gpus_part_is_added_where_it_was_seen_apart_and_weights_stand_there_twice() -> None:
    rows = made_rows(2, "caffe-1+cuda").assign(total_bytes=[100.0, 200.0], touched_bytes=[60.0, 70.0])
    rows = rows.assign(weights_bytes=[5.0, 6.0], gpu_total_bytes=[50.0, np.nan], gpu_base_bytes=[20.0, np.nan])
    on_gpu, on_cpu = (measured_memory(rows, processor) for processor in ("gpu", "cpu"))
    assert on_gpu["total_bytes"].tolist() == on_cpu["total_bytes"].tolist() == [130.0, 200.0]
    assert on_gpu["network_bytes"].tolist() == [65.0, 76.0] and on_cpu["network_bytes"].tolist() == [60.0, 70.0]


def test_a_network_that_was_measured_again_counts_once_with_its_median_at_each_batch() -> None:
    rows = pd.concat([made_rows(1).assign(total_bytes=total) for total in (10.0, 30.0, 80.0, np.nan)])
    measured = measured_memory(pd.concat([rows, rows.assign(batch=2), rows.assign(subject="layer")]), "cpu")
    assert measured[["batch", "total_bytes"]].values.tolist() == [[1, 30.0], [2, 30.0]]


def test_a_base_is_never_less_than_nothing() -> None:
    rows = made_rows(3, "caffe-1+cpu").assign(total_bytes=100.0, touched_bytes=300.0)
    assert stack_memory(rows, "cpu", "caffe-1+cpu") == (0, {})
    assert estimated_bytes(measured_memory(rows, "cpu"), 40, {}).tolist() == [340.0] * 3
