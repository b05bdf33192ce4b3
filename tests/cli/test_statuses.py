"""Exit statuses follow one rule: 0 all done, 1 the answer is no or a part is missing, 2 it could not be done."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from sitecnn.boards.probes import caffe_probes
from sitecnn.cli import main
from tests.boards.agents import CAFFE_PYTHON

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


@pytest.mark.parametrize(("layer_type", "status"), [("TanH", 0), ("ReLU6", 1)])
def test_convert_says_whether_caffe_can_load_what_was_written(tmp_path, capsys, layer_type, status):
    net, out = tmp_path / "net.prototxt", tmp_path / "out.prototxt"
    net.write_text(DATA + f'layer {{ name: "one" type: "{layer_type}" bottom: "data" top: "one" }}')
    assert main(["convert", str(net), "-o", str(out)]) == status
    assert out.is_file(), "what can be written is written"
    said = capsys.readouterr().err
    assert ("'one' (ReLU6)" in said) == bool(status)


def test_convert_of_what_is_no_network_is_2(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none.prototxt"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_on_statuses_names_commands_that_there_are():
    named = re.findall(r"^\| `([a-z]+)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    for command in set(named):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0


@pytest.mark.skipif(not CAFFE_PYTHON.exists(), reason="no Caffe was built here")
def test_real_caffe_runs_the_probes(tmp_path):
    texts = list(caffe_probes(1, 9).values())
    (tmp_path / "nets.json").write_text(json.dumps(texts))
    code = """
import json, pathlib, sys, caffe
for text in json.load(open(sys.argv[1])):
    file = pathlib.Path(sys.argv[1] + ".prototxt")
    file.write_text(text)
    caffe.Net(str(file), caffe.TEST).forward()
print("all ran")
"""
    ran = subprocess.run(
        [str(CAFFE_PYTHON), "-c", code, str(tmp_path / "nets.json")], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "all ran\n", ran.stderr[-2000:]
