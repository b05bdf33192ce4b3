"""What to change: what networks would gain on own boards, and the processor of each layer where there are two."""

from collections.abc import Iterator

import pandas as pd

from sitecnn.errors import NetworkError
from sitecnn.estimation.placement import place
from sitecnn.models.board_model import BoardModel
from sitecnn.network.graph import Network
from sitecnn.report.advice import MOST_ADVICE
from sitecnn.report.page import (
    Block,
    Chapter,
    Note,
    Table,
    batches,
    flag,
    integer,
    mebibytes,
    milliseconds,
    number,
    plural,
    significant,
    where,
    words,
)
from sitecnn.report.results import Results
from sitecnn.workload.stack_names import stack_label

QUESTION = "What should I change?"

ADVICE = ["network", "board", "processor", "change", "gain_ms", "gain_low_ms", "gain_high_ms", "saves_bytes", "note"]


def chapter(results: Results) -> Chapter:
    """The chapter on changes: advice for own boards, then placement where a board has models of both processors."""
    networks, models = results.networks[0], results.models
    advice = pd.DataFrame([row for one in results.advice for row in one.result()], columns=ADVICE)
    both = [
        (models[board, "cpu"], models[board, "gpu"])
        for board, name in models
        if name == "gpu" and (board, "cpu") in models
    ]
    placed = pd.DataFrame([row for pair in both for network in networks for row in placements(results, *pair, network)])
    blocks: list[Block] = (
        [advice_table(advice)]
        if len(advice)
        else [Note("No board of this configuration has a model, so there is no advice.", True)]
    )
    blocks += [placement_table(placed)] if len(placed) else [Note("No board has models of both its processors.", True)]
    return Chapter("change", QUESTION, answer(advice, placed), tuple(blocks))


def answer(advice: pd.DataFrame, placed: pd.DataFrame) -> str:
    """The largest gain, and where splitting pays."""
    gains = advice[advice["gain_low_ms"] > 0]
    texts = []
    if len(gains):
        (best,) = gains.nlargest(1, "gain_ms").to_dict("records")
        gain, place_ = f"{significant(best['gain_ms'])} ms per image", f"{best['network']} on {best['board']}"
        texts.append(f"The largest certain gain is {gain}: {best['change']}, for {place_}.")
    if len(placed):
        worth = int(placed["worthwhile"].sum())
        texts.append(f"Splitting a network between CPU and GPU pays in {worth} of {plural(len(placed), 'case')}.")
    return " ".join(texts) or "No change that was tried gains time."


def advice_table(advice: pd.DataFrame) -> Table:
    """A row for each change."""
    columns = (
        words("network", "network"),
        *where(advice),
        words("change", "change"),
        number("gain per image, ms", "gain_ms", milliseconds),
        number("from, ms", "gain_low_ms", milliseconds),
        number("to, ms", "gain_high_ms", milliseconds),
        number("saves, MiB", "saves_bytes", mebibytes),
        words("condition", "note"),
    )
    note = (
        f"Estimated, the {MOST_ADVICE} largest for each network; `sitecnn advise NETWORK --board BOARD` has all, and "
        "says what reaches a goal (`--budget-ms`, `--budget-fps`). An interval that starts below zero may mean no gain."
    )
    return Table("advice", "What would gain most", advice, columns, note)


def placements(results: Results, cpu: BoardModel, gpu: BoardModel, network: Network) -> Iterator[dict[str, object]]:
    """A network's times on either processor alone and best placed, estimated, ms."""
    try:
        placement = place(network, cpu, gpu, level=results.config.level)
    except NetworkError:
        return  # an engine that cannot run it
    best = min(placement.all_cpu_ms, placement.all_gpu_ms)
    yield (
        {"network": network.name, "board": cpu.board, "batch": results.config.batch, "cpu_stack": placement.stacks[0]}
        | {"gpu_stack": placement.stacks[1], "all_cpu_ms": placement.all_cpu_ms, "all_gpu_ms": placement.all_gpu_ms}
        | {"placed_ms": placement.placed_ms.estimate, "gain_ms": best - placement.placed_ms.estimate}
        | {"layers_on_gpu": sum(placement.on_gpu), "layers": len(placement.on_gpu), "copies": placement.copies}
        | {"worthwhile": placement.worthwhile}
    )


def placement_table(rows: pd.DataFrame) -> Table:
    """Times on either processor alone and best placed."""
    columns = (
        words("network", "network"),
        words("board", "board"),
        batches(),
        number("all on the CPU, ms", "all_cpu_ms", milliseconds),
        number("all on the GPU, ms", "all_gpu_ms", milliseconds),
        number("best placed, ms", "placed_ms", milliseconds),
        number("gain, ms", "gain_ms", milliseconds),
        number("layers on the GPU", "layers_on_gpu", integer),
        number("of layers", "layers", integer),
        number("copies between them", "copies", integer),
        flag("worth it", "worthwhile"),
        words("CPU software", "cpu_stack", stack_label),
        words("GPU software", "gpu_stack", stack_label),
    )
    note = (
        "Estimated. The placement is optimal (a minimum cut). Copies cost what the board's model says, else nothing. "
        "Models of boards that were not measured here ship with SiteCNN."
    )
    return Table("placement", "One processor alone, and each layer where it is fastest", rows, columns, note)
