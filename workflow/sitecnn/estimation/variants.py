"""The same network for smaller images, or with fewer channels in all layers or in one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.network.caffe.build import check_blob
from sitecnn.network.caffe.layers import LAYER_TYPES
from sitecnn.network.caffe.layers.base import RefusedError
from sitecnn.network.caffe.writer import definition
from sitecnn.network.graph import Layer, Network, Parameter, Shape
from sitecnn.network.settings import Convolution, InnerProduct, Settings
from sitecnn.workload.engines import CAFFE, engine_of_network, engine_of_stack

WIDTHS = (0.9, 0.75, 0.5, 0.35, 0.25)
"""Shares of a network's channels, about as MobileNets have them."""

IMAGE_STEP = 32
"""Images are made smaller by so many pixels: networks halve theirs five times."""

MOST_RULES = 1 << 12
"""Layers of a kind and a size that are inferred once: many of a network, and of its variants, are alike."""

SMALLEST_IMAGE = 32
LEAST_CHANNELS = 4
"""No blob is left with fewer channels, nor with a number that is no multiple of it."""


def image_sizes(network: Network) -> Iterator[tuple[str, dict[str, Shape]]]:
    """(what the images become, `inputs` for that), from a little smaller to very small; none without images."""
    inputs = {
        layer.tops[0]: layer.outputs[0]
        for layer in network.layers
        if layer.type == "Input" and len(layer.outputs[0]) == 4 and min(layer.outputs[0][2:]) > SMALLEST_IMAGE
    }
    if not inputs:
        return
    height = max(shape[2] for shape in inputs.values())
    for smaller in range((height - 1) // IMAGE_STEP * IMAGE_STEP, SMALLEST_IMAGE - 1, -IMAGE_STEP):
        shapes = {
            name: (*shape[:2], *(max(round(size * smaller / height), 1) for size in shape[2:]))
            for name, shape in inputs.items()
        }
        largest = max(shapes.values(), key=lambda shape: shape[2])
        yield f"images of {largest[2]}×{largest[3]}", shapes


def smaller(network: Network, at_inputs: Callable[[Mapping[str, Shape]], Network]) -> Iterator[tuple[str, Network]]:
    """(what the images become, the network for them), as far as its layers take such images."""
    for change, shapes in image_sizes(network):
        try:
            yield change, at_inputs(shapes)
        except NetworkError:
            return


def is_read_as_changed(network: Network) -> bool:
    """Whether `with_inputs` and `with_batch` make what its file makes when it is read with other inputs.

    They do of Caffe's own layers alone: shapes that were guessed or given, and sizes that an ONNX file holds as
    values, are the reader's work.
    """
    return all(
        layer.type in LAYER_TYPES
        and (layer.bottoms or layer.type == "Input")
        and not (layer.guessed or layer.node or LAYER_TYPES[layer.type].fork)
        and not any(parameter.owner for parameter in layer.parameters)
        for layer in network.layers
    )


def with_batch(network: Network, images: int) -> Network:
    """The network for so many images; inputs that have others than the first (regions) keep theirs, as in a file."""
    inputs = {layer.tops[0]: layer.outputs[0] for layer in network.layers if layer.type == "Input"}
    shapes = {name: (images, *shape[1:]) for name, shape in inputs.items() if shape[:1] == (network.batch,)}
    return with_inputs(network, shapes)


def with_inputs(network: Network, inputs: Mapping[str, Shape]) -> Network:
    """The network for inputs of other shapes, by blob name, every layer inferred anew by its type's own rule.

    Raises NetworkError where a layer does not take them.
    """
    shapes: dict[str, Shape] = {}
    layers = []
    for layer in network.layers:
        if layer.type == "Input" and not layer.bottoms:
            layer = replace(layer, outputs=tuple(map(inputs.get, layer.tops, layer.outputs)))
        else:
            given = tuple([shapes[blob] for blob in layer.bottoms])
            layer = layer if given == layer.inputs else _inferred(layer, given)
        shapes.update(zip(layer.tops, layer.outputs, strict=True))
        layers.append(layer)
    batch = next((layer.outputs[0][0] for layer in layers if layer.type == "Input" and layer.outputs[0]), 1)
    return replace(network.fixed, batch=batch, layers=tuple(layers))


def why_no_smaller_images(network: Network, at_inputs: Callable[[Mapping[str, Shape]], Network] | None) -> str:
    """What is in the way of images a little smaller, empty where nothing is."""
    for change, shapes in image_sizes(network) if at_inputs else ():
        try:
            at_inputs(shapes)  # type: ignore[misc]  # the loop is over nothing where it is None
        except NetworkError as error:
            return f"{change}: {error}"
        break
    return ""


def can_be_narrower(network: Network, stack: str) -> bool:
    """Whether `narrower` says what the stack's engine would run: not of ONNX's operators, which stay as they are."""
    return CAFFE in (engine_of_network(network), engine_of_stack(stack).name)


def narrower(network: Network, share: float) -> Network:
    """The network with `share` of the channels of every blob that convolutions and FC layers make.

    Images stay as they are, and so does the answer: the outputs of layers after which no other has weights.
    """
    answers = _answers(network.layers)
    narrow: set[str] = set()
    layers = []
    for index, layer in enumerate(network.layers):
        given = [name in narrow for name in layer.bottoms]
        is_made = _is_weighted(layer)
        gives = (is_made and index not in answers) or (not is_made and any(given))
        if gives:
            narrow.update(layer.tops)
        else:
            narrow.difference_update(layer.tops)
        layers.append(_narrow_layer(layer, given, gives, share))
    return replace(network.fixed, layers=tuple(layers))


def with_outputs(network: Network, name: str, outputs: int) -> Network:
    """The network whose layer `name` has so many outputs, with the depthwise convolutions that read them.

    All other layers keep their settings. Raises NetworkError where one of them cannot (an Eltwise whose other input
    stays as wide, groups that do not divide the outputs, shared weights) or a result of the network would change.
    """
    owners = {parameter.owner for layer in network.layers for parameter in layer.parameters}
    changed: dict[str, Shape] = {}
    unread: set[str] = set()
    layers = []
    first = network.positions[name][0]
    for layer in network.layers[first:]:
        unread.difference_update(layer.bottoms)
        before = layer.outputs
        if layer.name == name or not changed.keys().isdisjoint(layer.bottoms):
            if layer.name in owners or any(parameter.owner for parameter in layer.parameters):
                raise NetworkError(f"layer {layer.name!r} ({layer.type}): it shares its weights")
            inputs = tuple(changed.get(blob, shape) for blob, shape in zip(layer.bottoms, layer.inputs, strict=True))
            layer = _inferred(_resettled(layer, inputs, outputs if layer.name == name else None), inputs)
        for blob, shape, old_shape in zip(layer.tops, layer.outputs, before, strict=True):
            if shape == old_shape:
                changed.pop(blob, None)
            else:
                changed[blob] = shape
                unread.add(blob)
        layers.append(layer)
    if unread:
        raise NetworkError(f"layer {name!r}: {min(unread)!r}, a result of the network, would have another shape")
    return replace(network.fixed, layers=(*network.layers[:first], *layers))


def _resettled(layer: Layer, inputs: tuple[Shape, ...], outputs: int | None) -> Layer:
    """The layer set to so many outputs; a depthwise one to as many as it reads."""
    settings: Any = layer.settings
    if outputs is not None:
        return replace(layer, settings=replace(settings, num_output=outputs))
    if isinstance(settings, Convolution) and 1 < settings.group == settings.num_output == layer.inputs[0][1]:
        return replace(layer, settings=replace(settings, num_output=inputs[0][1], group=inputs[0][1]))
    return layer


def _inferred(layer: Layer, inputs: tuple[Shape, ...]) -> Layer:
    """The layer with other inputs, by its type's own shape rule; NetworkError where Caffe would refuse it."""
    place = f"layer {layer.name!r} ({layer.type})"
    if layer.type not in LAYER_TYPES or layer.guessed:
        raise NetworkError(f"{place}: its output for other inputs is not known")
    try:
        outputs, parameters, settings = _rule(layer.type, layer.settings, inputs, len(layer.tops))
    except RefusedError as refused:
        raise NetworkError(f"{place}: {refused}") from None
    return replace(layer, inputs=inputs, outputs=outputs, parameters=parameters, settings=settings, node=None)


@lru_cache(maxsize=MOST_RULES)
def _rule(
    type_name: str, settings: Settings, inputs: tuple[Shape, ...], tops: int
) -> tuple[tuple[Shape, ...], tuple[Parameter, ...], Settings]:
    """(outputs, parameters, settings) of a layer of a type with these inputs; RefusedError where Caffe refuses it."""
    nameless = Layer("", type_name, ("",) * len(inputs), ("",) * tops, inputs, (), settings=settings)
    inferred = LAYER_TYPES[type_name].infer(definition(nameless, {}, shares=False), inputs)
    for shape in inferred.outputs + inferred.parameters:
        check_blob(shape)
    return inferred.outputs, tuple(map(Parameter, inferred.parameters)), inferred.settings


def _is_weighted(layer: Layer) -> bool:
    return layer.type in ("Convolution", "Deconvolution", "InnerProduct") and bool(layer.outputs)


def _answers(layers: Sequence[Layer]) -> set[int]:
    """Where the layers with weights stand whose outputs no other such layer reads, directly or through others."""
    wanted: set[str] = set()
    answers = set()
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        read_later = not wanted.isdisjoint(layer.tops)
        if _is_weighted(layer):
            if not read_later:
                answers.add(index)
            wanted.update(layer.bottoms)
        elif read_later:
            wanted.update(layer.bottoms)
    return answers


def channels(count: int, share: float) -> int:
    """So many channels of `count`: the nearest multiple of LEAST_CHANNELS; as they are where there are fewer."""
    return max(round(count * share / LEAST_CHANNELS), 1) * LEAST_CHANNELS if count > LEAST_CHANNELS else count


def _narrow_layer(layer: Layer, given: Sequence[bool], gives: bool, share: float) -> Layer:
    inputs = tuple(
        _narrow(shape, share) if is_narrow else shape for shape, is_narrow in zip(layer.inputs, given, strict=True)
    )
    outputs = tuple(_narrow(shape, share) for shape in layer.outputs) if gives else layer.outputs
    return replace(layer, inputs=inputs, outputs=outputs, **_narrow_settings(layer, inputs, outputs))


def _narrow(shape: Shape, share: float) -> Shape:
    return (*shape[:1], channels(shape[1], share), *shape[2:]) if len(shape) > 1 else shape


def _narrow_settings(layer: Layer, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> dict[str, Any]:
    match layer.settings:
        case Convolution() as conv:
            in_channels, out_channels = inputs[0][1], outputs[0][1]
            group = in_channels if conv.group == layer.inputs[0][1] else conv.group
            weights = (
                (in_channels, out_channels // group)
                if layer.type == "Deconvolution"
                else (out_channels, in_channels // group)
            )
            shapes = [(*weights, *conv.kernel), *([(out_channels,)] if conv.bias else [])]
            settings: Any = replace(conv, num_output=out_channels, group=group)
        case InnerProduct() as product:
            out_channels = outputs[0][1] if len(outputs[0]) > 1 else product.num_output
            depth = 1
            for size in inputs[0][product.axis :]:
                depth *= size
            shapes = [
                (depth, out_channels) if product.transpose else (out_channels, depth),
                *([(out_channels,)] if product.bias else []),
            ]
            settings = replace(product, num_output=out_channels)
        case settings:
            shapes = [_scaled(parameter.shape, layer, inputs) for parameter in layer.parameters]
    owners = [parameter.owner for parameter in layer.parameters]
    parameters = tuple(Parameter(shape, owner) for shape, owner in zip(shapes, owners, strict=False))
    return {"settings": settings, "parameters": parameters}


def _scaled(shape: Shape, layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """A parameter with an entry for each channel, as BatchNorm's and Scale's."""
    if not layer.inputs or len(layer.inputs[0]) < 2 or shape != (layer.inputs[0][1],):
        return shape
    return (inputs[0][1],)
