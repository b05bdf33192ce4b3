"""What a model is told by networks that were left out, against probability's own formulas."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import invgamma, norm

import sitecnn
from sitecnn.errors import ModelError
from sitecnn.models import calibrate
from sitecnn.models.calibrate import (
    LEVEL,
    NORMAL,
    HeldOut,
    calibrated,
    fit_board,
    has_kernels_or_layers,
    held_out_cases,
    with_base,
)
from sitecnn.models.fit import fit_stack
from tests.models.fixtures import board

FLAT = SimpleNamespace(ns=np.array([1.0]), sd_ns=np.array([0.0]))


def case(name: str, error: float, sd: float = 0.0, layers: object = FLAT, **rows: object) -> HeldOut:
    """A network measured exp(error) times as slow as estimated, whose estimate has a relative standard error."""
    table = pd.DataFrame({"median_ns": [1.0], **rows})
    estimate = SimpleNamespace(forward_ns=1e6, forward_sd_ns=sd * 1e6, layers=layers)
    return HeldOut(name, 1, table, 1e6 * float(np.exp(error)), estimate)  # type: ignore[arg-type]


@pytest.fixture
def unexplained(monkeypatch: pytest.MonkeyPatch):
    """(of layers, of networks) that a stack is given of cases that were made up."""

    def of(cases: list[HeldOut]) -> tuple[float, float]:
        monkeypatch.setattr(calibrate, "held_out_cases", lambda *_: iter(cases))
        sd = calibrated(board(1, networks=1), "x").unexplained_sd
        return sd["layer"], sd["network"]

    return of


def test_levels_are_those_of_a_normal_distribution() -> None:
    assert LEVEL == 0.9
    assert norm.cdf(NORMAL) - norm.cdf(-NORMAL) == pytest.approx(0.9)


@pytest.mark.parametrize("networks", [1, 2, 5, 8])
def test_of_few_networks_an_interval_holds_what_their_variance_and_other_boards_say(unexplained, networks: int) -> None:
    """Normal errors of an unknown variance, two of 3.5 % seen elsewhere: all variances' intervals, by integration."""
    errors = [0.02 * (index + 1) for index in range(networks)]
    _, sd = unexplained([case(f"net{index}", error, sd=0.01) for index, error in enumerate(errors)])
    # What standard errors explain is no excess; with all networks it is (n - 1)/n of what leaving out one shows.
    excess = sum(error**2 - 0.01**2 for error in errors) * (networks - 1) / networks
    freedom = 2 + networks
    scale = (2 * 0.035**2 + excess) / freedom
    variance = invgamma(freedom / 2, scale=freedom * scale / 2)
    half = NORMAL * sd
    missed, _ = quad(lambda v: norm.sf(half / np.sqrt(v)) * variance.pdf(v), 0, 2000 * scale, points=[scale], limit=500)
    assert 2 * missed == pytest.approx(1 - LEVEL, abs=1e-4)


def test_batches_of_a_network_are_one_error_of_their_mean_square(unexplained) -> None:
    _, batches = unexplained([case("a", 0.03), case("a", -0.05), case("b", 0.01)])
    _, one = unexplained([case("a", np.sqrt((0.03**2 + 0.05**2) / 2)), case("b", -0.01)])
    assert batches == pytest.approx(one)
    # A standard error beyond the error leaves no excess, and of one of more than all nothing more.
    assert unexplained([case("a", 0.02, sd=0.5)] * 2)[1] == unexplained([case("a", 0.0)] * 2)[1]


def test_from_nine_networks_on_the_rank_is_taken(unexplained) -> None:
    errors = [0.01 * (index + 1) for index in range(9)]
    assert unexplained([case(f"net{i}", error) for i, error in enumerate(errors)])[1] * NORMAL == pytest.approx(0.09)


def test_layers_without_a_time_have_no_vote_and_unknown_coefficients_no_more_than_all(unexplained) -> None:
    layers = SimpleNamespace(ns=np.array([100.0, 0.0, 50.0, 10.0]), sd_ns=np.array([0.0, 5.0, 0.0, 1000.0]))
    times = [100 * np.exp(0.3), 700.0, 0.0, 10 * np.exp(2 * NORMAL)]
    sd, _ = unexplained([replace(case("net", 0.0, layers=layers), layers=pd.DataFrame({"median_ns": times}))])
    # The last layer has 27/162 of the time, more than a tenth: what it needs beyond a standard error of 1 counts.
    assert sd == pytest.approx(np.sqrt(2.0**2 - 1.0**2))


