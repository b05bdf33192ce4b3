"""The report's chapters by name; each makes itself from the results. One with nothing to show says what is missing."""

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

MAKERS = {
    "summary": summary.chapter,
    "time": time.chapter,
    "memory": memory.chapter,
    "gemm": matrix_multiplication.chapter,
    "accuracy": accuracy.chapter,
    "placement": placement.chapter,
    "comparison": comparison.chapter,
    "cost": cost.chapter,
    "published": published.chapter,
    "provenance": provenance.chapter,
}
