"""The layout of ONNX Runtime's level ALL: channels in blocks, and the reorders where it begins and ends.

A tensor in blocks is called as the plain one with BLOCKED behind it. The rules are those of nchwc_transformer.cc.
"""

from dataclasses import dataclass

from sitecnn.network.graph import Shape
from sitecnn.network.settings import Constant
from sitecnn.workload.lowering.onnxruntime.extended import is_activation
from sitecnn.workload.lowering.onnxruntime.graph import Graph, Node
from sitecnn.workload.lowering.onnxruntime.nchwc_sizes import Lengths, are_equal, behind_window, own_lengths
from sitecnn.workload.lowering.onnxruntime.rules import Rules

BLOCKED = "@blocks"

ALIGNMENT = 4
"""Channels that a ReorderInput takes at a time: other numbers of them stay as they are."""

TO_LAST, FROM_LAST = (0, 2, 3, 1), (0, 3, 1, 2)
"""The orders of a Transpose that puts channels last, and back; a reorder does so by itself."""


POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
"""The last two only go on with blocks, or begin them at an input of the network."""


@dataclass
class _Blocks:
    """A tensor in blocks: who made it, its channels, the lengths of its axes, and how many still read it plain."""

    node: Node
    channels: int
    lengths: Lengths
    all_uses: int
    plain_uses: int


