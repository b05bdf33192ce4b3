"""How many variants of a network a search can try in a second: `python -m benchmarks.search`.

Wanted: 500 MobileNet variants a second, built and estimated. For comparison, the same network as a prototxt: half of
what loading that takes is protobuf's text format, half setting up each layer; a builder spares the text and sets up
equal layers once.
"""

import random
import runpy
import time
from pathlib import Path

import sitecnn
from sitecnn.network.caffe.writer import write_prototxt

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "search.py"
VARIANTS, TEXTS = 2000, 100


def main() -> None:
    """Print ms per variant: built, read from text, estimated; and variants per second."""
    example, board = runpy.run_path(str(EXAMPLE)), sitecnn.load_board("tx1", "gpu")
    rng = random.Random(1)
    drawn = [[rng.choice(example["WIDTHS"]) for _ in example["BLOCKS"]] for _ in range(VARIANTS)]
    example["variant"]("first", 224, drawn[0])
    start = time.perf_counter()
    networks = [example["variant"](str(index), 224, widths) for index, widths in enumerate(drawn)]
    built = time.perf_counter()
    many = sitecnn.estimate_many(networks, board)
    done = time.perf_counter()
    texts = [write_prototxt(network).encode() for network in networks[:TEXTS]]
    reading = time.perf_counter()
    for text in texts:
        sitecnn.load_network(text)
    read = time.perf_counter()
    print(f"{len(many)} variants of {len(networks[0].layers)} layers on {board.board} {board.processor}")
    print(f"built     {(built - start) / VARIANTS * 1e3:.2f} ms each")
    print(f"estimated {(done - built) / VARIANTS * 1e3:.2f} ms each, time and memory")
    print(f"together  {VARIANTS / (done - start):.0f} per second")
    print(f"as text   {(read - reading) / TEXTS * 1e3:.2f} ms each to load")


if __name__ == "__main__":
    main()
