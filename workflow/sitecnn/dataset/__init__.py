from sitecnn.dataset.aggregate import aggregate
from sitecnn.dataset.store import read_measurements

__all__ = ["aggregate", "read_measurements"]