class Layout:
    """The nodes of a graph put into blocks of `block` channels, one after another."""

    def __init__(self, graph: Graph, block: int, rules: Rules) -> None:
        self.graph, self.block, self.rules = graph, block, rules
        self.blocks: dict[str, _Blocks] = {}

    def apply(self) -> None:
        """Change the graph; convolutions and pooling begin blocks, others go on with them."""
        for node in list(self.graph.nodes):
            if node in self.graph:
                self._transform(node)
        for name, blocked in list(self.blocks.items()):
            if blocked.plain_uses > 0:
                self.graph.add(Node("ReorderOutput", [name + BLOCKED], [name], blocked.node.layers[:1]))
        self.graph.sort()

    def padded(self, channels: int) -> int:
        """Channels in whole blocks."""
        return -(-channels // self.block) * self.block

    def _transform(self, node: Node) -> None:
        goes_on = any(name in self.blocks for name in node.inputs)
        is_first = node.inputs[0] not in self.graph.makers if node.inputs else False
        if node.op == "Conv":
            self._conv(node)
        elif node.op in POOLS[: 4 if goes_on or is_first else 2]:
            self._pool(node)
        elif not goes_on:
            return
        elif node.op in ("Add", "Sum", "Mul"):
            self._binary(node)
        elif node.op == "Concat":
            self._concat(node)
        elif node.op in self.rules.blocked_activations:
            self._activation(node)
        elif node.op == "BatchNormalization":
            self._batch_normalization(node)
        elif node.op == "Transpose":
            self._transpose(node)
        elif node.op in ("Resize", "Upsample"):
            self._resize(node)

    def _make(self, node: Node, channels: int, lengths: Lengths | None = None) -> None:
        """A node's output is in blocks from here on; its `lengths` are its own if they are not said."""
        name = node.output
        uses = len(self.graph.users[name]) + (name in self.graph.outputs)
        self.graph.shapes[name + BLOCKED] = (
            *self.graph.shape(name)[:1],
            self.padded(channels),
            *self.graph.shape(name)[2:],
        )
        self.graph.set_output(node, name + BLOCKED)
        self.blocks[name] = _Blocks(node, channels, lengths or own_lengths(name), uses, uses)

    def _read(self, node: Node, position: int) -> _Blocks:
        """The node reads an input in blocks."""
        blocked = self.blocks[node.inputs[position]]
        self.graph.set_input(node, position, node.inputs[position] + BLOCKED)
        blocked.plain_uses -= 1
        return blocked

    def _read_or_reorder(self, node: Node) -> Lengths | None:
        """The node reads its first input in blocks, put into them if nobody has yet; the lengths of what was."""
        name = node.inputs[0]
        if name in self.blocks:
            return self._read(node, 0).lengths
        if name + BLOCKED not in self.graph.makers:
            self._reorder_input(node, name)
        self.graph.set_input(node, 0, name + BLOCKED)
        return None

    def _reorder_input(self, node: Node, name: str) -> None:
        shape, maker = self.graph.shape(name), self.graph.makers.get(name)
        self.graph.shapes[name + BLOCKED] = (shape[0], self.padded(shape[1]), *shape[2:])
        source, attributes, layers = name, {}, node.layers[:1]
        is_alone = len(self.graph.users[name]) == 1 and name not in self.graph.outputs
        if is_alone and maker is not None and maker.op == "Transpose" and maker.attributes.get("perm") == FROM_LAST:
            source, attributes, layers = maker.inputs[0], {"channels_last": 1}, maker.layers
            self.graph.remove(maker)
        self.graph.add(Node("ReorderInput", [source], [name + BLOCKED], layers, attributes), before=node)

    def _conv(self, node: Node) -> None:
        weight = self.graph.weights.get(node.inputs[1])
        if weight is None or len(weight.shape) != 4 or not all(map(self.graph.is_weight, node.inputs[2:3])):
            return
        outputs, inputs = weight.shape[:2]
        group = node.attributes.get("group", 1)
        if not self._takes(outputs, inputs, group):
            return
        node.nchwc = True
        given = self._read_or_reorder(node) if group > 1 or inputs >= self.block else None
        self._make_window(node, outputs, weight.shape[2:], given)

    def _takes(self, outputs: int, inputs: int, group: int) -> bool:
        """Whether there is a convolution in blocks for channels (inputs: of one group) as these."""
        if group == 1:
            return inputs < self.block or inputs % ALIGNMENT == 0
        if inputs == 1 and outputs == group:
            return outputs % ALIGNMENT == 0
        return inputs % self.block == 0 and outputs % group == 0 and outputs // group % self.block == 0

    def _pool(self, node: Node) -> None:
        shape = self.graph.shape(node.inputs[0])
        if (
            len(node.outputs) > 1
            or len(shape) != 4
            or shape[1] % self.block
            or self.graph.dims(node.inputs[0])[1] == ""
        ):
            return
        node.nchwc = True
        given = self._read_or_reorder(node)
        window = node.attributes.get("kernel_shape")
        self._make_window(node, shape[1], window if given and window else (), given)

    def _make_window(self, node: Node, channels: int, window: Shape, given: Lengths | None) -> None:
        made = own_lengths(node.output)
        if given is not None:
            made = behind_window(node, window, given, made) if window else (given[0], *made[1:])
        self._make(node, channels, made)

    def _binary(self, node: Node) -> None:
        if not all(name in self.blocks for name in node.inputs):
            if node.op == "Mul" and self.rules.has("a Mul by a constant a channel stays on blocks"):
                self._scale(node)
            return
        parts = [self.blocks[name] for name in node.inputs]
        if len({part.channels for part in parts}) > 1:
            return
        if not are_equal(self.graph, node.inputs, [part.lengths for part in parts]):
            if node.op != "Mul":
                self._add_of_five_axes(node)
            return
        if self._joins_hard_swish(node):
            return
        given = [self._read(node, position) for position in range(len(node.inputs))]
        if node.op != "Mul" and len(given) == 2:
            taker = next((number for number, one in enumerate(given) if self._can_add(one)), None)
            if taker is not None:
                self._add_sum(given[taker], node, taker)
                return
        self._make(node, given[0].channels, given[0].lengths)
        node.nchwc = True

    def _add_of_five_axes(self, node: Node) -> None:
        """Sums of what may differ in size: with the channels of a block as an axis, all axes are as they lie."""
        for position in range(len(node.inputs)):
            channels = self._read(node, position).channels
            name = node.inputs[position]
            self.graph.set_input(node, position, self._reshaped(node, name, f"{name}/of/{node.output}"))
        output = node.output
        split = f"{output}/split"
        self.graph.shapes[split] = self._split(self.graph.shape(output))
        place = self.graph.nodes.index(node) + 1
        self.graph.set_output(node, split)
        behind = self.graph.nodes[place] if place < len(self.graph.nodes) else None
        sizes = self._sizes(output, 4)
        reshape = self.graph.add(Node("Reshape", [split, sizes], [output], node.layers[:1]), before=behind)
        self._make(reshape, channels)

    def _reshaped(self, node: Node, name: str, output: str) -> str:
        """A tensor in blocks with the channels of a block as an axis of their own."""
        self.graph.shapes[output] = self._split(self.graph.shape(name))
        reshape = Node("Reshape", [name, self._sizes(output, 5)], [output], node.layers[:1])
        return self.graph.add(reshape, before=node).output

    def _split(self, shape: Shape) -> Shape:
        return (shape[0], self.padded(shape[1]) // self.block, *shape[2:], self.block)

    def _sizes(self, name: str, axes: int) -> str:
        self.graph.weights[f"{name}/sizes"] = Constant((axes,), "int64")
        return f"{name}/sizes"

    def _joins_hard_swish(self, node: Node) -> bool:
        """Have a convolution apply x·HardSigmoid(x) with the slope of HardSwish."""
        if (
            node.op != "Mul"
            or node.output in self.graph.outputs
            or not self.rules.has("Conv on blocks applies HardSwish")
        ):
            return False
        gate = next((one for name in node.inputs if (one := self.blocks[name]).node.op == "HardSigmoid"), None)
        if gate is None or not _is_hard_swish(gate.node) or gate.all_uses != 1:
            return False
        given = gate.node.inputs[0].removesuffix(BLOCKED)
        maker = self.blocks[given].node if given in self.blocks else None
        if maker is None or maker.op != "Conv" or maker.activation or self.blocks[given].all_uses != 2:
            return False
        if given not in node.inputs:
            return False
        maker.attributes = {**maker.attributes, "activation": "HardSwish"}
        self.graph.fuse(gate.node, node)
        self.graph.fuse(maker, gate.node)
        self.blocks[given].plain_uses = gate.plain_uses = 0
        self._make(maker, self.blocks[given].channels, self.blocks[given].lengths)
        return True

    def _can_add(self, blocked: _Blocks) -> bool:
        node = blocked.node
        return node.op == "Conv" and len(node.inputs) < 4 and blocked.all_uses == 1 and not node.activation

    def _add_sum(self, blocked: _Blocks, node: Node, position: int) -> None:
        """The convolution adds the other input of a sum to its output itself."""
        taker, other = blocked.node, node.inputs[1 - position]
        if len(taker.inputs) < 3:
            self.graph.set_input(taker, 2, "")
        self._fuse(blocked, node)
        self.graph.set_input(taker, 3, other)

    def _fuse(self, blocked: _Blocks, node: Node) -> None:
        """The maker of a tensor in blocks does the work of a node behind it, too."""
        self.graph.fuse(blocked.node, node)
        self._make(blocked.node, blocked.channels, blocked.lengths)

    def _concat(self, node: Node) -> None:
        rank = len(self.graph.shape(node.output))
        if node.attributes.get("axis", 1) not in (1, 1 - rank) or not all(name in self.blocks for name in node.inputs):
            return
        channels = [self.blocks[name].channels for name in node.inputs]
        if any(size % self.block for size in channels):
            return
        given = [self._read(node, position) for position in range(len(node.inputs))]
        node.nchwc = True
        first = given[0].lengths
        self._make(node, sum(channels), (first[0], *own_lengths(node.output)[1:2], *first[2:]))

    def _activation(self, node: Node) -> None:
        blocked = self._read(node, 0)
        maker = blocked.node
        is_free = maker.op == "Conv" and blocked.all_uses == 1 and not maker.activation
        if is_free and is_activation(self.graph, node):
            maker.attributes = {**maker.attributes, "activation": node.op}
            self._fuse(blocked, node)
        else:
            node.nchwc = True
            self._make(node, blocked.channels, blocked.lengths)

    def _batch_normalization(self, node: Node) -> None:
        """It becomes a depthwise convolution of 1×1 pixels, which can take an activation or a sum."""
        constant = all(map(self.graph.is_weight, node.inputs[1:]))
        if len(node.outputs) == 1 and constant and node.version <= self.rules.blocked_batch_norm_version:
            self._depthwise(node, bias=True)

    def _scale(self, node: Node) -> None:
        """So does a Mul by a constant for each channel, without a bias."""
        name = next((name for name in node.inputs if name in self.blocks), "")
        channels = self.blocks[name].channels
        weights = [self.graph.shape(other) for other in node.inputs if self.graph.is_weight(other)]
        if weights and weights[0] in ((channels, 1, 1), (1, channels, 1, 1)):
            self._depthwise(node, bias=False)

    def _depthwise(self, node: Node, *, bias: bool) -> None:
        position = next(position for position, name in enumerate(node.inputs) if name in self.blocks)
        blocked = self._read(node, position)
        padded = self.padded(blocked.channels)
        self.graph.remove(node)
        weights = {f"{node.output}/scale": Constant((padded, 1, 1, 1))}
        weights |= {f"{node.output}/shift": Constant((padded,))} if bias else {}
        self.graph.weights |= weights
        inputs = [node.inputs[position], *weights]
        conv = self.graph.add(Node("Conv", inputs, node.outputs, node.layers, {"group": padded}, nchwc=True))
        self._make(conv, blocked.channels, blocked.lengths)

    def _transpose(self, node: Node) -> None:
        """A Transpose that puts channels last is a reorder."""
        if tuple(node.attributes.get("perm", ())) == TO_LAST:
            self._read(node, 0)
            node.op, node.attributes = "ReorderOutput", {"channels_last": 1}

    def _resize(self, node: Node) -> None:
        if not self._enlarges_in_blocks(node):
            return
        blocked = self._read(node, 0)
        for name in node.inputs[1:]:
            self.graph.users[name].remove(node)
        node.op, node.inputs, node.nchwc = "Upsample", node.inputs[:1], True
        self._make(node, blocked.channels)

    def _enlarges_in_blocks(self, node: Node) -> bool:
        """Whether it multiplies height and width by whole numbers, in a way that there is a kernel for."""
        given, output = self.graph.shape(node.inputs[0]), self.graph.shape(node.output)
        if not all(self.graph.is_weight(name) or not name for name in node.inputs[1:]):
            return False
        if node.version > self.rules.blocked_resize_version or len(given) != 4 or given[:2] != output[:2]:
            return False
        if any(out % size for out, size in zip(output[2:], given[2:], strict=True)):
            return False
        mode = str(node.attributes.get("mode", "nearest"))
        if node.op == "Upsample" or node.version < 11:
            return mode in ("nearest", "linear")
        transform = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
        if mode == "nearest":
            rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
            return (transform, rounding) == ("asymmetric", "floor")
        return bool(mode == "linear" and transform in ("asymmetric", "half_pixel", "align_corners"))


def _is_hard_swish(gate: Node) -> bool:
    """Whether a HardSigmoid has HardSwish's slope; where it comes from one, it says none."""
    slope, offset = gate.attributes.get("alpha", 0.2), gate.attributes.get("beta", 0.5)
    return bool(abs(slope - 1 / 6) < 1e-4 and offset == 0.5)
