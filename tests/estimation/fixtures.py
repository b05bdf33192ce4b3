"""Board models as a fit would make them, with costs plausible for a TX1, and networks to try them on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sitecnn.models.board_model import UNSEEN, BoardModel, KindModel, StackModel, estimate_pass, model_file, save
from sitecnn.models.caffe_features import FAR_WEIGHTS
from sitecnn.models.features import features_of
from sitecnn.network import parse_prototxt
from sitecnn.workload.columns import layer_columns

NETWORKS = Path(__file__).parents[2] / "config" / "networks"

# ns per unit of each feature, by processor: 40 and 700 GFLOP/s, 5 and 10 GB/s, a GPU that pays 20 µs a call.
COSTS = {
    "cpu": {"macs": 0.05, "calls": 1000.0, "gemm_calls": 2000.0, "weights_elements": 0.8, "elements": 0.8},
    "gpu": {"macs": 0.003, "calls": 20_000.0, "gemm_calls": 30_000.0, "weights_elements": 0.4, "elements": 0.1},
}
REFINEMENTS = ("many_images_macs", "page_aliased_weights", "way_aliased_weights", *(one.name for one in FAR_WEIGHTS))
KINDS = (
    *("convolution", "deconvolution", "inner_product", "pooling", "lrn", "relu", "softmax", "concat", "input"),
    *("split", "dropout", "batch_norm", "scale", "eltwise", "flatten", UNSEEN),
)


def kind_model(kind, costs, relative_sd=0.05):
    features = tuple(feature for feature in features_of(kind) if feature.name not in REFINEMENTS)
    coefficients = np.array([costs.get(feature.name, costs["elements"]) for feature in features])
    errors = coefficients * relative_sd
    return KindModel(
        features=tuple(feature.name for feature in features),
        units=tuple(feature.unit for feature in features),
        coefficients_ns=tuple(coefficients.tolist()),
        standard_errors_ns=tuple(errors.tolist()),
        covariance=tuple(map(tuple, np.diag(errors**2).tolist())),
        relative_sd=relative_sd,
        seen=tuple((0.0, 1e12) for _ in features),
        rows=100,
    )


def stack_model(processor, stack=None, threads=4, speed=1.0):
    costs = {name: cost / speed for name, cost in COSTS[processor].items()}
    return StackModel(
        stack=stack or f"synthetic-{processor}",
        threads=threads,
        kinds={kind: kind_model(kind, costs) for kind in KINDS},
        forward_ratio=0.98,
        forward_ratio_sd=0.01,
        unexplained_sd={"layer": 0.1, "network": 0.05},
        base_bytes=100 * 2**20,
        networks=("alexnet",),
    )


def board_model(processor, board="tx1", stacks=None, **provenance):
    return BoardModel(board, processor, tuple(stacks or (stack_model(processor),)), provenance)


def write_board(root, model):
    save(model, model_file(root, model.board, model.processor))
    return model


def without_kinds(stack, *kinds):
    return replace(stack, kinds={name: kind for name, kind in stack.kinds.items() if name not in kinds})


def random_network(rng, layers):
    """A random graph of layers on 6×6 pixels: branches, layers in place (where Caffe allows), shared buffers."""
    text = ['layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 6 dim: 6 } } }']
    channels, read = {"data": 4}, set()
    for index in range(layers):
        source = str(rng.choice(list(channels)))
        same = [blob for blob in channels if channels[blob] == channels[source] and blob != source]
        kind = rng.choice(["convolution", "relu", "in place", "pool", "sum", "concat", "reshape"])
        name, top, bottoms, settings, outputs = f"l{index}", f"b{index}", [source], "", 0
        if kind == "sum" and same:
            type_, bottoms = "Eltwise", [source, str(rng.choice(same))]
        elif kind == "concat" and len(channels) > 1:
            type_, bottoms = "Concat", [source, str(rng.choice([blob for blob in channels if blob != source]))]
        elif kind == "pool":
            type_, settings = "Pooling", "pooling_param { kernel_size: 3 pad: 1 stride: 1 }"
        elif kind in ("relu", "in place"):
            type_, top = "ReLU", source if kind == "in place" and source not in read else top
        elif kind == "reshape":
            type_, settings = "Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 6 dim: 6 } }"
        else:
            outputs, size = int(rng.choice([4, 8])), int(rng.choice([1, 3]))
            settings = f"convolution_param {{ num_output: {outputs} kernel_size: {size} pad: {size // 2} }}"
            type_ = "Convolution"
        widths = [channels[blob] for blob in bottoms]
        read.update(blob for blob in bottoms if blob != top)
        channels[top] = {"Convolution": outputs, "Concat": sum(widths)}.get(type_, widths[0])
        given = " ".join(f'bottom: "{blob}"' for blob in bottoms)
        text.append(f'layer {{ name: "{name}" type: "{type_}" {given} top: "{top}" {settings} }}')
    return parse_prototxt("\n".join(text), "random")


def board_of(stack, processor="cpu"):
    """A board with this stack alone."""
    return board_model(processor, stacks=[stack])


def pass_sd_ns(network, stack):
    """The standard error of a whole pass on Caffe."""
    return estimate_pass(stack, *layer_columns(network)).forward_sd_ns


def bounds(ms):
    return ms.estimate, ms.low, ms.high
