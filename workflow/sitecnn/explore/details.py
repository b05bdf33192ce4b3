"""All that the page says of a network on the stack that was chosen: layers, types, drawing, memory, changes."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from sitecnn.errors import SiteCNNError
from sitecnn.estimation.budget_check import check_budget
from sitecnn.estimation.change import layer_changes, type_changes
from sitecnn.estimation.work import can_run
from sitecnn.explore.answers import Stack
from sitecnn.explore.layout import draw
from sitecnn.explore.question import Question
from sitecnn.explore.reading import at_batch, budget_of, network_of
from sitecnn.network.graph import Network
from sitecnn.workload.kernels import macs


def chosen(stacks: Sequence[Stack], key: str) -> Stack:
    """The stack with this key; SiteCNNError if there is none."""
    if with_key := next((stack for stack in stacks if stack.key == key), None):
        return with_key
    raise SiteCNNError(f"no stack {key!r}")


def details(question: Question, pinned: Question | None, stack: Stack) -> dict[str, Any]:
    """The document of `estimate --json` for the stack, with each layer's MACs, shapes and share, and the drawing."""
    network = network_of(question)
    budget, other_batch = budget_of(question), partial(at_batch, question)
    checked = check_budget(network, stack.board, budget, level=question.level, at_batch=other_batch).to_dict()
    whole = sum(layer["ms"]["estimate"] for layer in checked["layers"])
    for layer, row in zip(network.layers, checked["layers"], strict=True):
        row["macs"] = macs(layer)
        row["params"] = sum(parameter.count for parameter in layer.parameters)
        row["inputs"], row["outputs"] = layer.inputs, layer.outputs
        row["note"] = layer.note
        row["share"] = row["ms"]["estimate"] / whole if whole else 0.0
    fused = {row["name"]: row["fused_into"] for row in checked["layers"] if row.get("fused_into")}
    result = {"document": checked, "drawing": draw(network, fused).document(), "notes": network.notes}
    before = network_of(pinned) if pinned else None
    if before is not None and can_run(before, stack.model):
        result["changes"] = _changes(before, network, stack, question.level)
    return result


def _changes(before: Network, network: Network, stack: Stack, level: float) -> dict[str, Any]:
    layers = layer_changes(before, network, stack.model, level)
    types = type_changes(before, network, stack.model, level)
    return {"layers": [asdict(one) for one in layers], "types": {name: asdict(ms) for name, ms in types.items()}}
