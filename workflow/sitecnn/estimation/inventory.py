"""All boards that have a file or a model: their stacks, the models' age, and what was measured."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sitecnn.boards.config import load_board_config
from sitecnn.models.board_model import UNSEEN, BoardModel, StackModel, load
from sitecnn.models.model_files import SHIPPED, known_models
from sitecnn.models.probe_names import without_probes


@dataclass(frozen=True)
class Entry:
    """One stack of a board's processor; without a model `stack` is empty and the figures are 0.

    `transport` is how the board is reached, empty for one without a file. `model` is `own`, `shipped` or `none`,
    `fitted` the day of the model's file (an own one) or the release that it came with. `kinds` were measured, not
    guessed, on `networks` and `probes`; `network_sd` is the relative error of networks that the model's intervals
    rest on.
    """

    board: str
    processor: str
    transport: str
    description: str
    model: str
    fitted: str = ""
    stack: str = ""
    threads: int = 0
    kinds: int = 0
    networks: int = 0
    probes: int = 0
    network_sd: float = 0.0

    def error(self) -> str:
        """Its relative error as text."""
        return f"{self.network_sd:.1%}" if self.stack else ""


def inventory(root: Path) -> list[Entry]:
    """The boards of config/boards and of all models, by name."""
    files = sorted((root / "config" / "boards").glob("*.yaml"))
    described = {file.stem: load_board_config(root, file.stem) for file in files}
    models = known_models(root)
    places = {(name, str(processor)) for name, board in described.items() for processor in board.processors}
    entries = []
    for name, processor in sorted(places | set(models)):
        board = described.get(name)
        reached = (board.transport, board.description) if board else ("", "")
        path = models.get((name, processor))
        if path is None:
            entries.append(Entry(name, processor, *reached, model="none"))
        else:
            model = load(path)
            entries += [_entry(model, stack, path, reached) for stack in model.stacks]
    return entries


def _entry(model: BoardModel, stack: StackModel, path: Path, reached: tuple[str, str]) -> Entry:
    is_shipped, networks = path.parent == SHIPPED, without_probes(stack.networks)
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d")
    return Entry(
        *(model.board, model.processor, *reached),
        model="shipped" if is_shipped else "own",
        fitted=f"SiteCNN {model.provenance.get('sitecnn', '?')}" if is_shipped else day,
        stack=stack.stack,
        threads=stack.threads,
        kinds=sum(not fitted.is_guess for kind, fitted in stack.kinds.items() if kind != UNSEEN),
        networks=len(networks),
        probes=len(stack.networks) - len(networks),
        network_sd=stack.unexplained_sd["network"],
    )
