"""What one browser tab asks and has been answered: a state and worker processes of its own."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sitecnn.explore.question import Inputs, Question, Source, question_from
from sitecnn.explore.workers import Refused, Worker

PAUSE_S = 0.25
"""Layers, drawing and advice follow when nobody has typed for so long; the boards' numbers come with every key."""

MOST_NAME = 120
"""Letters of a file's name that are kept."""


class View(Protocol):
    """What shows a tab's answers."""

    def show_answers(self, tab: "Tab") -> None:
        """The boards' numbers, and that there is no error."""

    def show_details(self, tab: "Tab") -> None:
        """Layers, types and drawing of the stack that is chosen."""

    def show_trials(self, tab: "Tab") -> None:
        """What could be changed."""

    def show_error(self, message: str, line: int | None) -> None:
        """What is wrong, at its line of the text; the numbers stay."""


@dataclass(frozen=True)
class Pinned:
    """The state that others are compared with, and when it was pinned."""

    question: Question
    label: str


class Newest:
    """Work that is done for the newest of the requests that come while it runs."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.work = work
        self.requested = self.done = 0
        self.rested = asyncio.Event()
        self.rested.set()

    async def ask(self) -> None:
        """Do the work, now or after what runs; done when nothing is left to do."""
        self.requested += 1
        if not self.rested.is_set():
            return
        self.rested.clear()
        try:
            while self.done < self.requested:
                self.done = self.requested
                await self.work()
        finally:
            self.rested.set()

    @property
    def is_last(self) -> bool:
        """Whether nobody has asked anew since the work began."""
        return self.done == self.requested


class Tab:
    """A tab's question, its answers as the worker gave them, and what was chosen in it."""

    def __init__(self, view: View, worker: Worker, source: Source) -> None:
        self.view, self.worker = view, worker
        # Advice takes many estimates, which no key has to wait for.
        self.adviser = Worker(worker.root, worker.boards)
        self.question = Question(source)
        self.pinned: Pinned | None = None
        self.key = self.layer = ""
        self.answers: Mapping[str, Any] | None = None
        self.answered: Question | None = None
        self.details: Mapping[str, Any] | None = None
        self.trials: list[dict[str, Any]] = []
        self.folder = tempfile.TemporaryDirectory(prefix="sitecnn-explore-")
        self.answering, self.advising = Newest(self._answer), Newest(self._advise)
        self.tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End the workers and remove what was dropped on the page."""
        self.worker.stop()
        self.adviser.stop()
        self.folder.cleanup()

    async def change(self, **values: Any) -> None:
        """Ask with other values of the question; answers in between are left out when more changes come."""
        self.question = replace(self.question, **values)
        await self.refresh()

    async def refresh(self) -> None:
        """Ask anew, once however many ask meanwhile."""
        await self.answering.ask()

    async def settled(self) -> None:
        """Wait until layers, drawing and advice are those of the numbers that are shown: they come later."""
        await self.answering.rested.wait()
        await asyncio.gather(*self.tasks)

    async def choose(self, key: str) -> None:
        """Another stack, of which layers and drawing are shown."""
        self.key = key
        if self.answers:
            self.view.show_answers(self)
        await self.refresh()

    async def pin(self, label: str | None) -> None:
        """Compare with the state as it is now, or with none."""
        self.pinned = Pinned(self.answered, label) if label is not None and self.answered else None
        await self.refresh()

    async def open(self, file: Path, name: str, batch: int | None = None, inputs: Inputs = ()) -> bool:
        """Take the network in a file; whether it could be read."""
        try:
            source = await self._source(file, name)
            self.question = replace(self.question, source=source, batch=batch, inputs=inputs)
        except Refused as error:
            self.view.show_error(str(error), error.line)
            return False
        self.layer = ""
        return True

    async def try_it(self, edit: Mapping[str, Any]) -> None:
        """Apply an edit of the advice to the question, without asking it yet."""
        self.question = question_from(await self.worker.ask("apply", question=asdict(self.question), edit=edit))

    async def as_prototxt(self) -> tuple[str, str]:
        """(file name, text) of the network as a prototxt."""
        answer = await self.worker.ask("convert", question=asdict(self.question))
        return f"{Path(self.question.source.name).stem}.prototxt", str(answer["text"])

    def with_source(self, source: Source) -> Question:
        """The question about another network."""
        return replace(self.question, source=source)

    async def lines_of(self, layer: str) -> tuple[int, int] | None:
        """The first and last line of a layer in the text, None where it has none there."""
        if not self.question.source.text:
            return None
        try:
            answer = await self.worker.ask("locate", question=asdict(self.question), layer=layer)
        except Refused:
            return None
        return answer["first"], answer["last"]

    async def _source(self, file: Path, name: str) -> Source:
        return Source(**await self.worker.ask("open", file=str(file), name=name))

    async def _answer(self) -> None:
        question, pinned = self.question, self.pinned
        try:
            self.answers = await self.worker.ask("answers", **_asked(question, pinned))
            self.answered = question
            keys = [row["key"] for row in self.answers["rows"]]
            self.key = self.key if self.key in keys else keys[0] if keys else ""
            self.view.show_answers(self)
            if self.details is not None:
                await asyncio.sleep(PAUSE_S)
            if self.answering.is_last and self.key:
                self.details = await self.worker.ask("details", key=self.key, **_asked(question, pinned))
                self.view.show_details(self)
                self._begin(self.advising.ask())
        except Refused as error:
            self.view.show_error(str(error), error.line)

    async def _advise(self) -> None:
        question = self.answered
        if question is None:
            return
        with suppress(Refused):
            trials = await self.adviser.ask("trials", key=self.key, **_asked(question, None))
            if self.advising.is_last and question == self.question:
                self.trials = trials
                self.view.show_trials(self)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that nothing waits for; the set keeps it alive meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _asked(question: Question, pinned: Pinned | None) -> dict[str, Any]:
    return {"question": asdict(question), "pinned": asdict(pinned.question) if pinned else None}


def safe_name(name: str) -> str:
    """A dropped file's name without folders, fit to be a file's name here."""
    printable = "".join(letter for letter in Path(name.replace("\\", "/")).name if letter.isprintable())
    return printable[-MOST_NAME:].lstrip(".") or "network"
