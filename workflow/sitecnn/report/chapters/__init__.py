"""The report's chapters in their order; each makes itself from the results, and says what is missing."""

from sitecnn.report.chapters import (
    accuracy,
    answer,
    boards,
    change,
    comparison,
    matrix_multiplication,
    memory,
    provenance,
    published,
    time,
)

CHAPTERS = (
    answer.chapter,
    time.chapter,
    memory.chapter,
    change.chapter,
    accuracy.chapter,
    matrix_multiplication.chapter,
    boards.chapter,
    comparison.chapter,
    published.chapter,
    provenance.chapter,
)
