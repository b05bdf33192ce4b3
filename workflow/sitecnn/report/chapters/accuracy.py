"""How good are the estimates? Held-out networks and layers, intervals, residuals, and the coefficients behind them."""

import pandas as pd

from sitecnn.report import figures, passes
from sitecnn.report.kind_names import group_of, kind_label
from sitecnn.report.page import (
    MOST_POINTS,
    Block,
    Chapter,
    Figure,
    Note,
    Table,
    batches,
    flag,
    integer,
    listed,
    milliseconds,
    number,
    percent,
    plural,
    signed_percent,
    significant,
    where,
    whole_percent,
    words,
)
from sitecnn.report.results import ProcessorResults, Results

OURS = "sitecnn"
"""What the model is called among the methods that it is compared with, and begins with where its priors are others."""

THREADS = "threads"
"""The split whose networks the model has seen, at other numbers of threads."""

MOST_BARS = 40

EDGE = " What is farther off is drawn at the edge."

RELEVANT_SHARE = 0.01
"""Layers under 1 % of their network's time hardly matter to it."""


def chapter(results: Results) -> Chapter:
    """The chapter on accuracy: networks first, then layers, simpler methods, and what did not go well."""
    networks, layers = (results.held_out(which) for which in ("networks", "layers"))
    blocks: list[Block] = []
    if networks.empty:
        blocks.append(Note("No network was held out: that takes two networks and `sitecnn evaluate`.", True))
    else:
        level = results.config.level
        blocks += [estimates_figure(networks, level), estimates_table(networks, level)]
        blocks += [Note(text) for text in shortcomings(networks, level)]
        blocks.append(processor_table(networks, layers))
        blocks += [block for processor in results.measured for block in baseline_blocks(processor)]
        blocks += [block for processor in results.measured for block in layer_figures(processor)]
        blocks += [kinds_table(layers), *extrapolated(layers)]
        blocks += board_time(results)
    blocks += [model_table(processor) for processor in results.measured if processor.model]
    return Chapter("accuracy", "How good are the estimates?", verdict(networks), tuple(blocks))


def verdict(networks: pd.DataFrame) -> str:
    """One sentence on how far to trust the estimates."""
    if networks.empty:
        return "No network was held out, so nobody knows how good the estimates are."
    errors = networks["error"].abs()
    covered = int(networks["covered"].sum())
    return (
        f"Estimates of networks that the model had not seen are off by {percent(errors.median())} in the median and by "
        f"{percent(errors.max())} at most; {covered} of {len(networks)} intervals contain the measured time."
    )


def estimates_figure(networks: pd.DataFrame, level: float) -> Figure:
    """The same as a chart."""
    places, sizes = passes.ways(networks), networks["batch"].astype(str)
    # Of one board and processor only what tells its stacks apart.
    if len(networks[["board", "processor"]].drop_duplicates()) == 1 and places.nunique() > 1:
        places = places.str.partition(" with ")[2]
    behind = ", " + places if places.nunique() > 1 else ""
    behind += ", batch " + sizes if sizes.nunique() > 1 else ""
    shown = networks.assign(
        label=networks["network"].astype(str) + behind,
        ratio=networks["estimate_ms"] / networks["measured_ms"],
        low_ratio=networks["low_ms"] / networks["measured_ms"],
        high_ratio=networks["high_ms"] / networks["measured_ms"],
        holds=networks["covered"].map({True: "interval contains it", False: "interval misses it"}),
    )
    worst = networks.sort_values("error", key=abs).iloc[-1]
    title = f"{int(networks['covered'].sum())} of {len(networks)} intervals contain the measured time"
    if len(shown) > MOST_BARS:
        shown = shown.reindex(shown["error"].abs().sort_values(ascending=False).index[:MOST_BARS])
        title += f"; the {MOST_BARS} largest errors"
    columns = ["label", "board", "network", "ratio", "low_ratio", "high_ratio", "holds", "measured_ms", "estimate_ms"]
    alt_text = f"Estimate divided by measurement for each held-out network; the worst is {worst['network']}."
    note = EDGE if shown["high_ratio"].max() > figures.FARTHEST_RATIO else ""
    return Figure("estimates", title, alt_text, figures.intervals(shown[columns], level), note)


