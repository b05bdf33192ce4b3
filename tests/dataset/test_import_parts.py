"""The parts of the importers, each against what a person works out: bounds, order, what is fused, what is refused."""

import json

import pandas as pd
import pytest

from sitecnn.dataset.imports import caffe_time, kernels, onnxruntime, profiled, table, tensorrt, totals
from sitecnn.dataset.imports.joining import absorb, definition, heaviest, implausible, layer_index
from sitecnn.dataset.imports.record import Imported, Passes, Target, write_import
from sitecnn.dataset.imports.tables import Numbers, checked, read_rows
from sitecnn.dataset.imports.tflite import of_published, with_unlisted
from sitecnn.errors import DatasetError, NetworkError
from sitecnn.network import parse_prototxt
from sitecnn.network.onnx import parse_onnx
from sitecnn.workload.engines import NCHWC_BLOCKS, ONNXRUNTIME, Engine
from sitecnn.workload.lowering import lower
from sitecnn.workload.lowering.releases import RELEASES
from tests.dataset.records import PROTOTXT
from tests.workload.lowering.graphs import Builder

CPU, GPU = Target("x", "cpu", "s"), Target("x", "gpu", "s")
MACS = 2 * 4 * 36 * 27
"""Of the toy network's convolution: 2 images, 4 channels, 6 × 6 positions, 3 × 3 × 3 weights each."""
FAST_MS = MACS / 1e9 * 1e3
BRANCHES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum" }
"""


@pytest.fixture
def toy():
    return parse_prototxt(PROTOTXT, "toy")


@pytest.fixture
def networks(tmp_path):
    (tmp_path / "toy.prototxt").write_text(PROTOTXT)
    return tmp_path


def csv(tmp_path, rows):
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def toy_pass(layers_ms=(0.0, FAST_MS, 0.0), **columns):
    """The rows of one pass of the toy network."""
    names = ("data", "conv", "relu")
    return [
        {"network": "toy", "batch": 2, "layer": name, "layer_ms": ms, **columns}
        for name, ms in zip(names, layers_ms, strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([3], "row 3: r"),
        ([3, 5], "row 3: r (and 1 more row like it)"),
        ([3, 5, 9], "row 3: r (and 2 more rows like it)"),
    ],
)
def test_a_reason_is_told_once_with_its_first_row(rows, line):
    imported = Imported()
    imported.refuse(rows, "r")
    imported.refuse([4], "another")
    assert imported.reasons() == [line, "row 4: another"]


def test_what_ran_within_a_layer_is_added_up(toy):
    passes = Passes("toy", toy, "s")
    passes.fuse(1, [2])
    passes.fuse(1, [0])
    passes.fuse(1, [2])
    assert passes.fused == {1: ["relu", "data"]}


def records(root, passes, target=CPU, sources=("a",), stack="s"):
    """The record file of one network's passes: its name and lines."""
    for name in sources:
        (root / name).write_text(name)
    target = Target(target.board, target.processor, stack)
    imported = Imported(rows=1, passes=[passes])
    path = write_import(root, target, [root / name for name in sources], "table", imported)
    return path.name, [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record_file_says_all_that_was_measured(tmp_path, toy):
    passes = Passes("toy", toy, "s", 3, "blas", 50, {1: [0.5]}, layerwise_ms=[0.75], forward_ms=[0.25], total_bytes=7)
    _, (run, times, memory, done) = records(tmp_path, passes)
    assert (run["threads"], run["library"], run["stack"], run["processor"]) == (3, "blas", "s", "cpu")
    assert times["iterations"] == 50 and times["layers"][0]["samples_ns"] == [5e5]
    assert (times["layerwise_ns"], times["forward_ns"]) == ([7.5e5], [2.5e5])
    assert memory["memory_bytes"] == {"total": 7} and memory["key"] != times["key"]
    assert (done["run"], done["planned"]) == (run["run"], 1)


def test_imports_that_differ_are_different_files_and_runs(tmp_path, toy):
    def one(library=None, **changes):
        name, (run, *_) = records(
            tmp_path, Passes("toy", toy, changes.get("stack", "s"), 1, library, None, {1: [0.5]}), **changes
        )
        return name, run["run"]

    differing = [
        {},
        {"target": GPU},
        {"sources": ("b",)},
        {"sources": ("a", "b")},
        {"sources": ("a", "c")},
        {"stack": "t"},
    ]
    assert all(
        len(set(told)) == len(differing) for told in zip(*(one(**changes) for changes in differing), strict=True)
    )
    assert one()[1] != one("blas")[1] and one() == one()


def test_layers_that_read_zeros_where_a_net_has_no_weights_say_so(tmp_path):
    """Of zeros a sigmoid makes halves, so that what follows it reads others."""
    more = ' layer { name: "half" type: "Sigmoid" bottom: "conv" top: "half" }'
    more += ' layer { name: "last" type: "ReLU" bottom: "half" top: "last" }'
    network = parse_prototxt(PROTOTXT + more, "toy")
    layers_ms = {network.positions[name][0]: [0.1] for name in ("half", "last")}
    _, (_, times, _) = records(tmp_path, Passes("toy", network, "s", layers_ms=layers_ms))
    assert [(layer["name"], layer["on_zeros"]) for layer in times["layers"]] == [("half", True), ("last", False)]


def test_rows_left_out_and_refused_are_not_imported():
    assert Imported(rows=9, left_out=2, refused=[(1, "r")]).imported == 6


@pytest.mark.parametrize(("rate", "can_be"), [(1.9e7, False), (2.1e7, True), (0.9e15, True), (1.1e15, False)])
def test_a_pass_is_between_the_slowest_and_the_fastest_boards(toy, rate, can_be):
    assert (implausible(toy, MACS / rate * 1e3) is None) == can_be
    assert (implausible(toy, MACS / rate * 1e3, {1}) is None) == can_be
    assert implausible(toy, MACS / rate * 1e3, {2}) is None  # nothing is multiplied there


def test_fused_time_is_the_first_of_the_heaviest_layers():
    network = parse_prototxt(BRANCHES, "b")
    assert heaviest(network, set(range(len(network.layers)))) == network.positions["a"][0]


def test_a_sum_and_what_follows_are_absorbed_by_its_last_source():
    network = parse_prototxt(BRANCHES, "b")
    a, b, total, relu = (network.positions[name][0] for name in ("a", "b", "sum", "relu"))
    assert absorb(network, {a, b}) == {b: [total, relu]}  # Dropout in place costs nothing
    assert absorb(network, {a, total}) == {total: [relu]}


def test_a_name_that_is_there_twice_is_told_by_its_place():
    text = BRANCHES.replace('name: "b"', 'name: "a"')
    network = parse_prototxt(text, "b")
    places = network.positions["a"]
    assert len(places) == 2
    assert [layer_index(network, "a", place) for place in (*places, 99)] == [*places, places[0]]


def test_only_a_sole_input_goes_by_another_name(toy):
    assert layer_index(toy, "input") == 0
    two = parse_prototxt(
        PROTOTXT.replace('name: "data"', 'name: "first"') + BRANCHES.splitlines()[1].replace("data", "z"), "t"
    )
    assert layer_index(two, "input") is None


@pytest.mark.parametrize("name", ["a/b", "a\\b", ".hidden", "a\0b", "a" * 201])
def test_a_network_is_the_name_of_a_file(tmp_path, name):
    with pytest.raises(NetworkError, match="is no name of a file"):
        definition(tmp_path, name, 1)


def test_cells_that_cannot_be_are_refused_each_with_its_row(tmp_path):
    values = ["0", "8", "", "2.5", "-1", "9", "x"]
    rows = read_rows(csv(tmp_path, {"network": ["007"] * 7, "size": values}), ("network",), {})
    assert set(rows["network"]) == {"007"}
    for numbers, sound in (
        (Numbers(0, 8), [1, 2, 3]),
        (Numbers(0, 8, may_be_missing=False), [1, 2]),
        (Numbers(0, 8, is_whole=False), [1, 2, 3, 4]),
    ):
        imported = Imported()
        assert checked(rows, ("network",), {"size": numbers}, imported)["row"].tolist() == sound
        assert sorted(row for row, _ in imported.refused) == sorted(set(range(1, 8)) - set(sound))


@pytest.mark.parametrize(
    ("threads", "stacks"), [((4,), ["s"]), ((1, 4), ["s+1-threads", "s+4-threads"]), ((0, 4), ["s", "s+4-threads"])]
)
def test_several_numbers_of_threads_are_several_stacks(networks, threads, stacks):
    rows = [row for count in threads for row in toy_pass(threads=count)]
    imported = table.read_table(csv(networks, rows), CPU, networks)
    assert [(passes.stack, passes.threads) for passes in imported.passes] == list(zip(stacks, threads, strict=True))


def test_samples_are_in_the_order_of_repeats_and_only_whole_passes_are_sums(networks):
    rows = [
        *toy_pass((0, 3e-3, 1e-3), repeat=1, forward_ms=5e-3),
        *toy_pass((0, 2e-3, 1e-3), repeat=0, forward_ms=4e-3),
    ]
    (passes,) = table.read_table(csv(networks, rows[:-1]), CPU, networks).passes
    assert passes.layers_ms[1] == [2e-3, 3e-3]
    assert passes.forward_ms == [4e-3, 5e-3] and passes.layerwise_ms == [pytest.approx(4e-3)]


def test_a_repeat_with_a_layer_twice_is_two_passes(networks):
    rows = [*toy_pass((0, 2e-3, 0), forward_ms=4e-3), *toy_pass((0, 3e-3, 0), forward_ms=5e-3)]
    imported = table.read_table(csv(networks, rows), CPU, networks)
    assert not imported.refused
    assert (imported.passes[0].forward_ms, imported.passes[0].layers_ms[1]) == ([4e-3, 5e-3], [2e-3, 3e-3])


def test_the_first_pass_time_that_is_told_is_the_pass(networks):
    rows = toy_pass()
    for row, forward_ms in zip(rows, (float("nan"), 4e-3, 5e-3), strict=True):
        row["forward_ms"] = forward_ms
    (passes,) = table.read_table(csv(networks, rows), CPU, networks).passes
    assert passes.forward_ms == [4e-3]


def test_without_whole_passes_only_layers_that_multiply_tell_the_unit(networks):
    slow_ms = 10 * MACS / 2e7 * 1e3
    assert not table.read_table(csv(networks, toy_pass((0, FAST_MS, slow_ms))), CPU, networks).refused
    assert len(table.read_table(csv(networks, toy_pass((0, slow_ms, 0))), CPU, networks).refused) == 3


def test_a_layer_may_take_twice_its_pass_and_no_more(networks):
    forward_ms = FAST_MS
    rows = toy_pass((0, 1.99 * forward_ms, 2.01 * forward_ms), forward_ms=forward_ms)
    imported = table.read_table(csv(networks, rows), CPU, networks)
    assert [row for row, _ in imported.refused] == [3]


def conv_row(kernel_ms, **columns):
    sizes = {"channels": 10, "out_channels": 10, "out_height": 10, "out_width": 10, "kernel_h": 3, "kernel_w": 3}
    return {"network": "n", "kind": "conv", **sizes, "kernel_ms": kernel_ms, **columns}


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ([conv_row(90_000 / 2.1e7 * 1e3)], 0),
        ([conv_row(90_000 / 1.9e7 * 1e3)], 1),
        ([conv_row(90_000 / 4e7 * 1e3, group=10)], 1),  # a tenth of the work
        ([conv_row(90_000 / 4e6 * 1e3, batch=10)], 0),  # ten times the work
        (
            [conv_row(0.1), {"network": "n", "kind": "relu", "channels": 10, "kernel_ms": 1e4}],
            0,
        ),  # that multiplies nothing
        ([conv_row(0)], 1),
    ],
)
def test_kernels_that_would_be_too_slow_or_too_fast_are_refused(tmp_path, rows, refused):
    assert len(kernels.read_kernels(csv(tmp_path, rows), GPU).refused) == refused


