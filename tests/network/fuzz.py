"""Look for an exception other than the project's own, in definitions and ONNX files spoilt at random.

`python -m tests.network.fuzz 100000` from the root; it prints the input of every defect, and exits 1 if any.
A second number is the seed. Each input is text, or at every tenth an ONNX file.
"""

import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from sitecnn.errors import SiteCNNError
from sitecnn.network import parse_prototxt
from sitecnn.network.onnx import parse_onnx

from .definitions import definitions
from .hostile import SMALL_RESNET, spoilt
from .models import MODELS
from .test_against_caffe import CHOSEN

NETWORKS = Path(__file__).parents[2] / "config/networks"


def _drawn(number: int, first: int) -> list[str]:
    """Valid definitions to begin from."""
    texts: list[str] = []

    @seed(first)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(definitions())
    def draw(drawn: tuple[str, list[str]]) -> None:
        texts.append(drawn[0])

    draw()
    return texts


def _spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    spoilt_data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        position = rng.randrange(len(spoilt_data))
        spoilt_data[position : position + rng.choice((0, 1, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 1, 5)))
    return bytes(spoilt_data)


def _outcome(text: str | None, data: bytes) -> str:
    try:
        network = parse_onnx(data, "fuzz.onnx") if text is None else parse_prototxt(text, "fuzz.prototxt")
    except SiteCNNError as error:
        if "\n" in str(error) or not str(error).startswith("fuzz."):
            print(f"not one line about its file: {error!r}")
            return "DEFECT"
        return "refused"
    except BaseException:
        traceback.print_exc()
        print(repr(data if text is None else text)[:3000])
        return "DEFECT"
    return "read" if network.layers else "DEFECT"


def main(number: int, first: int) -> int:
    """Spoil and read `number` inputs; 1 if any showed a defect."""
    rng = random.Random(first)
    texts = [
        *_drawn(500, first),
        *CHOSEN.values(),
        SMALL_RESNET,
        *(f.read_text() for f in NETWORKS.glob("*net.prototxt")),
    ]
    models = [model().SerializeToString() for model in MODELS.values()]
    outcomes: Counter[str] = Counter()
    slowest, start = 0.0, time.monotonic()
    for index in range(number):
        begun = time.monotonic()
        onnx = index % 10 == 0
        text = None if onnx else spoilt(rng.choice(texts), rng)
        outcomes[_outcome(text, _spoilt_bytes(rng.choice(models), rng) if onnx else b"")] += 1
        slowest = max(slowest, time.monotonic() - begun)
    print(f"{number} inputs, seed {first}: {dict(outcomes)}; {time.monotonic() - start:.0f} s, slowest {slowest:.2f} s")
    return 1 if outcomes["DEFECT"] else 0


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(arguments[0] if arguments else 10_000, arguments[1] if len(arguments) > 1 else 1))
