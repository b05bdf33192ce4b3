"""What probes met of the networks' kernels, counted on made-up kernels."""

import numpy as np
import pandas as pd
import pytest

from sitecnn.models.coverage import coverage
from sitecnn.workload.kernels import SIZE_NAMES


def kernel(network: str, kind: str, ns: float = 1e6, stack: str = "s", **sizes: int) -> dict[str, object]:
    named = {"stack": stack, "subject": "layer", "network": network, "kind": kind, "median_ns": ns}
    return dict.fromkeys(SIZE_NAMES, np.nan) | named | sizes


PROBES = [
    kernel("probe-001", "relu", channels=16, height=8),
    kernel("probe-002", "relu", channels=63, height=31),
    kernel("probe-002", "pool", channels=4, pad_h=0),
]


def coverage_by_kind(*others: dict[str, object]) -> dict[str, dict[str, object]]:
    return coverage(pd.DataFrame([*PROBES, *others])).set_index("kind").to_dict("index")


def test_a_kernel_is_inside_if_all_its_sizes_are() -> None:
    kinds = coverage_by_kind(
        kernel("net", "relu", 3e6, channels=16, height=31),
        kernel("net", "relu", 1e6, channels=127, height=8),
        kernel("net", "relu", 1e6, channels=16, height=3),
        kernel("net", "relu", 4e6, channels=63, height=8),
    )
    assert set(kinds) == {"relu"}
    one = kinds["relu"]
    assert (one["probe_kernels"], one["kernels"], one["inside"]) == (2, 4, 2)
    assert (one["ms"], one["inside_ms"]) == (9.0, 7.0)
    # 128 ÷ 64 is less than 9 ÷ 4: the small image is farther outside.
    assert (one["farthest"], one["farthest_factor"]) == ("height", pytest.approx(9 / 4))


def test_a_size_that_the_probes_have_only_as_zero_is_outside_where_it_is_more() -> None:
    assert coverage_by_kind(kernel("net", "pool", channels=4, pad_h=1))["pool"]["farthest"] == "pad_h"
    assert coverage_by_kind(kernel("net", "pool", channels=4, pad_h=0))["pool"]["inside"] == 1


def test_passes_of_more_bytes_than_any_last_cache_holds_are_alike() -> None:
    small, large, larger = ((100 << 10) << power for power in (0, 10, 13))
    probes = [kernel(f"probe-00{number}", "gelu", pass_bytes=size) for number, size in enumerate((small, large))]
    nets = [kernel("net", "gelu", pass_bytes=size) for size in (larger, small >> 1)]
    assert coverage(pd.DataFrame([*probes, *nets]))["inside"].tolist() == [1]


def test_a_kind_that_no_probe_has_is_wholly_outside() -> None:
    one = coverage_by_kind(kernel("net", "gelu", channels=16))["gelu"]
    assert (one["probe_kernels"], one["inside"], one["farthest"]) == (0, 0, "")


def test_stacks_are_counted_by_their_own_probes_and_none_without_any() -> None:
    kinds = coverage(pd.DataFrame([*PROBES, kernel("net", "relu", stack="other", channels=16, height=8)]))
    assert kinds.empty
    assert coverage(pd.DataFrame([kernel("net", "relu")])).empty
    assert coverage(pd.DataFrame([{**kernel("net", "relu"), "subject": "memory"}])).empty
