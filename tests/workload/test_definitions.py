"""Work and memory of layers against what the operators' definitions multiply and keep, counted one by one."""

from math import prod

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

from sitecnn.network import load_network, parse_prototxt
from sitecnn.workload.flops import poster_flops, poster_flops_by_group
from sitecnn.workload.kernels import SIZE_NAMES, gemms, is_free, kernels, macs
from sitecnn.workload.memory import Memory, layer_memory, memory
from sitecnn.workload.stack_names import stack_label
from sitecnn.workload.table import kernel_table, layer_table


def blob(name, *shape):
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def last(*text):
    return parse_prototxt("\n".join(text), "net").layers[-1]


def products(layer):
    return sorted((use.kernel["m"], use.kernel["n"], use.kernel["k"], use.count) for use in gemms(layer))


STEPS, IMAGES, GIVEN, HIDDEN, STATIC = 5, 2, 7, 3, 4
SEQUENCE = (blob("x", STEPS, IMAGES, GIVEN), blob("c", STEPS, IMAGES))


def recurrent(kind, bottoms, more=""):
    settings = f"recurrent_param {{ num_output: {HIDDEN} {more} }}"
    given = " ".join(f'bottom: "{name}"' for name in bottoms)
    return f'layer {{ name: "r" type: "{kind}" {given} top: "y" {settings} }}'


def test_an_lstm_multiplies_input_and_state_by_four_gates_at_each_step():
    """Hochreiter & Schmidhuber's four gates: W·x + U·h + b for each step and image."""
    layer = last(*SEQUENCE, recurrent("LSTM", "xc"))
    gates = 4 * HIDDEN
    assert macs(layer) == sum(gates * GIVEN + gates * HIDDEN for _ in range(STEPS * IMAGES))
    assert products(layer) == sorted([(STEPS * IMAGES, gates, GIVEN, 1), (IMAGES, gates, HIDDEN, STEPS)])


def test_a_static_input_is_multiplied_once_for_all_steps_and_states_that_are_given_are_none():
    static = blob("s", IMAGES, STATIC)
    states = (blob("h0", 1, IMAGES, HIDDEN), blob("c0", 1, IMAGES, HIDDEN))
    plain = macs(last(*SEQUENCE, recurrent("LSTM", "xc")))
    assert macs(last(*SEQUENCE, static, recurrent("LSTM", "xcs"))) == plain + IMAGES * STATIC * 4 * HIDDEN
    exposed = recurrent("LSTM", ["x", "c", "h0", "c0"], "expose_hidden: true").replace(
        'top: "y"', 'top: "y" top: "h" top: "e"'
    )
    assert macs(last(*SEQUENCE, *states, exposed)) == plain


def test_an_rnn_multiplies_its_output_too():
    """h = tanh(W·x + U·h + b), o = tanh(V·h + b): rnn_layer.cpp."""
    layer = last(*SEQUENCE, recurrent("RNN", "xc"))
    assert macs(layer) == STEPS * IMAGES * (HIDDEN * GIVEN + HIDDEN * HIDDEN + HIDDEN * HIDDEN)
    biases = [use for use in kernels(layer) if use.kernel["k"] == 1 and use.kernel["accumulate"] == 1]
    assert sum(use.kernel["m"] * use.kernel["n"] * use.count for use in biases) == 2 * STEPS * IMAGES * HIDDEN


def test_the_older_lstm_takes_its_sequences_from_its_rows():
    layer = last(
        blob("x", 6, 10),
        'layer { name: "l" type: "Lstm" bottom: "x" top: "y" lstm_param { num_output: 3 batch_size: 2 } }',
    )
    assert macs(layer) == 6 * (12 * 10 + 12 * 3)
    assert products(layer) == sorted([(6, 12, 10, 1), (2, 12, 3, 3)])


