"""What a chapter of the report is made of: notes, tables and figures, and how a value becomes text."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import altair as alt
import pandas as pd

from sitecnn.report.passes import telling_stacks

Row = Mapping[str, Any]

MOST_POINTS = 800
"""Of a scatter on the page: more are not told apart, and make it heavy."""

MOST_ROWS = 500
"""Of a table on the page: nobody reads on, and a browser would have to draw them."""

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """One cell as the page shows it; `value` is what it sorts by and what the text was made from."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """A column: its title with unit, and how a row of the table becomes a cell; `left` columns hold words.

    A column with `once` stands in the caption, behind that word, where all rows have the same in it.
    """

    title: str
    cell: Callable[[Row], Cell]
    left: bool = False
    once: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows with the columns shown; the CSV beside the report holds all of `frame`, unrounded.

    `searchable` tables are long ones: they are folded away and get a search field, and the page has their first rows.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    note: str = ""
    searchable: bool = False

    @cached_property
    def common(self) -> dict[Column, str]:
        """The columns in which all rows have the same, which the caption says once, with what they have."""
        rows: list[dict[str, Any]] = self.frame.to_dict("records")  # type: ignore[assignment]
        texts = {column: {column.cell(row).text for row in rows} for column in self.columns if column.once is not None}
        return {column: text for column, (text, *more) in texts.items() if not more} if rows else {}

    @property
    def board(self) -> str:
        """The board that all rows are of, empty where there is none or several."""
        names = set(self.frame["board"]) if "board" in self.frame else set()
        return str(names.pop()) if len(names) == 1 else ""

    @cached_property
    def _cells(self) -> dict[Column, list[Cell]]:
        """The cells of the rows that the page has."""
        rows: list[dict[str, Any]] = self.frame.head(MOST_ROWS).to_dict("records")  # type: ignore[assignment]
        return {column: [column.cell(row) for row in rows] for column in self.columns}

    @property
    def shown(self) -> list[Column]:
        """The columns that the page shows: not what all rows have in common, and not what none of them has."""
        cells = {column: cells for column, cells in self._cells.items() if column not in self.common}
        return [column for column, of in cells.items() if not of or any(cell.text not in ("", ABSENT) for cell in of)]

    @property
    def caption(self) -> str:
        """The title, with what all rows have in common."""
        return ": ".join(
            filter(None, [self.title, ", ".join(f"{one.once}{text}" for one, text in self.common.items())])
        )

    @property
    def left_out(self) -> str:
        """What the page does not show of it, as a sentence; empty where it shows all."""
        count = len(self.frame)
        return f"The page has the first {MOST_ROWS:,} of {count:,} rows, the CSV all." if count > MOST_ROWS else ""

    @property
    def rows(self) -> list[tuple[dict[str, str], list[Cell]]]:
        """What the page shows, row by row: the board and the network that it is filtered by, and the cells."""
        names = [name for name in ("board", "network") if name in self.frame]
        records: list[dict[str, Any]] = self.frame[names].head(MOST_ROWS).to_dict("records")  # type: ignore[assignment]
        tags = [{name: str(value) for name, value in row.items() if not is_missing(value)} for row in records]
        return list(
            zip(tags, map(list, zip(*(self._cells[column] for column in self.shown), strict=True)), strict=True)
        )


@dataclass(frozen=True)
class GridCell:
    """A cell to be read from afar: `text` large, `details` small below it, `value` to sort by.

    `mark` says how its value was come by: `measured`, `estimated` or `unseen` (beyond what a model has seen).
    """

    text: str
    details: tuple[str, ...]
    value: float
    mark: str


@dataclass(frozen=True)
class Grid:
    """Rows × columns of one kind of value; the CSV beside the report holds `frame`, a row for each cell.

    `heads` is the title of the first column and, for each other, a large and a small line.
    """

    name: str
    title: str
    heads: tuple[str, tuple[tuple[str, ...], ...]]
    rows: tuple[tuple[str, tuple[GridCell | None, ...]], ...]
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart whose `title` states what it shows; `alt_text` says it to those who cannot see it.

    `board` is the one that it is of, empty where it is of several. `folded` ones are for those who want to know more.
    """

    name: str
    title: str
    alt_text: str
    chart: alt.Chart | alt.LayerChart
    note: str = ""
    board: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence or a few; `missing` ones say what is not there, and why."""

    text: str
    missing: bool = False


@dataclass(frozen=True)
class Commands:
    """Lines to type into a shell."""

    lines: tuple[str, ...]


Block = Table | Grid | Figure | Note | Commands


@dataclass(frozen=True)
class Chapter:
    """A question, its answer in one sentence, and what the answer rests on."""

    name: str
    question: str
    answer: str
    blocks: tuple[Block, ...] = field(default=())

    @property
    def repeated(self) -> set[str]:
        """Figures that show of a further processor what one before shows, where there are more than two of a kind."""
        kinds: dict[str, list[str]] = {}
        for block in self.blocks:
            if isinstance(block, Figure) and block.board and not block.folded:
                kinds.setdefault(block.name.partition("-")[0], []).append(block.name)
        return {name for names in kinds.values() if len(names) > 2 for name in names[1:]}


def words(title: str, name: str, show: Callable[[str], str] = str) -> Column:
    """A column of names, as `show` writes them."""
    return Column(title, lambda row: Cell(ABSENT if is_missing(row[name]) else show(str(row[name]))), left=True)


def where(frame: pd.DataFrame) -> tuple[Column, ...]:
    """The column of boards and processors and, where one of them has several stacks, that of what tells these apart."""
    board = Column("board", lambda row: Cell(f"{row['board']} {row['processor']}"), left=True, once="")
    telling = telling_stacks(frame) if "stack" in frame else {}

    def software(row: Row) -> Cell:
        return Cell(telling.get((str(row["board"]), str(row["processor"]), str(row["stack"])), ABSENT))

    return (board, Column("software", software, left=True)) if telling else (board,)


def batches() -> Column:
    """The column of batches."""
    return Column("batch", lambda row: number_cell(row["batch"], integer), once="batch ")


def number(title: str, name: str, show: Callable[[float], str]) -> Column:
    """A column of numbers."""
    return Column(title, lambda row: number_cell(row.get(name), show))


def flag(title: str, name: str) -> Column:
    """A column of yes and no."""
    return Column(title, lambda row: Cell(ABSENT if is_missing(row[name]) else "yes" if row[name] else "no"), left=True)


def timed(title: str, name: str, show: Callable[[float, float], str] | None = None) -> Column:
    """Milliseconds ± spread as `show` writes them, with the share of the whole where the row has `{name}_share`."""
    show = show or plus_minus

    def cell(row: Row) -> Cell:
        ms, spread, share = (row.get(f"{name}{part}") for part in ("_ms", "_spread_ms", "_share"))
        if is_missing(ms) or ms is None:
            return Cell(ABSENT)
        text = milliseconds(ms) if spread is None or is_missing(spread) else show(ms, spread)
        return Cell(text if share is None or is_missing(share) else f"{text} ({percent(share)})", float(ms))

    return Column(title, cell)


def number_cell(value: Any, show: Callable[[float], str]) -> Cell:
    """A number as `show` writes it, a dash where it is missing."""
    return Cell(ABSENT) if is_missing(value) else Cell(show(float(value)), float(value))


def is_missing(value: Any) -> bool:
    """Whether a scalar is None, NaN, NaT or NA."""
    return value is None or bool(pd.isna(value))


def significant(value: float) -> str:
    """Three significant digits at least, all digits before the point, never in powers of ten."""
    return "0" if value == 0 else f"{value:,.{decimals(value, 3)}f}"


def decimals(value: float, digits: int) -> int:
    """Decimal places that show so many significant digits, 6 at most."""
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, min(6, digits - 1 - math.floor(math.log10(abs(value)))))


def plus_minus(value: float, spread: float) -> str:
    """A value and its spread with as many decimals as either needs."""
    places = max(decimals(value, 3), decimals(spread, 1))
    return f"{value:,.{places}f} ± {spread:,.{places}f}"


milliseconds = significant


def tenths(value: float) -> str:
    """A number with one decimal."""
    return f"{value:,.1f}"


def integer(value: float) -> str:
    """A whole number with thousands apart."""
    return f"{value:,.0f}"


def millions(value: float) -> str:
    """Millions, to the poster's rounding."""
    return f"{value / 1e6:,.0f}" if abs(value) >= 1e7 or value == 0 else f"{value / 1e6:,.2f}"


def mebibytes(value: float) -> str:
    """Bytes as MiB."""
    return f"{value / 2**20:,.1f}"


def percent(value: float) -> str:
    """A fraction as percent."""
    return f"{100 * value:.1f} %"


def whole_percent(value: float) -> str:
    """A fraction as percent, rounded to whole ones."""
    return f"{100 * value:.0f} %"


def signed_percent(value: float) -> str:
    """A signed fraction as percent; what rounds to nothing has no sign."""
    text = f"{100 * value:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def capitalised(text: str) -> str:
    """The first letter as a sentence has it; the others as they are."""
    return text[:1].upper() + text[1:]


def plural(count: int, noun: str) -> str:
    """`1 network`, `2 networks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
