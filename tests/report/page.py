"""A report's page, read back: its tables with the value and text of each cell."""

import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from sitecnn.cli import main


@dataclass
class ReadTable:
    caption: str = ""
    head: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, float | None]]] = field(default_factory=list)

    def column(self, title: str) -> list[float | None]:
        """The values of the column with this title."""
        return [row[self.head.index(title)][1] for row in self.rows]

    def words(self, title: str) -> list[str]:
        return [row[self.head.index(title)][0] for row in self.rows]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tables: dict[str, ReadTable] = {}
        self.grids: dict[str, ReadTable] = {}
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cell: str | None = None
        self.value: float | None = None

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append((tag, named))
        if tag == "table":
            kind, _, name = named["id"].partition("-")
            self.table = (self.grids if kind == "grid" else self.tables)[name] = ReadTable()
        elif tag == "tr" and self.table.head:
            self.table.rows.append([])
        elif tag == "caption":
            self.cell = ""
        elif tag == "small" and self.cell is not None:
            self.cell += "\n"
        elif tag in ("td", "th"):
            self.cell, self.value = "", float(named["data-v"]) if "data-v" in named else None

    def handle_data(self, data):
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text.append(data)
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self.table.caption, self.cell = self.cell or "", None
        elif tag == "th" and not self.table.rows:
            self.table.head.append(self.cell)
        elif tag in ("td", "th"):
            if self.value is None and re.fullmatch(r"-?\d+", self.cell):
                self.value = float(self.cell)
            self.table.rows[-1].append((self.cell, self.value))
        if tag in ("td", "th"):
            self.cell = None


def read(path: Path) -> _Reader:
    """The page at `path`."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


KINDS = {
    "convolution": "convolution",
    "inner_product": "fully connected",
    "pooling": "max pooling",
    "relu": "ReLU",
    "lrn": "LRN",
    "softmax": "softmax",
    "input": "input",
}
"""What people call the kinds that the made-up networks have."""

SENTENCE = re.compile(
    r'<(?:p class="(?:answer|note|missing)"|figcaption|summary|caption)[^>]*>(.*?)</(?:p|figcaption|summary|caption)>',
    re.DOTALL,
)


class Report:
    """A report with the tables beside it and the evaluation that it was made of."""

    def __init__(self, root):
        self.root = root
        page = root / "results" / "report" / "report.html"
        assert main(["--root", str(root), "report", "-o", str(page)]) == 0
        text = page.read_text(encoding="utf-8")
        texts = [html.unescape(re.sub(r"<[^>]+>", "", part)) for part in SENTENCE.findall(text)]
        files = re.compile(r"\s+(CSV|SVG\s+PNG\s+PDF)\s*$")
        self.page = read(page).tables
        self.sentences = [re.sub(r"\s+", " ", files.sub("", part)).strip() for part in texts]

    def table(self, name):
        return pd.read_csv(self.root / "results" / "report" / "tables" / f"{name}.csv")

    def evaluated(self, name, slug="bench-cpu"):
        return pd.read_parquet(self.root / "results" / "evaluation" / slug / f"{name}.parquet")
