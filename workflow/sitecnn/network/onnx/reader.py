"""ONNX bytes → Network."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sitecnn.errors import SiteCNNError
from sitecnn.network.caffe.build import Wishes, build
from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.graph import Network, Shape
from sitecnn.network.onnx.graph import Graph, read_graph
from sitecnn.network.onnx.operators import Task, to_layers


def parse_onnx(
    data: bytes,
    origin: str,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    strict: bool = False,
) -> Network:
    """The network of Caffe layers that does the work of an ONNX graph, blobs called as its tensors are.

    Operators that no layer of Caffe is equal to keep their place and their ONNX names, with `modelled=False`,
    or are refused if `strict`. Raises SiteCNNError for a file that the onnx package finds fault with.
    """
    graph, notes = read_graph(data, origin, batch, inputs or {})
    try:
        return _build(graph, origin, strict, notes)
    except UnicodeError:
        raise SiteCNNError(f"{origin}: not a valid ONNX network: a name in it is not text") from None


def _build(graph: Graph, origin: str, strict: bool, notes: list[str]) -> Network:
    """Each operator as its layers of Caffe, or in its place as an unmodelled one."""
    layers = [_input(name, graph.shapes[name]) for name in graph.inputs]
    unknown: dict[str, Shape] = {}
    same: dict[str, str] = {}
    for operator in graph.operators:
        task = Task(operator, graph)
        _require_shapes(task, origin)
        if operator.type in ("Identity", "Cast"):
            same[operator.outputs[0]] = operator.inputs[0]
            continue
        mapped = to_layers(task)
        if mapped is None:
            mapped = [_unmodelled(task)]
            unknown.update((top, graph.shapes[top]) for top in mapped[0].top)
        layers += mapped
    _rename(layers, same)
    wishes = Wishes(shapes=unknown, strict=strict, maker="ONNX", has_weights=True)
    return build(Path(origin).stem, layers, wishes, origin, notes)


def _input(name: str, shape: Shape) -> LayerParameter:
    return LayerParameter(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})


def _require_shapes(task: Task, origin: str) -> None:
    for name in (*task.operator.inputs, *task.operator.outputs[:1]):
        if name and name not in task.graph.shapes:
            what = f"{origin}: layer {task.operator.name!r} ({task.operator.type})"
            raise SiteCNNError(f"{what}: the shape of its tensor {name!r} depends on the data, so it cannot be sized")


def _unmodelled(task: Task) -> LayerParameter:
    """The operator under its own name, with those of its outputs that have a shape."""
    tops = [name for name in task.operator.outputs if name in task.graph.shapes]
    return LayerParameter(name=task.operator.name, type=task.operator.type, bottom=task.data, top=tops)


def _rename(layers: Iterable[LayerParameter], same: Mapping[str, str]) -> None:
    """Tensors that only pass another on are that other one, in place."""
    for layer in layers:
        for index, bottom in enumerate(layer.bottom):
            while bottom in same:
                bottom = same[bottom]
            layer.bottom[index] = bottom