def test_a_dense_block_convolves_all_channels_before():
    """Each of two transitions: 3×3 from all channels so far to `growthRate` more."""
    layer = last(
        blob("x", 2, 4, 10, 10),
        'layer { name: "d" type: "DenseBlock" bottom: "x" top: "y"'
        " denseblock_param { numTransition: 2 growthRate: 3 } }",
    )
    assert macs(layer) == 2 * 100 * 9 * (4 * 3 + 7 * 3)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_correlation_multiplies_two_patches_for_each_displacement(kernel):
    layer = last(
        blob("x", 2, 4, 10, 10),
        'layer { name: "c" type: "Correlation" bottom: "x" bottom: "x" top: "y"'
        f" correlation_param {{ kernel_size: {kernel} max_displacement: 2 pad: 2 }} }}",
    )
    images, displacements, height, width = layer.outputs[0]
    assert displacements == 5 * 5
    assert macs(layer) == images * displacements * height * width * 4 * kernel**2


def onnx_layer(tmp_path, kind, shapes, weights, **attributes):
    """The layer of one operator on inputs of these shapes and weights of those."""
    names = [f"i{index}" for index in range(len(shapes))]
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)
    ]
    stored = [
        helper.make_tensor(f"w{index}", TensorProto.FLOAT, shape, np.zeros(prod(shape)).tolist())
        for index, shape in enumerate(weights)
    ]
    node = helper.make_node(kind, [*names, *(one.name for one in stored)], ["y"], name="n", **attributes)
    graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored)
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return load_network(path).layers[-1]


def einsum_macs(equation, *shapes):
    """Multiplications of a product of two tensors: the product of all its letters' lengths."""
    letters = {}
    for part, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        letters |= dict(zip(part, shape, strict=True))
    return prod(letters.values())


@pytest.mark.parametrize(
    ("shapes", "weights", "equation"),
    [
        ([(5, 7)], [(7, 3)], "mk,kn->mn"),
        ([(2, 5, 7)], [(7, 3)], "bmk,kn->bmn"),
        ([(2, 3, 5, 7)], [(7, 11)], "abmk,kn->abmn"),
        ([(2, 3, 5, 7), (2, 3, 7, 11)], [], "abmk,abkn->abmn"),
        ([(4, 5, 7), (4, 7, 2)], [], "bmk,bkn->bmn"),
        ([(5, 7)], [(7,)], "mk,k->m"),
    ],
)
def test_matrix_products_of_onnx_are_einsums(tmp_path, shapes, weights, equation):
    layer = onnx_layer(tmp_path, "MatMul", shapes, weights)
    assert macs(layer) == einsum_macs(equation, *shapes, *weights)


@pytest.mark.parametrize(
    ("shape", "weights", "flags"),
    [((5, 7), (7, 3), {}), ((7, 5), (7, 3), {"transA": 1}), ((5, 7), (3, 7), {"transB": 1}),
     ((7, 5), (3, 7), {"transA": 1, "transB": 1})],
)  # fmt: skip
def test_a_gemm_of_onnx_multiplies_five_rows_of_seven_by_three(tmp_path, shape, weights, flags):
    layer = onnx_layer(tmp_path, "Gemm", [shape], [weights, (3,)], **flags)
    assert products(layer) == [(5, 3, 7, 1)]


