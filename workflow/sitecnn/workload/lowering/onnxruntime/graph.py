"""A network as ONNX Runtime optimises it: nodes that can be fused, removed and added, tensors by name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant


@dataclass(eq=False)
class Node:
    """An operator; `layers` are those whose work it does, the one at which its time stands first.

    `nchwc`: it works on blocks of channels. `version` is the operator set in which the operator last changed. `number`
    is its place among all that were added to the graph.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    layers: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 13
    nchwc: bool = False
    number: int = -1

    @property
    def output(self) -> str:
        """Its first output."""
        return self.outputs[0]

    @property
    def activation(self) -> str:
        """The activation that was fused into it, empty if there is none."""
        return str(self.attributes.get("activation", ""))


class Graph:
    """Nodes in an order in which they can run, with who makes and who uses each tensor; `opset` is the file's.

    `told` has the sizes of each tensor as a file with open axes tells them, see `OpenForm`; empty of any other file.
    `is_folded`: constants that the file computes are worked out. `is_placed`: each node is known to run on the CPU
    provider, as it is after level BASIC.
    """

    def __init__(self, outputs: Iterable[str] = (), opset: int = 7) -> None:
        self.opset, self.is_folded, self.is_placed = opset, False, False
        self.nodes: list[Node] = []
        self.added = 0
        self.shapes: dict[str, Shape] = {}
        self.weights: dict[str, Constant] = {}
        self.told: dict[str, tuple[int | str, ...]] = {}
        self.outputs = set(outputs)
        self.makers: dict[str, Node] = {}
        self.users: dict[str, list[Node]] = defaultdict(list)

    def __contains__(self, node: Node) -> bool:
        """Whether a node is still there."""
        return self.makers.get(node.output) is node

    def of(self, *ops: str) -> list[Node]:
        """The nodes of these operators, in order; all of them where none is named."""
        return [node for node in self.nodes if node.op in ops] if ops else list(self.nodes)

    def add(self, node: Node, before: Node | None = None) -> Node:
        """Add a node at the end, or in front of another."""
        node.number, self.added = self.added, self.added + 1
        self.nodes.insert(len(self.nodes) if before is None else self.nodes.index(before), node)
        for name in node.inputs:
            self.users[name].append(node)
        self.makers.update(dict.fromkeys(node.outputs, node))
        return node

    def remove(self, node: Node) -> None:
        """Take a node out; its outputs have no maker then."""
        self.nodes.remove(node)
        for name in node.inputs:
            self.users[name].remove(node)
        for name in node.outputs:
            if self.makers.get(name) is node:
                del self.makers[name]

    def set_input(self, node: Node, position: int, name: str) -> None:
        """Have a node read another tensor at a position, which may be one past its last."""
        if position < len(node.inputs):
            self.users[node.inputs[position]].remove(node)
            node.inputs[position] = name
        else:
            node.inputs.append(name)
        self.users[name].append(node)

    def set_output(self, node: Node, name: str) -> None:
        """Have a node make another tensor as its first output."""
        if self.makers.get(node.output) is node:
            del self.makers[node.output]
        node.outputs[0] = name
        self.makers[name] = node

    def fuse(self, node: Node, follower: Node) -> None:
        """The follower's work is done in `node`, which makes its output in its place."""
        output = follower.output
        self.remove(follower)
        self.set_output(node, output)
        node.layers = (*node.layers, *follower.layers)

    def drop(self, node: Node, name: str) -> bool:
        """Remove a node whose output equals the tensor named; False where its output is a result."""
        if node.output in self.outputs:
            return False
        self.remove(node)
        self.replace(node.output, name)
        return True

    def replace(self, name: str, other: str) -> None:
        """All who use a tensor use another."""
        for user in list(self.users[name]):
            self.set_input(user, user.inputs.index(name), other)

    def follower(self, node: Node) -> Node | None:
        """The only user of a node's output, None where there are others or the output is a result."""
        users = self.users[node.output] if node.output else []
        return users[0] if len(users) == 1 and node.output not in self.outputs else None

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is constant."""
        return name in self.weights

    def shape(self, name: str) -> Shape:
        """The shape of a tensor, of data or constant."""
        return self.weights[name].shape if name in self.weights else self.shapes[name]

    def dims(self, name: str) -> tuple[int | str, ...]:
        """Sizes of a tensor as ONNX Runtime knows them before a pass: numbers, names, empty where it knows nothing."""
        shape = self.shape(name)
        if not self.told or name in self.weights:
            return shape
        return self.told.get(name, ("",) * len(shape))

    def has_rank(self, name: str) -> bool:
        """Whether the number of a tensor's axes is known before a pass."""
        return not self.told or name in self.weights or name in self.told

    def tell(self, name: str, shape: Shape, dims: tuple[int | str, ...]) -> str:
        """Name a new tensor of this shape, with what is known of it before a pass; its name."""
        self.shapes[name] = shape
        if self.told:
            self.told[name] = dims
        return name

    def is_fixed(self, name: str, first_axis: int = 0) -> bool:
        """Whether the lengths of a tensor's axes, from one on, are known before a pass."""
        return all(isinstance(size, int) for size in self.dims(name)[first_axis:])

    def values(self, node: Node, position: int) -> tuple[float, ...] | None:
        """The values of a constant input, None where it is left out, is data, or has many."""
        weight = self.weights.get(node.inputs[position]) if position < len(node.inputs) else None
        return weight.values if weight else None

    def data(self, node: Node) -> list[str]:
        """The inputs of a node that are no constants."""
        return [name for name in node.inputs if name and name not in self.weights]

    def sort(self) -> None:
        """Put the nodes into an order in which they can run, the present one where it is none against it."""
        waiting = {id(node): len({name for name in node.inputs if name in self.makers}) for node in self.nodes}
        rank = {id(node): place for place, node in enumerate(self.nodes)}
        ready = [node for node in self.nodes if not waiting[id(node)]]
        ordered: list[Node] = []
        while ready:
            node = min(ready, key=lambda one: rank[id(one)])
            ready.remove(node)
            ordered.append(node)
            for name in node.outputs:
                for user in {id(user): user for user in self.users[name]}.values():
                    waiting[id(user)] -= 1
                    if not waiting[id(user)]:
                        ready.append(user)
        self.nodes = ordered
