"""Which changes of the program would no test notice? `./run mutants [PATH…]` asks mutmut.

mutmut finds code in src/ only, so each room has a folder of its own under .mutants/, with a copy in src/. What it
found stays there: run again, and it goes on where it stopped.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("workload", "models", "estimation", "boards", "dataset", "network")
LINKED = ("config", "docs", "envs", "rules", "workflow", "Snakefile", "README.md")
"""What tests read beside the package."""
MORE_TESTS = {"estimation": ["tests/cli/test_board_list.py"], "workload": ["tests/estimation/test_laws.py"]}
"""What tests a room besides the tests of its name."""
SLOW = "test_networks_at_hand or test_probes_run_as_lowered or test_the_most_alive"
"""Whole networks in ONNX Runtime: a third of the time of the tests of `workload`."""
TRAVELLING = ["src/sitecnn/boards/agent/*"]
"""What other interpreters run, which have no mutmut: the agent."""
UNMARKED = "not browser and not caffe and not cluster and not emulated and not shared"
SETTINGS = """
[tool.mutmut]
source_paths = ["src/sitecnn"]
only_mutate = ["src/sitecnn/{room}/*"]
do_not_mutate = {travelling}
pytest_add_cli_args = [
  "-m", "{unmarked}", "-k", "not ({slow})", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:benchmark",
]
pytest_add_cli_args_test_selection = {tests}
on_dependency_change = "ignore"
use_git_change_detection = false
timeout_constant = 15.0
timeout_multiplier = 4.0
"""
NOTICED = ("killed", "caught by type check")
UNNOTICED = ("survived", "no tests")


@dataclass(frozen=True)
class Mutant:
    """One change of one function, and what became of it: mutmut's word, `not checked` before it was tried."""

    name: str
    path: Path
    status: str

    @property
    def function(self) -> str:
        """`models/fit.py: fit_stack`."""
        match = re.search(r"\.xǁ?_?(.*?)__mutmut_\d+$", self.name)
        assert match, self.name
        inside = self.path.relative_to("src/sitecnn")
        return f"{inside}: {match[1].replace('ǁ', '.')}"