def test_what_rounds_share_adds_as_a_square(unexplained, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case(f"net{index}", 0.1, sd=0.01) for index in range(9)]
    alone = unexplained(cases)
    monkeypatch.setattr(calibrate, "rounds_sd", lambda _: 0.03)
    assert unexplained(cases) == pytest.approx(np.sqrt(np.square(alone) + 0.03**2))


def test_layers_of_all_networks_share_ninety_percent_of_their_votes(unexplained) -> None:
    """Each network has one vote, however long it takes: of two, a tenth of all votes is a fifth of one."""

    def network(name: str, error: float, scale: float) -> HeldOut:
        shares = np.array([0.75, 0.25]) * scale
        layers = SimpleNamespace(ns=shares * np.exp([-0.01, -error]), sd_ns=np.zeros(2))
        return replace(case(name, 0.0, layers=layers), layers=pd.DataFrame({"median_ns": shares}))

    sd, _ = unexplained([network("a", 0.4, 1e3), network("b", 0.1, 1e9)])
    assert sd * NORMAL == pytest.approx(0.4)


def test_each_network_is_left_out_once_and_never_with_its_own_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty networks sixteen folds are made, some of two."""
    rows, fitted = board(3, networks=20, layers=3), []
    rows = rows[(rows["kind"] == "relu") | (rows["subject"] == "forward")]

    def fit(part: pd.DataFrame, stack: str, *more: object):
        fitted.append(set(part["network"]))
        return fit_stack(part, stack, *more)

    monkeypatch.setattr(calibrate, "fit_stack", fit)
    cases = list(held_out_cases(rows, "x"))
    names = set(rows["network"])
    assert sorted(one.network for one in cases) == sorted(names) and {one.batch for one in cases} == {1}
    assert len(fitted) == 16
    left_out = [names - known for known in fitted]
    assert sorted(name for fold in left_out for name in fold) == sorted(names)
    assert sorted(map(len, left_out)) == [1] * 12 + [2] * 4
    for one in cases:
        own = rows[(rows["network"] == one.network) & (rows["subject"] == "layer")]
        assert one.layers["median_ns"].tolist() == own["median_ns"].tolist()
        whole = rows[(rows["network"] == one.network) & (rows["subject"] == "forward")]
        assert one.measured_forward_ns == whole["median_ns"].item()


def test_a_board_is_its_stacks_in_order_and_where_they_come_from() -> None:
    rows = board(1, networks=2)
    shelf = fit_board(pd.concat([rows.assign(stack="b"), rows.assign(stack="a")]), "shelf", "gpu", {"from": "here"})
    assert (shelf.board, shelf.processor, [one.stack for one in shelf.stacks]) == ("shelf", "gpu", ["a", "b"])
    assert shelf.provenance == {"sitecnn": sitecnn.__version__, "from": "here"}


def test_a_stack_of_totals_alone_is_the_first_one_scaled_to_them() -> None:
    rows = board(1, networks=2, noise=0.0)
    totals = rows[rows["subject"] == "layer"].assign(subject="type", stack="z", median_ns=1.0)
    assert has_kernels_or_layers(rows) and not has_kernels_or_layers(totals)
    with pytest.raises(ModelError) as error:
        fit_board(totals, "shelf", "cpu", {})
    assert str(error.value) == (
        "board 'shelf', processor 'cpu': of no stack kernels or layers were measured, only totals;"
        " scale the model of a similar board: --like BOARD"
    )


def test_stacks_without_memory_take_the_median_of_the_others() -> None:
    one = fit_stack(board(1, networks=1), "x")
    stacks = tuple(replace(one, base_bytes=count) for count in (0, 100, 300, 700, 0))
    assert [stack.base_bytes for stack in with_base(stacks)] == [300, 100, 300, 700, 300]
    assert [stack.base_bytes for stack in with_base(stacks[:1])] == [0]


def test_what_is_usual_is_kept_from_the_rounds_before_only_probes_are_fitted() -> None:
    rows = board(1, networks=2).replace({"network": {"net0": "probe-001"}})
    usual = rows["median_ns"] * np.where(rows["network"] == "net1", 1.4, 3.0)
    model = calibrated(rows.assign(usual_ns=usual), "x")
    assert (model.usual_ratio, model.networks) == (pytest.approx(1.4), ("probe-001",))
