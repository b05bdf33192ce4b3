"""Which faults in the dataset's SQL would no test notice? `.venv/bin/python -m tests.sql_faults [NAME…]` plants them.

mutmut changes Python only. Here every statement of workflow/sitecnn/dataset/sql is changed in one place at a time (a
condition dropped or turned round, another join, another order), and the tests of the SQL run in a process of their
own. A fault that no test notices is printed; the status is 1 if there is one.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitecnn.dataset import statements

FOLDER = Path(statements.__file__).parent / "sql"
RULES = [f"tests/dataset/test_{name}.py" for name in ("brute_force", "rules", "probe", "aggregate")]
LINES = [f"tests/dataset/test_hostile.py::test_{name}" for name in (
    "a_line_that_cannot_be_is_refused_with_its_number_and_reason", "nothing_else_is_refused_and_the_rest_taken"
)]  # fmt: skip
OTHERS = "not drawn and not small_additions and not schema and not wherever_files_are_cut"
"""Tests of these words are of the Python around the SQL, and slow."""
TIMEOUT_S = 600
CHANGES = (
    (r"\bWHERE (?=[\w(])", "WHERE true OR "),
    (r"\bWHEN (?=\S)", "WHEN false AND "),
    (r" AND (?=\S)", " OR "),
    (r" OR (?!REPLACE)(?=\S)", " AND "),
    (r"\bANTI JOIN\b", "SEMI JOIN"),
    (r"\bSEMI JOIN\b", "ANTI JOIN"),
    (r"\bLEFT JOIN\b", "JOIN"),
    (r"(?<!ANTI |SEMI |LEFT )\bJOIN\b", "LEFT JOIN"),
    (r" DESC\b", " ASC"),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"list_min\(", "list_max("),
    (r"list_max\(", "list_min("),
    (r"list_avg\(", "list_max("),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r" <> ", " = "),
    (r" >= ", " > "),
    (r" <= ", " < "),
    (r" = 1;", " = 2;"),
    (r" \+ 1\b", " + 2"),
    (r" - 1\b", " - 0"),
    (r"\bcoalesce\(([^(),]+), ", r"coalesce(NULL, "),
    (r"\bNOT IN\b", "IN"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bDISTINCT (?!FROM)", ""),
    (r"\bPARTITION BY (\w+), \w+", r"PARTITION BY \1"),
    (r"\bPARTITION BY file ", ""),
    (r"\b1e16\b", "1e15"),
    (r"\b1e18\b(?!::)", "1e17"),
    (r"UNION ALL BY NAME\n", "EXCEPT BY NAME\n"),
    (r"'cpu', 'gpu'", "'cpu'"),
    (r"'gemm', 'layer'", "'gemm'"),
    (r"'network', 'probe', 'memory'", "'network', 'memory'"),
)
"""What is looked for in a statement, and what takes its place."""


def faults(names: list[str]) -> Iterator[tuple[str, str, str]]:
    """(name of the file, where and what, changed text) of every fault."""
    for path in sorted(FOLDER.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        for pattern, replacement in CHANGES if not names or path.stem in names else ():
            for match in re.finditer(pattern, text):
                if "--" in text[text.rfind("\n", 0, match.start()) + 1 : match.start()]:
                    continue  # a comment
                changed = text[: match.start()] + match.expand(replacement) + text[match.end() :]
                number = text.count("\n", 0, match.start())
                before, after = (one.splitlines()[number].strip() for one in (text, changed))
                yield path.stem, f"{path.name}:{number + 1}: {before}\n    -> {after}", changed


def is_noticed(name: str, text: str) -> bool:
    """Whether a test fails, or the run ends in another way, with this text for sql/NAME.sql."""
    child = os.fork()
    if child == 0:
        read = statements._read
        statements._read = lambda one: text if one == name else read(one)
        tests = [*LINES, *RULES] if name in ("lines", "impossible") else [*RULES, *LINES]  # those that tell first
        signal.alarm(TIMEOUT_S)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", OTHERS, *tests])))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code > pytest.ExitCode.TESTS_FAILED:
        sys.exit(f"pytest did not run the tests: status {code}")
    return code != pytest.ExitCode.OK


def main() -> None:
    """Plant every fault and print those that went unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sql_faults", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a statement file without .sql (default: all)")
    planted = list(faults(parser.parse_args().names))
    unnoticed = 0
    for name, place, text in planted:
        if not is_noticed(name, text):
            unnoticed += 1
            print(f"not noticed: {place}", flush=True)
    print(f"{len(planted)} faults planted, {len(planted) - unnoticed} noticed, {unnoticed} not")
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
