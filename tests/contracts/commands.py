"""The commands whose documents people's scripts read, and a folder that they are asked about.

`python -m tests.contracts.commands` writes documents.json anew. That is right only where a contract grows: what was
there must stay.
"""

import contextlib
import io
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from sitecnn.cli import main

STORED = Path(__file__).with_name("documents.json")
NETWORKS = Path(__file__).parents[2] / "config" / "networks"

TOY = """name: "toy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""
TIMES = "network,batch,layer,layer_ms,repeat,forward_ms\n" + "".join(
    f"toy,1,{layer},{ms},{repeat},0.031\n"
    for repeat in (1, 2, 3)
    for layer, ms in (("data", 0.0004), ("conv", 0.021), ("relu", 0.004))
)
BOARD = "name: desk\ntransport: ssh\nssh: {host: desk.example}\nprocessors: {cpu: {threads: [1]}}\n"

DOCUMENTS = (
    "describe alexnet.prototxt --json",
    "describe alexnet.prototxt --batch 4 --json",
    "describe alexnet.prototxt toy.prototxt --json",
    "describe toy.prototxt --engine onnxruntime --json",
    "describe unet.onnx --json",
    "estimate alexnet.prototxt --board tx1 --json",
    "estimate alexnet.prototxt --board tx1 --processor gpu --batch 1,2 --level 0.5 --json",
    "estimate alexnet.prototxt --board tx1 --processor gpu --budget-ms 1 --budget-mb 4000 --json",
    "compare alexnet.prototxt toy.prototxt --board tx1 --json",
    "advise alexnet.prototxt --board tx1 --budget-ms 100 --zero-copy --json",
    "placement alexnet.prototxt --board tx1 --zero-copy --json",
    "offload alexnet.prototxt --board tx1 --server gtx1080 --megabits-per-s 50 --json",
    "board list --json",
    "dataset summary --json",
    "dataset query 'SELECT board, network, layer, median_ns FROM measurements ORDER BY ALL' --json",
)
"""Each prints one JSON document."""

STATUSES = (
    "describe alexnet.prototxt",
    "estimate alexnet.prototxt --board tx1",
    "estimate alexnet.prototxt --board tx1 --budget-ms 0.001",
    "estimate none.prototxt --board tx1",
    "estimate alexnet.prototxt --board nosuch",
    "estimate alexnet.prototxt --board tx1 --stack nosuch",
    "estimate alexnet.prototxt --board tx1 --level 2",
    "describe broken.prototxt",
    "describe alexnet.prototxt --input data:1xthree",
    "convert toy.prototxt -o out.prototxt",
    "placement alexnet.prototxt --board nosuch",
    "offload alexnet.prototxt --board tx1 --server nosuch --megabits-per-s 5",
    "board doctor nosuch",
    "dataset verify",
    "dataset query DROP",
    "fit --board nosuch --processor cpu",
)


def make_root(root: Path) -> None:
    """A folder with networks, a board, and a dataset of one small network."""
    (root / "config" / "boards").mkdir(parents=True)
    (root / "config" / "boards" / "desk.yaml").write_text(BOARD)
    for name in ("alexnet.prototxt", "unet.onnx"):
        (root / name).write_bytes((NETWORKS / name).read_bytes())
    (root / "toy.prototxt").write_text(TOY)
    (root / "broken.prototxt").write_text("layer {")
    (root / "times.csv").write_text(TIMES)
    named = "--board desk --processor cpu --stack s"
    assert answer(root, f"import table times.csv --networks . {named}")[0] == 0


def answer(root: Path, command: str) -> tuple[int, str]:
    """(exit status, stdout) of a command that is run in `root`."""
    with contextlib.chdir(root), contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            status = main(shlex.split(command))
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue()


def stored() -> dict[str, Any]:
    """What the commands printed when their contract was made: {command: {status, document}}."""
    return json.loads(STORED.read_text(encoding="utf-8"))


def _write() -> None:
    documents: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_root(root)
        for command in DOCUMENTS:
            status, text = answer(root, command)
            documents[command] = {"status": status, "document": json.loads(text)}
        for command in STATUSES:
            documents[command] = {"status": answer(root, command)[0]}
    lines = ",\n".join(f"{json.dumps(command)}: {json.dumps(document)}" for command, document in documents.items())
    STORED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
    sys.exit()
