"""The kernels of a layer, run one after another with numpy, compute what ONNX Runtime does of the layer."""

from math import prod

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sitecnn.network import parse_prototxt
from sitecnn.workload.kernels import kernels, layer_kernel

few = settings(max_examples=25, deadline=None, derandomize=True)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def layer_of(text, shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    data = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    return parse_prototxt(f'{data} layer {{ name: "l" bottom: "x" top: "y" {text} }}', "one").layers[-1]


def conv_text(kind, outputs, kernel, stride, pad, dilation, group):
    axes = {"kernel": kernel, "stride": stride, "pad": pad}
    pair = " ".join(
        f"{name}_{axis}: {size}" for name, sizes in axes.items() for axis, size in zip("hw", sizes, strict=True)
    )
    return (
        f'type: "{kind}" convolution_param {{ num_output: {outputs} {pair}'
        f" dilation: {dilation[0]} dilation: {dilation[1]} group: {group} }}"
    )


def run_onnx(op, values, **attributes):
    """What ONNX Runtime makes of one operator on these arrays."""
    names = [f"i{number}" for number in range(len(values))]
    constants = [numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True)][1:]
    given = helper.make_tensor_value_info("i0", TensorProto.FLOAT, values[0].shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], "g", [given], [made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"i0": values[0]})[0]


def places(kernel):
    """For each row (channel, window) and column (output position) of im2col the place in the padded image."""
    size = dict(kernel.sizes)
    padded = [size[name] + 2 * size[f"pad_{name[0]}"] for name in ("height", "width")]
    index = np.arange(size["channels"] * prod(padded)).reshape(size["channels"], *padded)
    rows = [
        index[
            channel,
            y * size["dilation_h"] :: size["stride_h"],
            x * size["dilation_w"] :: size["stride_w"],
        ][: size["out_height"], : size["out_width"]].ravel()
        for channel in range(size["channels"])
        for y in range(size["kernel_h"])
        for x in range(size["kernel_w"])
    ]
    return np.array(rows), padded


def padding(kernel):
    size = dict(kernel.sizes)
    return [(0, 0), (size["pad_h"],) * 2, (size["pad_w"],) * 2]


def by_kind(layer):
    """(im2col, gemm, bias) with their counts, None for what there is not."""
    uses = kernels(layer)
    im2col = [use for use in uses if use.kernel.kind == "im2col"]
    gemms = [use for use in uses if use.kernel.kind == "gemm" and not use.kernel["accumulate"]]
    biases = [use for use in uses if use.kernel.kind == "gemm" and use.kernel["accumulate"]]
    assert len(uses) == len(im2col) + len(gemms) + len(biases)
    return tuple(some[0] if some else None for some in (im2col, gemms, biases))


def shape_of(gemm):
    return gemm["m"], gemm["n"], gemm["k"]


