"""The page's header and the fields that a question has beside its network."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nicegui import ui

Act = Callable[[], Any]


@dataclass(frozen=True)
class Action:
    """An entry of a menu."""

    label: str
    run: Act


def header(open_file: str, samples: list[str], choose: Callable[[str], Awaitable[None]]) -> tuple[ui.select, ui.row]:
    """The page's banner: (choice of a network, the row that buttons go into). `open_file` is JavaScript."""
    with ui.header().classes("bar"):
        ui.html("SiteCNN <span>explore</span>", sanitize=False, tag="h1")
        select = ui.select(samples, label="network", on_change=lambda event: choose(event.value))
        select.props("dense outlined options-dense").classes("samples")
        button("Open a file…", None).on("click", js_handler=open_file)
        row = ui.row().classes("buttons")
    return select, row


def button(label: str, run: Act | None) -> ui.button:
    """A plain button."""
    return ui.button(label, on_click=run, color=None).props("flat no-caps dense").classes("plain")


def menu(label: str, actions: list[Action]) -> None:
    """A button that opens a menu."""
    with button(label, None), ui.menu().props("auto-close"):
        for action in actions:
            ui.menu_item(action.label, action.run)


def fields(change: Callable[[str, float | None], Awaitable[None]]) -> dict[str, ui.number]:
    """Batch, budgets and level; `change` gets a field's name in the question and its value, None where it is empty."""
    labels = {
        "batch": "batch",
        "budget_ms": "at most ms",
        "budget_fps": "at least images/s",
        "budget_mb": "at most MB",
        "level": "interval",
    }
    with ui.row().classes("fields"):
        return {name: _field(name, label, change) for name, label in labels.items()}


def _field(name: str, label: str, change: Callable[[str, float | None], Awaitable[None]]) -> ui.number:
    whole = name == "batch"

    async def changed(event: Any) -> None:
        value = event.value
        if value is None or (value > 0 and (name != "level" or value < 1) and (not whole or value == int(value))):
            await change(name, int(value) if whole and value is not None else value)

    field = ui.number(label, min=1 if whole else None, step=1 if whole else None, on_change=changed)
    if name == "level":
        field.value = 0.9
    return field.props("dense outlined clearable" if name != "level" else "dense outlined")
