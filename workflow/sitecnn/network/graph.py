"""A network as every later room sees it: layers in Caffe's order with exact shapes, never weights' values."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from sitecnn.network.settings import OnnxOperator, Settings

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """One learnable blob of a layer.

    `owner` names the layer that owns the blob where it is shared (`param { name: … }`), else it is empty:
    shared blobs take memory once, at their owner. `value_bytes` is the size of one value.
    """

    shape: Shape
    owner: str = ""
    value_bytes: int = 4

    @property
    def count(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class OnnxNode:
    """The node of an ONNX file that a layer does the work of, as it stands there.

    `inputs` and `outputs` name its tensors by position, empty where one is left out. They are the file's own names:
    without Caffe's automatic Splits, and past nodes that only hand a tensor on (Identity). `shapes` are those of the
    outputs, () where one is left out.
    """

    operator: OnnxOperator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, eq=False)
class OpenForm:
    """The nodes of a file whose inputs have open axes (a batch called "N"), as an engine is given it.

    `nodes` are the layers' and those that work out sizes, which nobody knows before a pass: each with the index of the
    layer that it serves. Shapes are those of the network. `dims` are, for each tensor, sizes as the file tells them:
    numbers, names, and empty where it tells nothing; a tensor whose axes are not told either is left out.
    """

    nodes: tuple[tuple[int, OnnxNode], ...]
    dims: Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Layer:
    """One node: `type` is Caffe's name, blobs are named as Caffe names them after its automatic Splits.

    `inputs` and `outputs` are the shapes of `bottoms` and `tops`, in order. A layer that is not Caffe's own has
    `modelled=False` and a `note` that says why. `on_zeros`: everything that it reads is zero when the network runs
    without weights and images, as under `caffe time`; it is no part of the network's identity. `guessed`: its shapes
    depend on one that the file does not give. `counted` is false if nothing is known of its work.

    A layer from an ONNX file is described twice. `type` and `settings` are Caffe's where a layer of Caffe does the same
    work; else they are ONNX's, with `settings` an OnnxOperator. `node` is the operator as the file has it in both
    cases: pads that are not even, rounding, the form of a sum. Whoever needs what ONNX says reads `nodes(network)`
    (`sitecnn.network.onnx`), which follows these. Where several layers of Caffe do the work of one node (BatchNorm
    and Scale), the first that makes its output has it, and the others have none.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    parameters: tuple[Parameter, ...] = ()
    settings: Settings = field(default_factory=Settings)
    modelled: bool = True
    note: str = ""
    on_zeros: bool = field(default=False, compare=False)
    node: OnnxNode | None = field(default=None, compare=False)
    guessed: bool = field(default=False, compare=False)
    counted: bool = field(default=True, compare=False)

    def __hash__(self) -> int:
        """Of what tells layers apart; not of all, as `==` is: each layer of each network is looked up."""
        return hash((self.name, self.type, self.inputs, self.outputs))


@dataclass(frozen=True, repr=False)
class Network:
    """A CNN's configuration. `batch` is the first dimension of its first input; `notes` is what was left out.

    `outputs` names the tensors that the file says are its results; empty where the format says nothing (Caffe: every
    top that no layer reads).
    `precision` is that of the file's weights and arithmetic: fp32, fp16 or int8.
    `doubts` says why the totals are uncertain: which shapes are guessed, whose work is not counted.
    `opset` is the operator set of an ONNX file, which decides what ONNX Runtime fuses; 0 where there is no such file.
    `open_form` is what an engine is given of a file that leaves axes open, None where all are fixed; `fixed` is the
    network without it, as boards measure it.
    """

    name: str
    batch: int
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    precision: str = "fp32"
    opset: int = 0
    open_form: OpenForm | None = field(default=None, compare=False)

    @property
    def fixed(self) -> "Network":
        """The same network as a file tells it that fixes all axes of its inputs."""
        return replace(self, open_form=None) if self.open_form else self

    def __repr__(self) -> str:
        return f"<Network {self.name}: {len(self.layers)} layers, batch {self.batch}>"

    @cached_property
    def positions(self) -> Mapping[str, list[int]]:
        """Where the layers of each name stand: two may have one name."""
        indices: dict[str, list[int]] = defaultdict(list)
        for index, layer in enumerate(self.layers):
            indices[layer.name].append(index)
        return dict(indices)
