"""Results folders of three kinds: all measured, half of it failed, and imported from elsewhere."""

import pandas as pd

from sitecnn.cli import main
from tests.report.fixtures import NETWORKS, configure, convert, make, records, stages, write_records


def toy(tmp_path):
    return make(tmp_path, NETWORKS)


def half_failed(tmp_path):
    configure(tmp_path, NETWORKS)
    convert(tmp_path, list(NETWORKS))
    lines = records(tmp_path, list(NETWORKS))
    for number, line in enumerate(lines):
        if line["record"] == "measurement" and line["task"] == "gemm" and number % 2:
            common = {
                name: line[name] for name in ("record", "key", "run", "block", "task", "kernel", "mode", "seconds")
            }
            lines[number] = common | {"status": "failed", "reason": "out of memory"}
    write_records(tmp_path, lines)
    stages(tmp_path)
    return tmp_path


def imported(tmp_path):
    """Two networks at three batches on two processors, layer by layer."""
    configure(tmp_path, {"small": 24, "middle": 32})
    convert(tmp_path, ["small", "middle"])
    for processor, speed in (("cpu", 1.0), ("gpu", 0.2)):
        rows = []
        for network in ("small", "middle"):
            layers = pd.read_parquet(tmp_path / "results" / "networks" / network / "layers.parquet")
            for batch in (1, 2, 4):
                ms = speed * batch * (0.01 + layers["macs"] / 1e7)
                for repeat in range(3):
                    times = ms * (1 + 0.01 * repeat)
                    part = pd.DataFrame({"layer": layers["layer"], "layer_ms": times, "forward_ms": times.sum()})
                    rows.append(part.assign(network=network, batch=batch, repeat=repeat))
        pd.concat(rows).to_csv(tmp_path / f"{processor}.csv", index=False)
        who = ["--board", "desk", "--processor", processor]
        command = ["import", "table", str(tmp_path / f"{processor}.csv"), *who, "--stack", "Caffe, somewhere"]
        assert main(["--root", str(tmp_path), *command, "--networks", str(tmp_path / "config" / "networks")]) == 0
        assert main(["--root", str(tmp_path), "fit", *who]) == 0
        folder = tmp_path / "results" / "evaluation" / f"desk-{processor}"
        assert main(["--root", str(tmp_path), "evaluate", *who, "-o", str(folder)]) == 0
    return tmp_path
