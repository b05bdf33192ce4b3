"""What is said of a network without any board, figure by figure, by definition."""

from dataclasses import replace
from math import isnan, prod

import numpy as np
import pytest

from sitecnn.network import parse_prototxt
from sitecnn.network.graph import Layer, OnnxNode, Parameter
from sitecnn.network.settings import Constant, OnnxOperator
from sitecnn.workload.columns import columns, layer_columns
from sitecnn.workload.describe import describe
from sitecnn.workload.engines import VALUE_BYTES, Engine, engine_of_network
from sitecnn.workload.flops import poster_flops, poster_flops_by_group
from sitecnn.workload.kernels import (
    SIZE_NAMES,
    gemm,
    gemms,
    is_bias,
    is_free,
    kernel,
    kernels,
    kind_of,
    kind_on,
    layer_kernel,
    macs,
    unique_kernels,
    variant_of,
)
from sitecnn.workload.lowering import lower
from sitecnn.workload.memory import layer_memory, memory, touched_bytes, weights_bytes
from tests.workload.test_definitions import HIDDEN, IMAGES, SEQUENCE, STATIC, STEPS, WHOLE, blob, last, recurrent

IMAGE = blob("x", 2, 6, 9, 11)


def on_image(text, top="y", image=IMAGE):
    return last(image, f'layer {{ name: "l" bottom: "x" top: "{top}" {text} }}')


def test_the_document_holds_totals_and_each_layers_products():
    network = parse_prototxt(WHOLE, "whole")
    document, parts = describe(network), memory(network)
    assert {name: document[name] for name in ("network", "batch", "precision", "notes")} == {
        "network": "whole", "batch": 2, "precision": "fp32", "notes": list(network.notes),
    }  # fmt: skip
    assert document["totals"] == {
        "macs": sum(map(macs, network.layers)),
        "poster_flops": poster_flops_by_group(network),
        **{name: getattr(parts, name) for name in ("weights_bytes", "data_bytes")},
        **{name: getattr(parts, name) for name in ("workspace_bytes", "workspace_poster_bytes")},
    }
    by_name = {layer["name"]: layer for layer in document["layers"]}
    assert list(by_name) == [layer.name for layer in network.layers]
    # 4 outputs in 2 groups of 3 inputs, windows of 3 × 3 at 6 × 6 positions, 2 images.
    assert by_name["c"] == {
        "name": "c",
        "type": "Convolution",
        "inputs": [[2, 6, 8, 8]],
        "outputs": [[2, 4, 6, 6]],
        "macs": 2 * 4 * 36 * 27,
        "params": 4 * 27 + 4,
        "gemms": [{"m": 2, "n": 36, "k": 27, "count": 4}],
    }
    assert by_name["f"]["gemms"] == [{"m": 2, "n": 9, "k": 16, "count": 1}]
    assert by_name["f"]["params"] == 9 * 16 + 9
    assert "kernels" not in document and "engine" not in document


def test_the_document_of_an_engine_lists_what_it_runs():
    network = parse_prototxt(WHOLE, "whole")
    document = describe(network, Engine("onnxruntime", nchwc_block=8))
    lowered = lower(network, Engine("onnxruntime", nchwc_block=8))
    assert document["engine"] == "onnxruntime"
    for listed, one in zip(document["kernels"], lowered, strict=True):
        assert listed == {
            "kind": one.kernel.kind,
            "variant": one.kernel.variant,
            "layers": [network.layers[index].name for index in one.layers],
            "sizes": dict(one.kernel.sizes),
            "output": list(one.output_shapes[0]),
        }
    assert any(one.input_shapes[0] != one.output_shapes[0] for one in lowered)


def test_the_document_marks_what_is_guessed_not_modelled_and_not_counted():
    network = parse_prototxt(IMAGE + 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }', "n")
    marks = {"guessed", "unmodelled", "counted"}
    assert not marks & set(describe(network)["layers"][-1])
    strange = replace(network.layers[-1], modelled=False, note="who knows", guessed=True, counted=False)
    shown = describe(replace(network, layers=(network.layers[0], strange)))["layers"][-1]
    assert {name: shown[name] for name in marks} == {"guessed": True, "unmodelled": "who knows", "counted": False}


