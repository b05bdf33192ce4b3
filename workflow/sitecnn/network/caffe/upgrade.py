"""Older generations of prototxt → today's, as Caffe does on reading (upgrade_proto.cpp)."""

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.caffe_pb2 import (
    LayerParameter,
    NetParameter,
    ParamSpec,
    V0LayerParameter,
)

UNUSUAL_NAMES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "NONE": "",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
"""V1 types whose name today is not simply their words run together (`UpgradeV1LayerType`)."""

V0_TYPES = {
    "conv": ("CONVOLUTION", "convolution_param"),
    "pool": ("POOLING", "pooling_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "concat": ("CONCAT", "concat_param"),
    "data": ("DATA", "data_param"),
    "images": ("IMAGE_DATA", "image_data_param"),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "window_data": ("WINDOW_DATA", "window_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "hdf5_output": ("HDF5_OUTPUT", "hdf5_output_param"),
}
"""V0 types that have settings, with their V1 type and where the settings went (`UpgradeV0LayerParameter`)."""

V0_BARE_TYPES = (
    *("accuracy", "bnll", "euclidean_loss", "flatten", "im2col", "multinomial_logistic_loss"),
    *("relu", "sigmoid", "softmax", "softmax_loss", "split", "tanh"),
)

V0_NAMES = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
}


MIXED = "give all layers as layer {{ }} with their types in quotes, or all as layers {{ }} with types such as {}"


def upgrade(net: NetParameter, origin: str) -> None:
    """Turn a definition of any generation into `layer {}` form, in place; NetworkError where Caffe refuses."""
    _require_one_format(net, origin)
    if any(layer.HasField("layer") for layer in net.layers):
        _upgrade_v0(net, origin)
    if net.layers:
        for layer in net.layers:
            _upgrade_v1_layer(layer)
        net.layer.extend(net.layers)
        del net.layers[:]
    if net.input:
        _upgrade_inputs(net, origin)
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:  # UpgradeNetBatchNorm
            del layer.param[:]


def _require_one_format(net: NetParameter, origin: str) -> None:
    """Raise NetworkError for a mixture of `layer`, whose types are strings, and `layers`, whose types are words."""
    if net.layer and net.layers:
        raise NetworkError(f"{origin}: both layer {{ }} and layers {{ }} are used; write all as layer {{ }}")
    for layer in net.layers:
        if layer.HasField("type") or layer.param:
            mixed = (
                f"layers {{ }} with the type {layer.type!r} in quotes"
                if layer.type
                else "layers {{ }} with param {{ }}"
            )
            fix = MIXED.format("CONVOLUTION")
            raise NetworkError(f"{origin}: layer {layer.name!r}: {mixed}, a mixture of Caffe's two formats; {fix}")
    for layer in net.layer:
        if layer.HasField("v1_type") or layer.v1_param or layer.HasField("layer"):
            mixed = (
                f"layer {{ }} with the type {layer.v1_type} without quotes"
                if layer.v1_type
                else "layer {{ }} in the form of layers {{ }}"
            )
            fix = MIXED.format("CONVOLUTION")
            raise NetworkError(f"{origin}: layer {layer.name!r}: {mixed}, a mixture of Caffe's two formats; {fix}")


def _upgrade_inputs(net: NetParameter, origin: str) -> None:
    """`input` with `input_shape` or `input_dim` becomes an Input layer called "input" (`UpgradeNetInput`)."""
    layer = LayerParameter(name="input", type="Input", top=net.input)
    for index, blob in enumerate(net.input):
        if net.input_shape or net.input_dim:
            dims = _old_input_dims(net, index)
            if dims is None:
                raise NetworkError(f"{origin}: input {blob!r} has no input_shape and no four input_dim")
            layer.input_param.shape.add(dim=dims)
    others = list(net.layer)
    del net.layer[:]
    net.layer.extend([layer, *others])


def _old_input_dims(net: NetParameter, index: int) -> list[int] | None:
    if net.input_shape:
        return list(net.input_shape[index].dim) if index < len(net.input_shape) else None
    dims = net.input_dim[4 * index : 4 * index + 4]
    return list(dims) if len(dims) == 4 else None


def type_today(v1_type: str) -> str:
    """CONVOLUTION → Convolution (`UpgradeV1LayerType`); forks' types follow the same rule."""
    return UNUSUAL_NAMES.get(v1_type, "".join(word.capitalize() for word in v1_type.split("_")))


def _upgrade_v1_layer(layer: LayerParameter) -> None:
    """`UpgradeV1LayerParameter`: the type by its name, per-blob lists as `param`, all else as it is."""
    layer.type = type_today(layer.v1_type)
    blobs = max(len(layer.v1_param), len(layer.blob_share_mode), len(layer.blobs_lr), len(layer.weight_decay))
    layer.param.extend(_param_spec(layer, index) for index in range(blobs))
    for name in ("v1_type", "v1_param", "blob_share_mode", "blobs_lr", "weight_decay"):
        layer.ClearField(name)
    _move_transformation(layer)


def _param_spec(old: LayerParameter, index: int) -> ParamSpec:
    spec = ParamSpec()
    if index < len(old.v1_param):
        spec.name = old.v1_param[index]
    if index < len(old.blob_share_mode) and old.blob_share_mode[index] == ParamSpec.PERMISSIVE:
        spec.share_mode = ParamSpec.PERMISSIVE
    return spec


def _move_transformation(layer: LayerParameter) -> None:
    """Data layers' own crop_size and mean become transform_param's (`UpgradeNetDataTransformation`)."""
    for name in ("data_param", "image_data_param", "window_data_param"):
        if layer.HasField(name) and getattr(layer, name).HasField("crop_size"):
            layer.transform_param.crop_size = getattr(layer, name).crop_size


def _upgrade_v0(net: NetParameter, origin: str) -> None:
    """`UpgradeV0Net`: padding layers vanish into the layers behind them, then settings go where they belong."""
    made_by = dict.fromkeys(net.input, -1)
    upgraded: list[LayerParameter] = []
    for index, connection in enumerate(net.layers):
        new = _upgrade_v0_layer(connection, origin)
        for position, blob in enumerate(connection.bottom):
            source = net.layers[made_by[blob]] if made_by.get(blob, -1) >= 0 else None
            if source is not None and source.layer.type == "padding" and connection.layer.type != "padding":
                _absorb_padding(new, position, connection, source, origin)
        made_by.update(dict.fromkeys(connection.top, index))
        if connection.layer.type != "padding":
            upgraded.append(new)
    del net.layers[:]
    net.layers.extend(upgraded)


def _absorb_padding(
    new: LayerParameter, position: int, connection: LayerParameter, padding: LayerParameter, origin: str
) -> None:
    """`UpgradeV0PaddingLayers`."""
    fits = len(connection.bottom) == len(padding.bottom) == len(padding.top) == 1
    if connection.layer.type not in ("conv", "pool") or not fits:
        name = connection.layer.name
        raise NetworkError(
            f"{origin}: layer {name!r}: a padding layer stands before it, which is neither conv nor pool"
        )
    if connection.layer.type == "conv":
        new.convolution_param.pad[:] = [padding.layer.pad]
    else:
        new.pooling_param.pad = padding.layer.pad
    new.bottom[position] = padding.bottom[0]


def _upgrade_v0_layer(connection: LayerParameter, origin: str) -> LayerParameter:
    """`UpgradeV0LayerParameter`; a setting that does not belong to the type is left out, as Caffe does."""
    old = connection.layer
    new = LayerParameter(name=old.name, bottom=connection.bottom, top=connection.top, blobs_lr=old.blobs_lr)
    if old.type in V0_TYPES:
        type_name, param_name = V0_TYPES[old.type]
        new.v1_type = type_name
        _move_v0_settings(old, new, param_name)
    elif old.type in V0_BARE_TYPES:
        new.v1_type = old.type.upper()
    elif old.type != "padding":
        raise NetworkError(f"{origin}: layer {old.name!r}: not a layer type of Caffe's oldest format: {old.type!r}")
    return new


def _move_v0_settings(old: V0LayerParameter, new: LayerParameter, param_name: str) -> None:
    param = getattr(new, param_name)
    known = param.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name == "cropsize":
            new.transform_param.crop_size = value
        elif target := known.get(V0_NAMES.get(field.name, field.name)):
            _set(param, target.name, value, target.is_repeated)


def _set(param: object, name: str, value: object, repeated: bool) -> None:
    current = getattr(param, name)
    if repeated:
        current.append(value)
    elif hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    else:
        setattr(param, name, value)
