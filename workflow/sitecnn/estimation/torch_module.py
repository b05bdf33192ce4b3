"""A PyTorch module as a Network, through its ONNX export. PyTorch is not needed by anything else."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network


def load_module(module: Any, example_inputs: Any) -> Network:
    """The network of a `torch.nn.Module`.

    `example_inputs` is what `torch.onnx.export` takes: a tensor of the shape the module is to run with, or a tuple
    of them. Raises SiteCNNError if PyTorch or ONNX is not installed.
    """
    try:
        onnx = import_module("torch.onnx")
    except ImportError as error:
        raise SiteCNNError("load_module needs PyTorch: install `torch`, or export the module to ONNX") from error
    arguments = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{type(module).__name__}.onnx"
        onnx.export(module, arguments, str(path))
        return load_network(path)