@few
@given(pairs, pairs, st.tuples(st.integers(0, 2), st.integers(0, 2)), pairs, st.sampled_from([1, 2, 4]), st.data())
def test_a_convolution_is_im2col_a_product_for_each_group_and_a_bias(kernel, stride, pad, dilation, group, data):
    given_shape = (2, 4, data.draw(st.integers(7, 9)), data.draw(st.integers(7, 10)))
    layer = layer_of(conv_text("Convolution", 8, kernel, stride, pad, dilation, group), given_shape)
    rng = np.random.default_rng(0)
    weights, bias = rng.random((8, 4 // group, *kernel)), rng.random(8)
    images = rng.random(given_shape)
    im2col, gemm, added = by_kind(layer)
    m, n, k = shape_of(gemm.kernel)
    assert gemm.count == 2 * group and added.count == 2
    assert shape_of(added.kernel) == (8, n, 1)
    assert (gemm.kernel["trans_a"], gemm.kernel["trans_b"]) == (0, 0)
    result = []
    for image in images:
        columns = image.reshape(4, -1)
        if im2col:
            assert im2col.count == 2 and im2col.kernel["images"] == 1
            columns = np.pad(image, padding(im2col.kernel)).ravel()[places(im2col.kernel)[0]]
        parts = [weights.reshape(group, m, k)[one] @ columns.reshape(group, k, n)[one] for one in range(group)]
        result.append(np.concatenate(parts) + bias[:, None])
    assert (im2col is None) == (kernel == stride == (1, 1) and pad == (0, 0))
    theirs = run_onnx(
        "Conv", [array.astype(np.float32) for array in (images, weights, bias)],
        group=group, strides=stride, pads=[*pad, *pad], dilations=dilation,
    )  # fmt: skip
    np.testing.assert_allclose(np.array(result).reshape(layer.outputs[0]), theirs, rtol=1e-4)


@few
@given(pairs, pairs, st.tuples(st.integers(0, 1), st.integers(0, 1)), st.sampled_from([1, 2, 4]), st.data())
def test_a_deconvolution_is_a_product_for_each_group_col2im_and_a_bias(kernel, stride, pad, group, data):
    kernel = (kernel[0] + 1, kernel[1] + 1)
    given_shape = (3, 4, data.draw(st.integers(3, 5)), data.draw(st.integers(3, 6)))
    layer = layer_of(conv_text("Deconvolution", 8, kernel, stride, pad, (1, 1), group), given_shape)
    rng = np.random.default_rng(0)
    weights, bias = rng.random((4, 8 // group, *kernel)), rng.random(8)
    images = rng.random(given_shape)
    im2col, gemm, added = by_kind(layer)
    m, n, k = shape_of(gemm.kernel)
    assert (gemm.count, im2col.count, added.count) == (3 * group, 3, 3)
    assert (gemm.kernel["trans_a"], gemm.kernel["trans_b"]) == (1, 0)
    assert shape_of(added.kernel) == (8, prod(layer.outputs[0][2:]), 1)
    result = []
    for image in images:
        parts = [weights.reshape(group, k, m)[one].T @ image.reshape(group, k, n)[one] for one in range(group)]
        index, padded = places(im2col.kernel)
        spread = np.zeros(8 * prod(padded))
        np.add.at(spread, index, np.concatenate(parts))
        (_, top, left) = (before for before, _ in padding(im2col.kernel))
        height, width = layer.outputs[0][2:]
        whole = spread.reshape(8, *padded)[:, top : top + height, left : left + width]
        result.append(whole.reshape(8, -1) + bias[:, None])
    theirs = run_onnx(
        "ConvTranspose", [array.astype(np.float32) for array in (images, weights, bias)],
        group=group, strides=stride, pads=[*pad, *pad],
    )  # fmt: skip
    np.testing.assert_allclose(np.array(result).reshape(layer.outputs[0]), theirs, rtol=1e-4)


def test_several_inputs_of_a_convolution_are_convolved_one_by_one():
    data = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}'
        for name, dims in (("a", "dim: 2 dim: 4 dim: 9 dim: 9"), ("b", "dim: 2 dim: 4 dim: 9 dim: 9"))
    )
    text = 'layer { name: "c" type: "Convolution" bottom: "a" bottom: "b" top: "c" top: "d" convolution_param'
    both = parse_prototxt(f"{data} {text} {{ num_output: 6 kernel_size: 3 }} }}", "two").layers[-1]
    one = layer_of('type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 }', (2, 4, 9, 9))
    assert kernels(both) == kernels(one) * 2


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 5, 2), 1), ((3, 4, 5, 2), 2), ((3, 4), 1)])
def test_an_inner_product_is_a_product_with_weights_by_output_and_a_bias(shape, axis, transpose):
    settings = f"num_output: 7 axis: {axis} transpose: {str(transpose).lower()}"
    layer = layer_of(f'type: "InnerProduct" inner_product_param {{ {settings} }}', shape)
    rng = np.random.default_rng(0)
    values = rng.random(shape).astype(np.float32)
    _, gemm, added = by_kind(layer)
    m, n, k = shape_of(gemm.kernel)
    # Caffe keeps weights by output, those of a transposed layer by input.
    weights, bias = rng.random((n, k) if gemm.kernel["trans_b"] else (k, n)), rng.random(n)
    assert weights.shape == layer.parameters[0].shape
    assert gemm.kernel["trans_b"] == (not transpose) and gemm.kernel["trans_a"] == 0
    assert (shape_of(added.kernel), added.count, gemm.count) == ((m, n, 1), 1, 1)
    flat = values.reshape(m, k)
    theirs = run_onnx("Gemm", [flat, weights.astype(np.float32), bias.astype(np.float32)], transB=int(not transpose))
    by_output = weights.T if gemm.kernel["trans_b"] else weights
    np.testing.assert_allclose(
        (flat @ by_output + bias).reshape(layer.outputs[0]), theirs.reshape(layer.outputs[0]), rtol=1e-4
    )


