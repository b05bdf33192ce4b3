"""Which boards have a model, a person's own or one that ships with SiteCNN, and which of its stacks is meant."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from sitecnn.errors import ModelError, nearest
from sitecnn.models.board_model import BoardModel, StackModel, load
from sitecnn.models.model_files import PROCESSORS, known_models
from sitecnn.models.threads import at_threads
from sitecnn.network.graph import Network
from sitecnn.workload.engines import engine_of_network, engine_of_stack
from sitecnn.workload.stack_names import stack_label


def load_board(board: str | Path, processor: str | None = None, *, root: Path | str = Path()) -> BoardModel:
    """The model of a board's processor (`cpu` or `gpu`).

    `board` is a name (`tx1`), looked up in `root`/results/models and among the models that ship with SiteCNN, or
    the path of a model's .json file. Without `processor` it is the CPU, or the only one that has a model. Raises
    ModelError, with the nearest match, if there is no such model.
    """
    if str(board).endswith(".json"):
        return load(Path(board))
    models = known_models(Path(root))
    wanted = processor or next((which for which in PROCESSORS if (str(board), which) in models), "cpu")
    if (str(board), wanted) not in models:
        raise ModelError(_missing(str(board), processor, models))
    return load(models[str(board), wanted])


def load_processors(board: str | Path, processor: str | None = None, *, root: Path | str = Path()) -> list[BoardModel]:
    """The models of all processors of a board that have one, or of `processor` alone; errors as `load_board`'s."""
    first = load_board(board, processor, root=root)
    other = None if processor or str(board).endswith(".json") else other_processor(first, root)
    return [first, other] if other else [first]


def with_stack(
    boards: Sequence[BoardModel], stack: str | None, threads: int | None, engine: str | None = None
) -> list[BoardModel]:
    """Those boards that have such a stack; ModelError, the first one's, if none has."""
    having, errors = [], []
    for board in boards:
        try:
            choose_stack(board, stack, threads, engine=engine)
            having.append(board)
        except ModelError as error:
            errors.append(error)
    if not having:
        raise errors[0]
    return having


def other_processor(board: BoardModel, root: Path | str = Path()) -> BoardModel | None:
    """The model of the same board's other processor, or None if there is none."""
    other = "gpu" if board.processor == "cpu" else "cpu"
    path = known_models(Path(root)).get((board.board, other))
    return load(path) if path else None


def choose_stack(
    board: BoardModel,
    stack: str | None = None,
    threads: int | None = None,
    *,
    engine: str | None = None,
    network: Network | None = None,
) -> StackModel:
    """The stack of a board that `stack` names, else the first whose name holds it; ModelError if there is none.

    It has `threads` threads and is of `engine`.
    Of several that fit it is one of the engine that the `network` was written for, where there is one, and in the
    network's precision, else fp32. A number of threads between two that were measured is read between them.
    """
    engines = {one.stack: engine_of_stack(one.stack) for one in board.stacks}
    native = engine_of_network(network) if network else None
    precision = network.precision if network else "fp32"
    named = [
        one
        for one in board.stacks
        if (stack is None or _is_part(stack, one.stack)) and engine in (None, engines[one.stack].name)
    ]

    def last(one: StackModel) -> tuple[bool, bool, int]:
        engine = engines[one.stack]
        order = (precision, "fp32", engine.precision)
        return one.stack != stack, native not in (None, engine.name), order.index(engine.precision)

    named.sort(key=last)
    for candidate in named:
        if threads in (None, candidate.threads):
            return candidate
    if threads and (between := at_threads(named, threads)):
        return between
    given = (
        f"stack {stack!r}" if stack else "",
        f"engine {engine!r}" if engine else "",
        f"{threads} threads" if threads else "",
    )
    request = " ".join(filter(None, given))
    there = "; ".join(f"{one.stack!r}{_in_threads(one.threads)}" for one in board.stacks)
    raise ModelError(
        f"board {board.board!r} {board.processor}: no {request or 'stack'}; its model has: {there or 'none'}"
    )


def _is_part(text: str, stack: str) -> bool:
    """Whether a stack is called so in part, by its exact name or as the command line prints it."""
    return any(text.lower() in name.lower() for name in (stack, stack_label(stack)))


def _in_threads(threads: int) -> str:
    """Empty where the number of threads is not known."""
    return f" ({threads} {'thread' if threads == 1 else 'threads'})" if threads else ""


def free_bytes(board: BoardModel) -> int | None:
    """The memory that the board leaves to a process, as its model's provenance has it (`free_bytes`), or None."""
    count = board.provenance.get("free_bytes")
    return int(count) if isinstance(count, int | float) else None


def _missing(board: str, processor: str | None, models: Iterable[tuple[str, str]]) -> str:
    boards = sorted({name for name, _ in models})
    if board in boards:
        there = ", ".join(which for name, which in models if name == board)
        return f"no model of board {board!r}, processor {processor}; it has: {there}"
    others = nearest(board, boards, cutoff=0.5) if boards else "there is none yet: `./run report` makes one"
    return f"no board {board!r}: {others}"
