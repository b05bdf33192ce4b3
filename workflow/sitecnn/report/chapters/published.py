"""Published figures beside ours: the poster's two tables."""

import pandas as pd

from sitecnn.report import passes
from sitecnn.report.page import Chapter, Column, Note, Table, integer, mebibytes, number, timed, words
from sitecnn.report.results import PUBLISHED, Results

POSTER = "Lu, Rallapalli, Chan and La Porta, SiteCNN (poster), 2017"
NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet50")
PARTS = {"weights": "weights_bytes", "data": "data_bytes", "workspace": "workspace_poster_bytes"}
DIFFERENT_STACKS = (
    "Published times of one board differ by a factor of two between stacks. An imported TX1 need not agree "
    "with the poster's: times depend on the engine, the BLAS and the clocks."
)
VGG_WORKSPACE = (
    "The poster prints 168 MB of workspace for VGGNet. Its own definition, the im2col matrix of every convolution, "
    "gives 311.8 MiB; for the other three networks it gives what the poster prints."
)


def chapter(results: Results) -> Chapter:
    """The chapter on the poster."""
    times = (times_table(results), Note(DIFFERENT_STACKS))
    memory = (memory_table(results), Note(VGG_WORKSPACE))
    blocks = (*times, *memory, Note(f"Published: {POSTER}."))
    return Chapter("published", "How do published figures compare?", answer(results), blocks)


def published_times() -> pd.DataFrame:
    """The poster's Table 1 in the columns of `passes.times`."""
    table = pd.read_csv(PUBLISHED / "table1.csv")
    rows = []
    for (board, processor), part in table.groupby(["board", "processor"]):
        ms, spread = (part[part["quantity"] == quantity].iloc[0] for quantity in ("ms", "spread"))
        names = ("conv", "pool", "relu", "fc", *passes.PASSES)
        cells = {f"{name}_ms": ms[name] for name in names} | {f"{name}_spread_ms": spread[name] for name in names}
        cells |= {f"{name}_share": ms[name] / ms["layerwise"] for name in names[:4]}
        rows.append({"origin": "poster", "network": "VGGNet", "board": board, "processor": processor, **cells})
    return pd.DataFrame(rows)


def our_times(results: Results) -> pd.DataFrame:
    """VGG-16 at batch 1 wherever it was measured."""
    times = results.times
    if times.empty:
        return times
    ours = times[(times["network"].str.lower() == "vgg16") & (times["batch"] == 1)].assign(origin="measured")
    # What tells stacks apart stands behind the processor: `cpu with ONNX Runtime 1.32`.
    processors = [way.removeprefix(f"{board} ") for way, board in zip(passes.ways(ours), ours["board"], strict=True)]
    return ours.assign(processor=processors)


def times_table(results: Results) -> Table:
    """VGG-16 at batch 1, the poster's rows and ours."""
    rows = pd.concat([published_times(), our_times(results)], ignore_index=True)
    columns: tuple[Column, ...] = (
        words("origin", "origin"),
        words("network", "network"),
        words("board", "board"),
        words("processor", "processor"),
        *(timed(f"{passes.TITLES[group]}, ms", group, as_printed) for group in ("conv", "pool", "relu", "fc")),
        timed("layerwise pass, ms", "layerwise", as_printed),
        timed("forward pass, ms", "forward", as_printed),
    )
    return Table("published-times", "VGGNet, one image (the poster's Table 1)", rows, columns)


def as_printed(ms: float, spread: float) -> str:
    """To a tenth, as the poster has it."""
    return f"{ms:,.1f} ± {spread:,.1f}"


def as_printed_mib(value: float) -> str:
    """MiB, whole ones as the poster has them."""
    return f"{value / 2**20:,.0f}" if value % 2**20 == 0 else mebibytes(value)


def memory_rows(results: Results) -> pd.DataFrame:
    """The poster's Table 2 with ours beside it, in bytes; a row per quantity."""
    published = pd.read_csv(PUBLISHED / "table2.csv")
    rows = [
        {"origin": "poster", "quantity": row["quantity"]} | {name: row[name] * 2**20 for name in NETWORKS}
        for row in published.to_dict("records")
    ]
    layers = results.layers
    if len(layers):
        one = layers[layers["batch"] == 1].groupby("network")[list(PARTS.values())].sum()
        for part, column in PARTS.items():
            cells = {name: one.loc[name, column] for name in NETWORKS if name in one.index}
            rows += [{"origin": "computed", "quantity": part, **cells}] if cells else []
    for processor in results.measured:
        memory = processor.subject("memory")
        memory = memory[memory["batch"] == 1].dropna(subset="total_bytes")
        for way, of_way in memory.groupby(passes.ways(memory)):
            totals = of_way.groupby("network")["total_bytes"].median()
            cells = {name: float(totals[name]) for name in NETWORKS if name in totals.index}
            if cells:
                rows.append({"origin": "measured", "quantity": f"{way} total", **cells})
    return pd.DataFrame(rows, columns=["origin", "quantity", *NETWORKS])


def memory_table(results: Results) -> Table:
    """Memory by part and in total."""
    sizes = (number(f"{name}, MiB", name, as_printed_mib) for name in NETWORKS)
    columns = (words("origin", "origin"), words("what", "quantity"), *sizes)
    note = "The poster's MB are taken for MiB: weights and data then agree with the formulas to its rounding."
    return Table("published-memory", "Memory (the poster's Table 2)", memory_rows(results), columns, note)


def answer(results: Results) -> str:
    """Ours against the poster's fastest."""
    fastest = published_times()["forward_ms"].min()
    ours = our_times(results)
    if "forward_ms" not in ours or ours["forward_ms"].dropna().empty:
        return f"VGGNet was not measured here; the poster's fastest pass took {integer(fastest)} ms."
    best = ours.dropna(subset="forward_ms").sort_values("forward_ms").iloc[0]
    return (
        f"VGG-16 takes {integer(best['forward_ms'])} ms on {best['board']} {best['processor']}; "
        f"the poster's fastest, the TX1's GPU, took {integer(fastest)} ms."
    )
