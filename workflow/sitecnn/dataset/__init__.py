from sitecnn.dataset.aggregation import aggregate
from sitecnn.dataset.store import read_measurements

__all__ = ["aggregate", "read_measurements"]