@pytest.mark.parametrize(("batch", "refused"), [(1, 1), (2, 0)])
def test_a_kernel_is_held_against_the_fastest_pass_of_its_batch(tmp_path, batch, refused):
    (tmp_path / "passes.csv").write_text("network,batch,forward_ms\nn,1,0.2\nn,1,1.0\nn,2,2.0\n")
    file = csv(tmp_path, [conv_row(0.5, batch=batch), conv_row(0.1, batch=batch)])
    imported = kernels.read_kernels(file, GPU, tmp_path / "passes.csv")
    assert len(imported.refused) == refused
    assert imported.passes[0].forward_ms == ([0.2, 1.0] if batch == 1 else [2.0])


def caffe_log(tmp_path, layers, iterations="Iteration: 50 forward-backward time: 1 ms."):
    lines = [iterations, *(f"] {name}\tforward: {ms} ms." for name, ms in layers), "Average Forward pass: 0.0015 ms."]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    return [tmp_path / "log"]


def test_a_log_that_lacks_a_layer_has_no_sum_of_all(tmp_path, toy):
    imported = caffe_time.read_logs(caffe_log(tmp_path, [("conv", 0.001), ("relu", 0)]), CPU, toy, "toy")
    (passes,) = imported.passes
    assert (imported.rows, passes.layers_ms, passes.layerwise_ms) == (3, {1: [0.001], 2: [0.0]}, [])
    imported = caffe_time.read_logs(caffe_log(tmp_path, [("data", 0), ("conv", 0.001), ("relu", 0)]), CPU, toy, "toy")
    assert imported.passes[0].layerwise_ms == [0.001]