def stage(room: str) -> Path:
    """The room's folder, in which mutmut finds a copy of the package, the tests and what they read."""
    folder = ROOT / ".mutants" / room
    (folder / "mutants").mkdir(parents=True, exist_ok=True)
    links = {folder / "shared": ROOT.parent / "shared"}
    links |= {folder / "mutants" / name: ROOT / name for name in LINKED}
    for link, target in links.items():
        if not link.is_symlink():
            link.symlink_to(target)
    # With the files' own times, by which mutmut tells those that are new.
    for source, copy in ((ROOT / "workflow" / "sitecnn", "src/sitecnn"), (ROOT / "tests", "tests")):
        shutil.rmtree(folder / copy, ignore_errors=True)
        shutil.copytree(source, folder / copy, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    # It copies what is not there yet, and knows of its own files alone which are out of date.
    for old in (folder / "mutants" / "src").rglob("*.*"):
        here = old.relative_to(folder / "mutants")
        if old.suffix not in (".meta", ".py", ".spans") or (old.suffix == ".py" and not (folder / here).exists()):
            old.unlink()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tests = json.dumps([f"tests/{room}", *MORE_TESTS.get(room, [])])
    settings = SETTINGS.format(room=room, unmarked=UNMARKED, slow=SLOW, tests=tests, travelling=json.dumps(TRAVELLING))
    (folder / "pyproject.toml").write_text(project + settings, encoding="utf-8")
    shutil.rmtree(folder / "mutants" / "tests", ignore_errors=True)
    return folder


def mutants(paths: list[str]) -> list[Mutant]:
    """Those of the files below `paths` (as in `models/fit.py`); the folder is the current one."""
    from mutmut.configuration import config
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    assert config().source_paths
    listed = []
    for path in walk_mutatable_files():
        if any(fnmatch.fnmatch(str(path), f"src/sitecnn/{one}*") for one in paths):
            data = SourceFileMutationData(path=path)
            data.load()
            for name in mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names:
                key = get_mutant_name(path, name)
                listed.append(Mutant(key, path, status_by_exit_code[data.exit_code_by_key.get(key)]))
    return listed


def chosen(candidates: list[Mutant], count: int) -> list[Mutant]:
    """The same `count` at every call, in no order: those whose names' hashes come first."""
    return sorted(candidates, key=lambda one: hashlib.sha256(one.name.encode()).digest())[:count]


def run(names: list[str], seconds: float) -> None:
    """Let mutmut try these, for so many seconds at most; it keeps what it found, and writes log.txt."""
    command = [Path(sys.executable).with_name("mutmut"), "run", "--max-children", str(os.cpu_count() or 1), *names]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with (
        Path("log.txt").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        began = None
        while process.poll() is None and (began is None or time.monotonic() < began + seconds):
            time.sleep(1)
            # Before, it makes mutants and runs the tests as they are.
            if began is None and "Running mutation testing" in Path("log.txt").read_text(errors="replace"):
                began = time.monotonic()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    if began is None:
        sys.exit(f"mutmut ended with status {process.returncode}; what it said is in {Path.cwd() / 'log.txt'}")


def differences(survivors: list[Mutant]) -> Iterator[str]:
    """What was changed in each function and went unnoticed, the functions with most of it first."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    by_function = defaultdict(list)
    for one in survivors:
        by_function[one.function].append(one)
    for function, ones in sorted(by_function.items(), key=lambda item: -len(item[1])):
        yield f"\n## {function}: {len(ones)}"
        for one in ones:
            lines = get_diff_for_mutant(one.name, path=one.path).splitlines()[2:]
            changed = "\n".join(line for line in lines if line.startswith(("-", "+")))
            yield f"{one.name.rpartition('__')[2]} ({one.status})\n{changed}"


def table(tried: list[Mutant], all_of_them: list[Mutant]) -> Iterator[str]:
    """By module: how many mutants there are, how many were tried, and how many of these were noticed."""
    total = Counter(one.path for one in all_of_them)
    by_path = defaultdict(Counter)
    for one in tried:
        by_path[one.path][one.status] += 1
    yield "| module | mutants | tried | noticed | not noticed | out of time | share |\n|---|---|---|---|---|---|---|"
    summed = Counter()
    for path, counts in sorted(by_path.items()):
        summed += counts
        yield row(str(path.relative_to("src/sitecnn")), total[path], counts)
    yield row("all", sum(total.values()), summed)


def row(title: str, total: int, counts: Counter) -> str:
    """A line of the table; `out of time` is left out of the share, as it may be the machine's doing."""
    noticed, missed = (sum(counts[status] for status in group) for group in (NOTICED, UNNOTICED))
    other = counts.total() - noticed - missed
    share = f"{100 * noticed / (noticed + missed):.0f} %" if noticed + missed else "–"
    return f"| {title} | {total} | {counts.total()} | {noticed} | {missed} | {other} | {share} |"


def parse() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="./run mutants", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"a room ({', '.join(ROOMS)}) or a module: models/fit")
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="mutants to try in all (default: 200)")
    parser.add_argument("--minutes", type=float, default=20.0, help="time to try them, a room (default: 20)")
    parser.add_argument("--again", action="store_true", help="try those again that were not noticed")
    typed = parser.parse_args()
    for path in typed.paths:
        if path.split("/")[0] not in ROOMS:
            parser.error(f"{path}: not in a room that can be mutated: {', '.join(ROOMS)}")
    return typed


def main() -> None:
    """Stage, choose, try, and say what was not noticed."""
    typed = parse()
    for room in dict.fromkeys(path.split("/")[0] for path in typed.paths):
        os.chdir(stage(room))
        paths = [path for path in typed.paths if path.split("/")[0] == room]
        owed = ("not checked", "timeout", *(UNNOTICED if typed.again else ()))
        if names := [one.name for one in chosen(mutants(paths), typed.sample) if one.status in owed]:
            run(names, 60 * typed.minutes)
        every = mutants(paths)
        tried = [one for one in chosen(every, typed.sample) if one.status != "not checked"]
        survivors = [one for one in tried if one.status in UNNOTICED]
        Path("survivors.md").write_text("\n".join(differences(survivors)) + "\n", encoding="utf-8")
        print(*table(tried, every), sep="\n")
        print(f"what was not noticed: {Path.cwd().relative_to(ROOT)}/survivors.md")


if __name__ == "__main__":
    main()
