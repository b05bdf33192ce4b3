"""What the agent reads and writes on Jetson boards, on files laid out as TK1's and TX1's L4T have them."""

import json

import pytest

from sitecnn.boards.agent.board import cache_bytes, conditions, nvmap_bytes, power_rails
from sitecnn.boards.agent.clocks import Clocks
from sitecnn.boards.agent.errors import Refused

TX1 = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "interactive",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1734000",
    "sys/devices/57000000.gpu/devfreq/57000000.gpu/min_freq": "76800000",
    "sys/devices/57000000.gpu/devfreq/57000000.gpu/max_freq": "998400000",
    "sys/devices/57000000.gpu/devfreq/57000000.gpu/cur_freq": "76800000",
    "sys/kernel/debug/clock/override.emc/rate": "408000000",
    "sys/kernel/debug/clock/override.emc/state": "0",
    "sys/kernel/debug/clock/emc/max": "1600000000",
    "sys/kernel/debug/clock/emc/rate": "408000000",
    "sys/class/thermal/thermal_zone0/temp": "41500",
}
RAILS = "sys/devices/platform/7000c400.i2c/i2c-1/1-0040/iio_device"
TX1 |= {f"{RAILS}/in_power{n}_input": str(value) for n, value in enumerate((4500, 800, 1200))}
TX1 |= {f"{RAILS}/rail_name_{n}": name for n, name in enumerate(("VDD_IN", "VDD_GPU", "VDD_CPU"))}
TK1 = {
    "sys/devices/system/cpu/cpuquiet/tegra_cpuquiet/enable": "1",
    "sys/kernel/debug/clock/override.gbus/rate": "72000000",
    "sys/kernel/debug/clock/override.gbus/state": "0",
    "sys/kernel/debug/clock/gbus/max": "852000000",
    "sys/kernel/debug/clock/gbus/rate": "72000000",
    "sys/class/thermal/thermal_zone0/temp": "38",
}


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A function that lays out a board's files and makes the agent look there."""
    root = tmp_path / "root"

    def lay(files):
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        monkeypatch.setattr("sitecnn.boards.agent.board.ROOT", str(root))
        return root

    return lay


def contents(root, files):
    return {name: (root / name).read_text() for name in files}


def test_tx1s_conditions(board):
    board(TX1)
    now = conditions()
    assert (now["cpu_mhz"], now["gpu_mhz"], now["memory_mhz"]) == ([1734.0], 76.8, 408.0)
    assert (now["governor"], now["temperature_c"]) == ("interactive", [41.5])


def test_caches_are_told_in_bytes(board):
    """As sysfs has a Cortex-A57's: 48 KiB, 32 KiB and 2 MiB."""
    caches = (("1", "Instruction", "48K"), ("1", "Data", "32K"), ("2", "Unified", "2048K"))
    folder = "sys/devices/system/cpu/cpu0/cache"
    for index, values in enumerate(caches):
        names = ("level", "type", "size")
        board({f"{folder}/index{index}/{name}": value for name, value in zip(names, values, strict=True)})
    assert cache_bytes() == {"L1 Instruction": 49152, "L1 Data": 32768, "L2 Unified": 2097152}


def test_tk1s_older_kernel_gives_degrees(board):
    board(TK1)
    now = conditions()
    assert (now["gpu_mhz"], now["temperature_c"]) == (72.0, [38.0]) and "governor" not in now


def test_tx1s_rails_by_name(board):
    board(TX1)
    assert {name: read() for name, read in power_rails().items()} == {
        "VDD_IN": 4500,
        "VDD_GPU": 800,
        "VDD_CPU": 1200,
    }


def test_rails_of_newer_kernels_are_current_times_voltage(board):
    hwmon = "sys/class/hwmon/hwmon3"
    board({f"{hwmon}/in1_input": "5000", f"{hwmon}/curr1_input": "900", f"{hwmon}/curr1_label": "VDD_IN"})
    assert {name: read() for name, read in power_rails().items()} == {"VDD_IN": 4500.0}


@pytest.mark.parametrize(("size", "count"), [("20480K", 20480 * 1024), ("20971520", 20971520)])
def test_what_the_gpu_holds_is_in_bytes_or_in_kib_as_the_kernel_has_it(board, size, count):
    clients = "CLIENT  PROCESS  PID  SIZE\nuser    caffe    812  1024K\ntotal                  "
    board({"sys/kernel/debug/nvmap/iovmm/clients": clients + size + "\n"})
    assert nvmap_bytes() == count


def test_a_board_without_rails_has_none(board):
    board(TK1)
    assert power_rails() == {}


