"""What a person meets who mistypes, forgets or asks for too much: a line that says what to do."""

import pytest

from sitecnn.boards import doctor
from sitecnn.boards.config import Board
from sitecnn.cli import main
from sitecnn.errors import BoardError
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, write_board

ALEXNET = NETWORKS / "alexnet.prototxt"
IMPORT = ("--board", "b", "--processor", "cpu", "--stack", "s")
NET = """
layer {{ name: "d" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 9 dim: 9 }} }} }}
layer {{ name: "c" type: "{type}" bottom: "{bottom}" top: "c" convolution_param {{ {param} num_output: 2 }} }}
layer {{ name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param {{ pool: {pool} kernel_size: 2 }} }}
"""


@pytest.fixture
def describe(tmp_path, capsys):
    """The exit status, stdout and stderr of `describe` of a network with these words in it."""

    def run(*options, type="Convolution", bottom="data", param="kernel_size: 3", pool="MAX"):
        (tmp_path / "net.prototxt").write_text(NET.format(type=type, bottom=bottom, param=param, pool=pool))
        return (main(["describe", str(tmp_path / "net.prototxt"), *options]), *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ({"bottom": "dta"}, "its bottom 'dta' is produced by no layer before it; did you mean 'data'? If it is an"),
        ({"bottom": "x"}, "its bottom 'x' is produced by no layer before it; if it is an input, give its shape"),
        ({"param": "kernel_size: 3 stride: -1"}, "column 106: stride: Value out of range: -1"),
        ({"param": "kernel_size: 3 stride:\n 1.5"}, "line 4, column 2: stride: Couldn't parse integer: 1.5"),
        ({"param": "kernel_size: {k}"}, "kernel_size: "),
        ({"pool": "MXA"}, "pool: no value named MXA; did you mean 'MAX'?"),
        ({"pool": "SUM"}, "pool: no value named SUM; there are: MAX, AVE, STOCHASTIC"),
    ],
)
def test_what_is_misspelt_in_a_prototxt_is_named(describe, words, hint):
    status, out, err = describe(**words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err


def test_a_misspelt_type_is_asked_about_where_a_forks_is_not(describe):
    assert "'c' (Convolutoin: did you mean 'Convolution'?)" in describe(type="Convolutoin")[1]
    assert "did you mean" not in describe(type="Convolution3D")[1]
    status, _, err = describe("--strict", type="Convolutoin")
    assert status == 2
    assert "not a layer type of Caffe: did you mean 'Convolution'?" in err


def test_a_shape_for_a_blob_that_is_not_there_names_the_one_that_was_meant(describe):
    assert (
        "no blob is called 'dat'; its inputs are: data; did you mean 'data'?" in describe("--input", "dat:1x3x9x9")[2]
    )
    assert "no blob is called 'zz'; its inputs are: data" in describe("--input", "zz:1x3x9x9")[2]


@pytest.mark.parametrize("form", ["table", "kernels", "totals", "caffe-time", "onnxruntime", "tensorrt"])
@pytest.mark.parametrize(("name", "reason"), [("nope", "No such file or directory"), (".", "Is a directory")])
def test_an_import_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, capsys, form, name, reason):
    file = tmp_path / name
    more = {"kernels": [], "table": ["--networks", str(NETWORKS)], "totals": ["--networks", str(NETWORKS)]}
    options = more.get(form, ["--network", str(ALEXNET)])
    assert main(["--root", str(tmp_path), "import", form, str(file), *IMPORT, *options]) == 2
    assert capsys.readouterr().err == f"sitecnn: {file}: {reason}\n"


