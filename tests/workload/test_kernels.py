"""Kernels of a layer against counting by hand (numpy's own convolution loops) on small layers."""

import pytest

from sitecnn.dataset.definitions import read_definitions
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import layer_columns
from sitecnn.workload.flops import poster_flops
from sitecnn.workload.kernels import gemms, is_free, kernel, kernels, layer_kernel, macs, unique_kernels
from sitecnn.workload.memory import workspace_bytes, workspace_poster_bytes


def layer(text, shape=(2, 6, 9, 11)):
    dims = " ".join(f"dim: {size}" for size in shape)
    source = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    return parse_prototxt(f'{source} layer {{ name: "l" bottom: "x" {text} }}', "test").layers[-1]


GROUPED = (
    'type: "Convolution" top: "y" convolution_param { num_output: 8 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 group: 2 }'
)


def brute_force_macs(given, out, window, group):
    """Every output value of every image reads window × (channels / group) inputs."""
    count = 0
    for _image in range(out[0]):
        for _channel in range(out[1]):
            for _position in range(out[2] * out[3]):
                count += given[1] // group * window
    return count


def test_grouped_convolution_counts_every_output_once():
    conv = layer(GROUPED)
    assert macs(conv) == brute_force_macs(conv.inputs[0], conv.outputs[0], 3 * 2, 2)
    assert [(use.kernel["m"], use.kernel["k"], use.count) for use in gemms(conv)] == [(4, 18, 4)]


def test_workspace_holds_all_groups_in_caffe_and_one_in_the_poster():
    conv = layer(GROUPED)
    assert workspace_bytes(conv) == 2 * workspace_poster_bytes(conv)


def test_pointwise_convolution_needs_no_im2col_but_the_poster_counts_it():
    conv = layer('type: "Convolution" top: "y" convolution_param { num_output: 4 kernel_size: 1 }')
    assert [use.kernel.kind for use in kernels(conv)] == ["gemm", "gemm"]
    assert workspace_bytes(conv) == 0
    assert workspace_poster_bytes(conv) == 6 * 9 * 11 * 4


def test_bias_is_counted_in_poster_flops_and_not_in_macs():
    text = 'type: "InnerProduct" top: "y" inner_product_param {{ num_output: 5 bias_term: {} }}'
    with_bias, without = (layer(text.format(flag)) for flag in ("true", "false"))
    assert macs(with_bias) == macs(without) == 2 * 5 * 6 * 9 * 11
    assert poster_flops(with_bias) - poster_flops(without) == 2 * 5


def test_a_kernel_shared_by_layers_is_planned_once():
    relu = layer('type: "ReLU" top: "x"')
    assert len(unique_kernels([relu, relu])) == 1


@pytest.mark.parametrize(("top", "free"), [("x", True), ("y", False)])
def test_dropout_costs_only_where_it_copies(top, free):
    assert is_free(layer(f'type: "Dropout" top: "{top}"')) == free


def test_layers_with_other_windows_are_other_kernels():
    pools = [
        layer(f'type: "Pooling" top: "y" pooling_param {{ pool: {method} kernel_size: {size} }}')
        for method in ("MAX", "AVE")
        for size in (2, 3)
    ]
    assert len({layer_kernel(pool) for pool in pools}) == 4


def test_kernel_refuses_no_size_it_knows_and_orders_them():
    assert kernel("gemm", {"k": 3, "m": 1, "n": 2}).sizes == (("m", 1), ("n", 2), ("k", 3))


@pytest.mark.parametrize("kind", ["ReLU", "BatchNorm", "Scale"])
def test_a_kernel_tells_whether_its_layer_writes_into_what_it_reads(kind):
    in_place, own = (dict(layer_kernel(layer(f'type: "{kind}" top: "{top}"')).sizes) for top in ("x", "y"))
    assert in_place["in_place"] == 1
    assert "in_place" not in own


def test_all_layers_of_a_pass_know_what_goes_through_the_caches() -> None:
    """Of all weights and half of what is written, 4 bytes each; the dataset's layers say the same."""
    prototxt = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
          convolution_param { num_output: 5 kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 7 } }
    """
    conv, fc = 2 * 5 * 6 * 6, 2 * 7
    weights = 5 * 3 * 9 + 5 + 7 * 5 * 36 + 7
    expected = 4 * (weights + (2 * 3 * 64 + conv + conv + fc) // 2)
    _, sizes = layer_columns(parse_prototxt(prototxt, "net"))
    assert sizes["pass_bytes"].tolist() == [expected] * 4
    table, _ = read_definitions([prototxt])
    assert [one["pass_bytes"] for one in table["sizes"].to_pylist()] == [expected] * 4
