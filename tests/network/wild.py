"""How many of a folder's prototxts are read, why the others are not, and where real Caffe disagrees.

`python -m tests.network.wild FOLDER` from the root reads each file, then gives the shapes that a message asks for, and
prints how many are what. With `--caffe` it compares every file that real Caffe loads, too: names, types, shapes,
parameters, in order. It exits 1 where anything but the project's own error is raised, or real Caffe disagrees.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from sitecnn.cli.inputs import parse_inputs
from sitecnn.errors import SiteCNNError
from sitecnn.network import Network, load_network

from .conftest import CAFFE_PYTHON, as_caffe_says

MOST_ANSWERS = 6
"""Messages that are answered for one file."""

KINDS = {
    "template": r"if this is a template",
    "something else": r"a solver|a web page|a patch|a Python program|LFS pointer|mixture of|both layer|neither text",
    "no size told": r"--input",
}
"""What a refusal says, by what is in it; what fits none is named as it stands."""


def kind_of(message: str) -> str:
    """The kind of a refusal."""
    reason = message.split(": ", 1)[-1]
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, reason)), reason[:110])


def answered(path: Path) -> tuple[Network | None, str, int]:
    """The network, or the last refusal, and how many messages were answered with the shapes that they suggest."""
    options: list[str] = []
    for answers in range(MOST_ANSWERS):
        try:
            return load_network(path, inputs=parse_inputs(options)), "", answers
        except SiteCNNError as error:
            message = str(error)
            words = (
                shlex.split(re.sub(r"^.*?(?=--input )", "", message).replace("'", " ")) if "--input" in message else []
            )
            inputs_named = [word for option, word in pairwise(words) if option == "--input"]
            if not inputs_named or set(inputs_named) <= set(options):
                return None, message, answers
            options += inputs_named
    return None, message, MOST_ANSWERS


def differences(paths: list[Path]) -> tuple[int, list[str]]:
    """How many files real Caffe loads, and those of which it says other things than we do.

    Losses and accuracies are left out on purpose: a file that has any is compared without them.
    """
    loaded, unlike = 0, []
    probe = [str(CAFFE_PYTHON), str(Path(__file__).with_name("caffe_probe.py"))]
    with subprocess.Popen(probe, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as caffe:
        assert caffe.stdin and caffe.stdout
        for path in paths:
            caffe.stdin.write(json.dumps(path.read_text(errors="replace")) + "\n")
            caffe.stdin.flush()
            real = json.loads(caffe.stdout.readline())
            if "refused" in real:
                continue
            loaded += 1
            try:
                network = load_network(path)
            except SiteCNNError as error:
                unlike.append(f"{path.name}: real Caffe loads it: {error}")
                continue
            if not _alike(network, real):
                unlike.append(path.name)
    return loaded, unlike


def _alike(network: Network, real: dict[str, Any]) -> bool:
    """Whether both have the same layers, but for those that only measure and the Splits that feed them."""
    ours = as_caffe_says(network)
    if not any("only measures" in note for note in network.notes):
        return ours == real
    shapes = {(layer["name"], layer["type"]): (layer["outputs"], layer["parameters"]) for layer in real["layers"]}
    own = [layer for layer in ours["layers"] if layer["type"] not in ("Split", "Input")]
    return all(shapes.get((layer["name"], layer["type"])) == (layer["outputs"], layer["parameters"]) for layer in own)


def main() -> int:
    """Read, answer, count; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--caffe", action="store_true", help="compare with real Caffe")
    parser.add_argument("--list", action="store_true", help="name each file that stays refused")
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.iterdir() if path.is_file())
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    for path in paths:
        network, message, answers = answered(path)
        if network is None:
            last[kind_of(message)] += 1
            if args.list:
                print(f"{path.name}: {message.split(': ', 1)[-1]}")
        first["read as it stands" if network and not answers else "no size told" if answers else kind_of(message)] += 1
        last["read"] += network is not None
    for title, counts in (("as they stand", first), ("with the shapes that messages ask for", last)):
        print(title, *(f"{count:5} {kind}" for kind, count in counts.most_common()), sep="\n")
    if not args.caffe:
        return 0
    loaded, unlike = differences(paths)
    print(f"real Caffe loads {loaded} of {len(paths)}; {loaded - len(unlike)} are the same", *unlike, sep="\n")
    return 1 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