def test_a_log_is_of_this_network_if_half_of_its_layers_are(tmp_path, toy):
    known, strange = [("conv", 0.001), ("relu", 0)], [("p", 1), ("q", 1), ("r", 1)]
    assert len(caffe_time.read_logs(caffe_log(tmp_path, known + strange[:2]), CPU, toy, "toy").refused) == 2
    with pytest.raises(DatasetError, match="as 3 of its 5 lines of layers"):
        caffe_time.read_logs(caffe_log(tmp_path, known + strange), CPU, toy, "toy")


def test_iterations_are_told_before_the_first_or_with_each(tmp_path, toy):
    for line, count in (("Testing for 20 iterations.", 20), ("Iteration: 50 forward-backward time: 1 ms.", 50)):
        imported = caffe_time.read_logs(caffe_log(tmp_path, [("conv", 0.001)], line), CPU, toy, "toy")
        assert imported.passes[0].iterations == count


def ort_profile(tmp_path, runs, provider="CUDAExecutionProvider"):
    """Events of runs of the toy network: (µs of the run, µs of its convolution)."""
    events = []
    for run_us, conv_us in runs:
        node = {"provider": provider, "op_name": "Conv"}
        events.append({"cat": "Session", "name": "model_run", "dur": run_us})
        events.append({"cat": "Node", "name": "conv_kernel_time", "dur": conv_us, "args": node})
    (tmp_path / "profile.json").write_text(json.dumps(events))
    return [tmp_path / "profile.json"]


