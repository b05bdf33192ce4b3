"""What each sentence of the report that has a number says, and how it is checked against tables and files."""

import re

import numpy as np
import pandas as pd
import pytest

from tests.report.fixtures import TILE
from tests.report.page import KINDS

STANDING = (
    r".* \(the poster's Table \d\)|The poster prints 168 MB of workspace .*|Published: .* 2017\.",
    r"The poster counts the im2col matrix .*|A power of 1\.00 is proportional; .*|A step is the p .*",
    r"The same multiplication throughout, warm; bars are the median's 95 % intervals\.",
    r"Half of the 95 % order-statistic interval of the median, relative to it\.",
    r"Two-sided Mann–Whitney .*|Wilcoxon's .*|One network held out at a time; bars mark medians\.(?: What .* edge\.)?",
    r"Layers over 1 % of their network's time; bars mark medians\.(?: What is farther off is drawn at the edge\.)?",
    r"Published times of one board differ by a factor of two .*",
)
"""What is said of the methods, whatever the data; the poster's own figures have their test among the numbers."""


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


def dataset(report, place="*"):
    """The measurements of a board's processor or of all."""
    board, _, processor = place.partition(" ")
    files = (report.root / "results" / "dataset").glob(f"**/board={board}/processor={processor or '*'}/*.parquet")
    return pd.concat(map(pd.read_parquet, files))


def is_standing(sentence):
    return not re.search(r"\d", sentence) or any(re.fullmatch(one, sentence) for one in STANDING)


def fault(report, sentence):
    """What is wrong with a sentence, empty if it is true."""
    checks = [(match, check) for pattern, check in CHECKS if (match := pattern.fullmatch(sentence))]
    if len(checks) != 1:
        return f"{len(checks)} tests know how to check: {sentence}"
    ((match, check),) = checks
    try:
        check(report, *match.groups())
    except (AssertionError, KeyError, ValueError, IndexError) as error:
        return f"{sentence}: {str(error).splitlines()[0] if str(error) else 'false'}"
    return ""


@says(
    r"(?:Of your boards, (.*?) is the fastest for (\d+) of (\d+) networks?(?:; o|\. ))?"
    r"(?:O?f all boards, (.*) is the fastest for (\d+) of (\d+) networks?\. )?"
    r"(\d+) of (\d+) times? w\w+ measured, the others are estimates\."
)
def _(report, own_winner, own_won, own_of, winner, won, of_networks, measured, cells):
    rows = report.table("answer")
    assert (int(measured), int(cells)) == (rows["measured_ms"].notna().sum(), len(rows))
    own = rows[rows["board"].isin({"bench", "desk"})]
    assert (winner is None) == (len(own) == len(rows))
    claims = [(own, own_winner or winner, own_won or won, own_of or of_networks)]
    claims += [(rows, winner, won, of_networks)] if winner else []
    for among, name, count, networks in claims:
        winners = [part.sort_values("ms").iloc[0] for _, part in among.groupby("network")]
        names = [f"{row['board']} {row['processor']}" for row in winners]
        assert int(count) == names.count(name) == max(map(names.count, names))
        assert int(networks) == len(names)


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


@says(
    r"(\S.*) layers take most of the time in (\d+) of (\d+) passes that were timed layer by layer(, .*)?\. "
    r"(.*) layers take (\S+) % of a pass in the median\."
)
def _(report, first, leading, count, others, again, share):
    shares = report.table("time")[[f"{group}_share" for group in GROUPS.values()]].dropna(how="all")
    largest = shares.idxmax(axis=1).tolist()
    groups = {name.lower(): group for name, group in GROUPS.items()}
    claims = {first.lower(): leading} | dict(re.findall(r"([a-zA-Z]+(?: [a-z]+)?) layers in (\d+)", others or ""))
    assert {f"{groups[name.lower()]}_share": int(number) for name, number in claims.items()} == {
        name: largest.count(name) for name in largest
    }
    assert largest.count(f"{groups[first.lower()]}_share") == max(map(largest.count, largest))
    assert int(count) == len(shares)
    assert first == again
    close(share, 100 * shares[f"{groups[first.lower()]}_share"].median())


