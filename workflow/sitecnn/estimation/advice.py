"""What to change, ranked by what it is estimated to gain, each gain with its interval."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from sitecnn.errors import NetworkError
from sitecnn.estimation.aggregate_variance import aggregate, aggregate_passes
from sitecnn.estimation.change import gain_per_image
from sitecnn.estimation.estimate import Milliseconds, difference, estimate_memory
from sitecnn.estimation.memory_plan import memory_plan
from sitecnn.estimation.offload import Link, offload
from sitecnn.estimation.placement import Copy, place
from sitecnn.estimation.variants import can_be_narrower, image_sizes, narrower, with_outputs
from sitecnn.estimation.work import can_run, work_of
from sitecnn.models.board_model import BoardModel, StackModel
from sitecnn.models.feature import Array
from sitecnn.models.lookup import choose_stack, free_bytes
from sitecnn.network.graph import Network, Shape
from sitecnn.workload.engines import CAFFE, engine_of_stack
from sitecnn.workload.stack_names import stack_label, telling_labels

BATCHES = (2, 4, 8, 16, 32)

NARROWER = 0.75
"""The share of all channels that is advised on."""

LEAST_CHANCE = 0.75
"""Advice that is less likely to gain anything than this is left out."""

SHRUNK = 3
"""So many layers are named for shrinking: those that gain most."""


@dataclass(frozen=True)
class Batch:
    """`batch` images in a pass."""

    batch: int


@dataclass(frozen=True)
class InputShapes:
    """Inputs of other shapes, by blob name."""

    inputs: Mapping[str, Shape]


@dataclass(frozen=True)
class Width:
    """`width` is the share of all channels that stays, as `variants.narrower` makes it."""

    width: float


@dataclass(frozen=True)
class Outputs:
    """A layer with so many outputs."""

    layer: str
    outputs: int


Edit = Batch | InputShapes | Width | Outputs


Kind = Literal["processor", "stack", "placement", "batch", "images", "width", "outputs", "offload", "memory"]


@dataclass(frozen=True)
class Advice:
    """One thing to change: `kind` says what sort of change it is, `change` describes it.

    `gain_ms` is per image, `saves_bytes` of the process; one of the two is None. `note` says what it costs or supposes,
    `edit` what becomes of the network's definition: None where it stays as it is.
    """

    kind: Kind
    change: str
    gain_ms: Milliseconds | None
    saves_bytes: int | None
    note: str
    edit: Edit | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval is a gain."""
        return self.gain_ms is None or self.gain_ms.low > 0


@dataclass(frozen=True)
class AdviceContext:
    """What is run now, and what else there is: other models and links may be missing.

    `other` is the model of the board's other processor, `copy` the price of moving values between the two,
    `server` a board to offload to over `link`; `at_batch` gives the network with another number of images,
    `at_inputs` that with other shapes of its inputs.
    """

    network: Network
    board: BoardModel
    model: StackModel
    level: float
    other: BoardModel | None = None
    copy: Copy | None = None
    server: BoardModel | None = None
    link: Link | None = None
    at_batch: Callable[[int], Network] | None = None
    at_inputs: Callable[[Mapping[str, Shape]], Network] | None = None


def advise(now: AdviceContext) -> list[Advice]:
    """All advice that likely gains something: time first, sure gains before others, then memory; largest first."""
    advice = [
        *_other_processor(now),
        *_other_stacks(now),
        *_placement(now),
        *_batch(now),
        *_smaller_images(now),
        *_narrower(now),
        *_shrinking(now),
        *_offload(now),
    ]
    gains = [one for one in advice if one.gain_ms and _chance_of_gain(one.gain_ms, now.level) >= LEAST_CHANCE]
    gains.sort(key=lambda one: (one.is_sure, one.gain_ms.estimate if one.gain_ms else 0.0), reverse=True)
    savings = [one for one in _memory(now) if one.saves_bytes]
    return [*gains, *sorted(savings, key=lambda one: -(one.saves_bytes or 0))]


def _chance_of_gain(gain: Milliseconds, level: float) -> float:
    """The probability that a gain is one; `level` is that of its interval, which is a normal one."""
    sd_ms = (gain.high - gain.low) / 2 / NormalDist().inv_cdf(0.5 + level / 2)
    return NormalDist().cdf(gain.estimate / sd_ms) if sd_ms else float(gain.estimate > 0)


