"""Plain text tables and units for the terminal."""

from collections.abc import Collection, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Columns aligned by their widest cell, those in `right` to the right; the last one is left as it is."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def mebibytes(count: float) -> str:
    """Bytes as MiB with two decimals, the unit of the poster's Table 2."""
    return f"{count / 2**20:,.2f} MiB"


def millions(count: int) -> str:
    """A count in millions: whole ones, or two digits of less than one."""
    return f"{count / 1e6:,.0f} M" if count >= 1e6 or not count else f"{count / 1e6:.2g} M"
