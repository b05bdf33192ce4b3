"""Estimates as text for a person: the verdict first, then the table by layer type, then memory, then layers."""

from collections.abc import Sequence

from sitecnn.cli.colour import paint
from sitecnn.cli.tables import mebibytes, millions, table
from sitecnn.estimation.budget_check import BudgetCheck
from sitecnn.estimation.estimate import Estimate, LayerEstimate, Milliseconds
from sitecnn.estimation.memory_plan import MemoryPlan
from sitecnn.workload.stack_names import full_label, stack_label

LEAST_SHOWN = 0.005
"""A level of less is none."""

SURE = 0.95
"""A chance of at least this is called sure, of at most 1 - this is called surely not."""


def verdict(answer: BudgetCheck, others: Sequence[BudgetCheck] = (), *, layers: bool = False) -> str:
    """One estimate: the verdict, the time by layer type, the memory and, if asked, every layer.

    `others` are the answers of the board's other processors.
    """
    parts = [_verdict(answer, others), _types(answer.estimate), _memory(answer)]
    if layers:
        parts.append(_layers(answer.estimate))
    return "\n\n".join(parts)


def comparison(answers: Sequence[BudgetCheck]) -> str:
    """Several estimates, a row each."""
    head = ("network", "batch", "board", "ms", "interval", "images/s", "memory", "fits", "note", "stack")
    rows = []
    for answer in answers:
        one = answer.estimate
        fits = {True: "yes", False: "no"}[answer.fits] if answer.budget != type(answer.budget)() else ""
        total = amount(one.forward_ms.estimate) if one.is_whole else "?"
        interval = span(one.forward_ms) if one.is_whole else "?"
        rate = f"{one.images_per_second:,.1f}" if one.is_whole else "?"
        rows.append(
            (
                *(one.network, str(one.batch), f"{one.board} {one.processor}", total, interval),
                *(rate, mebibytes(one.memory_bytes.total), fits, _doubt(one), stack_label(one.stack)),
            )
        )
    # A column that says nothing is left out.
    used_columns = [column for column in range(len(head)) if any(row[column] for row in rows)]
    right = [used_columns.index(column) for column in (1, 3, 4, 5, 6) if column in used_columns]
    shown = [[row[column] for column in used_columns] for row in rows]
    text = table([head[column] for column in used_columns], shown, right=right)
    return text + f"\nms: a forward pass, with its {answers[0].estimate.level:.0%} interval"


def compared(answers: Sequence[BudgetCheck]) -> str:
    """As `comparison`, with a table of its own for what is mostly extrapolated."""
    founded = [answer for answer in answers if not answer.is_mostly_extrapolated]
    others = [answer for answer in answers if answer.is_mostly_extrapolated]
    parts = [comparison(founded)] if founded else []
    if others:
        title = "do not rank these: more than half of the time is guessed or extrapolated"
        parts.append(f"{paint(title, 'yellow')}\n{comparison(others)}")
    return "\n\n".join(parts)


def amount(ms: float, like: float | None = None) -> str:
    """Milliseconds with three digits of `like` (default: of itself), and at least one decimal."""
    size = abs(ms if like is None else like)
    return f"{ms:,.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def span(ms: Milliseconds) -> str:
    """An interval as text."""
    return f"{amount(ms.low, ms.estimate)}–{amount(ms.high, ms.estimate)}"


def _verdict(answer: BudgetCheck, others: Sequence[BudgetCheck]) -> str:
    one = answer.estimate
    ran_by = full_label(one.stack, one.engine.name, one.precision)
    title = f"{one.network}, batch {one.batch}, on {one.board} {one.processor}, {ran_by}"
    lines = [
        paint(title, "bold"),
        *_time_lines(answer),
        f"memory      {mebibytes(one.memory_bytes.total)}{_memory_verdict(answer)}",
        f"bottleneck  {_bottleneck(one)}",
        f"how sure    {_coverage(one)}",
    ]
    for other_answer in others:
        other = other_answer.estimate
        time = f"{amount(other.forward_ms.estimate)} ms ({span(other.forward_ms)} ms)" if other.is_whole else "no total"
        faster = "the fastest" if one.forward_ms.estimate <= other.forward_ms.estimate else "the one that fits"
        lines.append(
            f"processors  estimated for the {one.processor}, {faster}; the {other.processor}: {time}, "
            f"{stack_label(other.stack)}{_faster_stack(other_answer)}"
        )
    if answer.other_stacks:
        times = {stack_label(name): f": {amount(ms.estimate)} ms" for name, ms in answer.other_stacks}
        stacks = "; ".join(name + (time if one.is_whole else "") for name, time in times.items())
        lines.append(f"stacks      estimated for {stack_label(one.stack)}; others on this processor: {stacks}")
    lines += [f"note        {doubt}" for doubt in one.doubts]
    return "\n".join(lines)


