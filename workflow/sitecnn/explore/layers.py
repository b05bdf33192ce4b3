"""The table of layers: sorted, filtered and walked through by keys in AG Grid, which NiceGUI brings along."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from sitecnn.explore import number_format
from sitecnn.explore.render import certainty

NUMBER = {
    ":valueFormatter": "(p) => p.value == null ? '–' : p.value.toLocaleString('en', {maximumSignificantDigits: 3})",
    "type": "rightAligned",
    "filter": "agNumberColumnFilter",
    "suppressHeaderFilterButton": True,
}

COLUMNS: list[dict[str, Any]] = [
    {"field": "number", "headerName": "#", "width": 56, "type": "rightAligned", "filter": False},
    {"field": "name", "headerName": "layer", "width": 160},
    {"field": "type", "headerName": "type", "width": 120},
    {"field": "ms", "headerName": "ms", "width": 84, **NUMBER},
    {"field": "low_ms", "headerName": "ms, low", "width": 92, **NUMBER},
    {"field": "high_ms", "headerName": "ms, high", "width": 98, **NUMBER},
    {"field": "change_ms", "headerName": "change, ms", "width": 110, "hide": True, **NUMBER},
    {"field": "change_low_ms", "headerName": "change, low", "width": 110, "hide": True, **NUMBER},
    {"field": "change_high_ms", "headerName": "change, high", "width": 110, "hide": True, **NUMBER},
    {"field": "share", "headerName": "% of time", "width": 100, **NUMBER},
    {"field": "output", "headerName": "output", "width": 130},
    {"field": "macs", "headerName": "10⁶ MACs", "width": 105, **NUMBER},
    {"field": "params", "headerName": "parameters", "width": 115, **NUMBER},
    {"field": "sure", "headerName": "how sure", "width": 260},
]

CHANGES = ["change_ms", "change_low_ms", "change_high_ms"]


class LayerTable:
    """The grid and what it was last given."""

    def __init__(self, choose: Callable[[str], Any]) -> None:
        options = {
            "columnDefs": COLUMNS,
            "rowData": [],
            "defaultColDef": {"sortable": True, "filter": "agTextColumnFilter", "resizable": True},
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
            ":getRowId": "(p) => String(p.data.number)",
            "rowHeight": 28,
            "headerHeight": 34,
            "suppressCellFocus": False,
            "ensureDomOrder": True,
        }
        self.grid = ui.aggrid(options, auto_size_columns=False).classes("layers")
        self.numbers: dict[str, int] = {}
        self.grid.on("rowClicked", lambda event: choose(event.args["data"]["name"]), args=["data"])

    def show(self, details: Mapping[str, Any]) -> None:
        """The layers of the chosen stack."""
        changes = {one["name"]: one["ms"] for one in details.get("changes", {}).get("layers", ())}
        rows = [_row(index, row, changes) for index, row in enumerate(details["document"]["layers"])]
        self.numbers = {row["name"]: row["number"] for row in reversed(rows)}
        self.grid.run_grid_method("setGridOption", "rowData", rows)
        self.grid.run_grid_method("setColumnsVisible", CHANGES, bool(changes))

    def search(self, text: str | None) -> None:
        """Show the layers that have this text in any column."""
        self.grid.run_grid_method("setGridOption", "quickFilterText", text or "")

    def mark(self, layer: str) -> None:
        """Select a layer's row and bring it into view."""
        number = self.numbers.get(layer)
        self.grid.run_grid_method("deselectAll")
        if number is not None:
            self.grid.run_row_method(str(number), "setSelected", True)
            script = (
                "{const api = getElement(%d).api, row = api.getRowNode('%d'); if (row) api.ensureNodeVisible(row);}"
            )
            ui.run_javascript(script % (self.grid.id, number))


def _row(index: int, row: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    change = changes.get(row["name"], {})
    return {
        "number": index + 1,
        "name": row["name"],
        "type": row["type"],
        "ms": row["ms"]["estimate"],
        "low_ms": row["ms"]["low"],
        "high_ms": row["ms"]["high"],
        "change_ms": change.get("estimate"),
        "change_low_ms": change.get("low"),
        "change_high_ms": change.get("high"),
        "share": 100 * row["share"],
        "output": ", ".join(map(number_format.shape, row["outputs"])),
        "macs": row["macs"] / 1e6,
        "params": row["params"],
        "sure": f"in the kernel of {row['fused_into']}" if row.get("fused_into") else certainty(row),
    }
