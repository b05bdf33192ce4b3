"""What a terminal, a pipe and a file system may do to a command."""

import errno
import io
import os
import sys

import pytest

from sitecnn.cli import main
from sitecnn.cli.tables import millions
from sitecnn.files import write_text

from ..network.conftest import ROOT

ALEXNET = str(ROOT / "config/networks/alexnet.prototxt")


@pytest.mark.parametrize(("encoding", "dash"), [("utf-8", "–"), ("ascii", "-"), ("latin-1", "-")])
def test_a_terminal_that_lacks_a_character_gets_another(encoding, dash, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert main(["estimate", ALEXNET, "--board", "tx1", "--processor", "gpu"]) == 0
    sys.stdout.flush()
    times = next(line for line in raw.getvalue().decode(encoding).splitlines() if line.startswith("time"))
    assert dash in times and "\\u" not in times


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    net = tmp_path / "net.prototxt"
    net.write_text('name: "网" input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }', encoding="utf-8")
    assert main(["describe", str(net)]) == 0
    sys.stdout.flush()
    assert raw.getvalue().decode().startswith("\\u7f51, batch 1") and "1x3x8x8" in raw.getvalue().decode()


class _Screen(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize("kind", [_Screen, io.TextIOWrapper])
def test_names_in_a_file_cannot_command_a_terminal(tmp_path, monkeypatch, kind):
    """A pipe gets them as they are."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", kind(raw, encoding="utf-8"))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    net = tmp_path / "net.prototxt"
    net.write_text('name: "a\\033[2J\\007" input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }')
    assert main(["estimate", str(net), "--board", "tx1"]) == 0
    sys.stdout.flush()
    title = raw.getvalue().decode().splitlines()[0]
    begins = "\x1b[1ma?[2J?, batch 1" if kind is _Screen else "a\x1b[2J\x07, batch 1"
    assert title.startswith(begins)


def test_a_device_is_written_to_and_a_link_stays_one(tmp_path):
    """Root could replace /dev/null by a file."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text")
    assert os.read(reader, 10) == b"text"
    assert pipe.is_fifo()
    os.close(reader)
    link.symlink_to(file.name)
    write_text(link, "one")
    write_text(link, "two")
    assert link.is_symlink() and file.read_text() == "two"
    assert sorted(tmp_path.iterdir()) == [file, link, pipe]


def test_ctrl_c_ends_in_one_line(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sitecnn.network.load_network", interrupted)
    assert main(["describe", ALEXNET]) == 130
    assert capsys.readouterr().err == "sitecnn: interrupted\n"


def test_what_cannot_be_written_is_named(tmp_path, capsys):
    assert main(["convert", ALEXNET, "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"sitecnn: {tmp_path}: a folder; name a file in it\n"
    target = tmp_path / "file" / "net.prototxt"
    target.parent.touch()
    assert main(["convert", ALEXNET, "-o", str(target)]) == 2
    assert capsys.readouterr().err.startswith(f"sitecnn: {target}: ")


def test_a_full_disk_is_told_with_the_files_name_and_leaves_nothing(tmp_path, monkeypatch):
    """A failed write names no file; that it is said is what a person needs."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    target = tmp_path / "net.txt"
    with pytest.raises(OSError, match="No space left on device") as error:
        write_text(target, "x")
    assert error.value.filename == str(target) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 M"), (194_400, "0.19 M"), (3_888, "0.0039 M"), (1_500_000_000, "1,500 M")]
)
def test_a_small_network_does_not_have_0_millions(count, text):
    assert millions(count) == text


@pytest.mark.parametrize("option", ["--budget-ms", "--level", "--budget-mb"])
@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf"])
def test_a_number_that_is_none_is_told_what_is_expected(option, value, capsys):
    with pytest.raises(SystemExit):
        main(["estimate", ALEXNET, "--board", "tx1", f"{option}={value}"])
    assert f"{value}: expected a " in capsys.readouterr().err
