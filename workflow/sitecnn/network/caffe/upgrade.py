"""Older generations of prototxt → today's, as Caffe does on reading (upgrade_proto.cpp)."""

from sitecnn.errors import SiteCNNError
from sitecnn.network.caffe.caffe_pb2 import (
    LayerParameter,
    NetParameter,
    ParamSpec,
    V0LayerParameter,
    V1LayerParameter,
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
    "shuffle_images": "shuffle",
    **{f"det_{name}": name for name in ("fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode")},
}
V0_TRANSFORM_NAMES = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}


def upgrade(net: NetParameter, origin: str) -> None:
    """Turn a definition of any generation into `layer {}` form, in place; SiteCNNError where Caffe refuses."""
    if any(layer.HasField("layer") for layer in net.layers):
        _upgrade_v0(net, origin)
    if net.layers:
        if net.layer:
            raise SiteCNNError(f"{origin}: both layer {{ }} and layers {{ }} are used; write all as layer {{ }}")
        net.layer.extend(map(_upgrade_v1_layer, net.layers))
        del net.layers[:]
    if net.input:
        _upgrade_inputs(net, origin)
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:  # UpgradeNetBatchNorm
            del layer.param[:]


def _upgrade_inputs(net: NetParameter, origin: str) -> None:
    """`input` with `input_shape` or `input_dim` becomes an Input layer called "input" (`UpgradeNetInput`)."""
    layer = LayerParameter(name="input", type="Input", top=net.input)
    for index, blob in enumerate(net.input):
        if net.input_shape or net.input_dim:
            dims = _old_input_dims(net, index)
            if dims is None:
                raise SiteCNNError(f"{origin}: input {blob!r} has no input_shape and no four input_dim")
            layer.input_param.shape.add(dim=dims)
    others = list(net.layer)
    del net.layer[:]
    net.layer.extend([layer, *others])


def _old_input_dims(net: NetParameter, index: int) -> list[int] | None:
    if net.input_shape:
        return list(net.input_shape[index].dim) if index < len(net.input_shape) else None
    dims = net.input_dim[4 * index : 4 * index + 4]
    return list(dims) if len(dims) == 4 else None


def _upgrade_v1_layer(old: V1LayerParameter) -> LayerParameter:
    """`UpgradeV1LayerParameter`: the type by its name, per-blob lists as `param`, all else as it is."""
    name = V1LayerParameter.LayerType.Name(old.type)
    new = LayerParameter(name=old.name, bottom=old.bottom, top=old.top, loss_weight=old.loss_weight)
    new.type = UNUSUAL_NAMES.get(name, "".join(word.capitalize() for word in name.split("_")))
    for field, value in old.ListFields():
        if field.message_type and field.name in LayerParameter.DESCRIPTOR.fields_by_name:
            new_value = getattr(new, field.name)
            new_value.MergeFrom(value)
    blobs = max(len(old.param), len(old.blob_share_mode), len(old.blobs_lr), len(old.weight_decay))
    new.param.extend(_param_spec(old, index) for index in range(blobs))
    _move_transformation(new)
    return new


def _param_spec(old: V1LayerParameter, index: int) -> ParamSpec:
    spec = ParamSpec()
    if index < len(old.param):
        spec.name = old.param[index]
    if index < len(old.blob_share_mode) and old.blob_share_mode[index] == V1LayerParameter.PERMISSIVE:
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
    kept: list[V1LayerParameter] = []
    for index, connection in enumerate(net.layers):
        new = _upgrade_v0_layer(connection, origin)
        for position, blob in enumerate(connection.bottom):
            source = net.layers[made_by[blob]] if made_by.get(blob, -1) >= 0 else None
            if source is not None and source.layer.type == "padding" and connection.layer.type != "padding":
                _absorb_padding(new, position, connection, source, origin)
        made_by.update(dict.fromkeys(connection.top, index))
        if connection.layer.type != "padding":
            kept.append(new)
    del net.layers[:]
    net.layers.extend(kept)


def _absorb_padding(
    new: V1LayerParameter, position: int, connection: V1LayerParameter, padding: V1LayerParameter, origin: str
) -> None:
    """`UpgradeV0PaddingLayers`."""
    fits = len(connection.bottom) == len(padding.bottom) == len(padding.top) == 1
    if connection.layer.type not in ("conv", "pool") or not fits:
        name = connection.layer.name
        raise SiteCNNError(
            f"{origin}: layer {name!r}: a padding layer stands before it, which is neither conv nor pool"
        )
    if connection.layer.type == "conv":
        new.convolution_param.pad[:] = [padding.layer.pad]
    else:
        new.pooling_param.pad = padding.layer.pad
    new.bottom[position] = padding.bottom[0]


def _upgrade_v0_layer(connection: V1LayerParameter, origin: str) -> V1LayerParameter:
    """`UpgradeV0LayerParameter`; a setting that does not belong to the type is left out, as Caffe does."""
    old = connection.layer
    new = V1LayerParameter(name=old.name, bottom=connection.bottom, top=connection.top, blobs_lr=old.blobs_lr)
    if old.type in V0_TYPES:
        type_name, param_name = V0_TYPES[old.type]
        new.type = V1LayerParameter.LayerType.Value(type_name)  # type: ignore[assignment]
        _move_v0_settings(old, new, param_name)
    elif old.type in V0_BARE_TYPES:
        new.type = V1LayerParameter.LayerType.Value(old.type.upper())  # type: ignore[assignment]
    elif old.type != "padding":
        raise SiteCNNError(f"{origin}: layer {old.name!r}: not a layer type of Caffe's oldest format: {old.type!r}")
    return new


def _move_v0_settings(old: V0LayerParameter, new: V1LayerParameter, param_name: str) -> None:
    param = getattr(new, param_name)
    known = param.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name in V0_TRANSFORM_NAMES:
            setattr(new.transform_param, V0_TRANSFORM_NAMES[field.name], value)
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
