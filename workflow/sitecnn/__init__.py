"""Whether a CNN runs on a board, how fast and in how much memory, from its configuration alone."""

__version__ = "0.1.0"