def sizes_of(text, shape):
    return dict(layer_kernel(layer_of(text, shape)).sizes)


def test_the_whole_call_of_a_layer_has_the_sizes_of_its_definition():
    """No two of them are equal here, so that none can stand for another."""
    text = conv_text("Convolution", 6, (2, 3), (4, 5), (1, 0), (7, 8), 3)
    assert sizes_of(text, (2, 9, 31, 41)) == {
        **{"images": 2, "channels": 9, "height": 31, "width": 41},
        **{"out_channels": 6, "out_height": (31 + 2 - 8) // 4 + 1, "out_width": (41 - 17) // 5 + 1},
        **{"kernel_h": 2, "kernel_w": 3, "stride_h": 4, "stride_w": 5, "pad_h": 1, "pad_w": 0},
        **{"dilation_h": 7, "dilation_w": 8, "group": 3, "bias": 1, "inputs": 1, "outputs": 1},
        **{"in_elements": 2 * 9 * 31 * 41, "out_elements": 2 * 6 * 7 * 5, "parameters": 6 * 3 * 2 * 3 + 6},
    }
    pool = (
        'type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 2 pool: AVE }'
    )
    windows = {"kernel_h": 2, "kernel_w": 3, "stride_h": 3, "stride_w": 2, "pad_h": 1, "pad_w": 2, "window": 6}
    pooled = sizes_of(pool, (2, 5, 10, 11))
    assert {name: pooled[name] for name in windows} == windows
    assert {"dilation_h", "group", "bias"}.isdisjoint(pooled)
    assert sizes_of('type: "LRN" lrn_param { local_size: 7 }', (1, 8, 3, 3))["window"] == 7
    for shape, four in {(5,): (5, 1, 1, 1), (5, 4): (5, 4, 1, 1), (5, 4, 3): (5, 4, 3, 1),
                        (5, 4, 3, 2): (5, 4, 3, 2), (5, 4, 3, 2, 6): (5, 4, 3, 12)}.items():  # fmt: skip
        relu = sizes_of('type: "ReLU"', shape)
        assert tuple(relu[name] for name in ("images", "channels", "height", "width")) == four
        assert tuple(relu[f"out_{name}"] for name in ("channels", "height", "width")) == four[1:]


def test_sums_over_several_blobs_are_over_all_of_them():
    data = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 1 dim: {channels}'
        " dim: 3 dim: 3 } } }"
        for name, channels in (("a", 2), ("b", 5))
    )
    layers = 'layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" }'
    layers += 'layer { name: "s" type: "Slice" bottom: "c" top: "s1" top: "s2" slice_param { slice_point: 3 } }'
    concat, cut = (dict(layer_kernel(one).sizes) for one in parse_prototxt(data + layers, "n").layers[2:])
    assert (concat["inputs"], concat["outputs"], concat["in_elements"], concat["out_elements"]) == (2, 1, 63, 63)
    assert (cut["inputs"], cut["outputs"], cut["in_elements"], cut["out_elements"]) == (1, 2, 63, 63)