def test_columns_hold_each_kernels_sizes_in_order_and_nan_for_what_it_has_not():
    relu, pool = (
        layer_kernel(on_image(text)) for text in ('type: "ReLU"', 'type: "Pooling" pooling_param { kernel_size: 3 }')
    )
    given = [relu, gemm(2, 3, 5), pool, relu]
    kinds, sizes = columns(given)
    assert kinds.tolist() == ["relu", "gemm", "pooling", "relu"] and list(sizes) == list(SIZE_NAMES)
    for row, one in enumerate(given):
        held = dict(one.sizes)
        for name, column in sizes.items():
            assert column[row] == held[name] if name in held else isnan(column[row])


def test_layers_on_zeros_are_of_kinds_of_their_own():
    """Powers of one are a short cut, which only normalisation takes."""
    lrn = on_image('type: "LRN" lrn_param { local_size: 5 }')
    relu = on_image('type: "ReLU"')
    network = parse_prototxt(IMAGE, "n")
    cases = [(replace(layer, on_zeros=zeros)) for layer in (lrn, relu) for zeros in (False, True)]
    kinds, _ = layer_columns(replace(network, layers=tuple(cases)))
    assert kinds.tolist() == ["lrn", "lrn_of_zeros", "relu", "relu"]
    assert [kind_on(layer, zeros=zeros) for layer in (lrn, relu) for zeros in (False, True)] == kinds.tolist()


@pytest.mark.parametrize(
    ("text", "kind", "variant"),
    [
        ('type: "InnerProduct" inner_product_param { num_output: 2 }', "inner_product", ""),
        ('type: "ReLU"', "relu", ""),
        ('type: "PReLU"', "prelu", ""),
        ('type: "TanH"', "tanh", ""),
        ('type: "BNLL"', "bnll", ""),
        ('type: "BatchNorm"', "batch_norm", ""),
        ('type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }', "lrn", "WITHIN_CHANNEL"),
        ('type: "Pooling" pooling_param { kernel_size: 2 }', "pooling", "MAX"),
        ('type: "Pooling" pooling_param { pool: AVE kernel_size: 2 }', "average_pooling", "AVE"),
        ('type: "Power" power_param { power: 0 scale: 2 }', "power", ""),
        ('type: "Power" power_param { power: 1 scale: 2 }', "power", ""),
        ('type: "Power" power_param { power: 2 }', "pow", ""),
        ('type: "Power" power_param { power: 0.5 }', "pow", ""),
        ('type: "Eltwise" bottom: "x" eltwise_param { operation: MAX }', "eltwise", "MAX"),
    ],
)
def test_a_layers_kind_is_its_type_and_what_decides_its_code(text, kind, variant):
    layer = on_image(text)
    assert (kind_of(layer), variant_of(layer)) == (kind, variant)
    assert (layer_kernel(layer).kind, layer_kernel(layer).variant) == (kind, variant)


@pytest.mark.parametrize(
    ("settings", "is_multiplied_itself"),
    [
        ("kernel_size: 1", True),
        ("kernel_size: 1 pad: 1", False),
        ("kernel_size: 1 stride: 2", False),
        ("kernel_h: 1 kernel_w: 3", False),
        ("kernel_h: 3 kernel_w: 1", False),
        ("kernel_size: 1 pad_h: 0 pad_w: 1", False),
    ],
)
def test_only_a_pointwise_convolution_multiplies_its_input_itself(settings, is_multiplied_itself):
    conv = on_image(f'type: "Convolution" convolution_param {{ num_output: 4 {settings} }}')
    kinds = {use.kernel.kind for use in kernels(conv)}
    assert ("im2col" not in kinds) == is_multiplied_itself == (layer_memory(conv).workspace_bytes == 0)


