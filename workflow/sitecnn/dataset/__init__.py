from sitecnn.dataset.aggregate import aggregate, read_measurements

__all__ = ["aggregate", "read_measurements"]
