"""Every sentence of the report that has a number is held against the tables and files that it is made of.

A sentence that no pattern here knows is a failure: it has no test.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest

from tests.report.datasets import half_failed, imported, toy
from tests.report.fixtures import TILE
from tests.report.page import Report

STANDING = (
    r".* \(the poster's Table \d\)|The poster prints 168 MB of workspace .*|Published: .* 2017\.",
    r"The poster counts the im2col matrix .*|bench cpu: time per call|1\.00 is proportional; .*|A step: the p .*",
    r"The same multiplication throughout, warm; bars are the median's 95 % intervals\.",
    r"Half of the 95 % order-statistic interval of the median, relative to it\.",
    r"Two-sided Mann–Whitney .*|Wilcoxon's .*|One network held out at a time; bars mark medians\.",
    r"Layers over 1 % of their network's time; bars mark medians\.",
    r"The same board differs by a factor of two .*",
    r".*: the model and simpler methods, on networks that none of them saw",
)
"""What is said of the methods, whatever the data; the poster's own figures have their test among the numbers."""


@pytest.fixture(scope="module", params=[toy, half_failed, imported], ids=lambda make_one: make_one.__name__)
def report(request, tmp_path_factory):
    return Report(request.param(tmp_path_factory.mktemp(request.param.__name__)))


CHECKS = []


def says(pattern):
    """The function checks sentences of this pattern: it gets the report and the groups."""

    def register(check):
        CHECKS.append((re.compile(pattern), check))
        return check

    return register


def slug(place):
    return place.replace(" ", "-")


def of(frame, place):
    board, processor = place.split(" ")
    return frame[(frame["board"] == board) & (frame["processor"] == processor)]


def close(text, value):
    """Whether a number as written is the value, rounded."""
    text = text.replace(",", "")
    decimals = len(text.partition(".")[2])
    assert float(text) == pytest.approx(value, abs=0.5001 * 10**-decimals)


def test_every_sentence_with_a_number_is_true(report):
    wrong = []
    for sentence in report.sentences:
        if not re.search(r"\d", sentence) or any(re.fullmatch(one, sentence) for one in STANDING):
            continue
        checks = [(found, check) for pattern, check in CHECKS if (found := pattern.fullmatch(sentence))]
        if len(checks) != 1:
            wrong.append(f"{len(checks)} tests know how to check: {sentence}")
        for found, check in checks:
            try:
                check(report, *found.groups())
            except AssertionError as error:
                wrong.append(f"{sentence}: {str(error).splitlines()[0]}")
    assert wrong == []


@says(
    r"(\d+) networks? on (\d+) board, processor and engine(?: combinations)?; (\d+) of (\d+) times w\w+ measured, "
    r"the others are estimates; the fastest for (\d+) of (\d+) is (.*)\."
)
def _(report, networks, columns, measured, cells, won, of_networks, winner):
    rows = report.table("answer")
    assert int(networks) == int(of_networks) == rows["network"].nunique()
    assert int(columns) == rows["label"].nunique()
    assert (int(measured), int(cells)) == (rows["measured_ms"].notna().sum(), len(rows))
    winners = [part.sort_values("ms")["label"].iloc[0] for _, part in rows.groupby("network")]
    assert int(won) == winners.count(winner) == max(map(winners.count, winners))


@says(r"Milliseconds for a pass of (\d+) images?, with the (\d+) % interval .*")
def _(report, images, level):
    assert (int(images), int(level)) == (report.table("answer")["batch"].iloc[0], 90)


@says(r"From (\S+) ms \((.*) on (.*)\) to (\S+) ms \((.*) on (.*)\)")
def _(report, *ends):
    rows = report.table("answer").sort_values("ms")
    for (ms, network, board), row in zip((ends[:3], ends[3:]), (rows.iloc[0], rows.iloc[-1]), strict=True):
        close(ms, row["ms"])
        assert (network, board) == (row["network"], row["board"])


@says(r"(\S+) of (\S+) measurements on (.*) failed: .*")
def _(report, failed, count, place):
    rows = of(report.table("cost"), place)
    assert int(count.replace(",", "")) == rows["measurements"].sum()
    assert (
        int(failed) == rows.loc[rows["status"] == "failed", "measurements"].sum() >= 0.05 * rows["measurements"].sum()
    )