def test_states_that_are_given_are_no_static_input():
    states = (blob("h0", 1, IMAGES, HIDDEN), blob("c0", 1, IMAGES, HIDDEN))
    static = blob("s", IMAGES, STATIC)
    plain = {kind: macs(last(*SEQUENCE, recurrent(kind, "xc"))) for kind in ("LSTM", "RNN")}
    lstm = recurrent("LSTM", ["x", "c", "s", "h0", "c0"], "expose_hidden: true").replace(
        'top: "y"', 'top: "y" top: "h" top: "e"'
    )
    assert macs(last(*SEQUENCE, static, *states, lstm)) == plain["LSTM"] + IMAGES * STATIC * 4 * HIDDEN
    rnn = recurrent("RNN", ["x", "c", "h0"], "expose_hidden: true").replace('top: "y"', 'top: "y" top: "h"')
    assert macs(last(*SEQUENCE, states[0], rnn)) == plain["RNN"]
    rnn = recurrent("RNN", ["x", "c", "s", "h0"], "expose_hidden: true").replace('top: "y"', 'top: "y" top: "h"')
    assert macs(last(*SEQUENCE, static, states[0], rnn)) == plain["RNN"] + IMAGES * STATIC * HIDDEN
    biases = [use for use in kernels(last(*SEQUENCE, recurrent("LSTM", "xc"))) if is_bias(use.kernel)]
    assert [(use.kernel["m"], use.kernel["n"], use.count) for use in biases] == [(STEPS * IMAGES, 4 * HIDDEN, 1)]


def test_a_kernel_is_listed_once_with_the_first_layer_that_runs_it():
    text = IMAGE + "".join(
        f'layer {{ name: "{name}" type: "Convolution" bottom: "x" top: "{name}"'
        " convolution_param { num_output: 4 kernel_size: 3 } }"
        for name in ("a", "b")
    )
    layers = parse_prototxt(text, "n").layers
    first = next(layer for layer in layers if layer.name == "a")
    listed = unique_kernels(layers)
    assert {layer.name for layer in listed.values()} == {"a"}
    assert [one.kind for one in listed] == ["convolution", "im2col", "gemm", "gemm"]
    assert set(listed) == {layer_kernel(first), *(use.kernel for use in kernels(first))}
    assert unique_kernels([replace(first, modelled=False)]) == {}
    assert unique_kernels([on_image('type: "Flatten"')]) == {}


def test_a_bias_is_a_product_of_depth_one_that_accumulates():
    assert is_bias(gemm(2, 3, 1, accumulate=True))
    for other in (gemm(2, 3, 1), gemm(2, 3, 2, accumulate=True), kernel("relu", {"k": 1, "accumulate": 1})):
        assert not is_bias(other)
    flags = dict(gemm(2, 3, 5, trans_a=True).sizes), dict(gemm(2, 3, 5, trans_b=True).sizes)
    assert [(one["trans_a"], one["trans_b"]) for one in flags] == [(1, 0), (0, 1)]
    assert gemm(2, 3, 5).as_dict() == {
        "kind": "gemm", "variant": "", "m": 2, "n": 3, "k": 5, "trans_a": 0, "trans_b": 0, "accumulate": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "top", "buffers"),
    [
        ('type: "BatchNorm"', "y", 3),  # temp_, x_norm_ and the top
        ('type: "BatchNorm"', "x", 2),
        ('type: "Scale"', "x", 1),  # temp_
        ('type: "Scale"', "y", 1),  # the top alone
        ('type: "PReLU"', "x", 1),
        ('type: "PReLU"', "y", 1),
        ('type: "ReLU"', "x", 0),
        ('type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }', "y", 4),  # square, its mean, their power, the top
        ('type: "LRN"', "y", 2),
        ('type: "Flatten"', "y", 0),
        ('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }', "y", 0),
        ('type: "TanH"', "y", 1),
    ],
)
def test_buffers_of_its_own_are_those_of_caffes_code(text, top, buffers):
    layer = on_image(text, top)
    elements = 2 * 6 * 9 * 11
    assert touched_bytes(layer) - weights_bytes(layer) == 4 * buffers * elements


def test_weights_take_the_bytes_of_their_values_where_they_are_first():
    layer = on_image('type: "InnerProduct" inner_product_param { num_output: 4 }')
    parameters = (Parameter((4, 7), value_bytes=1), Parameter((4,), value_bytes=4), Parameter((5,), owner="other"))
    assert weights_bytes(replace(layer, parameters=parameters)) == 28 + 16


def test_a_pool_works_at_all_of_its_window_and_an_operator_of_onnx_is_no_pool_of_caffes():
    pool = on_image('type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 5 }')
    assert poster_flops(pool) == prod(pool.outputs[0]) * 2 * 5
    assert poster_flops(replace(pool, settings=OnnxOperator("LpPool"))) == 0