def time_per_image(network: Network, model: StackModel) -> tuple[float, float]:
    """(ns, standard error) of a forward pass, per image."""
    work = work_of(network, model)
    ns, sd_ns = aggregate_passes(model, work.kinds, work.sizes, np.zeros_like(work.layer), 1)
    return float(ns[0]) / network.batch, float(sd_ns[0]) / network.batch


def _instead(now: AdviceContext, model: StackModel) -> Milliseconds:
    """What another stack gains. The errors of the two models are independent."""
    (ns, sd_ns), (then_ns, then_sd_ns) = (time_per_image(now.network, one) for one in (now.model, model))
    return difference(ns - then_ns, float(np.hypot(sd_ns, then_sd_ns)), now.level)


def _other_processor(now: AdviceContext) -> list[Advice]:
    if now.other is None:
        return []
    stack = choose_stack(now.other, network=now.network)
    return [
        Advice("processor", f"run on the {now.other.processor}", _instead(now, stack), None, stack_label(stack.stack))
    ]


def choices(now: AdviceContext, stacks: Iterable[StackModel]) -> list[StackModel]:
    """The other stacks on which a person could run the network.

    One that was scaled to a few published totals is none: its name tells no software to install, and its gain over
    a stack that was measured is mostly the scale's error.
    """
    others = [stack for stack in stacks if stack is not now.model and (now.model.like or not stack.like)]
    return [stack for stack in others if can_run(now.network, stack)]


def _other_stacks(now: AdviceContext) -> list[Advice]:
    advice = []
    for stack in choices(now, now.board.stacks):
        labels = telling_labels([stack.stack, now.model.stack])
        named = labels[stack.stack]
        threads = "" if stack.threads == now.model.threads or "thread" in named else f", {stack.threads} threads"
        what = f"use {named}{threads} instead of {labels[now.model.stack]}"
        advice.append(Advice("stack", what, _instead(now, stack), None, ""))
    return advice


def _placement(now: AdviceContext) -> list[Advice]:
    if now.other is None or now.copy is None:
        return []
    boards = {now.board.processor: now.board.only(now.model), now.other.processor: now.other}
    placement = place(now.network, boards["cpu"], boards["gpu"], now.copy, level=now.level)
    # One that gains nothing over the better processor would pass off that processor's gain as its own.
    if not placement.worthwhile:
        return []
    home = now.board.processor
    gain = placement.gain_over_cpu_ms if home == "cpu" else placement.gain_over_gpu_ms
    moved = sum(there == (home == "cpu") for there in placement.on_gpu)
    note = f"{placement.copies} copies" if now.copy.ns(1) else "zero-copy"
    what = f"place {moved} of {len(placement.on_gpu)} layers on the {'gpu' if home == 'cpu' else 'cpu'}"
    return [Advice("placement", what, _scaled(gain, 1 / now.network.batch), None, note)]


def _batch(now: AdviceContext) -> list[Advice]:
    """The largest batch that still fits, of those that are usual; larger ones gain less and less and delay more."""
    if now.at_batch is None:
        return []
    larger = []
    free = free_bytes(now.board)
    for images in (batch for batch in BATCHES if batch > now.network.batch):
        try:
            network = now.at_batch(images)
        except NetworkError:
            # Shapes written out for one batch are refused at another.
            break
        if free is not None and estimate_memory(network, now.model, now.board.processor).total > free:
            break
        larger.append((gain_per_image(now.network, network, now.model, now.level), network))
    if not larger:
        return []
    gain, network = max(larger, key=lambda one: one[0].estimate)
    pass_ms = time_per_image(network, now.model)[0] * network.batch / 1e6
    note = f"per image; a pass then takes {pass_ms:,.1f} ms"
    return [Advice("batch", f"batch {network.batch}", gain, None, note, Batch(network.batch))]


