"""Numbers as the page shows them."""

import math


def number(value: float) -> str:
    """Three significant digits at least, all digits before the point."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    places = max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{places}f}"


def signed(value: float) -> str:
    """A difference with its sign, `±0` for none."""
    text = number(abs(value)) if abs(value) > 1e-9 else "0"
    return "±0" if text.strip("0.") == "" else f"{'+' if value > 0 else '−'}{text}"


def megabytes(value: float) -> str:
    """Bytes as MB, 10⁶ of them."""
    return number(value / 1e6)


def signed_megabytes(value: float) -> str:
    """A difference in bytes as MB."""
    return signed(value / 1e6)


def percent(fraction: float) -> str:
    """A fraction as percent."""
    return f"{100 * fraction:.1f} %" if 0 < fraction < 0.1 else f"{100 * fraction:.0f} %"


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


def millions(value: float) -> str:
    """Millions of anything."""
    return number(value / 1e6)


def shape(sizes: list[int] | tuple[int, ...]) -> str:
    """`64 × 56 × 56`: a shape without its batch."""
    return " × ".join(map(str, sizes[1:])) or "1"