def _faster_stack(answer: BudgetCheck) -> str:
    """The fastest of a processor's other stacks, where it is faster than the one that answers."""
    name, ms = min(answer.other_stacks, key=lambda one: one[1].estimate, default=("", answer.estimate.forward_ms))
    if not answer.estimate.is_whole or ms.estimate >= answer.estimate.forward_ms.estimate:
        return ""
    return f"; faster there: {stack_label(name)}, {amount(ms.estimate)} ms"


def _time_lines(answer: BudgetCheck) -> list[str]:
    one = answer.estimate
    if not one.is_whole:
        unknown = f"layers with {1 - one.known_macs_fraction:.0%} of the MACs"
        missing = f"no total: nothing is known about {_some(one.uncounted) or unknown}"
        known = sum(layer.ms.estimate for layer in one.layers if layer.modelled)
        return [
            f"time        {paint(missing, 'yellow')}; the modelled layers alone take {amount(known)} ms{_guess(answer)}"
        ]
    text = f"{amount(one.forward_ms.estimate)} ms ({one.level:.0%}: {span(one.forward_ms)} ms)"
    rate = f"{one.images_per_second:,.1f} images/s"
    return [f"time        {text}, {rate}{_doubt(one, ', ')}{_time_verdict(answer)}", *_usual(one)]


def _usual(one: Estimate) -> list[str]:
    """What a user's median is above the estimate; nothing where it was not measured in rounds, or is nothing."""
    more = one.usual_ratio - 1
    if more < LEAST_SHOWN:
        return []
    return [f"            undisturbed; a typical pass took {more:.0%} longer on this board when it was measured"]


def _guess(answer: BudgetCheck) -> str:
    """What the exit status then rests on."""
    if answer.limit_ms is None:
        return ""
    return f"; guessing the rest it {'fits' if answer.fits_time else 'does not fit'} {amount(answer.limit_ms)} ms"


def _time_verdict(answer: BudgetCheck) -> str:
    if answer.limit_ms is None or answer.chance_in_time is None:
        return ""
    likely = answer.chance_in_time
    if likely >= SURE or likely <= 1 - SURE:
        word, colour = ("fits", "green") if answer.fits_time else ("does not fit", "red")
    else:
        word, colour = ("probably fits" if answer.fits_time else "probably does not fit"), "yellow"
    return f": {paint(word, colour)} {amount(answer.limit_ms)} ms (chance {chance(likely)})"


def chance(value: float) -> str:
    """A probability as text, never as certainty."""
    return ">99%" if value > 0.99 else "<1%" if value < 0.01 else f"{value:.0%}"


def _memory_verdict(answer: BudgetCheck) -> str:
    total = answer.estimate.memory_bytes.total
    verdicts = [] if answer.estimate.memory_bytes.base else ["without the process itself, which was not measured"]
    if answer.budget.memory_bytes is not None:
        verdicts.append(_against_limit(total, answer.budget.memory_bytes, "the budget of"))
    if answer.free_bytes is not None:
        verdicts.append(_against_limit(total, answer.free_bytes, "the board's free memory of"))
    if answer.largest_batch:
        verdicts.append(f"largest batch to fit: {answer.largest_batch:,}")
    return "".join(f", {verdict}" for verdict in verdicts)


def _against_limit(total: int, limit: int, name: str) -> str:
    word = paint("fits", "green") if total <= limit else paint("exceeds", "red")
    return f"{word} {name} {mebibytes(limit)}"


def _bottleneck(one: Estimate) -> str:
    slowest = max(one.layers, key=lambda layer: layer.ms.estimate)
    whole = sum(layer.ms.estimate for layer in one.layers) or 1.0
    return f"{slowest.name} ({slowest.type}), {slowest.ms.estimate / whole:.0%} of the layers' time"


def _coverage(one: Estimate) -> str:
    guessed = _at_least_some((1 - one.modelled_fraction) * _share_of_layers(one))
    parts = [f"{guessed} of the time is guessed: {_some(one.unmodelled)}" if one.unmodelled else "no layer is guessed"]
    beyond = [layer.name for layer in one.layers if layer.extrapolated and layer.modelled]
    if beyond:
        share = (
            f"{_at_least_some(_extrapolated_only(one))} of the time is extrapolated beyond the sizes that were measured"
        )
        parts.append(f"{share}: {_some(beyond)}")
    if one.on_zeros:
        parts.append(f"`caffe time` feeds zeros: on images {_some(one.on_zeros)} take about 50% longer than here")
    return "; ".join(parts)


