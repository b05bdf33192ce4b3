"""Times that others measured → records of the board, which aggregation then reads like its own."""
