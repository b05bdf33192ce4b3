"""Whether a CNN runs on a board, how fast and in how much memory, from its configuration alone.

    from sitecnn import estimate, load_board, load_network

    print(estimate(load_network("net.prototxt"), load_board("tx1", "gpu")).forward_ms)

Importing this loads nothing else: each name below brings what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sitecnn.errors import BoardError, ConfigError, DatasetError, ModelError, NetworkError, SiteCNNError
    from sitecnn.estimation.estimate import Estimate, Milliseconds, estimate
    from sitecnn.estimation.estimate_many import ManyEstimates, estimate_many
    from sitecnn.estimation.memory_plan import MemoryPlan, memory_plan
    from sitecnn.estimation.offload import Link, Offload, offload
    from sitecnn.estimation.placement import Copy, Placement, place
    from sitecnn.estimation.torch_module import load_module
    from sitecnn.models.board_model import BoardModel
    from sitecnn.models.lookup import load_board
    from sitecnn.network import Layer, Network, load_network
    from sitecnn.network.builder import NetworkBuilder

__version__ = "0.1.0"

__all__ = [
    "BoardError",
    "BoardModel",
    "ConfigError",
    "Copy",
    "DatasetError",
    "Estimate",
    "Layer",
    "Link",
    "ManyEstimates",
    "MemoryPlan",
    "Milliseconds",
    "ModelError",
    "Network",
    "NetworkBuilder",
    "NetworkError",
    "Offload",
    "Placement",
    "SiteCNNError",
    "__version__",
    "estimate",
    "estimate_many",
    "load_board",
    "load_module",
    "load_network",
    "memory_plan",
    "offload",
    "place",
]

_HOMES = {
    "BoardError": "sitecnn.errors",
    "BoardModel": "sitecnn.models.board_model",
    "ConfigError": "sitecnn.errors",
    "Copy": "sitecnn.estimation.placement",
    "DatasetError": "sitecnn.errors",
    "Estimate": "sitecnn.estimation.estimate",
    "Layer": "sitecnn.network",
    "Link": "sitecnn.estimation.offload",
    "ManyEstimates": "sitecnn.estimation.estimate_many",
    "MemoryPlan": "sitecnn.estimation.memory_plan",
    "Milliseconds": "sitecnn.estimation.estimate",
    "ModelError": "sitecnn.errors",
    "Network": "sitecnn.network",
    "NetworkBuilder": "sitecnn.network.builder",
    "NetworkError": "sitecnn.errors",
    "Offload": "sitecnn.estimation.offload",
    "Placement": "sitecnn.estimation.placement",
    "SiteCNNError": "sitecnn.errors",
    "estimate": "sitecnn.estimation.estimate",
    "estimate_many": "sitecnn.estimation.estimate_many",
    "load_board": "sitecnn.models.lookup",
    "load_module": "sitecnn.estimation.torch_module",
    "load_network": "sitecnn.network",
    "memory_plan": "sitecnn.estimation.memory_plan",
    "offload": "sitecnn.estimation.offload",
    "place": "sitecnn.estimation.placement",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
