from sitecnn.dataset.aggregation import aggregate
from sitecnn.dataset.reading import read_measurements

__all__ = ["aggregate", "read_measurements"]
