"""The report of synthetic results: how big its page is, and what it takes to write it.

    .venv/bin/python benchmarks/report.py --networks 20 --boards 4
    .venv/bin/python benchmarks/report.py --root .        of results that are there

The networks are copies of those in config/networks under names of their own, each measured by the whole plan.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from sitecnn.cli import main  # noqa: E402
from sitecnn.report.draw import drawn  # noqa: E402
from sitecnn.report.figures import WIDTH  # noqa: E402
from tests.report.fixtures import convert, fit, records, write_records  # noqa: E402


def synthetic(root, networks, boards):
    """A root with results of so many networks on so many boards."""
    definitions = sorted((HERE / "config" / "networks").glob("*.prototxt"))
    (root / "config" / "networks").mkdir(parents=True)
    (root / "config" / "boards").mkdir()
    names = []
    for number in range(networks):
        source = definitions[number % len(definitions)]
        names.append(f"{source.stem}-{number // len(definitions)}")
        shutil.copy(source, root / "config" / "networks" / f"{names[-1]}.prototxt")
    benches = [f"bench{number}" for number in range(boards)]
    (root / "config" / "config.yaml").write_text(f"networks: [{', '.join(names)}]\nboards: [{', '.join(benches)}]\n")
    convert(root, names)
    for number, bench in enumerate(benches):
        (root / "config" / "boards" / f"{bench}.yaml").write_text(
            f"name: {bench}\nprocessors: {{cpu: {{threads: [1]}}}}\n"
        )
        lines = records(root, names, 1 + number / 3, sweep=True, run=bench, seed=number)
        write_records(root, lines, bench)
    assert main(["--root", str(root), "aggregate"]) == 0
    fit(root, benches[0])
    # The other boards' models and errors are the first's: to hold 20 networks out takes minutes, and shows the same.
    results = root / "results"
    for bench in benches[1:]:
        text = (results / "models" / f"{benches[0]}-cpu.json").read_text().replace(benches[0], bench)
        (results / "models" / f"{bench}-cpu.json").write_text(text)
        shutil.copytree(results / "evaluation" / f"{benches[0]}-cpu", results / "evaluation" / f"{bench}-cpu")


def timed(root, output):
    """Seconds of `sitecnn report` in a process of its own."""
    command = [sys.executable, "-m", "sitecnn", "--root", str(root), "report", "-o", str(output)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def drawing(page):
    """Seconds that Vega takes for the figures of a page, one after the other."""
    specs = json.loads(re.search(r'id="figures">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1])
    start = time.perf_counter()
    for spec in specs.values():
        drawn({**spec, "width": WIDTH, "autosize": "pad"})
    return time.perf_counter() - start


def measure(root):
    output = root / "results" / "report" / "report.html"
    shutil.rmtree(output.parent, ignore_errors=True)
    # Turn and turn about: what disturbs the machine meets both.
    seconds, floor = map(min, zip(*((timed(root, output), drawing(output)) for _ in range(3)), strict=True))
    print(f"report  {seconds:6.1f} s, the least of 3")
    print(f"floor   {floor:6.1f} s to draw its figures alone; the report takes {seconds / floor:.1f} times as long")
    print(f"page    {output.stat().st_size / 1e6:6.1f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--root", type=Path, help="take these results instead, from a copy")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        if arguments.root:
            for name in ("config", "results"):
                shutil.copytree(arguments.root / name, copy / name, symlinks=True)
        else:
            synthetic(copy, arguments.networks, arguments.boards)
        measure(copy)
