"""Where to split a network between a board and a server: an exact minimum cut over all splits.

A split is a set of layers that run on the board such that none of them needs anything from the server; every value
that crosses is sent once; what the server computes as a result comes back. Board, link and server work one after
another, so their times add.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sitecnn.estimation.dataflow import HOST, Dataflow, dataflow
from sitecnn.estimation.estimate import Milliseconds, difference, milliseconds
from sitecnn.estimation.minimum_cut import Edge, minimum_cut
from sitecnn.estimation.placement import layers_ns, standard_errors
from sitecnn.estimation.work import work_of
from sitecnn.models.board_model import BoardModel
from sitecnn.models.lookup import choose_stack
from sitecnn.network.graph import Network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Link:
    """A connection: `megabits_per_s` both ways, `round_trip_ms` once for each pass that leaves the board at all."""

    megabits_per_s: float
    round_trip_ms: float

    def ns(self, count: int) -> float:
        """Nanoseconds that `count` bytes take, the round trip left out."""
        return count * 8e3 / self.megabits_per_s


@dataclass(frozen=True)
class Split:
    """One split: `on_board` says where each layer runs, `sent_bytes` go up, `returned_bytes` come back."""

    on_board: tuple[bool, ...]
    sent_bytes: int
    returned_bytes: int
    board_ns: float
    link_ns: float
    server_ns: float

    @property
    def total_ms(self) -> float:
        """Board, link and server one after another."""
        return (self.board_ns + self.link_ns + self.server_ns) / 1e6

    @property
    def leaves_board(self) -> bool:
        """Whether anything runs on the server."""
        return not all(self.on_board)

    def to_dict(self) -> dict[str, Any]:
        """Its times in ms, what it sends, and how many layers run on the board."""
        return {
            "total_ms": self.total_ms,
            "board_ms": self.board_ns / 1e6,
            "link_ms": self.link_ns / 1e6,
            "server_ms": self.server_ns / 1e6,
            "layers_on_board": sum(self.on_board),
            "sent_bytes": self.sent_bytes,
            "returned_bytes": self.returned_bytes,
        }


@dataclass(frozen=True, repr=False)
class Offload:
    """The best split, splits after each layer in the file's order (`by_depth`), and the gain over the board alone.

    `layers` are the layers' names and types; `stack` is the board's.
    """

    network: str
    board: str
    processor: str
    stack: str
    batch: int
    layers: tuple[tuple[str, str], ...]
    best: Split
    by_depth: tuple[Split, ...]
    total_ms: Milliseconds
    gain_ms: Milliseconds

    def __repr__(self) -> str:
        where = f"{sum(self.best.on_board)} of {len(self.layers)} layers on the board"
        return f"<Offload of {self.network} on {self.board} {self.processor}: {where}, {self.total_ms}>"

    def to_dict(self) -> dict[str, Any]:
        """The `offload --json` document, without the splits at other bandwidths."""
        return {
            "network": self.network,
            "board": self.board,
            "processor": self.processor,
            "stack": self.stack,
            "batch": self.batch,
            "total_ms": asdict(self.total_ms),
            "gain_ms": asdict(self.gain_ms),
            "best": self.best.to_dict(),
            "layers": [
                {"name": name, "type": kind, "place": "board" if here else "server"}
                for (name, kind), here in zip(self.layers, self.best.on_board, strict=True)
            ],
            "by_depth": [{"after": self.last_on_board(split), **split.to_dict()} for split in self.by_depth],
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row per split of `by_depth`: after which layer, times in ms, bytes. Needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.to_dict()["by_depth"])

    def last_on_board(self, split: Split) -> str:
        """The name of the last layer that runs on the board, empty where none does."""
        here = [name for (name, _), stays in zip(self.layers, split.on_board, strict=True) if stays]
        return here[-1] if here else ""


def best_split(
    flow: Dataflow,
    board_ns: Sequence[float],
    server_ns: Sequence[float],
    link: Link,
    once_ns: tuple[float, float] = (0.0, 0.0),
) -> tuple[bool, ...]:
    """Whether each layer runs on the board in a split of least time; `once_ns` as `split` takes it."""
    count = len(flow.stays_with)
    board, server, nodes = count, count + 1, count + 2
    edges: list[Edge] = []
    for index, leader in enumerate(flow.stays_with):
        edges += ((board, leader, server_ns[index]), (leader, server, board_ns[index]))
    for value in flow.values:
        price = link.ns(value.bytes)
        maker = board if value.producer == HOST else value.producer
        readers = [reader for reader in value.readers if reader != HOST]
        sent, nodes = nodes, nodes + 1
        edges.append((maker, sent, price))
        edges += ((sent, reader, inf) for reader in readers)
        # A reader on the board whose maker is on the server would wait for the server: not a split.
        edges += ((reader, maker, inf) for reader in readers)
        if HOST in value.readers:
            edges.append((board, maker, price))
    there = minimum_cut(edges, nodes, board, server)
    cut = tuple(leader in there for leader in flow.stays_with)
    alone, away = (True,) * count, (False,) * count
    # The minimum cut does not know what is paid once.
    options = [split(flow, board_ns, server_ns, link, labels, once_ns) for labels in (alone, cut, away)]
    return min(options, key=lambda option: option.total_ms).on_board


def split(
    flow: Dataflow,
    board_ns: Sequence[float],
    server_ns: Sequence[float],
    link: Link,
    on_board: Sequence[bool],
    once_ns: tuple[float, float] = (0.0, 0.0),
) -> Split:
    """What a split costs; `once_ns` is what board and server take where anything runs there at all."""

    def here(index: int) -> bool:
        return index == HOST or on_board[index]

    sent = sum(
        value.bytes
        for value in flow.values
        if here(value.producer) and not all(here(reader) for reader in value.readers)
    )
    returned = sum(value.bytes for value in flow.values if HOST in value.readers and not here(value.producer))
    leaves = not all(on_board)
    return Split(
        on_board=tuple(on_board),
        sent_bytes=sent,
        returned_bytes=returned,
        board_ns=sum(ns for ns, stays in zip(board_ns, on_board, strict=True) if stays) + once_ns[0] * any(on_board),
        link_ns=(link.round_trip_ms * 1e6 + link.ns(sent + returned)) if leaves else 0.0,
        server_ns=sum(ns for ns, stays in zip(server_ns, on_board, strict=True) if not stays) + once_ns[1] * leaves,
    )


def offload(
    network: Network,
    board: BoardModel,
    server: BoardModel,
    link: Link,
    *,
    stack: str | None = None,
    server_stack: str | None = None,
    level: float = 0.9,
) -> Offload:
    """The best split of a network between a board and a server; the link is taken to be exactly as given.

    Stacks are chosen as `estimate` chooses them. Raises ModelError for a stack that a model does not have,
    NetworkError where its engine cannot run the network.
    """
    flow = dataflow(network)
    here_model = choose_stack(board, stack, network=network)
    there_model = choose_stack(server, server_stack, network=network)
    board_work, server_work = (work_of(network, model) for model in (here_model, there_model))
    (board_ns, board_once), (server_ns, server_once) = (
        layers_ns(here_model, board_work),
        layers_ns(there_model, server_work),
    )
    once_ns = board_once, server_once
    labels = best_split(flow, board_ns, server_ns, link, once_ns)
    best = split(flow, board_ns, server_ns, link, labels, once_ns)
    here = np.array(labels, dtype=np.bool_)
    board_sd, server_sd = standard_errors(here_model, board_work, here), standard_errors(there_model, server_work, here)
    gain_ns = sum(board_ns) + board_once - best.total_ms * 1e6
    return Offload(
        network=network.name,
        board=board.board,
        processor=board.processor,
        stack=here_model.stack,
        batch=network.batch,
        layers=tuple((layer.name, layer.type) for layer in network.layers),
        best=best,
        by_depth=tuple(split(flow, board_ns, server_ns, link, prefix, once_ns) for prefix in _prefixes(flow)),
        total_ms=milliseconds(best.total_ms * 1e6, float(np.hypot(board_sd[1], server_sd[0])), level),
        gain_ms=difference(gain_ns, float(np.hypot(board_sd[0], server_sd[0])), level),
    )


def by_bandwidth(
    network: Network, board: BoardModel, server: BoardModel, link: Link, megabits_per_s: Sequence[float]
) -> list[Split]:
    """The best split at each of several bandwidths, the round trip being the link's."""
    flow = dataflow(network)
    models = [choose_stack(one, network=network) for one in (board, server)]
    (board_ns, board_once), (server_ns, server_once) = (layers_ns(model, work_of(network, model)) for model in models)
    costs = flow, board_ns, server_ns
    once_ns = board_once, server_once
    links = [Link(rate, link.round_trip_ms) for rate in megabits_per_s]
    return [split(*costs, one, best_split(*costs, one, once_ns), once_ns) for one in links]


def _prefixes(flow: Dataflow) -> list[tuple[bool, ...]]:
    """Nothing on the board, then one layer more at a time."""
    cuts = [-1, *flow.movers]
    return [tuple(leader <= last for leader in flow.stays_with) for last in cuts]
