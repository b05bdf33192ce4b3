"""The report's chapters in their order; each makes itself from the results."""

from sitecnn.report.chapters import (
    accuracy,
    comparison,
    cost,
    matrix_multiplication,
    memory,
    placement,
    provenance,
    published,
    summary,
    time,
)
from sitecnn.report.page import Chapter
from sitecnn.report.results import Results

MAKERS = (
    summary.chapter,
    time.chapter,
    memory.chapter,
    matrix_multiplication.chapter,
    accuracy.chapter,
    placement.chapter,
    comparison.chapter,
    cost.chapter,
    published.chapter,
    provenance.chapter,
)


def chapters(results: Results) -> list[Chapter]:
    """Every chapter; those with nothing to show say what is missing."""
    return [make(results) for make in MAKERS]