GROUPS = {"convolution": "conv", "fully connected": "fc", "pooling": "pool", "ReLU": "relu", "other": "other"}


@says(r"What takes most of a pass: (.*) of (\d+); (.*) layers take (\S+) % in the median\.")
def _(report, parts, count, first, share):
    shares = report.table("time")[[f"{group}_share" for group in GROUPS.values()]].dropna(how="all")
    largest = shares.idxmax(axis=1).tolist()
    said = re.findall(r"(convolution|fully connected|pooling|ReLU|other) layers in (\d+)", parts)
    assert {f"{GROUPS[name]}_share": int(number) for name, number in said} == {
        name: largest.count(name) for name in largest
    }
    assert int(count) == len(shares)
    close(share, 100 * shares[f"{GROUPS[first]}_share"].median())


@says(r"(\S+ \S+): convolutions take (\d+) % of a pass(?: in the median of (\d+))?")
def _(report, place, share, count):
    rows = of(report.table("time"), place)
    assert int(count or 1) == len(rows)
    close(share, 100 * rows["conv_share"].median())


@says(r"(\S+) layers on (.*), one by one")
def _(report, count, place):
    assert int(count.replace(",", "")) == len(report.table(f"layers-{slug(place)}"))


@says(r"The largest part is (.*) of (\d+) networks?")
def _(report, parts, count):
    rows = report.table("memory")
    largest = rows[["weights_bytes", "data_bytes", "workspace_bytes"]].idxmax(axis=1).tolist()
    said = re.findall(r"(weights|data|workspace) for (\d+)", parts)
    assert {f"{name}_bytes": int(number) for name, number in said} == {name: largest.count(name) for name in largest}
    assert int(count) == len(rows)


@says(r"Predicted memory is within (\S+) % of the measured for every network that was measured\.")
def _(report, worst):
    rows = report.table("memory-measured")
    close(worst, 100 * (rows["computed_bytes"] / rows["total_bytes"] - 1).abs().max())


@says(r"(.*) has the heaviest weights, (\S+) MiB\.")
def _(report, network, weights):
    row = report.table("memory").sort_values("weights_bytes").iloc[-1]
    assert network == row["network"]
    close(weights, row["weights_bytes"] / 2**20)


@says(
    r"(?:The largest sure gain is (\S+) ms an image: (.*), for (.*) on (.*)\. )?"
    r"Splitting a network between CPU and GPU pays in (\d+) of (\d+) cases? looked at\."
)
def _(report, gain, change, network, board, worth, cases):
    placed = report.table("placement")
    assert (int(worth), int(cases)) == (placed["worthwhile"].sum(), len(placed))
    sure = report.table("advice").query("gain_low_ms > 0")
    assert len(sure) == 0 if gain is None else len(sure) > 0
    if gain is not None:
        best = sure.sort_values("gain_ms").iloc[-1]
        close(gain, best["gain_ms"])
        assert (change, network, board) == (best["change"], best["network"], best["board"])


@says(r"Estimated, the (\d+) largest for each network; .*")
def _(report, most):
    sizes = report.table("advice").groupby(["network", "board", "processor"]).size()
    assert sizes.max() == int(most)


@says(
    r"Networks that a model had never seen were estimated with a median error of (\S+) %, (\S+) % at worst; "
    r"(\d+) of (\d+) intervals contained the measured time\."
)
def _(report, median, worst, held, count):
    rows = report.table("networks")
    errors = (rows["estimate_ms"] / rows["measured_ms"] - 1).abs()
    close(median, 100 * errors.median())
    close(worst, 100 * errors.max())
    inside = (rows["low_ms"] <= rows["measured_ms"]) & (rows["measured_ms"] <= rows["high_ms"])
    assert (int(held), int(count)) == (inside.sum(), len(rows))


@says(r"(\d+) of (\d+) intervals contain what was measured(?:; the (\d+) largest errors)?")
def _(report, held, count, most):
    rows = report.table("networks")
    assert (int(held), int(count)) == (rows["covered"].sum(), len(rows))
    assert (most is None) == (len(rows) <= 40)


@says(r"Outside their 90 % intervals: (.*)\.")
def _(report, names):
    missed = report.table("networks").query("not covered")
    assert set(missed["network"]) == {one.split(" on ")[0] for one in re.split(r", (?!batch)| and ", names)}