def _at_least_some(share: float) -> str:
    """A share as percent, never 0 % of something that is there."""
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _doubt(one: Estimate, before: str = "") -> str:
    """What must stand beside a total that is not wholly founded on measurements of such a network."""
    if one.is_of_another_precision:
        return f"{before}{one.precision}"
    if not one.is_whole:
        return before + (
            "MACs not counted" if one.uncounted else f"{1 - one.known_macs_fraction:.0%} of the MACs unknown"
        )
    guessed = (1 - one.modelled_fraction) * _share_of_layers(one)
    shares = {"guessed": guessed, "extrapolated": _extrapolated_only(one)}
    doubts = [f"{share:.0%} {word}" for word, share in shares.items() if share >= 0.01]
    return before + ", ".join(doubts) if doubts else ""


def _extrapolated_only(one: Estimate) -> float:
    """The share of a pass that is extrapolated and not guessed anyway."""
    whole = sum(layer.ms.estimate for layer in one.layers) or 1.0
    share = sum(layer.ms.estimate for layer in one.layers if layer.extrapolated and layer.modelled) / whole
    return share * _share_of_layers(one)


def _share_of_layers(one: Estimate) -> float:
    """What the layers take of a pass; the rest is what some engines take once, however small the network is."""
    return min(sum(kind.ms.estimate for kind in one.types) / (one.forward_ms.estimate or 1.0), 1.0)


def _types(one: Estimate) -> str:
    whole = sum(kind.ms.estimate for kind in one.types) or 1.0
    rows = [
        (
            *(kind.type, str(kind.layers), amount(kind.ms.estimate), span(kind.ms)),
            *(f"{kind.ms.estimate / whole:.1%}", millions(kind.macs) if kind.macs else ""),
        )
        for kind in one.types
        if kind.ms.estimate >= 0.001 * whole
    ]
    if one.is_whole:
        macs = millions(sum(kind.macs for kind in one.types))
        total = ("forward pass", str(len(one.layers)), amount(one.forward_ms.estimate), span(one.forward_ms))
        rows.append((*total, "", macs))
    return table(("type", "layers", "ms", f"{one.level:.0%} interval", "share", "MACs"), rows, right=(1, 2, 3, 4, 5))


def _memory(answer: BudgetCheck) -> str:
    return _shared_memory(answer.estimate) if answer.plan is None else _caffe_memory(answer.estimate, answer.plan)


def _shared_memory(one: Estimate) -> str:
    """Of an engine whose values share their buffers."""
    parts = one.memory_bytes
    rest = parts.total - parts.weights - parts.data - parts.base
    rows = [
        ("weights", mebibytes(parts.weights), "as the engine stores them"),
        ("values", mebibytes(parts.data), "in buffers that they share"),
        ("base", mebibytes(parts.base) if parts.base else "", "the process" if parts.base else "not measured"),
        *([("rest", mebibytes(rest), "kernels, and what the allocator adds")] if rest else []),
        ("total", mebibytes(parts.total), ""),
    ]
    return table(("memory", "needs", ""), rows, (1,))


def _caffe_memory(one: Estimate, plan: MemoryPlan) -> str:
    parts = one.memory_bytes
    copy = parts.zero_copy_saving
    counted = parts.weights + parts.data + parts.workspace + copy + parts.base
    rows = [
        ("weights", mebibytes(parts.weights), ""),
        ("data", mebibytes(parts.data), f"{_least(plan.exact)}{mebibytes(plan.least_data)} if freed after last use"),
        ("workspace", mebibytes(parts.workspace), f"{mebibytes(plan.shared_workspace)} if one buffer serves all"),
        *([("weights' host copy", mebibytes(copy), "none with zero-copy")] if copy else []),
        ("base", mebibytes(parts.base), "" if parts.base else "not measured on this board"),
        ("counted twice", mebibytes(parts.total - counted), "in-place layers, minus what layers keep for themselves"),
        (
            "total",
            mebibytes(parts.total),
            f"{mebibytes(parts.base + parts.weights + plan.least)} with all of the above",
        ),
        ("while loading", mebibytes(parts.load_peak), "Caffe reads all of a .caffemodel file first"),
    ]
    return table(
        ("memory", "needs", "could need"), [row for row in rows if copy or row[0] != "weights' host copy"], (1,)
    )


def _least(exact: bool) -> str:
    return "" if exact else "at most "


def _layers(one: Estimate) -> str:
    whole = sum(layer.ms.estimate for layer in one.layers) or 1.0
    rows = [
        (
            *(layer.name, layer.type, f"{layer.ms.estimate:,.3f}", f"{layer.ms.low:,.3f}–{layer.ms.high:,.3f}"),
            *(f"{layer.ms.estimate / whole:.1%}", _remark(layer)),
        )
        for layer in one.layers
    ]
    return table(("layer", "type", "ms", f"{one.level:.0%} interval", "share", ""), rows, right=(2, 3, 4))


def _remark(layer: LayerEstimate) -> str:
    if layer.fused_into:
        return f"in {layer.fused_into}"
    return "not modelled" if not layer.modelled else "extrapolated" if layer.extrapolated else ""
