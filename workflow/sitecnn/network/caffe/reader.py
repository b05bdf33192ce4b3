"""Prototxt text → Network."""

from collections.abc import Mapping
from pathlib import Path

from sitecnn.network.caffe.build import LoadOptions, build
from sitecnn.network.caffe.phases import layers_that_run
from sitecnn.network.caffe.sources import with_inputs
from sitecnn.network.caffe.text import read_text
from sitecnn.network.caffe.upgrade import upgrade
from sitecnn.network.graph import Network, Shape


def parse_prototxt(
    text: str,
    origin: str,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    strict: bool = False,
) -> Network:
    """The network that Caffe would set up from this text in its TEST phase.

    Layers that only measure a result are left out, data layers become inputs, and layers that are not Caffe's
    own stay as `modelled=False`, or are refused if `strict`. `origin` names the text in errors; its stem names
    the network if the text does not. `batch` replaces the first dimension of every input, `inputs` gives shapes
    by blob name. Raises NetworkError for text that Caffe would refuse.
    """
    given = inputs or {}
    net, notes = read_text(text, origin, strict)
    upgrade(net, origin)
    layers, left_out = layers_that_run(net, given)
    sources = with_inputs(layers, net.layer, given, origin, strict=strict)
    options = LoadOptions(batch, given, strict, sources.guesses)
    return build(net.name or Path(origin).stem, sources.layers, options, origin, [*notes, *left_out, *sources.notes])
