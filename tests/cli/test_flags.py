"""Flags and exit statuses of the commands that stand between measurements and models."""

import json
import re

import pandas as pd
import pytest

from sitecnn.cli import main
from sitecnn.config import load_config
from sitecnn.dataset import aggregate
from sitecnn.errors import ConfigError, NetworkError
from sitecnn.models.board_model import load, model_file
from sitecnn.network import load_network
from sitecnn.workload.memory import memory
from tests.dataset.records import gemm_record, run_record, write
from tests.estimation.fixtures import NETWORKS, board_model, stack_model, write_board

ALEXNET = NETWORKS / "alexnet.prototxt"
DIFF = ("dataset", "diff", "--board", "b", "--processor", "cpu")


def samples(scale):
    """So many that a rank test is sure, with no ties."""
    drawn = [scale * (100 + 0.01 * number) for number in range(31)]
    return {"samples_ns": drawn, "median_ns": drawn[15], "low_ns": drawn[5], "high_ns": drawn[25]}


def measured(root, scales):
    """A dataset of a stack for each name, whose first kernel takes so many times what all others take."""
    for run, (stack, scale) in enumerate(scales.items()):
        kernels = [
            gemm_record(n, run=stack, key=f"{run}{n:031x}", **samples(scale if n == 0 else 1)) for n in range(30)
        ]
        write(root, [run_record(stack, stack=stack), *kernels], name=f"{stack}.jsonl")
    aggregate(root)


def test_a_diff_is_1_where_one_kernel_became_slower_and_not_where_it_became_faster(tmp_path, capsys):
    measured(tmp_path, {"plain": 1, "late": 1.5, "soon": 0.5})
    for before, after, status in (("plain", "late", 1), ("plain", "soon", 0), ("late", "soon", 0), ("soon", "late", 1)):
        options = ("--stack", before, "--against", after, "--json")
        assert main(["--root", str(tmp_path), *DIFF, *options]) == status
        document = json.loads(capsys.readouterr().out)
        assert (document["slower"], document["faster"]) == (status, 1 - status)
        assert {one["verdict"] for one in document["types"]} == {"same"}


def test_an_export_of_no_rows_is_1(tmp_path, capsys):
    measured(tmp_path, {"plain": 1})
    export = ["--root", str(tmp_path), "dataset", "export", "-o", str(tmp_path / "rows.csv")]
    assert main([*export, "--kind", "gemm"]) == 0
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 30
    assert main([*export, "--kind", "im2col"]) == 1
    assert capsys.readouterr().err.endswith("rows.csv: 0 rows\n")


def test_a_description_gives_each_part_of_the_memory_in_its_own_line(capsys):
    assert main(["describe", str(ALEXNET)]) == 0
    mib = dict(re.findall(r"^(weights|data|workspace) +([\d.]+) MiB", capsys.readouterr().out, re.MULTILINE))
    parts = memory(load_network(ALEXNET))
    expected = {"weights": parts.weights_bytes, "data": parts.data_bytes, "workspace": parts.workspace_bytes}
    assert {name: float(value) for name, value in mib.items()} == pytest.approx(
        {name: count / 2**20 for name, count in expected.items()}, abs=0.005
    )


def test_advice_names_a_batch_where_no_goal_was_given_and_only_as_a_way_to_one(tmp_path, capsys):
    """A larger batch makes each image wait: with a goal it counts only where it reaches that."""
    write_board(tmp_path, board_model("cpu", "bench", stacks=[stack_model("cpu")]))
    command = ["--root", str(tmp_path), "advise", str(ALEXNET), "--board", "bench", "--json"]
    for goal, is_there in (((), True), (("--budget-ms", "1e6"), False)):
        assert main([*command, *goal]) == 0
        kinds = {one["kind"] for one in json.loads(capsys.readouterr().out)["advice"]}
        assert ("batch" in kinds) == is_there
        assert {"width", "outputs", "memory"} <= kinds


TIMES = "network,batch,layer,layer_ms,repeat,forward_ms\n"


@pytest.fixture
def imported(tmp_path):
    """A board of which three networks' layers were timed elsewhere."""
    networks = {name: load_network(NETWORKS / f"{name}.prototxt") for name in ("alexnet", "nin", "squeezenet1.0")}
    rows = [
        f"{name},1,{layer.name},{0.01 * (index + 1)},{repeat},{len(network.layers)}\n"
        for name, network in networks.items()
        for repeat in (1, 2)
        for index, layer in enumerate(one for one in network.layers if one.type != "Split")
    ]
    (tmp_path / "times.csv").write_text(TIMES + "".join(rows))
    command = ["import", "table", str(tmp_path / "times.csv"), "--board", "bench", "--processor", "cpu"]
    assert main(["--root", str(tmp_path), *command, "--stack", "some", "--networks", str(NETWORKS)]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ([], {"alexnet", "nin", "squeezenet1.0"}),
        (["--exclude-network", "alexnet"], {"nin", "squeezenet1.0"}),
        (["--held-out", "nin"], {"alexnet", "squeezenet1.0"}),
        (["--exclude-network", "alexnet", "--held-out", "nin"], {"squeezenet1.0"}),
    ],
)
def test_a_model_knows_nothing_of_the_networks_that_it_must_not_use(imported, flags, left):
    assert main(["--root", str(imported), "fit", "--board", "bench", "--processor", "cpu", *flags]) == 0
    model = load(model_file(imported, "bench", "cpu"))
    assert set(model.stacks[0].networks) == left
    given = {name for name in flags if not name.startswith("--")}
    assert set(model.provenance["excluded_networks"]) == given


def test_an_extract_is_named_as_asked(tmp_path):
    for options, name in (([], "AlexNet"), (["--name", "other"], "other")):
        assert main(["extract", str(ALEXNET), "-o", str(tmp_path / "k.parquet"), *options]) == 0
        assert set(pd.read_parquet(tmp_path / "k.parquet")["network"]) == {name}


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "config" / "networks").mkdir(parents=True)
    (tmp_path / "config" / "boards").mkdir()
    (tmp_path / "config" / "boards" / "b.yaml").touch()
    for name in ("net", "late"):
        (tmp_path / "config" / "networks" / f"{name}.prototxt").touch()

    def write_config(**settings):
        lines = {"networks": ["net"], "boards": ["b"], **settings}
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items())
        (tmp_path / "config" / "config.yaml").write_text(text)
        return tmp_path

    return write_config


def test_networks_that_are_held_out_must_be_there_and_not_be_fitted_too(configured):
    assert load_config(configured(held_out=["late"])).held_out == ["late"]
    with pytest.raises(NetworkError, match=r"no network 'lat'.*did you mean 'late'"):
        load_config(configured(held_out=["lat"]))
    with pytest.raises(ConfigError, match="held_out: 'net' is in `networks` too"):
        load_config(configured(held_out=["net"]))


def test_what_snakemake_overrides_counts_and_is_checked(configured):
    root = configured(batch=2, level=0.8)
    assert (load_config(root).batch, load_config(root, {"batch": 4}).batch) == (2, 4)
    assert load_config(root, {"batch": 4}).level == 0.8
    with pytest.raises(ConfigError, match="bacth: unknown key, did you mean 'batch'"):
        load_config(root, {"bacth": 4})