def estimates_table(networks: pd.DataFrame, level: float) -> Table:
    """Measured against estimated, every held-out network of every board."""
    columns = (
        words("network", "network"),
        *where(networks),
        batches(),
        number("measured, ms", "measured_ms", milliseconds),
        number("estimated, ms", "estimate_ms", milliseconds),
        number(f"{whole_percent(level)} interval from, ms", "low_ms", milliseconds),
        number("to, ms", "high_ms", milliseconds),
        number("error", "error", signed_percent),
        flag("in the interval", "covered"),
    )
    note = (
        "Each network was estimated by a model fitted without any of its own timings. Measured: over the least third "
        "of a campaign's rounds, which is what models estimate; the first table has the median of all passes."
    )
    return Table("networks", "Forward passes, measured and estimated", networks, columns, note)


def shortcomings(networks: pd.DataFrame, level: float) -> list[str]:
    """What did not go well with held-out networks, as sentences."""
    covered = networks["covered"].astype(bool)
    texts = []
    if missed := list(dict.fromkeys(passes.labels(networks)[~covered])):
        texts.append(f"Outside their {whole_percent(level)} intervals: {listed(missed)}.")
    if covered.mean() < level - 0.1:
        texts.append("The intervals are too narrow: add networks like those outside, and fit again.")
    return texts


def processor_table(networks: pd.DataFrame, layers: pd.DataFrame) -> Table:
    """Errors of held-out networks and layers, a row per stack and split."""
    rows = []
    names = ["board", "processor", "stack", "split"]
    beside = layers.set_index(names).sort_index()
    for key, part in networks.groupby(names):
        of, errors = beside.loc[[key]], part["error"].abs()
        rows.append(
            {**dict(zip(names, key, strict=True)), "networks": len(part)}
            | {"median_error": errors.median(), "worst_error": errors.max(), "bias": part["error"].mean()}
            | {"within_5": (errors <= 0.05).mean(), "within_10": (errors <= 0.10).mean()}
            | {"networks_covered": part["covered"].mean(), "layers_covered": of["covered"].mean()}
            | {"rank_networks": rank_correlation(part)}
            | {"rank_layers": rank_correlation(of)}
            | {"extrapolated": of["extrapolated"].mean()}
        )
    frame = pd.DataFrame(rows)
    columns = (
        *where(frame),
        words("left out", "split"),
        number("networks", "networks", integer),
        number("median absolute error", "median_error", percent),
        number("largest absolute error", "worst_error", percent),
        number("mean signed error", "bias", signed_percent),
        number("within ±5 %", "within_5", percent),
        number("within ±10 %", "within_10", percent),
        number("network intervals with the measured time", "networks_covered", percent),
        number("layer intervals with the measured time", "layers_covered", percent),
        number("rank correlation of networks", "rank_networks", significant),
        number("rank correlation of layers", "rank_layers", significant),
        number("layers extrapolated", "extrapolated", percent),
    )
    note = "Left out: one network at a time, or those that the configuration holds out. Layers: all, however short. "
    note += "Correlation: Spearman's."
    return Table("accuracy", "Errors of held-out networks", frame, columns, note)


def rank_correlation(rows: pd.DataFrame) -> float:
    """Spearman's, of measured and estimated times; pandas' own loads half a second of statistics for it."""
    return float(rows["measured_ms"].rank().corr(rows["estimate_ms"].rank()))


def baseline_blocks(processor: ProcessorResults) -> list[Block]:
    """Held-out networks as simpler methods estimate them, beside the model."""
    if processor.baselines.empty:
        return [Note(f"{processor.name}: no baselines were evaluated to compare with.", True)]
    unseen = processor.baselines[processor.baselines["split"] != THREADS]
    # A network that is its family's only one is left out once, though both splits have it.
    once = unseen.sort_values("split", key=lambda splits: splits != "network", kind="stable")
    once = once.drop_duplicates(["method", "stack", "network", "batch", "measured_ms", "estimate_ms"])
    rows = once.assign(size=once["error"].abs())
    blocks: list[Block] = []
    if OURS not in set(rows["method"]):
        blocks.append(Note(f"{processor.name}: the baselines lack the model's own errors ({OURS}).", True))
    summary = rows.groupby(["split", "method", "stack"], as_index=False).agg(
        networks=("size", "size"),
        median_error=("size", "median"),
        worst_error=("size", "max"),
        within_10=("size", lambda sizes: (sizes <= 0.1).mean()),
        bias=("error", "mean"),
    )
    frame = summary.sort_values(["split", "median_error"], ignore_index=True).assign(**processor.place)
    columns = (
        words("left out", "split"),
        words("method", "method"),
        *where(frame),
        number("networks", "networks", integer),
        number("median absolute error", "median_error", percent),
        number("largest absolute error", "worst_error", percent),
        number("within ±10 %", "within_10", percent),
        number("mean signed error", "bias", signed_percent),
    )
    title = "The model and simpler methods, on networks that none of them saw"
    return [
        baseline_figure(processor, rows),
        Table(f"baselines-{processor.slug}", title, frame, columns, searchable=True),
        *blocks,
    ]


