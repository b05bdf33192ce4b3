"""The files of board models, own and shipped. They are not read here."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"
"""Models fitted from public measurements, as `{board}-{processor}.json`."""

PROCESSORS = ("cpu", "gpu")


def known_models(root: Path) -> dict[tuple[str, str], Path]:
    """(board, processor) → model file; of two models the person's own, in `root`/results/models, counts."""
    files = [*sorted(SHIPPED.glob("*.json")), *sorted((root / "results" / "models").glob("*.json"))]
    named = ((file.stem.rpartition("-"), file) for file in files)
    return {(board, processor): file for (board, _, processor), file in named if processor in PROCESSORS and board}
