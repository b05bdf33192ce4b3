"""Where does the time go? The poster's Table 1 for every network, and every layer."""

from collections import Counter

import pandas as pd

from sitecnn.report import figures, passes
from sitecnn.report.page import (
    Block,
    Chapter,
    Column,
    Figure,
    Note,
    Table,
    batches,
    capitalised,
    integer,
    listed,
    millions,
    milliseconds,
    number,
    percent,
    plural,
    signed_percent,
    significant,
    timed,
    where,
    whole_percent,
    words,
)
from sitecnn.report.results import ProcessorResults, Results
from sitecnn.workload.flops import GROUPS


def chapter(results: Results) -> Chapter:
    """The chapter on time."""
    times = results.times
    if times.empty:
        return Chapter("time", "Where does the time go?", "No network was measured.", (Note("No passes yet.", True),))
    blocks: list[Block] = [time_table(times)]
    for processor in results.measured:
        mine = times[(times["board"] == processor.board) & (times["processor"] == processor.processor)]
        if len(mine):
            blocks.append(bars(processor, mine))
    if len(results.layers):
        blocks.append(work_table(results.layers))
    blocks += [
        layer_table(processor, results.layers) for processor in results.measured if len(processor.network_layers)
    ]
    return Chapter("time", "Where does the time go?", answer(times), tuple(blocks))


def answer(times: pd.DataFrame) -> str:
    """The largest group, over all networks."""
    names = [f"{group}_share" for group in passes.COLUMNS if f"{group}_share" in times]
    shares = times[names].dropna(how="all") if names else pd.DataFrame()
    if shares.empty:
        return "Only whole passes were measured, no layers."
    leading = Counter(str(name).removesuffix("_share") for name in shares.idxmax(axis=1)).most_common()
    parts = [f"{figures.GROUP_NAMES[group]} layers in {count}" for group, count in leading[1:]]
    first, count = leading[0]
    median, name = percent(shares[f"{first}_share"].median()), capitalised(figures.GROUP_NAMES[first])
    if len(shares) == 1:
        return f"{name} layers take most of the time of the pass that was measured, {median}."
    text = f"{name} layers take most of the time in {count} of {len(shares)} passes that were timed layer by layer"
    text += f", {listed(parts)}" if parts else ""
    return f"{text}. {name} layers take {median} of a pass in the median."


def time_table(times: pd.DataFrame) -> Table:
    """The poster's Table 1."""
    columns: list[Column] = [
        words("network", "network"),
        *where(times),
        batches(),
    ]
    columns += [timed("forward pass, ms", "forward"), timed("layerwise pass, ms", "layerwise")]
    columns += [number("layerwise over forward", "overhead", signed_percent)]
    columns += [timed(f"{title}, ms", group) for group, title in passes.TITLES.items()]
    note = (
        "Median ± half the interquartile range, and the share of the sum of layers. A layerwise pass times each layer, "
        "a forward pass only the whole network; the difference is what the timing costs. A dash: no "
        "layer of the group, or an engine that fuses layers."
    )
    return Table("time", "Time by layer group (the poster's Table 1)", times, tuple(columns), note)


def bars(processor: ProcessorResults, times: pd.DataFrame) -> Figure | Note:
    """Shares of the layer groups as bars."""
    shares = [f"{group}_share" for group in passes.COLUMNS if f"{group}_share" in times]
    times = times.dropna(subset=shares, how="all") if shares else times.head(0)
    if times.empty:
        return Note(
            f"{processor.name}: only whole passes were measured, no layers, so their parts are not known.", True
        )
    shown = ends(times)
    names = passes.labels(shown).str.replace(f" on {processor.name}", "", regex=False)
    shares_by_group = [
        {
            "label": label,
            "network": row["network"],
            "group": figures.GROUP_NAMES[group],
            "ms": row[f"{group}_ms"],
            "share": row[f"{group}_share"],
        }
        for label, row in zip(names, shown.to_dict("records"), strict=True)
        for group in passes.COLUMNS
        if not pd.isna(row.get(f"{group}_share"))
    ]
    conv = times["conv_share"].median() if "conv_share" in times else 0.0
    title = f"{processor.name}: convolutions take {whole_percent(conv)} of a pass"
    title += f" in the median of {len(times)}" if len(times) > 1 else ""
    note = "The smallest and the largest batch of each network; the table has all." if len(shown) < len(times) else ""
    alt_text = "Stacked bars: the share of each layer group in the layerwise pass, a bar for each network."
    chart = figures.share_bars(pd.DataFrame(shares_by_group))
    return Figure(f"time-{processor.slug}", title, alt_text, chart, note, processor.board)