@says(r"(\S+ \S+): convolutions take (\d+) % of a pass(?: in the median of (\d+))?")
def _(report, place, share, count):
    rows = of(report.table("time"), place)
    assert int(count or 1) == len(rows)
    close(share, 100 * rows["conv_share"].median())


@says(r"(.*): ((?:(?:, )?(?:\S+ (?:cpu|gpu)|batch \d+))+)")
def _(report, title, common):
    """A caption with what all rows of its table have in common."""
    (name,) = (name for name, table in report.page.items() if table.caption == f"{title}: {common}")
    table = report.table(name)
    for place in re.findall(r"\S+ (?:cpu|gpu)", common):
        assert set(table["board"] + " " + table["processor"]) == {place}
    for batch in re.findall(r"batch (\d+)", common):
        assert set(table["batch"]) == {int(batch)}
    if counted := re.match(
        r"(\S+) (?:layers?, one by one|matrix multiplications?)|The model's (\S+) coefficients", title
    ):
        assert int((counted[1] or counted[2]).replace(",", "")) == len(table)
    else:
        assert not re.search(r"\d", title) or re.fullmatch(r".* \(the poster's Table \d\)", title)


@says(r"The largest part is (.*) of (\d+) networks?")
def _(report, parts, count):
    rows = report.table("memory")
    once = rows.assign(data_bytes=rows["touched_bytes"] - rows["weights_bytes"] - rows["workspace_bytes"])
    largest = once[["weights_bytes", "data_bytes", "workspace_bytes"]].idxmax(axis=1).tolist()
    said = re.findall(r"(weights|data|workspace) for (\d+)", parts)
    assert {f"{name}_bytes": int(number) for name, number in said} == {name: largest.count(name) for name in largest}
    assert int(count) == len(rows)


@says(r"Predicted memory is off by (\S+) % at most, over the processes of (\d+) networks?\.")
def _(report, worst, networks):
    rows = report.table("memory-measured")
    assert int(networks) == rows["network"].nunique()
    close(worst, 100 * (rows["computed_bytes"] / rows["total_bytes"] - 1).abs().max())


@says(r"(.*) has the heaviest weights, (\S+) MiB\.")
def _(report, network, weights):
    row = report.table("memory").sort_values("weights_bytes").iloc[-1]
    assert network == row["network"]
    close(weights, row["weights_bytes"] / 2**20)


@says(
    r"(?:The largest certain gain is (\S+) ms per image: (.*), for (.*) on (.*)\. )?"
    r"Splitting a network between CPU and GPU pays in (\d+) of (\d+) cases?\."
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
    r"Estimates of networks that the model had not seen are off by (\S+) % in the median and by (\S+) % at most; "
    r"(\d+) of (\d+) intervals contain the measured time\."
)
def _(report, median, worst, held, count):
    rows = report.table("networks")
    errors = (rows["estimate_ms"] / rows["measured_ms"] - 1).abs()
    close(median, 100 * errors.median())
    close(worst, 100 * errors.max())
    inside = (rows["low_ms"] <= rows["measured_ms"]) & (rows["measured_ms"] <= rows["high_ms"])
    assert (int(held), int(count)) == (inside.sum(), len(rows))


@says(r"(\d+) of (\d+) intervals contain the measured time(?:; the (\d+) largest errors)?")
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
    medians = medians.drop("sitecnn, priors of other boards", errors="ignore")  # no simpler method
    close(theirs, 100 * medians.min())
    assert medians[method] == medians.min()


def held_out_layers(report, place):
    return report.evaluated("layers", slug(place)).query("share > 0.01 and measured_ms > 0 and estimate_ms > 0")


