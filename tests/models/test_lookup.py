"""Which model and which stack are meant, in a folder of made-up models."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sitecnn.errors import ModelError
from sitecnn.models import model_files
from sitecnn.models.board_model import BoardModel, KindModel, StackModel, model_file, save
from sitecnn.models.lookup import choose_stack, free_bytes, load_board, load_processors, other_processor, with_stack
from sitecnn.models.model_files import known_models
from sitecnn.network import parse_prototxt
from sitecnn.network.graph import Network
from sitecnn.network.onnx import parse_onnx
from tests.workload.lowering.graphs import Builder

RELU = KindModel(("calls",), ("call",), (1.0,), (0.1,), ((0.01,),), 0.05, ((1.0, 1.0),), 9)


def stack(name: str, threads: int = 1) -> StackModel:
    return StackModel(name, threads, {"relu": RELU}, 1.0, 0.0, {"layer": 0.1, "network": 0.1}, 0, ())


def board(*stacks: StackModel, name: str = "shelf", processor: str = "cpu") -> BoardModel:
    return BoardModel(name, processor, stacks or (stack("caffe-1.0+cpu"),), {})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tx1` ships with both processors; of one's own are its GPU, `shelf`'s CPU, `mali`'s GPU, and what is no model."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(model_files, "SHIPPED", shipped)
    for processor in ("cpu", "gpu"):
        save(board(name="tx1", processor=processor), shipped / f"tx1-{processor}.json")
    own = {("tx1", "gpu"): "mine", ("shelf", "cpu"): "s", ("mali-g72", "gpu"): "g"}
    for (name, processor), of in own.items():
        path = model_file(tmp_path, name, processor)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(board(stack(of), name=name, processor=processor), path)
    for odd in ("tx1-npu.json", "-cpu.json", "notes.json"):
        shutil.copy(model_file(tmp_path, "shelf", "cpu"), path.with_name(odd))
    return tmp_path


def test_known_models_are_shipped_ones_and_ones_own_which_count(root: Path) -> None:
    own, shipped = root / "results" / "models", root / "shipped"
    assert known_models(root) == {
        ("tx1", "cpu"): shipped / "tx1-cpu.json",
        ("tx1", "gpu"): own / "tx1-gpu.json",
        ("shelf", "cpu"): own / "shelf-cpu.json",
        ("mali-g72", "gpu"): own / "mali-g72-gpu.json",
    }
    assert set(known_models(root / "elsewhere")) == {("tx1", "cpu"), ("tx1", "gpu")}


def test_a_board_is_its_cpu_or_its_only_processor_or_the_one_named(root: Path) -> None:
    assert load_board("tx1", root=root).processor == "cpu"
    assert load_board("mali-g72", root=root).processor == "gpu"
    assert load_board("tx1", "gpu", root=root).stacks[0].stack == "mine"
    file = model_file(root, "shelf", "cpu")
    for path in (file, str(file)):
        assert load_board(path, root=root / "elsewhere") == load_board("shelf", root=root)


@pytest.mark.parametrize(
    ("name", "processor", "said"),
    [
        ("shelf", "gpu", "no model of board 'shelf', processor gpu; it has: cpu"),
        ("tx1", "npu", "no model of board 'tx1', processor npu; it has: cpu, gpu"),
        ("shelv", None, "no board 'shelv': did you mean 'shelf'?"),
        ("raspberry", None, "no board 'raspberry': there are: mali-g72, shelf, tx1"),
    ],
)
def test_a_board_without_a_model_is_answered_by_those_that_have_one(
    root: Path, name: str, processor: str | None, said: str
) -> None:
    with pytest.raises(ModelError) as error:
        load_board(name, processor, root=root)
    assert str(error.value) == said


def test_where_no_board_has_a_model_it_is_said_how_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "SHIPPED", tmp_path)
    with pytest.raises(ModelError, match=r"^no board 'tx1': there is none yet: `./run report` makes one$"):
        load_board("tx1", root=tmp_path)


def test_all_processors_of_a_board_the_cpu_first_unless_one_is_named(root: Path) -> None:
    def processors(*asked: str) -> list[str]:
        return [one.processor for one in load_processors(*asked, root=root)]

    assert processors("tx1") == ["cpu", "gpu"]
    assert processors("tx1", "gpu") == ["gpu"]
    assert processors("shelf") == ["cpu"] and processors("mali-g72") == ["gpu"]
    assert processors(str(root / "shipped" / "tx1-cpu.json")) == ["cpu"]


def test_a_processor_has_another_one_or_none(root: Path) -> None:
    for processor, wanted in (("cpu", "gpu"), ("gpu", "cpu")):
        other = other_processor(load_board("tx1", processor, root=root), root)
        assert other is not None and (other.board, other.processor) == ("tx1", wanted)
    assert other_processor(load_board("shelf", root=root), root) is None


def test_only_boards_that_have_a_stack_are_asked() -> None:
    one, other = board(stack("caffe"), name="one"), board(stack("onnxruntime-1.20+fp32", 4), name="other")
    assert with_stack([one, other], "caffe", None) == [one]
    assert with_stack([one, other], None, 4) == [other]
    assert with_stack([one, other], None, None, "onnxruntime") == [other]
    assert with_stack([one, other], None, None) == [one, other]
    with pytest.raises(ModelError, match="board 'one' cpu: no stack 'mkl'"):
        with_stack([one, other], "mkl", None)


ORT = "onnxruntime-1.20+cpu+{}+1-threads"
CAFFE_NETWORK = parse_prototxt(
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }', "net"
)


def onnx_network(precision: str = "fp32") -> Network:
    builder = Builder()
    return replace(parse_onnx(builder.model(builder.op("Relu", "x")), "net.onnx"), precision=precision)


def test_a_stack_is_the_first_that_fits_what_was_said_of_it() -> None:
    stacks = (stack("Caffe-1+OpenBLAS", 2), stack("caffe-1+openblas+x", 1), stack("caffe-1+mkl", 4))
    model = board(*stacks)
    assert choose_stack(model) is stacks[0]
    assert choose_stack(model, "MKL") is stacks[2]
    assert choose_stack(model, "openblas") is stacks[0]
    assert choose_stack(model, threads=1) is stacks[1]
    # What is named in full comes before what only holds the name.
    longer = board(stack("caffe-1+openblas+x"), stack("caffe-1+openblas"))
    assert choose_stack(longer, "caffe-1+openblas") is longer.stacks[1]


def test_a_stack_is_of_the_networks_engine_and_precision_before_others() -> None:
    caffe, half, full = stack("caffe"), stack(ORT.format("fp16")), stack(ORT.format("fp32"))
    eight = stack(ORT.format("int8"))
    model = board(half, eight, caffe, full)
    assert choose_stack(model) is caffe
    assert choose_stack(model, network=CAFFE_NETWORK) is caffe
    assert choose_stack(model, network=onnx_network()) is full
    assert choose_stack(model, network=onnx_network("int8")) is eight
    assert choose_stack(model, network=onnx_network("fp16")) is half
    # Of no stack in the network's precision fp32's is taken, of none of its engine another's.
    assert choose_stack(board(half, full), network=onnx_network("int8")) is full
    assert choose_stack(board(half, full), network=CAFFE_NETWORK) is full
    assert choose_stack(board(caffe), network=onnx_network()) is caffe
    assert choose_stack(model, engine="onnxruntime") is full
    assert choose_stack(model, engine="caffe", network=onnx_network()) is caffe


def test_threads_between_two_that_were_measured_are_read_between_them() -> None:
    model = board(stack("caffe", 1), stack("caffe", 4), stack(ORT.format("fp32"), 2))
    assert choose_stack(model, threads=2, network=onnx_network()).stack == ORT.format("fp32")
    between = choose_stack(model, threads=2, engine="caffe")
    assert (between.threads, between.stack) == (2, "caffe, read between 1 and 4 threads at 2")


def test_what_no_stack_fits_is_answered_by_those_that_there_are() -> None:
    model = board(stack("caffe", 1), stack("caffe-x", 2))
    with pytest.raises(ModelError) as error:
        choose_stack(model, "mkl", 3, engine="onnxruntime")
    assert str(error.value) == (
        "board 'shelf' cpu: no stack 'mkl' engine 'onnxruntime' 3 threads;"
        " its model has: 'caffe' (1 thread); 'caffe-x' (2 threads)"
    )
    with pytest.raises(ModelError, match=r"no 8 threads; its model has"):
        choose_stack(model, threads=8)
    with pytest.raises(ModelError, match=r"^board 'shelf' cpu: no stack; its model has: none$"):
        choose_stack(replace(model, stacks=()))


@pytest.mark.parametrize(
    ("provenance", "count"),
    [({}, None), ({"free_bytes": 5.0}, 5), ({"free_bytes": 7}, 7), ({"free_bytes": "much"}, None)],
)
def test_free_memory_is_what_the_models_provenance_says(provenance: dict[str, object], count: int | None) -> None:
    assert free_bytes(replace(board(), provenance=provenance)) == count