def test_the_first_of_several_runs_is_a_warm_up(tmp_path, toy):
    imported = onnxruntime.read_profiles(ort_profile(tmp_path, [(1e9, 1e9), (30, 20), (10, 5)]), GPU, toy, "toy")
    (passes,) = imported.passes
    assert passes.forward_ms == pytest.approx([0.03, 0.01]) and passes.layers_ms[1] == pytest.approx([0.02, 0.005])
    assert passes.fused == {1: ["relu"]} and (imported.rows, imported.left_out) == (3, 1)
    imported = onnxruntime.read_profiles(ort_profile(tmp_path, [(30, 20)]), GPU, toy, "toy")
    assert imported.passes[0].layers_ms[1] == pytest.approx([0.02]) and imported.left_out == 0


def test_a_slow_run_among_others_is_no_other_unit(tmp_path, toy):
    runs = [(9, 9), (30, 20), (1e9, 20)]
    assert onnxruntime.read_profiles(ort_profile(tmp_path, runs), GPU, toy, "toy").passes[0].forward_ms[1] == 1e6


def test_a_profile_of_the_other_processor_is_refused(tmp_path, toy):
    for provider, target in (("CUDAExecutionProvider", CPU), ("CPUExecutionProvider", GPU)):
        with pytest.raises(DatasetError, match=f"ran by {provider}, not on the {target.processor}"):
            onnxruntime.read_profiles(ort_profile(tmp_path, [(30, 20)], provider), target, toy, "toy")


