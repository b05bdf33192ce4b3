"""Where does the memory go? The poster's Table 2: parts as computed, totals as measured."""

import pandas as pd

from sitecnn.report import figures
from sitecnn.report.page import (
    Block,
    Chapter,
    Figure,
    Note,
    Table,
    batches,
    integer,
    listed,
    mebibytes,
    number,
    percent,
    plural,
    signed_percent,
    where,
    words,
)
from sitecnn.report.results import Results, joined
from sitecnn.workload.engines import CAFFE, engine_of_stack

PARTS = ("weights_bytes", "data_bytes", "workspace_bytes", "workspace_poster_bytes", "touched_bytes")


def chapter(results: Results) -> Chapter:
    """The chapter on memory."""
    question = "Where does the memory go?"
    if results.layers.empty:
        return Chapter("memory", question, "No network was converted.", (Note("No networks yet.", True),))
    computed = results.layers.groupby(["network", "batch"], as_index=False)[list(PARTS)].sum()
    measured = measured_memory(results, computed)
    blocks: list[Block] = [figure(computed, measured), computed_table(computed)]
    if len(measured):
        blocks.append(measured_table(measured))
    shared = of_sharing_engines(results)
    if len(shared):
        blocks.append(sharing_table(shared))
    if measured.empty and shared.empty:
        blocks.append(Note("The memory of no network's process was measured.", True))
    return Chapter("memory", question, answer(computed, measured, shared), tuple(blocks))


def answer(computed: pd.DataFrame, measured: pd.DataFrame, shared: pd.DataFrame) -> str:
    """How well the parts add up to what was measured."""
    errors = joined([table[["network", "error"]].dropna() for table in (measured, shared) if len(table)])
    if errors.empty:
        heaviest = computed.sort_values("weights_bytes").iloc[-1]
        return f"{heaviest['network']} has the heaviest weights, {mebibytes(heaviest['weights_bytes'])} MiB."
    worst = percent(errors["error"].abs().max())
    networks = plural(errors["network"].nunique(), "network")
    return f"Predicted memory is off by {worst} at most, over the processes of {networks}."


def of_sharing_engines(results: Results) -> pd.DataFrame:
    """Processes of engines that share their buffers, each estimated from the other networks'."""
    tables = [
        processor.memory.assign(**processor.place)
        for processor in results.measured
        if "engine_kernels" in processor.memory
    ]
    rows = joined(tables)
    return rows.dropna(subset=["engine_kernels"]).reset_index(drop=True) if len(rows) else rows


def sharing_table(shared: pd.DataFrame) -> Table:
    """What ONNX Runtime needs of each network, and what its process took."""
    columns = (
        words("network", "network"),
        batches(),
        *where(shared),
        number("weights as executed, MiB", "engine_weights_bytes", mebibytes),
        number("arena, MiB", "engine_activations_bytes", mebibytes),
        number("kernels", "engine_kernels", integer),
        number("base, MiB", "base_bytes", mebibytes),
        number("estimated, MiB", "estimate_bytes", mebibytes),
        number("measured, MiB", "total_bytes", mebibytes),
        number("error", "error", signed_percent),
    )
    note = (
        "ONNX Runtime shares its buffers: the arena is what its allocator holds for values after some passes. Base is "
        "the process before its session. What a stack takes for weights, arena and kernels is fitted on the other "
        "networks. Resident memory after the third pass."
    )
    return Table(
        "memory-shared", "Memory of ONNX Runtime's process, estimated without it and measured", shared, columns, note
    )


def measured_memory(results: Results, computed: pd.DataFrame) -> pd.DataFrame:
    """Per processor and network: base and total as measured, base + parts as computed, bytes."""
    rows = []
    for processor in results.measured:
        memory = processor.subject("memory").dropna(subset=["total_bytes", "base_bytes"])
        # What another engine takes for a network hangs on its lowering, which these tables do not have.
        memory = memory[memory["stack"].map(lambda stack: engine_of_stack(str(stack)).name == CAFFE).astype(bool)]
        for (stack, network, batch), part in memory.groupby(["stack", "network", "batch"]):
            parts = computed[(computed["network"] == network) & (computed["batch"] == batch)]
            base, total = float(part["base_bytes"].median()), float(part["total_bytes"].median())
            peak = float(part["peak_bytes"].median()) if part["peak_bytes"].notna().any() else float("nan")
            expected = base + float(parts["touched_bytes"].sum())
            rows.append(
                {"network": network, "batch": batch, **processor.place}
                | {"stack": stack, "base_bytes": base, "computed_bytes": expected, "total_bytes": total}
                | {"peak_bytes": peak, "error": expected / total - 1 if len(parts) else float("nan")}
            )
    return pd.DataFrame(rows)


