# -*- coding: utf-8 -*-
"""Nodes of an ONNX Runtime profile joined to the kernels that the plan expects: by op, shapes and occurrence.

Never by name or index: those of Reorders differ between two sessions of one model.
"""

from __future__ import absolute_import, division, print_function

from .errors import Refused

MOST_NAMED = 5


def join(nodes, kernels, network):
    """For each expected kernel the index of its node.

    `nodes` and `kernels` have "op", "inputs" and "outputs" (lists of shapes). Weights that the engine packed for
    itself vanish from a node's inputs, so these may be fewer. Refused, saying what differs, if any is left over.
    """
    free, joined = {}, [None] * len(kernels)
    for index, node in enumerate(nodes):
        free.setdefault(_key(node), []).append(index)
    for is_same in (_equal, _fewer):
        for position, kernel in enumerate(kernels):
            if joined[position] is None:
                candidates = free.get(_key(kernel), [])
                same = [index for index in candidates if is_same(nodes[index]["inputs"], kernel["inputs"])]
                if same:
                    joined[position] = same[0]
                    candidates.remove(same[0])
    missing = [kernel for position, kernel in enumerate(kernels) if joined[position] is None]
    others = [nodes[index] for index in sorted(sum(free.values(), []))]
    if missing or others:
        text = "%s runs other kernels than expected; expected, not run: %s; run, not expected: %s"
        raise Refused(text % (network, _named(missing), _named(others)))
    return joined


def _shapes(values):
    return tuple(tuple(shape) for shape in values)


def _key(item):
    """Data come first among the inputs, and are always shown."""
    return item["op"], _shapes(item["inputs"][:1]), _shapes(item["outputs"])


def _equal(shown, expected):
    return _shapes(shown) == _shapes(expected)


def _fewer(shown, expected):
    """Whether the shapes that are shown are among those expected, in their order."""
    rest = iter(_shapes(expected))
    return all(any(shape == other for other in rest) for shape in _shapes(shown))


def _named(items):
    texts = ["%s %s -> %s" % (item["op"], _text(item["inputs"]), _text(item["outputs"])) for item in items]
    more = ["and %d more" % (len(texts) - MOST_NAMED)] if len(texts) > MOST_NAMED else []
    return ", ".join(texts[:MOST_NAMED] + more) or "none"


def _text(shapes):
    return " ".join("x".join(str(size) for size in shape) or "scalar" for shape in shapes)
