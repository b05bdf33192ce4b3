"""What moves values and computes nothing: joining, cutting, reshaping, resizing, padding."""

from collections.abc import Sequence

from sitecnn.network.caffe.caffe_pb2 import LayerParameter
from sitecnn.network.onnx.to_caffe.task import Mapper, Task


def _concat(task: Task) -> Sequence[LayerParameter] | None:
    if len(task.data) != len(task.operator.inputs):
        return None
    return [task.layer("Concat", task.data, concat_param={"axis": task.operator.attributes.get("axis", 1)})]


def _split(task: Task) -> Sequence[LayerParameter] | None:
    """Caffe's Slice: the points between the parts."""
    axis = task.operator.attributes.get("axis", 0) % len(task.shape(0))
    sizes = [task.graph.shapes.get(name, ()) for name in task.operator.outputs]
    if not all(sizes):
        return None
    points = [sum(shape[axis] for shape in sizes[: index + 1]) for index in range(len(sizes) - 1)]
    layer = task.layer("Slice", slice_param={"axis": axis, "slice_point": points})
    layer.top.extend(task.operator.outputs[1:])
    return [layer]


def _reshape(task: Task) -> Sequence[LayerParameter] | None:
    """Reshape, Flatten, Squeeze and Unsqueeze; a batch that stays is written as one that may change."""
    given, output = task.graph.shapes[task.data[0]], task.output
    if task.operator.type == "Flatten" and task.operator.attributes.get("axis", 1) == 1 and len(given) > 1:
        return [task.layer("Flatten")]
    dims = [0, *output[1:]] if given[:1] == output[:1] else list(output)
    return [task.layer("Reshape", reshape_param={"shape": {"dim": dims}})]


def _transpose(task: Task) -> Sequence[LayerParameter]:
    axes = range(len(task.output) - 1, -1, -1)
    return [task.layer("Permute", permute_param={"order": task.operator.attributes.get("perm", axes)})]


def _resize(task: Task) -> Sequence[LayerParameter] | None:
    if len(task.output) != 4 or task.shape(0)[:2] != task.output[:2]:
        return None
    factors = {out / size for out, size in zip(task.output[2:], task.shape(0)[2:], strict=True)}
    if len(factors) == 1 and (factor := factors.pop()).is_integer():
        return [task.layer("Upsample", upsample_param={"scale": int(factor)})]
    sizes = {"upsample_h": task.output[2], "upsample_w": task.output[3]}
    return [task.layer("Upsample", upsample_param=sizes)]


def _pad(task: Task) -> Sequence[LayerParameter] | None:
    pads = task.value(1, "pads", [])
    if len(task.output) != 4 or len(pads) != 8 or any(pads[axis] for axis in (0, 1, 4, 5)):
        return None
    return [task.layer("Pad", pad_param={"pad_u": pads[2], "pad_l": pads[3], "pad_d": pads[6], "pad_r": pads[7]})]


def _blocks(task: Task) -> Sequence[LayerParameter]:
    size = task.operator.attributes["blocksize"]
    if task.operator.type == "DepthToSpace":
        return [task.layer("PixelShuffle", pixelshuffle_param={"upscale_factor": size})]
    return [task.layer("Reorg", reorg_param={"stride": size})]


MAPPERS: dict[str, Mapper] = {
    "Concat": _concat,
    "Split": _split,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Transpose": _transpose,
    "Resize": _resize,
    "Upsample": _resize,
    "Pad": _pad,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
