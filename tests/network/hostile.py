"""Definitions spoilt at random: what every one of them must come to is a network or one line of complaint."""

import random
import re

from benchmarks.test_describe import resnet

WORDS = (
    *("{", "}", ":", '"', "'", "<", ">", "[", "]", "#", "\\", ",", ";", "-1", "0", "1e400", "nan", "9" * 25),
    *("-9223372036854775808", "4294967295", "2147483648", "true", "MAX", "TEST", "layer", "layers", "\0", "\x1b[2J"),
    *(
        "layer {",
        "bottom:",
        "top:",
        "name:",
        "type:",
        "param {",
        "shape {",
        "dim: -1",
        "dim: 0",
        "axis: -9",
        "é",
        "\u2028",
    ),
    *("kernel_size: 0", "kernel_size: 4294967295", "stride: 0", "pad: 4294967295", "group: 0", "num_output: 0"),
    *("foo_param { a { b: 1 } }", "xyzzy: 1", 'type: "Foo"', 'type: "relu"', "slice_point: 1", "global_pooling: true"),
    *("include { phase: TRAIN }", "num_axes: -7", "end_axis: 0", "tiles: 99999999", "order: 7", "pyramid_height: 40"),
)
NUMBERS = ("0", "1", "2", "3", "7", "-1", "-2", "64", "1000", "65536", "2147483647", "4294967295", "99999999999")


def spoilt(text: str, rng: random.Random) -> str:
    """The text with a few pieces cut out, doubled, moved, or replaced by words that mean trouble."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 1, 3, 10, 40, 200)))
        piece = text[start:end]
        other = rng.randrange(len(text) + 1)
        change = rng.randrange(8)
        if change == 0:
            text = text[:start] + text[end:]
        elif change == 1:
            text = text[:start] + piece * rng.choice((2, 3, 50)) + text[end:]
        elif change == 2:
            text = text[:start] + rng.choice(WORDS) + text[end:]
        elif change == 3:
            text = text[:start] + f" {rng.choice(WORDS)} " + text[start:]
        elif change in (4, 5) and (numbers := list(re.finditer(r"\b\d+\b", text))):
            number = rng.choice(numbers)
            text = text[: number.start()] + rng.choice(NUMBERS) + text[number.end() :]
        elif change == 6:
            text = text[:start] + text[other : other + 60] + text[end:]
        else:
            text = text[:start] + "".join(chr(rng.randrange(1, 300)) for _ in range(5)) + text[end:]
    return text


SMALL_RESNET = resnet((1, 1, 0, 0))