def ends(times: pd.DataFrame) -> pd.DataFrame:
    """Of each network on each stack the smallest and the largest batch: those between are alike."""
    batches = times.groupby(["stack", "network"])["batch"]
    chosen: pd.DataFrame = times[
        (times["batch"] == batches.transform("min")) | (times["batch"] == batches.transform("max"))
    ]
    return chosen


def work_table(layers: pd.DataFrame) -> Table:
    """MACs and the poster's FLOPs by network."""
    groups = layers["type"].map(GROUPS).fillna("other")
    rows = []
    for (network, batch), part in layers.groupby(["network", "batch"]):
        flops = part["poster_flops"].groupby(groups).sum()
        sums = {f"{group}_flops": int(flops.get(group, 0)) for group in ("conv", "fc", "pool", "relu")}
        total = {"poster_flops": int(part["poster_flops"].sum()), "macs": int(part["macs"].sum())}
        rows.append({"network": network, "batch": batch, "layers": len(part), **total, **sums})
    columns = (
        words("network", "network"),
        batches(),
        number("layers", "layers", integer),
        number("MACs, M", "macs", millions),
        number("poster FLOPs, M", "poster_flops", millions),
        *(number(f"{passes.TITLES[group]}, M", f"{group}_flops", millions) for group in ("conv", "fc", "pool", "relu")),
    )
    note = (
        "The poster counts a multiply-accumulate as a FLOP and adds the biases; of pooling it counts outputs × window."
    )
    return Table("work", "Work of the networks", pd.DataFrame(rows), columns, note)


def layer_table(processor: ProcessorResults, work: pd.DataFrame) -> Table:
    """Every layer of every network, measured and estimated."""
    names = ["stack", "network", "batch", "layer_index", "layer", "layer_type", "kind", "median_ns", "spread_ns"]
    rows = processor.network_layers[names].sort_values(["batch", "network", "stack", "layer_index"])
    rows = rows.assign(**processor.place, ms=rows["median_ns"] / 1e6, spread_ms=rows["spread_ns"] / 1e6)
    rows["share"] = rows["ms"] / rows.groupby(names[:3])["ms"].transform("sum")
    rows = with_columns(rows, work, ["network", "batch", "layer"], ["macs"])
    rows = with_columns(rows, processor.layers, ["stack", "network", "batch", "layer"], ["estimate_ms", "error"])
    macs = rows["macs"].astype(float)
    rows["gmacs_per_s"] = macs.where(macs > 0) / rows["ms"].where(rows["ms"] > 0) / 1e6
    columns = (
        words("network", "network"),
        *where(rows),
        batches(),
        number("#", "layer_index", integer),
        words("layer", "layer"),
        words("type", "layer_type"),
        number("ms", "ms", milliseconds),
        number("± ms", "spread_ms", milliseconds),
        number("share", "share", percent),
        number("MACs, M", "macs", millions),
        number("GMAC/s", "gmacs_per_s", significant),
        number("estimated, ms", "estimate_ms", milliseconds),
        number("error", "error", signed_percent),
    )
    title = f"{plural(len(rows), 'layer')}, one by one"
    return Table(
        f"layers-{processor.slug}", title, rows.drop(columns=["median_ns", "spread_ns"]), columns, searchable=True
    )


def with_columns(rows: pd.DataFrame, other: pd.DataFrame, keys: list[str], names: list[str]) -> pd.DataFrame:
    """`rows` with columns of `other`, matched by `keys`; missing where nothing matches."""
    if other.empty:
        return rows.assign(**dict.fromkeys(names, float("nan")))
    return rows.merge(other.drop_duplicates(keys)[keys + names], on=keys, how="left")
