"""Which layers take part: the TEST phase's, without what only measures, with what it leaves without a maker."""

from collections import Counter
from collections.abc import Collection, Sequence

from sitecnn.network.caffe.caffe_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetStateRule

MEASURES = (
    *("Accuracy", "DetectionEvaluate", "HDF5Output", "EvalDetection", "SegAccuracy", "SmoothL1LossOHEM"),
    *("SoftmaxWithLossOHEM", "BoxAnnotatorOHEM"),
)
"""Layers besides those whose type ends in Loss that judge or store a result and are no part of it."""


def layers_that_run(net: NetParameter, given: Collection[str]) -> tuple[list[LayerParameter], list[str]]:
    """The layers of the TEST phase that make its result, and a note for each that is left out or taken in.

    A blob that no layer of that phase makes, and whose shape is not `given`, comes from a layer of another phase or
    stage: definitions for training often have no data for tests, those of DIGITS only data of its own stages.
    """
    stages = set(net.state.stage)
    chosen = [_included(layer, stages, TEST) for layer in net.layer]
    if not any(chosen):
        chosen = [_included(layer, stages, TRAIN) for layer in net.layer]
    layers = [layer for layer, runs in zip(net.layer, chosen, strict=True) if runs]
    running, dropped = without_measures(layers)
    dropped_names = {id(layer) for layer in layers} - {id(layer) for layer in running}
    others = [layer for layer, runs in zip(net.layer, chosen, strict=True) if not runs]
    added, notes = _makers(running, others, given)
    wanted = {id(layer) for layer in (*running, *added)} - dropped_names
    return [layer for layer in net.layer if id(layer) in wanted], [*dropped, *notes]


def _included(layer: LayerParameter, stages: set[str], phase: int) -> bool:
    """net.cpp, `FilterNet`, at level 0."""
    if layer.include:
        return any(_meets(rule, stages, phase) for rule in layer.include)
    return not any(_meets(rule, stages, phase) for rule in layer.exclude)


def _meets(rule: NetStateRule, stages: set[str], phase: int) -> bool:
    """net.cpp, `StateMeetsRule`."""
    level_fits = rule.min_level <= 0 and (rule.max_level >= 0 or not rule.HasField("max_level"))
    phase_fits = rule.phase == phase or not rule.HasField("phase")
    return phase_fits and level_fits and stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)


def _makers(
    layers: Sequence[LayerParameter], others: Sequence[LayerParameter], given: Collection[str]
) -> tuple[list[LayerParameter], list[str]]:
    """Of the layers that do not run, those that make what is read and made by none that does."""
    available = {top for layer in layers for top in layer.top} | set(given)
    wanted = [blob for layer in layers for blob in layer.bottom if blob not in available]
    added, notes = [], []
    while wanted:
        blob = wanted.pop()
        makers = [layer for layer in others if blob in layer.top and blob not in layer.bottom]
        if blob in available or not makers:
            continue
        maker = min(makers, key=_strangeness)
        added.append(maker)
        available.update(maker.top)
        wanted += [bottom for bottom in maker.bottom if bottom not in available]
        notes.append(f"layer {maker.name!r} ({maker.type}) is of another phase or stage; no other makes {blob!r}")
    return added, notes


def _strangeness(layer: LayerParameter) -> tuple[bool, bool]:
    """How far a layer is from what a test would run: data before arithmetic, and what is not for training only."""
    trains = any(rule.HasField("phase") and rule.phase == TRAIN for rule in layer.include)
    return bool(layer.bottom), trains or any(
        stage.startswith("train") for rule in layer.include for stage in rule.stage
    )


def without_measures(layers: Sequence[LayerParameter]) -> tuple[list[LayerParameter], list[str]]:
    """The layers without losses and accuracies whose outputs nothing else reads, and a note of which went.

    With them goes what only made targets for them: layers that read labels.
    """
    remaining = list(layers)
    readers = Counter(blob for layer in remaining for blob in layer.bottom)
    labelled = _of_labels(layers)
    served: set[str] = set()
    dropped = []
    for layer in reversed(layers):
        own = [top for top in layer.top if top not in layer.bottom]
        unread = not any(readers[top] for top in own)
        serves = bool(own) and bool(layer.bottom) and served.issuperset(own) and labelled.issuperset(own)
        if unread and (_measures(layer) or serves):
            remaining.remove(layer)
            readers.subtract(layer.bottom)
            served.update(layer.bottom)
            dropped.append(f"layer {layer.name!r} ({layer.type}) is left out: it only measures")
    return remaining, dropped[::-1]


def _of_labels(layers: Sequence[LayerParameter]) -> set[str]:
    """Blobs that depend on what only training has: further tops of data layers."""
    labelled: set[str] = set()
    for layer in layers:
        if not layer.bottom:
            labelled.update(layer.top[1:])
        elif labelled.intersection(layer.bottom):
            labelled.update(top for top in layer.top if top not in layer.bottom)
    return labelled


def _measures(layer: LayerParameter) -> bool:
    return layer.type.endswith("Loss") or layer.type in MEASURES
