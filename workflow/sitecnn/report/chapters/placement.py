"""CPU or GPU? Placement of the configured networks on every board that has models of both."""

import pandas as pd

from sitecnn.config import network_file
from sitecnn.estimation.boards import choose_stack, known_models, load_board
from sitecnn.estimation.placement import ZERO_COPY, measured_copy, place
from sitecnn.network import load_network
from sitecnn.report.page import Chapter, Note, Table, flag, integer, milliseconds, number, words
from sitecnn.report.results import Results


def chapter(results: Results) -> Chapter:
    """The chapter on placement."""
    question = "CPU or GPU?"
    models = known_models(results.root)
    boards = sorted({board for board, _ in models if {(board, "cpu"), (board, "gpu")} <= set(models)})
    without = [found.board for found in results.processors if found.board not in boards]
    notes = [
        Note(f"{name}: only one of its processors has a model, so there is no choice.", True)
        for name in dict.fromkeys(without)
    ]
    rows = pd.DataFrame([row for board in boards for row in placements(results, board)])
    if rows.empty:
        return Chapter("placement", question, "No board has models of both its processors.", tuple(notes))
    return Chapter("placement", question, answer(rows), (placement_table(rows), *notes))


def answer(rows: pd.DataFrame) -> str:
    """Where networks belong."""
    parts = []
    for board, part in rows.groupby("board"):
        home = (part["all_gpu_ms"] < part["all_cpu_ms"]).mean()
        worth = int(part["worthwhile"].sum())
        where = "the GPU" if home > 0.5 else "the CPU"
        parts.append(f"on {board} {where} is faster alone, and splitting pays for {worth} of {len(part)} networks")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def placements(results: Results, board: str) -> list[dict[str, object]]:
    """Each configured network's times on either processor alone and best placed, estimated, ms."""
    cpu, gpu = (choose_stack(load_board(board, processor, root=results.root)) for processor in ("cpu", "gpu"))
    copy = measured_copy(gpu) or ZERO_COPY
    rows: list[dict[str, object]] = []
    for name in (*results.config.networks, *results.config.held_out):
        network = load_network(network_file(results.root, name), batch=results.config.batch)
        found = place(network, cpu, gpu, copy, results.config.level)
        best = min(found.all_cpu_ms, found.all_gpu_ms)
        rows.append(
            {"network": name, "board": board, "batch": results.config.batch, "cpu_stack": cpu.stack}
            | {"gpu_stack": gpu.stack, "all_cpu_ms": found.all_cpu_ms, "all_gpu_ms": found.all_gpu_ms}
            | {"placed_ms": found.placed_ms.estimate, "gain_ms": best - found.placed_ms.estimate}
            | {"layers_on_gpu": sum(found.on_gpu), "layers": len(found.on_gpu), "copies": found.copies}
            | {"worthwhile": found.worthwhile}
        )
    return rows


def placement_table(rows: pd.DataFrame) -> Table:
    """Times on either processor alone and best placed."""
    columns = (
        words("network", "network"),
        words("board", "board"),
        number("batch", "batch", integer),
        number("all on the CPU, ms", "all_cpu_ms", milliseconds),
        number("all on the GPU, ms", "all_gpu_ms", milliseconds),
        number("best placed, ms", "placed_ms", milliseconds),
        number("gain, ms", "gain_ms", milliseconds),
        number("layers on the GPU", "layers_on_gpu", integer),
        number("of", "layers", integer),
        number("values that cross", "copies", integer),
        flag("worth it", "worthwhile"),
        words("CPU stack", "cpu_stack"),
        words("GPU stack", "gpu_stack"),
    )
    note = (
        "Estimated; the placement is the exact best, a minimum cut. Boards that were not measured here are models that "
        "come with SiteCNN. Copies cost what the board's model has for them; nothing where it has none."
    )
    return Table("placement", "Either processor alone, and each layer where it belongs", rows, columns, note)
