"""A network under construction: ONNX nodes on tensors of known shapes, with weights that lie outside the file."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sitecnn.network.graph import Shape

WEIGHTS_FILE = "weights.bin"
"""Where all weights are said to lie: the agent makes such a file of random values on the board."""

WEIGHTS_BYTES = 128 << 20
"""How much of that file is used; weights beyond it begin at its start again."""

PAGE_BYTES = 4096

OPSET, IR_VERSION = 20, 9
"""What ONNX Runtime reads from 1.17 on (onnxruntime.ai, Compatibility)."""

INPUT = "image"


MOST_NODES = 110
"""A chain with more nodes goes on to its head."""


class Graph:
    """Nodes in the order in which they run; `shapes` has every tensor's."""

    def __init__(self, name: str, size: int) -> None:
        """A network of this name on an image of 3 × `size` × `size`."""
        self.name = name
        self.shapes: dict[str, Shape] = {INPUT: (1, 3, size, size)}
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.offset = 0

    @property
    def is_full(self) -> bool:
        """Whether a chain should come to its end."""
        return len(self.nodes) > MOST_NODES

    def weights(self, *shape: int) -> str:
        """A tensor of weights in WEIGHTS_FILE."""
        size_bytes = 4 * prod(shape)
        if self.offset + size_bytes > WEIGHTS_BYTES:
            self.offset = 0
        tensor = TensorProto(name=f"weights{len(self.initializers)}", data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": WEIGHTS_FILE, "offset": str(self.offset), "length": str(size_bytes)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        self.offset += -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
        self.initializers.append(tensor)
        return tensor.name

    def constant(self, values: Any) -> str:
        """A small tensor in the file itself."""
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def scalar(self, value: float) -> str:
        """One float in the file itself."""
        return self.constant(np.float32(value))

    def node(self, operator: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """A node with one output of this shape; the output's name."""
        (output,) = self.nodes_of(operator, inputs, [shape], **attributes)
        return output

    def nodes_of(self, operator: str, inputs: Sequence[str], shapes: Sequence[Shape], **attributes: Any) -> list[str]:
        """A node with an output for each of `shapes`; their names."""
        number = len(self.nodes)
        outputs = [
            f"{operator}{number}" if not index else f"{operator}{number}_{index}" for index in range(len(shapes))
        ]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=f"node{number}", **attributes))
        self.shapes.update(zip(outputs, shapes, strict=True))
        return outputs

    def model(self) -> ModelProto:
        """The network; every tensor that nothing reads is an output."""
        used = {name for node in self.nodes for name in node.input}
        ends = [name for node in self.nodes for name in node.output if name not in used]
        infos = {
            name: helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in (INPUT, *ends)
        }
        graph = helper.make_graph(
            self.nodes, self.name, [infos[INPUT]], [infos[name] for name in ends], self.initializers
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
