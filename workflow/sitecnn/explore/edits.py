"""A change of the network made in its text, everything else of which stays as it is."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from sitecnn.errors import NetworkError
from sitecnn.estimation.advice import Batch, Edit, InputShapes, Outputs, Width
from sitecnn.estimation.variants import narrower, with_outputs
from sitecnn.explore.prototxt import Block, Field, edited, layer_blocks, scan
from sitecnn.explore.question import Question, Source
from sitecnn.network.graph import Network, Shape
from sitecnn.network.settings import Convolution


def edit_from(document: Mapping[str, Any]) -> Edit:
    """The edit that `dataclasses.asdict` made the document of; NetworkError if it is none."""
    for kind in (Batch, InputShapes, Width, Outputs):
        if {field.name for field in fields(kind)} == set(document):
            return kind(**document)
    raise NetworkError("no such edit")


def question_after(question: Question, edit: Edit, network: Network) -> Question:
    """The question about its `network` after an edit; NetworkError where the text has no such number.

    What the text then says itself is not asked for besides.
    """
    source = Source(question.source.name, applied(question.source.text, edit, network))
    batch = None if isinstance(edit, Batch) else question.batch
    said = edit.inputs if isinstance(edit, InputShapes) else {}
    inputs = tuple((name, shape) for name, shape in question.inputs if name not in said)
    return replace(question, source=source, batch=batch, inputs=inputs)


def applied(text: str, edit: Edit, network: Network) -> str:
    """The text of `network` after an edit; NetworkError where the text has no such number."""
    match edit:
        case Batch(images):
            return with_batch(text, images)
        case InputShapes(inputs):
            return with_inputs(text, network, inputs)
        case Width(share):
            return with_widths_of(text, narrower(network, share))
        case Outputs(layer, outputs):
            return with_widths_of(text, with_outputs(network, layer, outputs))


def with_batch(text: str, images: int) -> str:
    """So many images per pass in every input and data layer; NetworkError if the text has no such number."""
    numbers = [shape[0] for shape in _input_shapes(text)] + [
        field for block in layer_blocks(text) for field in block.every("batch_size")
    ]
    return _replaced(text, numbers, lambda _: images, "number of images")


def with_inputs(text: str, network: Network, inputs: Mapping[str, Shape]) -> str:
    """Inputs of other heights and widths; NetworkError if the text has none."""
    before = {layer.tops[0]: layer.outputs[0] for layer in network.layers if layer.type == "Input"}
    sizes = {old: new for name, shape in inputs.items() for old, new in zip(before[name][2:], shape[2:], strict=True)}
    numbers = [dim for shape in _input_shapes(text) if len(shape) == 4 for dim in shape[2:]] + [
        field for block in layer_blocks(text) for field in block.every("crop_size")
    ]
    return _replaced(text, numbers, lambda old: sizes.get(old, old), "height and width")


def with_widths_of(text: str, network: Network) -> str:
    """The outputs and groups that `network`'s layers have; NetworkError if the text has none."""
    settings = {layer.name: layer.settings for layer in network.layers}
    values = []
    for block in layer_blocks(text):
        own = settings.get(block.name)
        number = getattr(own, "num_output", None)
        if number and (outputs := block.first("num_output")):
            values.append((outputs, str(number)))
        if (group := block.first("group")) and isinstance(own, Convolution):
            values.append((group, str(own.group)))
    if not values:
        raise NetworkError("the text has no num_output that could be changed")
    return edited(text, values)


def _input_shapes(text: str) -> list[list[Field]]:
    """The dimensions of every input: old `input_dim`, four an input; `input_shape`; `input_param` of layers."""
    blocks, outside = scan(text)
    old = [field for field in outside if field.path == ("input_dim",)]
    shapes = [old[first : first + 4] for first in range(0, len(old), 4)]
    shapes += [block.every("dim") for block in blocks if block.kind == "input_shape"]
    shapes += [_of_input_layer(block) for block in blocks]
    return [shape for shape in shapes if shape]


def _of_input_layer(block: Block) -> list[Field]:
    return [field for field in block.fields if field.path[1:] == ("input_param", "shape", "dim")]


def _replaced(text: str, numbers: list[Field], value_of: Callable[[int], int], what: str) -> str:
    fields = [field for field in numbers if field.value.isdecimal()]
    if not fields:
        raise NetworkError(f"the text has no {what} that could be changed")
    return edited(text, [(field, str(value_of(int(field.value)))) for field in fields])