def computed_table(computed: pd.DataFrame) -> Table:
    """Memory by part, as Caffe allocates it and as the poster counts it."""
    columns = (
        words("network", "network"),
        batches(),
        number("weights, MiB", "weights_bytes", mebibytes),
        number("data, MiB", "data_bytes", mebibytes),
        number("workspace (Caffe), MiB", "workspace_bytes", mebibytes),
        number("workspace (poster), MiB", "workspace_poster_bytes", mebibytes),
        number("a pass touches, MiB", "touched_bytes", mebibytes),
    )
    note = (
        "The poster counts the im2col matrix of every convolution, one group's; Caffe allocates all groups' and none "
        "for 1×1 convolutions. A pass touches weights, workspace, what layers keep for themselves, and each buffer "
        "once, while Caffe's data counts layers in place twice. On a GPU the weights are in memory twice; zero-copy "
        "memory saves one of the two."
    )
    return Table("memory", "Memory by part (the poster's Table 2)", computed, columns, note)


def measured_table(measured: pd.DataFrame) -> Table:
    """Resident memory of the process, beside the sum of its parts."""
    columns = (
        words("network", "network"),
        batches(),
        *where(measured),
        number("base, MiB", "base_bytes", mebibytes),
        number("base + what a pass touches, MiB", "computed_bytes", mebibytes),
        number("measured, MiB", "total_bytes", mebibytes),
        number("peak, MiB", "peak_bytes", mebibytes),
        number("error", "error", signed_percent),
    )
    note = "Base: the process with Caffe loaded and no network. Measured: resident memory after one forward pass."
    return Table("memory-measured", "Memory of the process, computed and measured", measured, columns, note)


def figure(computed: pd.DataFrame, measured: pd.DataFrame) -> Figure:
    """Parts as bars, what was measured above the base as ticks."""
    names = network_names(computed)
    parts = pd.concat(
        [
            pd.DataFrame({"network": names, "part": part, "mib": parts_once(computed)[part] / 2**20})
            for part in figures.PARTS
        ],
        ignore_index=True,
    )
    totals = pd.DataFrame({"network": [], "processor": [], "mib": []})
    if len(measured):
        above = (measured["total_bytes"] - measured["base_bytes"]) / 2**20
        labels = network_names(measured)
        where = measured["board"] + " " + measured["processor"]
        totals = pd.DataFrame({"network": labels, "processor": where, "mib": above})
        totals = totals[totals["network"].isin(names)]
    title = largest_part(computed)
    alt_text = "Stacked bars of weights, data and workspace per network; marks show what was measured above the base."
    note = "As Caffe allocates them."
    note += " Marks: what the process took beyond the engine without a network." if len(totals) else ""
    return Figure("memory", title, alt_text, figures.memory_bars(parts, totals), note)


def largest_part(computed: pd.DataFrame) -> str:
    """Which part is the largest, of how many networks."""
    counts = parts_once(computed).idxmax(axis=1).value_counts()
    parts = [f"{part} for {count}" for part, count in counts.items()]
    return f"The largest part is {listed(parts)} of {plural(len(computed), 'network')}"


def parts_once(computed: pd.DataFrame) -> pd.DataFrame:
    """What a pass touches, by part, in bytes: weights, workspace, and data with each buffer once."""
    weights, workspace = computed["weights_bytes"], computed["workspace_bytes"]
    return pd.DataFrame(
        {"weights": weights, "data": computed["touched_bytes"] - weights - workspace, "workspace": workspace}
    )


def network_names(rows: pd.DataFrame) -> "pd.Series[str]":
    """Networks, with the batch where it tells rows apart."""
    batches = ", batch " + rows["batch"].astype(str) if rows["batch"].nunique() > 1 else ""
    return rows["network"].astype(str) + batches
