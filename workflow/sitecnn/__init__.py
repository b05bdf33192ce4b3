"""Whether a CNN runs on a board, how fast and in how much memory, from its configuration alone."""
