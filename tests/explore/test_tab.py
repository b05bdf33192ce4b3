"""A tab's requests, with workers that answer when they are told to."""

import asyncio
from pathlib import Path

from sitecnn.explore.question import Source
from sitecnn.explore.tab import Tab


class SlowWorker:
    """Answers with the batch that it is asked about; layers and advice take longer than numbers."""

    root, boards = Path(), ()

    async def ask(self, request, question, **_):
        await asyncio.sleep({"answers": 0.01, "details": 0.1, "trials": 0.2}[request])
        batch = question["batch"]
        return {"answers": {"rows": [{"key": "one"}], "batch": batch}, "trials": [batch]}.get(request, {"batch": batch})

    def stop(self):
        pass


class Shown:
    """A view that shows nothing."""

    def __getattr__(self, name):
        return lambda *_: None


def test_what_is_taken_away_waits_for_the_layers_of_the_numbers(monkeypatch):
    monkeypatch.setattr("sitecnn.explore.tab.Worker", lambda root, boards: SlowWorker())

    async def change_and_take():
        tab = Tab(Shown(), SlowWorker(), Source("network.prototxt"))
        await tab.change(batch=1)
        changing = asyncio.create_task(tab.change(batch=3))
        await asyncio.sleep(0.05)
        early = tab.answers["batch"], tab.details["batch"]
        await tab.settled()
        taken = tab.answers["batch"], tab.details["batch"], tab.trials
        await changing
        return early, taken

    early, taken = asyncio.run(change_and_take())
    assert early == (3, 1)
    assert taken == (3, 3, [3])