@pytest.mark.parametrize("group", [1, 2, 6])
def test_convolutions_of_onnx_multiply_each_output_by_its_window(tmp_path, group):
    layer = onnx_layer(tmp_path, "Conv", [(2, 6, 9, 8)], [(12, 6 // group, 3, 2)], group=group, strides=[2, 1])
    outputs = 2 * 12 * 4 * 7
    assert prod(layer.outputs[0]) == outputs
    assert macs(layer) == outputs * 6 // group * 3 * 2
    assert products(layer) == [(12 // group, 28, 6 // group * 6, 2 * group)]


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions_of_onnx_multiply_each_input_by_its_weights(tmp_path, group):
    layer = onnx_layer(tmp_path, "ConvTranspose", [(2, 6, 5, 4)], [(6, 8 // group, 3, 2)], group=group, strides=[2, 2])
    assert macs(layer) == 2 * 6 * 5 * 4 * 8 // group * 3 * 2


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize(("direction", "directions"), [("forward", 1), ("bidirectional", 2)])
def test_recurrent_operators_of_onnx_multiply_by_each_gate(tmp_path, kind, gates, direction, directions):
    weights = [(directions, gates * HIDDEN, GIVEN), (directions, gates * HIDDEN, HIDDEN)]
    layer = onnx_layer(tmp_path, kind, [(STEPS, IMAGES, GIVEN)], weights, hidden_size=HIDDEN, direction=direction)
    assert macs(layer) == directions * STEPS * IMAGES * gates * HIDDEN * (GIVEN + HIDDEN)


@pytest.mark.parametrize("kind", ["Relu", "Softmax", "Flatten"])
def test_operators_without_a_product_multiply_nothing(tmp_path, kind):
    assert macs(onnx_layer(tmp_path, kind, [(2, 6)], [])) == 0


WHOLE = (
    blob("d", 2, 6, 8, 8)
    + """
layer { name: "c" type: "Convolution" bottom: "d" top: "c" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 4 kernel_size: 3 group: 2 } }
layer { name: "c2" type: "Convolution" bottom: "d" top: "c2" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 4 kernel_size: 3 group: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "c" top: "up"
  convolution_param { num_output: 5 kernel_size: 2 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "p" type: "Pooling" bottom: "c2" top: "p" pooling_param { pool: MAX kernel_size: 3 stride: 3 } }
layer { name: "a" type: "Pooling" bottom: "up" top: "a" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "n" type: "LRN" bottom: "a" top: "n" lrn_param { local_size: 3 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f" inner_product_param { num_output: 9 } }
layer { name: "flat" type: "Flatten" bottom: "n" top: "flat" }
"""
)


def by_name(text):
    network = parse_prototxt(text, "whole")
    return network, {layer.name: layer for layer in network.layers}


def test_memory_of_each_layer_is_what_caffes_code_allocates():
    """4 bytes a value: blobs, weights where they are first, im2col columns, and what the layer keeps for itself."""
    _, layers = by_name(WHOLE)
    conv = 2 * 4 * 6 * 6
    weights, columns, one_group = 4 * 3 * 9 + 4, 6 * 9 * 36, 3 * 9 * 36
    bytes_of = {name: layer_memory(layer) for name, layer in layers.items()}
    four = Memory(*(4 * one for one in (weights, conv, columns, one_group, weights + columns + conv)))
    assert bytes_of["c"] == four
    assert bytes_of["c2"] == four._replace(weights_bytes=0, touched_bytes=4 * (columns + conv))
    up, spread = 2 * 5 * 12 * 12, 5 * 4 * 36
    assert bytes_of["up"] == Memory(4 * (4 * 5 * 4 + 5), 4 * up, 4 * spread, 4 * spread, 4 * (85 + spread + up))
    # In place: its top counts again, but nothing is touched that was not there.
    assert bytes_of["r"] == Memory(0, 4 * conv, 0, 0, 0)
    pooled, averaged = 2 * 4 * 2 * 2, 2 * 5 * 6 * 6
    assert bytes_of["p"] == Memory(0, 4 * pooled, 0, 0, 4 * 2 * pooled)  # and where the largest stood
    assert bytes_of["a"] == Memory(0, 4 * averaged, 0, 0, 4 * averaged)
    assert bytes_of["n"] == Memory(0, 4 * averaged, 0, 0, 4 * 2 * averaged)  # and its scale
    assert bytes_of["flat"] == Memory(0, 4 * averaged, 0, 0, 0)  # a view


def test_memory_of_a_network_is_that_of_its_layers():
    network, layers = by_name(WHOLE)
    for part in Memory._fields:
        assert getattr(memory(network), part) == sum(getattr(layer_memory(one), part) for one in layers.values())


def test_the_posters_operations_are_products_biases_windows_and_elements():
    network, layers = by_name(WHOLE)
    conv, up = 2 * 4 * 36 * (27 + 1), 2 * 4 * 36 * 5 * 4 + 2 * 5 * 144
    pools, relu, fc = 2 * 4 * 4 * 9 + 2 * 5 * 36 * 4, 2 * 4 * 36, 2 * 9 * (16 + 1)
    assert {name: poster_flops(layers[name]) for name in ("c", "c2", "up", "r", "f", "n", "flat")} == {
        "c": conv, "c2": conv, "up": up, "r": relu, "f": fc, "n": 0, "flat": 0,
    }  # fmt: skip
    expected = {"conv": 2 * conv + up, "pool": pools, "relu": relu, "fc": fc}
    assert poster_flops_by_group(network) == {**expected, "total": sum(expected.values())}


def test_the_tables_hold_each_layer_and_each_of_its_kernels():
    network, layers = by_name(WHOLE)
    table = layer_table(network).set_index("layer")
    assert table["layer_index"].tolist() == list(range(len(layers))) and list(table.index) == list(layers)
    for name, layer in layers.items():
        row = table.loc[name]
        assert (row["network"], row["batch"], row["type"]) == ("whole", 2, layer.type)
        assert row["inputs"] == [list(shape) for shape in layer.inputs]
        assert row["outputs"] == [list(shape) for shape in layer.outputs]
        assert row["out_elements"] == sum(prod(shape) for shape in layer.outputs)
        assert row["parameters"] == sum(prod(one.shape) for one in layer.parameters)
        assert (row["macs"], row["poster_flops"]) == (macs(layer), poster_flops(layer))
        assert tuple(row[list(Memory._fields)]) == tuple(layer_memory(layer))
        assert row["modelled"] == layer.modelled
    kernel_rows = kernel_table(network)
    assert list(kernel_rows.columns) == ["network", "batch", "layer", "count", "kind", "variant", *SIZE_NAMES]
    assert kernel_rows["layer"].tolist() == [name for name, layer in layers.items() for _ in kernels(layer)]
    assert set(layers) - set(kernel_rows["layer"]) == {name for name, layer in layers.items() if is_free(layer)}
    gemm = kernel_rows[(kernel_rows["kind"] == "gemm") & (kernel_rows["k"] > 1)]
    work = (gemm["m"] * gemm["n"] * gemm["k"] * gemm["count"]).groupby(gemm["layer"]).sum()
    assert work.to_dict() == {name: macs(layer) for name, layer in layers.items() if macs(layer)}
    assert kernel_rows["m"].isna().any() and isinstance(kernel_rows["m"].dtype, pd.Int64Dtype)


@pytest.mark.parametrize(
    ("stack", "label"),
    [
        ("caffe-1.0.0+openblas-0.3.21+1-threads+clock-unknown", "Caffe 1.0, OpenBLAS 0.3.21, 1 thread"),
        ("caffe-1.0.0+brocolli-9.0.2+openblas+4-threads+performance", "Caffe 1.0, OpenBLAS, 4 threads, performance"),
        ("onnxruntime-1.27.0+cpu+nchwc-16+fp32+12-threads+graph-all", "ONNX Runtime 1.27, fp32, 12 threads"),
        ("onnxruntime-1.17.3+graph-basic+gpu", "ONNX Runtime 1.17.3, graph-basic"),
        ("tflite-gpu+fp16", "TFLite GPU, fp16"),
        ("caffe-1.0+cuda-8.0+cudnn-5.1.5", "Caffe 1.0, CUDA 8.0, cuDNN 5.1.5"),
        ("Caffe, CUDA 8, cuDNN", "Caffe, CUDA 8, cuDNN"),
        ("mine-2.0.0", "mine-2.0.0"),
        ("cpu", "cpu"),
    ],
)
def test_stacks_as_people_call_them(stack, label):
    assert stack_label(stack) == label