def _smaller_images(now: AdviceContext) -> list[Advice]:
    """Images about three quarters as high and as wide, as far as the network takes them."""
    if now.at_inputs is None:
        return []
    sizes = list(image_sizes(now.network))
    for change, shapes in reversed(sizes[: len(sizes) // 4 + 1]):
        try:
            network = now.at_inputs(shapes)
        except NetworkError:
            continue
        return [with_images(now, change, network)]
    return []


def with_images(now: AdviceContext, change: str, network: Network) -> Advice:
    """What the network for smaller images gains, `change` as `variants.smaller` has it."""
    shapes = {layer.tops[0]: layer.outputs[0] for layer in network.layers if layer.type == "Input"}
    note = "check the accuracy; retrain the FC layers"
    gain = gain_per_image(now.network, network, now.model, now.level)
    return Advice("images", change, gain, None, note, InputShapes(shapes))


def _narrower(now: AdviceContext) -> list[Advice]:
    return [with_width(now, NARROWER)] if can_be_narrower(now.network, now.model.stack) else []


def with_width(now: AdviceContext, share: float) -> Advice:
    """What `share` of all channels gains."""
    gain = gain_per_image(now.network, narrower(now.network, share), now.model, now.level)
    return Advice(
        "width", f"{share:.0%} of the channels in all layers", gain, None, "retrain the network", Width(share)
    )


def _shrinking(now: AdviceContext) -> list[Advice]:
    """The layers whose halved outputs gain most, among those that can be halved while no other layer changes."""
    if engine_of_stack(now.model.stack).name != CAFFE:
        # Of other engines each of these networks would have to be lowered anew, which takes seconds.
        return []
    halved = []
    for layer in now.network.layers:
        if layer.type in ("Convolution", "InnerProduct") and layer.modelled and layer.outputs[0][1] > 1:
            with suppress(NetworkError):  # another layer, or a result of the network, keeps its width
                outputs = layer.outputs[0][1]
                halved.append((layer.name, outputs, with_outputs(now.network, layer.name, outputs // 2)))
    gains = _gains_ns(now, [network for *_, network in halved])
    best = sorted(range(len(halved)), key=lambda index: -gains[index])[:SHRUNK]
    return [
        Advice(
            "outputs",
            f"halve the outputs of {name} ({outputs})",
            gain_per_image(now.network, network, now.model, now.level),
            None,
            "retrain the network",
            Outputs(name, outputs // 2),
        )
        for name, outputs, network in (halved[index] for index in best)
    ]


def _gains_ns(now: AdviceContext, changed: Sequence[Network]) -> Array:
    """What each changed network's pass gains, in ns, from its changed layers alone."""
    layers, group, weight = [], [], []
    for index, network in enumerate(changed):
        pairs = zip(now.network.layers, network.layers, strict=True)
        for before, after in ((before, after) for before, after in pairs if after is not before):
            layers += [before, after]
            group += [index, index]
            weight += [1.0, -1.0]
    work = work_of(replace(now.network, layers=tuple(layers)), now.model)
    groups = np.array(group, dtype=np.int_)
    return aggregate(now.model, work.kinds, work.sizes, groups, len(changed), np.array(weight))[0]


def _offload(now: AdviceContext) -> list[Advice]:
    if now.server is None or now.link is None:
        return []
    offloaded = offload(now.network, now.board.only(now.model), now.server, now.link, level=now.level)
    if not offloaded.best.leaves_board:
        return []
    away = len(offloaded.best.on_board) - sum(offloaded.best.on_board)
    sent = f"sends {offloaded.best.sent_bytes / 1e6:,.2f} MB over {now.link.megabits_per_s:g} Mbit/s"
    what = f"offload {away} of {len(offloaded.best.on_board)} layers"
    return [Advice("offload", what, _scaled(offloaded.gain_ms, 1 / now.network.batch), None, sent)]


def _memory(now: AdviceContext) -> list[Advice]:
    """What Caffe could leave out; other engines share their buffers already."""
    if engine_of_stack(now.model.stack).name != CAFFE:
        return []
    plan = memory_plan(now.network)
    copy = estimate_memory(now.network, now.model, now.board.processor).zero_copy_saving
    return [
        Advice("memory", "zero-copy", None, copy, "CPU and GPU share one copy of the weights"),
        Advice("memory", "share one im2col buffer", None, plan.sharing_saving, "convolutions run one after another"),
        Advice(
            "memory",
            "free every value and im2col buffer after its last use",
            None,
            plan.freeing_saving,
            "includes sharing the im2col buffer",
        ),
    ]


def _scaled(ms: Milliseconds, factor: float) -> Milliseconds:
    return Milliseconds(ms.estimate * factor, ms.low * factor, ms.high * factor)