def test_engines_compare_by_two_numbers_and_values_have_their_bytes():
    releases = {version: Engine(version=version).release for version in ("1.27.0", "1.9", "2", "")}
    assert [releases[version] for version in ("1.27.0", "1.9", "2")] == [(1, 27), (1, 9), (2,)]
    assert releases[""] > (999, 999)
    assert {name: VALUE_BYTES[name] for name in ("fp32", "fp16", "int8")} == {
        name: np.dtype(of_numpy).itemsize for name, of_numpy in (("fp32", "f4"), ("fp16", "f2"), ("int8", "i1"))
    }
    assert VALUE_BYTES["bf16"] == 2


def operator(kind, inputs, output, constants=(), domain="", **attributes):
    """A layer of one ONNX operator: a shape, or None where an input is left out; constants by their position."""
    names = [f"i{position}" if shape else "" for position, shape in enumerate(inputs)]
    held = tuple((position, Constant(inputs[position])) for position in constants)
    settings = OnnxOperator(kind, tuple(attributes.items()), held, domain)
    data = [shape for position, shape in enumerate(inputs) if shape and position not in constants]
    bottoms = tuple(name for position, name in enumerate(names) if name and position not in constants)
    node = OnnxNode(settings, tuple(names), ("y",), (output,))
    return Layer("n", kind, bottoms, ("y",), tuple(data), (output,), settings=settings, node=node)


@pytest.mark.parametrize(
    ("layer", "products"),
    [
        (operator("QLinearConv", [(2, 6, 9, 8), (1,), (1,), (12, 3, 3, 2), (1,), (1,)], (2, 12, 7, 7), (3,), group=2),
         [(6, 49, 18, 4)]),
        (operator("ConvInteger", [(1, 4, 5, 5), (8, 4, 3, 3)], (1, 8, 3, 3), (1,)), [(8, 9, 36, 1)]),
        (operator("QLinearMatMul", [(5, 7), (1,), (1,), (7, 3)], (5, 3), (3,)), [(5, 3, 7, 1)]),
        (operator("QGemm", [(5, 7), (1,), (1,), (7, 3)], (5, 3), (3,), "com.microsoft"), [(5, 3, 7, 1)]),
        (operator("FusedMatMul", [(7, 5), (3, 7)], (5, 3), (1,), "com.microsoft", transA=1, transB=1), [(5, 3, 7, 1)]),
        (operator("FusedMatMul", [(2, 7, 5), (2, 3, 7)], (2, 5, 3), (), "com.microsoft", transA=1, transB=1),
         [(5, 3, 7, 2)]),
        (operator("ConvTranspose", [(2, 6, 5, 4), (6, 4, 3, 2)], (2, 8, 11, 8), (1,), group=2), [(24, 20, 3, 4)]),
        (operator("MatMul", [(7,), (4, 7, 3)], (4, 3)), [(1, 3, 7, 4)]),
        (operator("LSTM", [(5, 2, 7), (2, 12, 7), (2, 12, 3)], (5, 2, 2, 3), (1, 2)), [(2, 12, 7, 10), (2, 12, 3, 10)]),
        (operator("Add", [(5, 7), (5, 7)], (5, 7)), []),
    ],
)  # fmt: skip
def test_products_of_onnx_operators_are_those_of_the_standard(layer, products):
    uses = [(use.kernel["m"], use.kernel["n"], use.kernel["k"], use.count) for use in gemms(layer)]
    assert uses == products
    assert macs(layer) == sum(prod(one) for one in products)


def test_of_onnx_operators_only_a_reshape_is_free():
    kinds = ("Reshape", "Flatten", "Dropout", "Split", "Relu")
    assert [kind for kind in kinds if is_free(operator(kind, [(2, 6)], (2, 6)))] == ["Reshape"]
    assert touched_bytes(operator("Reshape", [(2, 6)], (3, 4))) == 4 * 12
    assert kind_of(operator("LpPool", [(2, 6)], (2, 6))) == "onnx_lp_pool"


def test_a_network_was_written_for_the_engine_of_its_format():
    network = parse_prototxt(IMAGE, "n")
    assert engine_of_network(network) == "caffe"
    with_node = replace(network, layers=(*network.layers, operator("Relu", [(2, 6)], (2, 6))))
    assert engine_of_network(with_node) == "onnxruntime"
