"""Networks that are measured as truth only."""

from sitecnn.boards.plan import plan
from sitecnn.network import load_network
from tests.estimation.boards import NETWORKS


def test_of_a_held_out_network_passes_and_memory_are_planned_and_no_kernel():
    alexnet, googlenet = (load_network(NETWORKS / f"{name}.prototxt") for name in ("alexnet", "googlenet"))
    alone, both = plan([alexnet], sweep=False), plan([alexnet], sweep=False, truth_only=[googlenet])
    added = [task for task in both if task not in alone]
    assert [(task["task"], task["network"]) for task in added] == [("network", "GoogLeNet"), ("memory", "GoogLeNet")]
    assert len(both) == len(alone) + 2