def test_a_fused_convolution_makes_the_activations_blob():
    network = parse_prototxt(BRANCHES, "b")
    assert onnxruntime.layer_of(network, "sum", "FusedConv") == network.positions["a"][0]
    assert onnxruntime.layer_of(network, "sum", "Add") == network.positions["sum"][0]


def test_an_activation_in_place_does_not_come_from_itself(toy):
    assert onnxruntime.layer_of(toy, "relu", "FusedConv") is None


def test_entries_of_one_layer_are_one_time_and_copies_belong_to_the_pass(tmp_path, toy):
    entries = [("conv", 0.001), ("conv + relu", 0.002), ("Reformatting CopyNode for conv", 0.004)]
    (tmp_path / "trt.json").write_text(json.dumps([{"name": name, "averageMs": ms} for name, ms in entries]))
    (passes,) = tensorrt.read_profiles([tmp_path / "trt.json"], GPU, toy, "toy").passes
    assert passes.layers_ms == {1: [pytest.approx(0.003)]} and passes.layerwise_ms == [pytest.approx(0.007)]


def test_an_entry_from_a_layer_to_another_has_all_between_but_what_is_free():
    network = parse_prototxt(BRANCHES, "b")
    named = tensorrt.layers_named(network, "{ForeignNode[b...drop]}")
    assert {network.layers[index].name for index in named} == {"b", "sum", "relu", "drop"}
    assert tensorrt._problem(network, named) is None
    assert "several convolutions" in str(tensorrt._problem(network, named | {network.positions["a"][0]}))


@pytest.mark.parametrize("value", [0, float("nan"), float("inf"), -1])
def test_a_total_is_above_0(networks, value):
    for what in ("forward", "ReLU", "memory"):
        rows = [{"network": "toy", "batch": 2, "what": what, "ms": value, "mib": value}]
        assert [row for row, _ in totals.read_totals(csv(networks, rows), CPU, networks).refused] == [1]


def published(implementation, operation="CONV_2D", **columns):
    sizes = {
        "in_size": 8,
        "in_channels": 4,
        "out_size": 8,
        "stride": 1,
        "kernel_size": 3,
        "out_channels": 6,
        "group": 2,
    }
    named = {"row": 1, "board": "p", "network": "n", "batch": 1, "kernel_ms": 1.0}
    return {**named, "operation": operation, "implementation": implementation, **sizes, **columns}


