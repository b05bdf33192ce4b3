"""The page of one tab, made of NiceGUI's elements."""

import shlex
from pathlib import Path
from typing import Any

from nicegui import background_tasks, events, ui

from sitecnn.explore import controls, export, render
from sitecnn.explore.controls import Action
from sitecnn.explore.guard import MOST_UPLOAD_BYTES
from sitecnn.explore.layers import LayerTable
from sitecnn.explore.question import Inputs, Source
from sitecnn.explore.service import Service
from sitecnn.explore.tab import Tab, safe_name
from sitecnn.explore.workers import Refused

CLICKED_KEY = "(e) => { const b = e.target.closest('[data-key]'); if (b) emit(b.dataset.key); }"
CLICKED_TRIAL = "(e) => { const b = e.target.closest('[data-trial]'); if (b) emit(Number(b.dataset.trial)); }"


def build(service: Service) -> None:
    """The page for the client that asks."""
    if service.is_full:
        ui.label("Too many tabs are open. Close one of them, then reload this page.")
        return
    page = Page(service)
    service.tabs.add(id(page))

    def end() -> None:
        service.tabs.discard(id(page))
        page.tab.close()

    ui.context.client.on_delete(end)
    background_tasks.create(page.begin(), name="first answer")


class Page:
    """The elements that change, and what happens when a person uses them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.tab = Tab(self, service.worker(), Source("network.prototxt"))
        ui.add_css(export.text("page.css"))
        ui.add_head_html(f"<script>{export.text('page.js')}</script>")
        ui.on("layer", lambda event: self.choose_layer(event.args))
        self.upload = self._upload()
        pick = f"() => getElement({self.upload.id}).$refs.qRef.pickFiles()"
        self.samples, buttons = controls.header(pick, list(service.samples), self.open_sample)
        with buttons:
            self._buttons()
        with ui.element("div").classes("columns"):
            with ui.element("div").classes("left-column"):
                self._editor()
                self._graph()
            with ui.element("div").classes("right-column"):
                self._answers()
                self._details()

    def _upload(self) -> ui.upload:
        upload = ui.upload(on_upload=self.dropped, auto_upload=True, max_file_size=MOST_UPLOAD_BYTES)
        upload.on_rejected(
            lambda: self.show_error(
                f"the file is larger than {MOST_UPLOAD_BYTES >> 20} MiB, the largest that the page reads", None
            )
        )
        ui.run_javascript(f"sitecnnDrop({upload.id})")
        return upload.classes("out-of-sight")

    def _buttons(self) -> None:
        self.pin_button = controls.button("Pin this state", self.pin)
        controls.menu(
            "Take away",
            [
                Action("this page as one HTML file", self.download_page),
                Action("the network", self.download_network),
                Action("boards as CSV", self.download_boards),
                Action("layers as CSV", self.download_layers),
                Action("the command line that gives this answer", self.show_command),
            ],
        )
        self.dark = ui.dark_mode(None)
        controls.button("Light or dark", lambda: ui.run_javascript("sitecnnDark()"))

    def _editor(self) -> None:
        with ui.element("section").props('aria-labelledby="network-title"').classes("card editor"):
            ui.html("Network", sanitize=False, tag="h2").props('id="network-title"')
            self.file_name = ui.label("").classes("small")
            self.error = ui.html("", sanitize=False).classes("error").props('role="status" aria-live="polite"')
            self.editor = ui.codemirror("", language="ProtoBuf", theme="basicLight", on_change=self.typed)
            self.onnx_notice = ui.html("", sanitize=False).classes("shown")
            self.as_prototxt = controls.button("as prototxt", self.convert)
            self.as_prototxt.visible = self.onnx_notice.visible = False
            ui.html("Esc, then Tab leaves the editor.", sanitize=False, tag="p").classes("small hint")

    def _graph(self) -> None:
        with ui.element("section").props('aria-labelledby="graph-title"').classes("card drawing"):
            ui.html(render.fragment("zoom"), sanitize=False)
            ui.html("Graph", sanitize=False, tag="h2").props('id="graph-title"')
            with (
                ui.element("div")
                .classes("scroller")
                .props('tabindex="0" role="region" aria-label="drawing of the network"')
            ):
                self.graph = ui.html("", sanitize=False)
            self.cards = ui.html("", sanitize=False).classes("cards")
            ui.html("", sanitize=False).classes("card-of-layer").props('id="layer-card" aria-live="polite"')

    def _answers(self) -> None:
        with ui.element("section").props('aria-labelledby="answers-title"').classes("card"):
            ui.html("Boards", sanitize=False, tag="h2").props('id="answers-title"')
            self.fields = controls.fields(self.field_changed)
            self.pinned = ui.html("", sanitize=False).classes("pinned")
            with ui.element("div").classes("scroller").props('tabindex="0" role="region" aria-label="table of boards"'):
                self.answers = ui.html("", sanitize=False)
            self.answers.on("click", lambda event: self.tab.choose(event.args), js_handler=CLICKED_KEY)
            self.announcement = ui.html("", sanitize=False).classes("unseen").props('aria-live="polite"')

    def _details(self) -> None:
        with ui.element("section").props('aria-labelledby="details-title"').classes("card"):
            ui.html("The chosen board", sanitize=False, tag="h2").props('id="details-title"')
            self.summary = ui.html("", sanitize=False)
            ui.html("Time by type of layer", sanitize=False, tag="h3")
            self.types = (
                ui.html("", sanitize=False)
                .classes("scroller")
                .props('tabindex="0" role="region" aria-label="time by type"')
            )
            ui.html("What to change", sanitize=False, tag="h3")
            self.trials = (
                ui.html("", sanitize=False).classes("scroller").props('tabindex="0" role="region" aria-label="advice"')
            )
            self.trials.on("click", lambda event: self.try_it(event.args), js_handler=CLICKED_TRIAL)
            with ui.element("div").classes("title-row"):
                ui.html("Layers", sanitize=False, tag="h3")
                search = ui.input(placeholder="search layers")
                search.props('dense outlined clearable aria-label="search layers"')
            self.layers = LayerTable(self.choose_layer)
            search.on_value_change(lambda event: self.layers.search(event.value))

    async def begin(self) -> None:
        """Show the first network."""
        service, name = self.service, self.service.start.name
        if name in service.samples and service.first is None and not (service.batch or service.inputs):
            self.samples.value = name
        else:
            await self.open(service.start, name, service.batch, service.inputs)

    async def open_sample(self, name: str | None) -> None:
        """One of the networks that are offered by name."""
        if name and (file := self.service.samples.get(name)):
            await self.open(file, name)

    async def dropped(self, event: events.UploadEventArguments) -> None:
        """A file that was dropped on the page or picked."""
        self.upload.reset()
        name = safe_name(event.file.name)
        target = Path(self.tab.folder.name) / name
        await event.file.save(target)
        await self.open(target, name)
        self.samples.value = None

    async def open(self, file: Path, name: str, batch: int | None = None, inputs: Inputs = ()) -> None:
        """Show the network in a file."""
        if await self.tab.open(file, name, batch, inputs):
            self.fields["batch"].value = batch
            self._show_source()
            await self.tab.refresh()

    def _show_source(self) -> None:
        source = self.tab.question.source
        self.file_name.text = source.name
        self.editor.visible = not source.file
        self.onnx_notice.visible = self.as_prototxt.visible = bool(source.file)
        self.editor.decorations = []
        self.editor.value = source.text
        if source.file:
            self.onnx_notice.content = render.fragment("onnx_notice", name=source.name)

    async def typed(self, event: events.ValueChangeEventArguments[str]) -> None:
        """The text has changed, by a key or by the page."""
        source = self.tab.question.source
        if event.value != source.text and not source.file:
            await self.tab.change(source=Source(source.name, event.value))

    async def field_changed(self, name: str, value: float | None) -> None:
        """A budget, the batch or the level."""
        value = 0.9 if name == "level" and value is None else value
        if getattr(self.tab.question, name) != value:
            await self.tab.change(**{name: value})

    async def try_it(self, number: int) -> None:
        """Apply a change that the advice proposes to the text."""
        edit = self.tab.trials[number]["edit"] if 0 <= number < len(self.tab.trials) else None
        if not edit:
            return
        try:
            await self.tab.try_it(edit)
        except Refused as error:
            self.show_error(str(error), error.line)
            return
        self.fields["batch"].value = self.tab.question.batch
        self.editor.value = self.tab.question.source.text
        await self.tab.refresh()

    async def choose_layer(self, layer: str) -> None:
        """Mark a layer in the text, the table and the drawing."""
        self.tab.layer = str(layer)
        self.layers.mark(self.tab.layer)
        ui.run_javascript(f"sitecnnMark({render.script_text(self.tab.layer)})")
        if lines := await self.tab.lines_of(self.tab.layer):
            first, last = lines
            marks = [{"kind": "line", "line": line, "class": "layer-line"} for line in range(first, last + 1)]
            self.editor.decorations = marks
            self.editor.reveal_line(first)

    async def pin(self) -> None:
        """Pin the state as it is, or let the pinned one go."""
        label = None if self.tab.pinned else self.tab.question.source.name
        await self.tab.pin(label)
        self.pin_button.text = "Unpin" if self.tab.pinned else "Pin this state"

    async def convert(self) -> None:
        """Make an ONNX file's network a text to edit."""
        try:
            name, text = await self.tab.as_prototxt()
        except Refused as error:
            self.show_error(str(error), None)
            return
        self.tab.question = self.tab.with_source(Source(name, text))
        self._show_source()
        await self.tab.refresh()

    def show_answers(self, tab: Tab) -> None:
        """The boards' numbers."""
        assert tab.answers is not None
        self.answers.content = render.answers_html(tab.answers, tab.key)
        self.announcement.content = render.fragment("announcement", rows=tab.answers["rows"])
        self.pinned.content = render.fragment("pinned", pinned=tab.pinned) if tab.pinned else ""
        self.error.content = ""
        if self.editor.decorations and any(one["class"] == "error-line" for one in self.editor.decorations):
            self.editor.decorations = []
        self.answers.classes(remove="stale")

    def show_details(self, tab: Tab) -> None:
        """Layers, types and drawing."""
        assert tab.answers is not None and tab.details is not None
        self.summary.content = render.summary_html(tab.details, tab.answers)
        self.types.content = render.types_html(tab.details)
        self.graph.content = render.graph_html(tab.details, tab.layer)
        self.cards.content = render.fragment("cards", cards=render.cards_json(tab.details))
        self.layers.show(tab.details)

    def show_trials(self, tab: Tab) -> None:
        """The advice."""
        assert tab.details is not None
        self.trials.content = render.trials_html(tab.trials, tab.details)

    def show_error(self, message: str, line: int | None) -> None:
        """What is wrong, above the text and at its line; numbers stay, and say that they are of the text before."""
        self.error.content = render.fragment("error", message=message, line=line)
        self.answers.classes("stale")
        lines = (self.editor.value or "").count("\n") + 1
        if line is not None and 1 <= line <= lines:
            self.editor.decorations = [{"kind": "line", "line": line, "class": "error-line"}]

    async def download_page(self) -> None:
        """The state as one HTML file."""
        tab = self.tab
        await tab.settled()
        if tab.answers and tab.details:
            html = export.page(tab.answers, tab.details, tab.trials, tab.key, self._command())
            ui.download.content(html, f"{self._stem()}.html", "text/html")

    def download_network(self) -> None:
        """The text, or the ONNX file as it came."""
        source = self.tab.question.source
        content = Path(source.file).read_bytes() if source.file else source.text.encode()
        ui.download.content(content, source.name)

    async def download_boards(self) -> None:
        """The table of boards."""
        await self.tab.settled()
        if self.tab.answers and self.tab.answers["rows"]:
            ui.download.content(export.boards_csv(self.tab.answers), f"{self._stem()}-boards.csv", "text/csv")

    async def download_layers(self) -> None:
        """The layers on the chosen stack."""
        await self.tab.settled()
        if self.tab.details:
            ui.download.content(export.layers_csv(self.tab.details), f"{self._stem()}-layers.csv", "text/csv")

    def show_command(self) -> None:
        """The command line, to be copied."""
        with ui.dialog(value=True).props('aria-label="command line"'), ui.card():
            ui.html(render.fragment("command", command=self._command()), sanitize=False)

    def _command(self) -> str:
        answers, tab = self.tab.answers, self.tab
        rows = answers["rows"] if answers else []
        row: Any = next((one for one in rows if one["key"] == tab.key), None)
        return export.command_line(tab.answered or tab.question, row) if row else shlex.join(["sitecnn", "estimate"])

    def _stem(self) -> str:
        return Path(self.tab.question.source.name).stem or "network"
