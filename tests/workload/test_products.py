"""Rows of a matrix product are all axes before it; a deconvolution works on its input's positions."""

import numpy as np
import pytest

from sitecnn.models.feature import stack_sizes
from sitecnn.models.features import features_of, macs, matrix
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import columns
from sitecnn.workload.kernels import gemms, layer_kernel, multiply_accumulates


def layer_of(text, *shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    data = f'layer {{ name: "data" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    network = parse_prototxt(f'{data} layer {{ name: "one" bottom: "x" top: "y" {text} }}', "one")
    return next(layer for layer in network.layers if layer.name == "one")


def work(layer, name, processor="cpu"):
    """How much of one feature a layer does."""
    kernel = layer_kernel(layer)
    _, sizes = columns([kernel])
    features = features_of(kernel.kind, processor)
    (at,) = (index for index, feature in enumerate(features) if feature.name == name)
    return matrix(features, sizes | stack_sizes("", 1))[0, at]


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("shape", "axis", "rows", "inputs"),
    [
        ((1, 196, 768), 2, 196, 768),
        ((3, 196, 768), 2, 588, 768),
        ((2, 5, 7, 11), 3, 70, 11),
        ((2, 5, 7, 11), 1, 2, 385),
        ((6, 4), 0, 1, 24),
        ((4, 9), -1, 4, 9),
    ],
)
def test_a_products_work_is_its_rows_times_its_weights(shape, axis, rows, inputs, processor):
    layer = layer_of(f'type: "InnerProduct" inner_product_param {{ num_output: 13 axis: {axis} }}', *shape)
    assert work(layer, "macs", processor) == rows * inputs * 13 == multiply_accumulates(gemms(layer))
    assert work(layer, "weights_elements", processor) == inputs * 13
    assert work(layer, "many_images_macs", processor) == max(rows - 4, 0) * inputs * 13


def test_an_ordinary_products_kernel_is_what_it_always_was():
    """Its key is a hash of its sizes: what was measured stays measured."""
    layer = layer_of('type: "InnerProduct" inner_product_param { num_output: 10 }', 4, 3, 2, 2)
    assert "m" not in dict(layer_kernel(layer).sizes)


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "pad", "group"),
    [(8, 6, 4, 2, 1, 2), (6, 6, 4, 2, 1, 6), (5, 7, 3, 1, 1, 1), (16, 4, 2, 2, 0, 1)],
)
def test_a_deconvolution_multiplies_at_its_inputs_positions(channels, outputs, kernel, stride, pad, group, processor):
    """Counted one by one: each input value times each weight of its group."""
    settings = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group}"
    layer = layer_of(f'type: "Deconvolution" convolution_param {{ {settings} }}', 2, channels, 5, 9)
    counted = sum(outputs // group * kernel**2 for _ in np.ndindex(2, channels, 5, 9))
    assert work(layer, "macs", processor) == counted == multiply_accumulates(gemms(layer))
    _, sizes = columns([layer_kernel(layer)])
    assert macs("deconvolution", sizes)[0] == counted
    # col2im spreads kernel² values for each input position and output channel.
    assert work(layer, "im2col_elements", processor) == 2 * outputs * kernel**2 * 45
    assert work(layer, "out_elements", processor) == np.prod(layer.outputs[0])