def test_parameters_and_activations_of_published_kernels():
    names = ["convolution_2d_0", "convolution_2d_1_linked_:_relu_2", "convolution_2d_3_linked_:_tanh_4"]
    rows = of_published(pd.DataFrame(map(published, names)))
    assert rows["parameters"].tolist() == [6 * (4 // 2) * 3 * 3] * 3
    assert rows["activation"].tolist() == [0, 1, 2]
    assert set(rows["in_elements"]) == {4 * 8 * 8} and set(rows["out_elements"]) == {6 * 8 * 8}


def test_a_joint_kernel_has_the_weights_of_both():
    name = "depthwise_conv_plus_1x1_conv_5_6_7"
    both = published(name, "DEPTHWISE_CONV_2D", out_channels=1, group=1), published(name, kernel_size=1, group=1)
    (row,) = of_published(pd.DataFrame([*both])).to_dict("records")
    assert (row["parameters"], row["out_channels"], row["kernel_ms"]) == (4 * 9 + 4 * 6, 6, 1.0)


def listed(height, channels=4, out_height=None, kind="conv"):
    out = {"out_channels": channels, "out_height": out_height or height, "out_width": out_height or height}
    return {"kind": kind, "images": 1, "channels": channels, "height": height, "width": height, **out}


@pytest.mark.parametrize(
    ("rows", "names", "kinds"),
    [
        ([listed(8), listed(10, out_height=8)], ["conv_0", "conv_2"], ["conv", "tflite_pad", "conv"]),
        ([listed(8), listed(10)], ["conv_0", "conv_3"], ["conv", "tflite_elementwise", "tflite_pad", "conv"]),
        ([listed(8), listed(10)], ["conv_0", "conv_1"], ["conv", "conv"]),
        ([listed(8, out_height=4), listed(4)], ["conv_0", "conv_2"], ["conv", "tflite_elementwise", "conv"]),
        ([listed(8), listed(1)], ["conv_0", "conv_2"], ["conv", "tflite_elementwise", "conv"]),
    ],
)
def test_missing_nodes_are_a_padding_or_elementwise_work(rows, names, kinds):
    assert [row["kind"] for row in with_unlisted(rows, names)] == kinds


def test_a_gate_multiplies_the_map_that_was_averaged():
    rows = [listed(8), listed(8, kind="tflite_mean", out_height=1), listed(1), listed(8)]
    made = with_unlisted(rows, ["conv_0", "mean_1", "conv_2", "conv_4"])
    assert [(row["kind"], row["height"]) for row in made][3:] == [("tflite_elementwise", 8), ("conv", 8)]


def engine_nodes(network, block):
    """What ONNX Runtime makes of a network, as a profile names it."""
    kernels = lower(network, Engine(ONNXRUNTIME, RELEASES[0], block))
    return kernels, [(f"node{number}", profiled._node(kernel)) for number, kernel in enumerate(kernels)]


@pytest.fixture
def twice():
    """Two convolutions of the same sizes."""
    builder = Builder()
    return parse_onnx(builder.model(builder.conv(builder.conv("x", 3, 3, 3), 3, 3, 3)), "twice.onnx")


def test_nodes_alike_are_layers_in_the_order_of_the_network(twice):
    kernels, nodes = engine_nodes(twice, 0)
    matched = profiled.match(twice, nodes)
    assert matched.layers == {name: kernel.layers for (name, _), kernel in zip(nodes, kernels, strict=True)}
    assert len({indices[0] for indices in matched.layers.values()}) == len(nodes) > 1


@pytest.mark.parametrize("more", [0, 1])
def test_a_network_has_half_of_the_nodes_of_its_profile(twice, more):
    _, nodes = engine_nodes(twice, 0)
    strangers = [(f"other{number}", ("Loop", (), ())) for number in range(len(nodes) + more)]
    assert (profiled.match(twice, nodes + strangers) is None) == bool(more)


@pytest.mark.parametrize("block", NCHWC_BLOCKS[1:])
def test_names_of_nodes_tell_of_blocks(twice, block):
    """Where none is a reorder, which would tell of them, too."""
    _, nodes = engine_nodes(twice, block)
    named = [(f"{name}_nchwc", node) for name, node in nodes if node[0] not in profiled.OWN]
    assert profiled.match(twice, named).engine.nchwc_block > 0


def test_a_run_that_lacks_a_node_of_a_group_is_no_sample(toy):
    nodes = pd.DataFrame({"event": [1, 2, 3], "name": ["a", "b", "a"], "run": [0, 0, 1], "ms": [1.0, 2.0, 4.0]})
    matched = profiled.Matched(Engine(ONNXRUNTIME, RELEASES[0], 0), {"a": (1,), "b": (1, 2)}, frozenset())
    passes = Passes("toy", toy, "s")
    onnxruntime._take_groups(nodes, matched, passes, Imported())
    assert passes.layers_ms == {1: [3.0]} and passes.fused == {1: ["relu"]}


def test_work_behind_a_map_that_is_no_gate_is_of_that_map():
    rows = [listed(8), listed(8, kind="tflite_mean", out_height=1), listed(8, channels=6), listed(8)]
    made = with_unlisted(rows, ["conv_0", "mean_1", "conv_2", "conv_4"])
    assert [(row["kind"], row["channels"]) for row in made][3:] == [("tflite_elementwise", 6), ("conv", 4)]


def test_what_is_free_is_not_said_to_be_fused(tmp_path):
    network = parse_prototxt(BRANCHES, "b")
    (tmp_path / "trt.json").write_text(json.dumps([{"name": "{ForeignNode[b...drop]}", "averageMs": 0.01}]))
    (passes,) = tensorrt.read_profiles([tmp_path / "trt.json"], GPU, network, "b").passes
    assert passes.fused == {network.positions["b"][0]: ["relu", "sum"]}


def test_a_log_that_ends_within_a_benchmark_is_not_whole(tmp_path, toy):
    (file,) = caffe_log(tmp_path, [("conv", 0.001)])
    file.write_text(file.read_text() + "] conv\tforward: 0.001 ms.\n")
    with pytest.raises(DatasetError, match="not a whole log"):
        caffe_time.read_logs([file], CPU, toy, "toy")