@says(r"(\S+ \S+): the model is off by (\S+) % in the median, the best simpler method, (.*), by (\S+) %")
def _(report, place, ours, method, theirs):
    rows = report.evaluated("baselines", slug(place)).query("split == 'network'")
    medians = rows["error"].abs().groupby(rows["method"]).median()
    close(ours, 100 * medians.pop("sitecnn"))
    close(theirs, 100 * medians.min())
    assert medians[method] == medians.min()


def held_out_layers(report, place):
    return report.evaluated("layers", slug(place)).query("share > 0.01 and measured_ms > 0 and estimate_ms > 0")


@says(r"(\S+ \S+): (\d+) % of the layers that matter are estimated to within 10 %")
def _(report, place, share):
    rows = held_out_layers(report, place)
    close(share, 100 * ((rows["estimate_ms"] / rows["measured_ms"] - 1).abs() <= 0.1).mean())


@says(r"(\S+ \S+): (.*) layers are furthest off, (\S+) % in the median")
def _(report, place, kind, error):
    rows = held_out_layers(report, place)
    medians = rows["error"].groupby(rows["kind"].str.replace("_", " ")).median()
    close(error, 100 * medians[kind])
    assert abs(medians[kind]) == medians.abs().max()


@says(r"(\S+) layers? beyond what the model had seen: off by (\S+) % in the median(?:, the others by (\S+) %)?")
def _(report, count, beyond, within):
    rows = pd.concat(
        [pd.read_parquet(file).assign(of=file) for file in report.root.glob("results/evaluation/*/layers.parquet")]
    ).drop_duplicates(["of", "stack", "network", "batch", "layer", "measured_ms", "estimate_ms"])
    errors = rows["error"].abs().groupby(rows["extrapolated"].astype(bool))
    assert int(count.replace(",", "")) == errors.size()[True]
    close(beyond, 100 * errors.median()[True])
    if within:
        close(within, 100 * errors.median()[False])


@says(r"The model of (.*): (\d+) coefficients")
def _(report, place, count):
    model = json.loads((report.root / "results" / "models" / f"{slug(place)}.json").read_text())
    kinds = [kind for stack in model["stacks"] for kind in stack["kinds"].values()]
    assert (
        int(count) == len(report.table(f"model-{slug(place)}")) == sum(len(kind["coefficients_ns"]) for kind in kinds)
    )


@says(r"(\S+ \S+) reaches (\S+) GFLOP/s at best\.")
def _(report, place, best):
    rows = report.table(f"gemm-{slug(place)}")
    close(best, (2 * rows["m"] * rows["n"] * rows["k"] / rows["ms"] / 1e6).max())


@says(r"(\S+ \S+): time grows with (.*)")
def _(report, place, growth):
    rows = report.table(f"gemm-{slug(place)}").query("k > 1")
    for name, exponent in re.findall(r"(\w) to the power of (\S+?)(?:,| and|$)", growth):
        others = [size for size in "mnk" if size != name]
        lines = [part for _, part in rows.groupby([*others, "trans_a", "trans_b", "accumulate"])]
        slopes = [np.polyfit(np.log(one[name]), np.log(one["ms"]), 1)[0] for one in lines if one[name].nunique() >= 3]
        assert min(slopes) - 0.005 <= float(exponent) <= max(slopes) + 0.005


@says(r"(\S+ \S+): time rises in steps of (\d+) in m(?:, no steps show in n)?")
def _(report, place, step):
    assert int(step) == TILE


@says(r"(\S+ \S+): (\d+) % of the networks' multiplications run at half the best rate or more")
def _(report, place, share):
    rows = report.table(f"gemm-{slug(place)}")
    shown = rows[rows["use"] == "in a network"]
    close(share, 100 * (shown["gflops"] >= rows["gflops"].max() / 2).mean())


@says(r"Dashed: the best rate seen, (\S+) GFLOP/s(?:, and the best that kernels stream from memory, \S+ GB/s)?.*")
def _(report, best):
    close(
        best, max(report.table(file.stem)["gflops"].max() for file in report.root.glob("results/report/tables/gemm-*"))
    )


@says(r"(\S+ \S+): with m = 1 the rate is (\S+), from m = 64 on (\S+) GFLOP/s")
def _(report, place, small, large):
    rows = report.table(f"gemm-{slug(place)}").query("k > 1")
    close(small, rows.query("m == 1")["gflops"].median())
    close(large, rows.query("m >= 64")["gflops"].median())