@pytest.mark.parametrize("files", [TX1, TK1])
def test_pinned_clocks_are_the_highest_and_come_back(board, tmp_path, files):
    root = board(files)
    clocks = Clocks(str(tmp_path))
    clocks.pin()
    pinned = contents(root, files)
    changed = {name for name in files if pinned[name] != files[name]}
    if files is TX1:
        assert pinned["sys/devices/57000000.gpu/devfreq/57000000.gpu/min_freq"] == "998400000"
        assert pinned["sys/kernel/debug/clock/override.emc/rate"] == "1600000000"
        assert pinned["sys/kernel/debug/clock/override.emc/state"] == "1"
        assert pinned["sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] == "performance"
        assert len(changed) == 4
    else:
        assert pinned["sys/kernel/debug/clock/override.gbus/rate"] == "852000000"
        assert pinned["sys/devices/system/cpu/cpuquiet/tegra_cpuquiet/enable"] == "0"
        assert len(changed) == 3
    clocks.restore()
    assert contents(root, files) == files


def test_clocks_come_back_in_the_other_order(board, tmp_path, monkeypatch):
    """An override is taken off before its rate is."""
    board(TX1)
    written = []
    monkeypatch.setattr("sitecnn.boards.agent.clocks._write", lambda path, value: written.append(path))
    clocks = Clocks(str(tmp_path))
    clocks.pin()
    pinned, written[:] = list(written), []
    clocks.restore()
    assert written == pinned[::-1] and len(written) == 4


def test_a_crash_with_pinned_clocks_is_mended_by_the_next_agent(board, tmp_path):
    root = board(TX1)
    Clocks(str(tmp_path)).pin()
    assert contents(root, TX1) != TX1
    (journal,) = tmp_path.glob("clocks-*.json")
    assert len(json.loads(journal.read_text())) == 4
    Clocks(str(tmp_path)).restore()
    assert contents(root, TX1) == TX1 and not journal.exists()


def test_clocks_that_cannot_be_pinned_are_refused_and_nothing_is_left(board, tmp_path):
    root = board(TX1)
    rate = root / "sys/kernel/debug/clock/override.emc/rate"
    rate.unlink()
    rate.mkdir()
    with pytest.raises(Refused, match=r"cannot pin clocks: .*override.emc/rate"):
        Clocks(str(tmp_path)).pin()
    rate.rmdir()
    rate.write_text(TX1["sys/kernel/debug/clock/override.emc/rate"])
    assert contents(root, TX1) == TX1


def test_a_journal_restores_nothing_but_values_of_this_boards_own_clocks(board, tmp_path, capsys):
    root = board(TX1)
    victim = tmp_path / "victim"
    victim.write_text("whole")
    governor = str(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    rate = str(root / "sys/kernel/debug/clock/override.emc/rate")
    temperature = str(root / "sys/class/thermal/thermal_zone0/temp")
    foreign = [[str(victim), "1"], [temperature, "1"], [governor, "a b"], [governor, "x\n"], [rate, "1;2"], [rate, 7],
               [rate], "text", None, {"path": rate}, [rate, "1", "2"]]  # fmt: skip
    clocks = Clocks(str(tmp_path))
    Clocks(str(tmp_path)).pin()
    (journal,) = tmp_path.glob("clocks-*.json")
    for written in (*foreign, foreign, 3, "x"):
        journal.write_text(json.dumps(written if isinstance(written, list) and written is foreign else [written]))
        clocks.restore()
    assert victim.read_text() == "whole" and not journal.exists()
    assert capsys.readouterr().err.count("not restored, no clock of this board") == 2 * len(foreign) + 2
    assert contents(root, [temperature, governor, rate]) == {
        temperature: "41500",
        governor: "performance",
        rate: "1600000000",
    }
    journal.write_text(json.dumps([[governor, "interactive"], [rate, "408000000"]]))
    clocks.restore()
    assert contents(root, [governor, rate]) == {governor: "interactive", rate: "408000000"}


def test_a_journal_of_another_boot_or_board_is_left_alone(board, tmp_path):
    boot = "proc/sys/kernel/random/boot_id"
    root = board({**TX1, boot: "1b2c\n"})
    Clocks(str(tmp_path)).pin()
    pinned = contents(root, TX1)
    board({boot: "3d4e\n"})
    Clocks(str(tmp_path)).restore()
    assert contents(root, TX1) == pinned
    assert [path.name for path in tmp_path.glob("clocks-*")] == ["clocks-1b2c.json"]


def test_a_board_without_clocks_to_pin_says_so(board, tmp_path):
    board({"sys/class/thermal/thermal_zone0/temp": "38"})
    with pytest.raises(Refused, match="no clocks to pin"):
        Clocks(str(tmp_path)).pin()