def baseline_figure(processor: ProcessorResults, rows: pd.DataFrame) -> Figure:
    """Each method's errors on held-out networks, of the split by network where there is one."""
    splits = list(dict.fromkeys(rows["split"]))
    split = "network" if "network" in splits else splits[0]
    shown = rows[rows["split"] == split].round({"error": 5, "size": 5, "measured_ms": 6, "estimate_ms": 6})
    medians = shown.groupby("method")["size"].median().sort_values()
    others = medians[~medians.index.str.startswith(OURS)]
    said = [f"the model is off by {percent(medians[OURS])} in the median"] if OURS in medians else []
    said += [f"the best simpler method, {others.index[0]}, by {percent(others.iloc[0])}"] if len(others) else []
    columns = ["network", "method", "size", "error", "measured_ms", "estimate_ms"]
    alt_text = "Absolute errors of held-out networks, a row for each method, with the median of each."
    note = f"One {split} held out at a time; bars mark medians." if split != "held out" else "Bars mark medians."
    note += EDGE if shown["size"].max() > figures.FARTHEST_ERROR else ""
    chart = figures.method_errors(shown[columns], OURS)
    return Figure(
        f"baselines-{processor.slug}", f"{processor.name}: {', '.join(said)}", alt_text, chart, note, processor.board
    )


def board_time(results: Results) -> list[Block]:
    """How the errors of networks fall as more rounds of probes are measured."""
    tables = [processor.board_time.assign(**processor.place) for processor in results.measured]
    full = [table for table in tables if len(table)]
    if not full:
        return []
    rows = pd.concat(full, ignore_index=True)
    rows = rows.assign(way=passes.ways(rows)).round({"seconds": 1, "median_error": 5, "worst_error": 5})
    said = [
        f"{way}: {percent(part['median_error'].iloc[0])} after {part['seconds'].iloc[0]:.0f} s, "
        f"{percent(part['median_error'].iloc[-1])} after {part['seconds'].iloc[-1]:.0f} s"
        for way, part in rows.groupby("way", sort=False)
    ]
    title = "How errors fall as more rounds of probes are measured"
    alt_text = "Lines: median error of networks against the seconds of measuring probes, one for each stack."
    note = f"The median error of networks that no model has seen. {'; '.join(said)}."
    return [Figure("board-time", title, alt_text, figures.errors_by_seconds(rows), note)]


def extrapolated(layers: pd.DataFrame) -> list[Block]:
    """Layers of sizes or kinds beyond those that the model had seen."""
    beyond = layers[layers["extrapolated"].astype(bool)]
    if beyond.empty:
        return [Note("No layer of a held-out network lay beyond the sizes that its model had seen.")]
    within = layers.loc[layers.index.difference(beyond.index), "error"].abs()
    note = f"{plural(len(beyond), 'layer')} beyond what the model had seen: off by "
    note += f"{percent(beyond['error'].abs().median())} in the median"
    note += f", the others by {percent(within.median())}." if len(within) else "."
    columns = (
        words("network", "network"),
        *where(beyond),
        words("layer", "layer"),
        words("kind", "kind", kind_label),
        number("share of its network", "share", percent),
        number("measured, ms", "measured_ms", significant),
        number("estimated, ms", "estimate_ms", significant),
        number("error", "error", signed_percent),
        flag("in the interval", "covered"),
    )
    frame = beyond.sort_values("share", ascending=False, ignore_index=True)
    title = "Layers beyond what the model had seen"
    return [Table("extrapolated", title, frame, columns, note, searchable=True)]


