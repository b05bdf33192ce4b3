"""One list of all boards, described or with a model."""

import json
from datetime import UTC, datetime

from sitecnn.cli import main
from sitecnn.models.model_files import SHIPPED
from tests.estimation.fixtures import board_model, stack_model, write_board


def listed(root, capsys):
    assert main(["board", "list", "--json", "--root", str(root)]) == 0
    return json.loads(capsys.readouterr().out)


def test_boards_that_come_with_sitecnn_are_listed_where_nothing_is_described(tmp_path, capsys):
    entries = listed(tmp_path, capsys)
    shipped = {tuple(path.stem.rsplit("-", 1)) for path in SHIPPED.glob("*.json")}
    assert {(entry["board"], entry["processor"]) for entry in entries} == shipped
    assert all(entry["model"] == "shipped" and entry["stack"] and entry["kinds"] for entry in entries)


def test_own_boards_say_what_was_measured_and_when(tmp_path, capsys):
    folder = tmp_path / "config" / "boards"
    folder.mkdir(parents=True)
    (folder / "bench.yaml").write_text("name: bench\ndescription: a shelf\nprocessors: {cpu: {threads: [1]}}\n")
    (folder / "bare.yaml").write_text("name: bare\nprocessors: {cpu: {threads: [1]}}\n")
    write_board(
        tmp_path, board_model("cpu", "bench", stacks=[stack_model("cpu", "one", 1), stack_model("cpu", "two", 2)])
    )
    write_board(tmp_path, board_model("gpu", "tx1"))
    entries = listed(tmp_path, capsys)
    mine = [entry for entry in entries if entry["board"] == "bench"]
    assert [(entry["stack"], entry["threads"], entry["transport"]) for entry in mine] == [
        ("one", 1, "local"),
        ("two", 2, "local"),
    ]
    assert {entry["fitted"] for entry in mine} == {datetime.now(UTC).strftime("%Y-%m-%d")}
    (bare,) = (entry for entry in entries if entry["board"] == "bare")
    assert (bare["model"], bare["stack"]) == ("none", "")
    assert {entry["model"] for entry in entries if (entry["board"], entry["processor"]) == ("tx1", "gpu")} == {"own"}
    assert main(["board", "list", "--root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "bench" in text and "rk3399" in text and "± networks" in text
