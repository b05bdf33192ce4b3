"""Prototxt text → Network."""

from collections.abc import Mapping
from pathlib import Path

from sitecnn.network.caffe.build import Wishes, build
from sitecnn.network.caffe.phases import in_test_phase, with_inputs, without_measures
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
    by blob name. Raises SiteCNNError for text that Caffe would refuse.
    """
    net, notes = read_text(text, origin, strict)
    upgrade(net, origin)
    layers, dropped = without_measures(in_test_phase(net))
    layers, replaced = with_inputs(layers)
    wishes = Wishes(batch, inputs or {}, strict)
    return build(net.name or Path(origin).stem, layers, wishes, origin, [*notes, *dropped, *replaced])