@says(r"(\d+) matrix multiplications? on (.*)")
def _(report, count, place):
    assert int(count) == len(report.table(f"gemm-{slug(place)}"))


@says(
    r"(\S+) measurements(?: in (\S+) minutes of board time)?, (\d+) failed, (\d+) unstable"
    r"(?:; half the medians are known to within ±(\S+) %)?\."
)
def _(report, count, minutes, failed, unstable, precise):
    cost = report.table("cost")
    by_status = cost.groupby("status")["measurements"].sum()
    assert int(count.replace(",", "")) == cost["measurements"].sum()
    assert (int(failed), int(unstable)) == (by_status.get("failed", 0), by_status.get("unstable", 0))
    seconds = report.table("runs")["seconds"].sum()
    close(minutes, seconds / 60) if minutes else pytest.approx(0) == seconds
    assert precise is None or 0 < float(precise) < 5  # made-up samples lie within 3 % of their law


@says(r"Next: Nothing was measured on (\S+ \S+): .*")
def _(report, place):
    assert of(report.table("overview"), place)[["networks", "kernels"]].to_numpy().tolist() == [[0, 0]]


@says(r"Next: Failed: (.*); the reasons are in the table below\.")
def _(report, parts):
    overview = report.table("overview")
    for count, place in re.findall(r"(\d+) measurements? on (\S+ \w+)", parts):
        assert int(count) == of(overview, place)["failed"].sum()


@says(r"(\d+) % of the board time was spent in timed calls")
def _(report, share):
    rows = report.table("account")
    spent = rows[[name for name in rows if name.startswith("cost_")]].sum()
    close(share, 100 * spent["cost_timed_s"] / spent.sum())


@says(
    r"(\S+ \S+): waiting for a call costs (\S+) µs beside its own (\S+) µs; shared by (\S+) calls or more it adds less "
    r"than 1 %"
)
def _(report, place, waiting, own, calls):
    rows = report.table(f"synchronising-{slug(place)}")
    for _, row in rows.iterrows():
        law = 1e3 * (float(own) + float(waiting) / row["iterations"])
        assert row["median_ns"] == pytest.approx(law, rel=0.05)
    assert int(calls) == pytest.approx(float(waiting) / (0.01 * float(own)), rel=0.01)


@says(r"(\S+ \S+): (\d+) % of the kernels are known to within ±1 %")
def _(report, place, share):
    board, processor = place.split(" ")
    files = report.root / "results" / "dataset"
    rows = pd.concat(pd.read_parquet(one) for one in files.glob(f"**/board={board}/processor={processor}/*.parquet"))
    rows = rows[(rows["subject"] == "kernel") & (rows["status"] != "failed") & (rows["mode"] != "overhead")]
    half = (rows["high_ns"] - rows["low_ns"]) / 2 / rows["median_ns"]
    close(share, 100 * (half <= 0.01).mean())


@says(r"(\S+ \S+): rounds lay (\S+) % to (\S+) % above the least")
def _(report, place, low, high):
    assert 0 <= float(low) <= float(high) < 10  # made-up passes spread by 3 %


@says(r"(\d+) ways? of running (\d+) networks? side by side\.")
def _(report, ways, networks):
    rows = report.table("boards")
    assert (int(ways), int(networks)) == (len(rows.columns) - 2 - ("ratio" in rows), rows["network"].nunique())


@says(r"(.*) is the fastest in (\d+) of (\d+) passes")
def _(report, way, won, passes):
    rows = report.table("boards").drop(columns=["network", "batch", "ratio"], errors="ignore")
    winners = rows.idxmin(axis=1).tolist()
    assert (int(won), int(passes)) == (winners.count(way), len(rows))


@says(r"Nothing to compare .*|Only \S+ \S+ was measured; .*")
def _(report):
    assert not list(report.root.glob("results/report/tables/change-*.csv"))


@says(r"VGGNet was not measured here; the poster's fastest pass took 175 ms\.")
def _(report):
    assert "vgg16" not in set(report.table("time")["network"])


@says(r"(\d+) runs? made the measurements; this report was written by SiteCNN .*")
def _(report, count):
    assert int(count) == len(report.table("runs"))