@says(r"(\S+ \S+): (\d+) % of the layers over 1 % of a network are estimated within 10 %")
def _(report, place, share):
    rows = held_out_layers(report, place)
    close(share, 100 * ((rows["estimate_ms"] / rows["measured_ms"] - 1).abs() <= 0.1).mean())


@says(r"(\S+ \S+): (.*) layers have the largest error, (\S+) % in the median")
def _(report, place, kind, error):
    rows = held_out_layers(report, place)
    medians = rows["error"].groupby(rows["kind"].map(KINDS)).median()
    close(error, 100 * medians[kind])
    assert abs(medians[kind]) == medians.abs().max()


@says(r"(\S+) layers? beyond what the model had seen: off by (\S+) % in the median(?:, the others by (\S+) %)?\.")
def _(report, count, beyond, within):
    rows = pd.concat(
        [pd.read_parquet(file).assign(of=file) for file in report.root.glob("results/evaluation/*/layers.parquet")]
    ).drop_duplicates(["of", "stack", "network", "batch", "layer", "measured_ms", "estimate_ms"])
    errors = rows["error"].abs().groupby(rows["extrapolated"].astype(bool))
    assert int(count.replace(",", "")) == errors.size()[True]
    close(beyond, 100 * errors.median()[True])
    if within:
        close(within, 100 * errors.median()[False])


@says(r"(\S+ \S+) reaches (\S+) GFLOP/s\.")
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


@says(r"(\S+ \S+): multiplications reach up to (\S+) GFLOP/s(?:, memory (\S+) GB/s)?")
def _(report, place, best, streamed):
    rows = report.table(f"gemm-{slug(place)}")
    close(best, (2 * rows["m"] * rows["n"] * rows["k"] / rows["ms"] / 1e6).max())
    kinds = dataset(report, place).query("kind in ['relu', 'concat', 'eltwise', 'scale'] and median_ns > 0")
    far = kinds[(kinds["mode"] == "cold") | (kinds["out_elements"] >= 1 << 20)]
    assert (streamed is None) == far.empty
    if streamed:
        close(streamed, (8 * far["out_elements"] / far["median_ns"]).max())


@says(r"(\S+ \S+): with m = 1 the rate is (\S+), from m = 64 on (\S+) GFLOP/s")
def _(report, place, small, large):
    rows = report.table(f"gemm-{slug(place)}").query("k > 1")
    close(small, rows.query("m == 1")["gflops"].median())
    close(large, rows.query("m >= 64")["gflops"].median())


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
    if precise:
        close(precise, 100 * half_intervals(report).median())


@says(r"Nothing was measured on (\S+ \S+): run snakemake --cores 4 profile, or import times\.")
def _(report, place):
    assert of(report.table("overview"), place)[["networks", "kernels"]].to_numpy().tolist() == [[0, 0]]


@says(r"(.*) failed: the table below says why\.")
def _(report, parts):
    overview = report.table("overview")
    for count, place in re.findall(r"(\d+) measurements? on (\S+ \w+)", parts):
        assert int(count) == of(overview, place)["failed"].sum()


@says(r"(\d+) % of the board time was spent in timed calls")
def _(report, share):
    rows = report.table("runs")
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


def half_intervals(report, place="*"):
    """Half the interval of each kernel's median, relative to it, of a board's processor or of all."""
    rows = dataset(report, place).query("subject == 'kernel' and status != 'failed' and mode != 'overhead'")
    rows = rows.dropna(subset=["low_ns", "high_ns", "iterations"])
    return (rows["high_ns"] - rows["low_ns"]) / 2 / rows["median_ns"]


@says(r"(\S+ \S+): (\d+) % of the kernels are known to within ±1 %")
def _(report, place, share):
    close(share, 100 * (half_intervals(report, place) <= 0.01).mean())


@says(r"(\S+ \S+): passes took (\S+) % to (\S+) % more than in the fastest round")
def _(report, place, low, high):
    assert 0 <= float(low) <= float(high) < 10  # made-up passes spread by 3 %


@says(r"(.*) is the fastest in (\d+) of (\d+) passes\.")
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