def test_a_board_that_has_no_file_is_answered_with_those_that_have(tmp_path, capsys):
    folder = tmp_path / "config" / "boards"
    for action in ("doctor", "probe"):
        assert main(["--root", str(tmp_path), "board", action, "pi"]) == 2
        assert "there are: none; `sitecnn board add pi`" in capsys.readouterr().err
    folder.mkdir(parents=True)
    for name in ("tx1", "tk1"):
        (folder / f"{name}.yaml").touch()
    main(["--root", str(tmp_path), "board", "doctor", "pi"])
    assert "there are: tk1, tx1;" in capsys.readouterr().err
    main(["--root", str(tmp_path), "board", "doctor", "tx2"])
    assert "did you mean 'tx1'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["b c"], "name: expected small letters, digits"),
        (["B"], "name: expected small letters, digits"),
        (["b\n"], "name: expected small letters, digits"),
        (["b", "--ssh", "-oProxyCommand=x"], "ssh.host: expected a host or user@host"),
        (["b", "--slurm", "a b"], "slurm.constraint: expected letters, digits"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_in_words(tmp_path, capsys, arguments, words):
    option = [f"{arguments[1]}={arguments[2]}"] if len(arguments) > 1 else []
    assert main(["--root", str(tmp_path), "board", "add", arguments[0], *option]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "^" not in err


def test_the_schema_of_boards_has_the_patterns():
    schema = Board.model_json_schema()
    assert schema["properties"]["name"]["pattern"] == "^[a-z0-9][a-z0-9_.-]*$"
    assert schema["$defs"]["Ssh"]["properties"]["host"]["pattern"] == "^[A-Za-z0-9_][A-Za-z0-9_.:@-]*$"


def test_the_doctor_says_what_it_waits_for_before_it_waits(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "config" / "boards"
    folder.mkdir(parents=True)
    (folder / "far.yaml").write_text("name: far\ntransport: ssh\nssh: {host: far}\nprocessors: {cpu: {}}\n")
    said = []

    def probe(root, board):
        said.append(capsys.readouterr())
        raise BoardError("no answer")

    monkeypatch.setattr(doctor, "probe", probe)
    assert main(["--root", str(tmp_path), "board", "doctor", "far"]) == 1
    assert (said[0].out, said[0].err) == ("", "far: connecting by ssh…\n")
    assert capsys.readouterr().out.startswith("FIX   connection")


def test_layers_that_caffe_lacks_are_counted_once_a_type(tmp_path, capsys):
    net = tmp_path / "net.prototxt"
    net.write_text(ALEXNET.read_text().replace('type: "ReLU"', 'type: "ReLU6"', 3))
    assert main(["convert", str(net), "-o", str(tmp_path / "out.prototxt")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "3 layers of type ReLU6, such as 'relu1': " in lines[0]


def test_a_split_that_gains_nothing_says_so_and_no_number(tmp_path, capsys):
    for board, speed in (("here", 100), ("there", 1)):
        write_board(tmp_path, board_model("gpu", board, stacks=[stack_model("gpu", speed=speed)]))
    link = ["--server", "there", "--megabits-per-s", "1"]
    assert main(["--root", str(tmp_path), "offload", str(ALEXNET), "--board", "here", *link]) == 0
    out = capsys.readouterr().out
    assert "keep everything on the board" in out
    assert "gain        none: no split is faster than the board alone\n" in out
    assert "0.000" not in out and " MB up" not in out.split("\n\n")[0]


def test_stacks_are_called_as_people_do_and_found_by_either_name(tmp_path, capsys):
    exact = "caffe-1.0.0+openblas-0.3.21+1-threads+clock-unknown"
    stacks = [stack_model("cpu", "other", 1), stack_model("cpu", exact, 1)]
    write_board(tmp_path, board_model("cpu", "bench", stacks=stacks))
    label = "Caffe 1.0, OpenBLAS 0.3.21, 1 thread"
    for command in ("estimate", "advise"):
        for text in (label, exact):
            arguments = ["--root", str(tmp_path), command, str(ALEXNET), "--board", "bench", "--stack", text]
            assert main(arguments) == 0
            out = capsys.readouterr().out
            assert label in out.splitlines()[0] and "clock-unknown" not in out
            assert main([*arguments, "--json"]) == 0
            assert f'"stack": "{exact}"' in capsys.readouterr().out
    main(["--root", str(tmp_path), "board", "list"])
    assert label in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--budget-ms", value) for value in ("nan", "inf", "-3", "0", "1e308", "1e-320")),
        ("--budget-mb", "1e308"),
        *(("--threads", value) for value in ("0", "-1", "1.5", "99999999999", "²")),
        *(("--level", value) for value in ("0", "1", "0.9999999999999999", "1e-300", "nan")),
        *(("--batch", value) for value in ("0", "1,,2", "²")),
    ],
)
def test_a_number_that_none_can_mean_is_refused_in_a_line(capsys, option, value):
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(ALEXNET), "--board", "tx1", option, value])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {option}: {value}: expected " in err and err.count("\n") == 1


def test_a_board_in_capitals_is_the_one_that_was_meant(capsys):
    assert main(["estimate", str(ALEXNET), "--board", "TX1"]) == 2
    assert capsys.readouterr().err == "sitecnn: no board 'TX1': did you mean 'tx1'?\n"


@pytest.mark.parametrize("option", [("--port", "22"), ("--ssh-config", "x"), ("--ssh", ""), ("--slurm", "")])
def test_an_option_of_a_way_that_is_not_gone_is_no_local_board(tmp_path, capsys, option):
    assert main(["--root", str(tmp_path), "board", "add", "pi", *option]) == 2
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize("stack", ["", "  ", "a\nb"])
def test_an_import_names_its_stack(tmp_path, capsys, stack):
    (tmp_path / "t.csv").write_text("network,batch,layer,layer_ms\nalexnet,1,conv1,3\n")
    arguments = ["import", "table", str(tmp_path / "t.csv"), *IMPORT[:-1], stack, "--networks", str(NETWORKS)]
    assert main(["--root", str(tmp_path), *arguments]) == 2
    assert not (tmp_path / "results").exists()