def layer_figures(processor: ProcessorResults) -> list[Block]:
    """Every layer measured against estimated, and the errors by kind."""
    layers = processor.layers
    if layers.empty:
        return [Note(f"{processor.name}: no layers were held out.", True)]
    shown = layers[(layers["estimate_ms"] > 0) & (layers["measured_ms"] > 0)]
    shown = shown.assign(group=shown["kind"].map(group_of))
    relevant = shown[shown["share"] > RELEVANT_SHARE]
    if relevant.empty:
        return [Note(f"{processor.name}: no layer takes over {whole_percent(RELEVANT_SHARE)} of its network.", True)]
    columns = ["network", "layer", "group", "measured_ms", "estimate_ms"]
    rounded = shown.nlargest(MOST_POINTS, "share")[columns].round({"measured_ms": 6, "estimate_ms": 6})
    note = "Drag to move, shift and wheel to zoom."
    if len(shown) > MOST_POINTS:
        note += f" Of {len(shown):,} layers the {MOST_POINTS:,} that take most of their network's time."
    close = (relevant["error"].abs() <= 0.1).mean()
    scatter = Figure(
        f"layers-{processor.slug}",
        f"{processor.name}: {whole_percent(close)} of the layers over 1 % of a network are estimated within 10 %",
        "Scatter of estimated against measured milliseconds of every layer, with the diagonal.",
        figures.measured_against_estimated(rounded),
        note,
        processor.board,
    )
    return [scatter, residual_figure(processor, relevant)]


def residual_figure(processor: ProcessorResults, relevant: pd.DataFrame) -> Figure:
    """Signed errors by kind of layer."""
    medians = relevant.groupby("kind")["error"].median()
    worst = str(medians.abs().idxmax())
    off = signed_percent(medians[worst])
    title = f"{processor.name}: {kind_label(worst)} layers have the largest error, {off} in the median"
    columns = ["network", "layer", "group", "kind", "error", "measured_ms"]
    shown = relevant[columns].round({"error": 5, "measured_ms": 6}).assign(kind=relevant["kind"].map(kind_label))
    alt_text = "Signed errors of these layers, a line for each kind, with the median of each."
    note = f"Layers over {whole_percent(RELEVANT_SHARE)} of their network's time; bars mark medians."
    note += EDGE if shown["error"].abs().max() > figures.FARTHEST_ERROR else ""
    return Figure(f"residuals-{processor.slug}", title, alt_text, figures.residuals(shown), note, processor.board)


def kinds_table(layers: pd.DataFrame) -> Table:
    """Errors by kind of layer, of each stack."""
    names = ["board", "processor", "stack"]
    totals = layers.groupby(names)["measured_ms"].transform("sum")
    rows = [
        {**dict(zip(names, key, strict=False)), "kind": str(key[-1]), "layers": len(part)}
        | {"share": (part["measured_ms"] / totals[part.index]).sum()}
        | {"median_error": part["error"].abs().median(), "p90_error": part["error"].abs().quantile(0.9)}
        | {"bias": part["estimate_ms"].sum() / part["measured_ms"].sum() - 1, "covered": part["covered"].mean()}
        | {"extrapolated": int(part["extrapolated"].sum())}
        for key, part in layers[layers["measured_ms"] > 0].groupby([*names, "kind"])
    ]
    frame = pd.DataFrame(rows)
    columns = (
        *where(frame),
        words("kind", "kind", kind_label),
        number("layers", "layers", integer),
        number("share of time", "share", percent),
        number("median absolute error", "median_error", percent),
        number("90 % are under", "p90_error", percent),
        number("error of the sum", "bias", signed_percent),
        number("intervals with the measured time", "covered", percent),
        number("extrapolated", "extrapolated", integer),
    )
    return Table("kinds", "Errors by kind of layer, all layers", frame, columns, searchable=True)


def model_table(processor: ProcessorResults) -> Table:
    """Every coefficient of the board's model, with its unit and standard error."""
    rows = [
        {"stack": stack.stack, "kind": kind, "unit": unit, "ns": value, "standard_error_ns": error}
        | {"rows": fitted.rows, "relative_sd": fitted.relative_sd}
        for stack in (processor.model.stacks if processor.model else ())
        for kind, fitted in stack.kinds.items()
        for unit, value, error in zip(fitted.units, fitted.coefficients_ns, fitted.standard_errors_ns, strict=True)
    ]
    frame = pd.DataFrame(rows).assign(**processor.place)
    columns = (
        *where(frame),
        words("kernel", "kind", kind_label),
        words("per", "unit"),
        number("ns", "ns", significant),
        number("± ns", "standard_error_ns", significant),
        number("measurements", "rows", integer),
        number("scatter", "relative_sd", percent),
    )
    title = f"The model's {plural(len(rows), 'coefficient')}"
    return Table(f"model-{processor.slug}", title, frame, columns, searchable=True)
