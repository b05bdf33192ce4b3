"""A board whose times follow a known law, measured with known noise."""

import numpy as np
import pandas as pd

from sitecnn.models.features import features_of, matrix
from sitecnn.models.measurements import sizes_of
from sitecnn.workload.kernels import SIZE_NAMES

# ns per multiply-accumulate, element and call: a 20 GMAC/s processor with 4 GB/s of memory and 5 µs a call.
NS = {"macs": 0.05, "weights_elements": 1.0, "in_elements": 1.0, "out_elements": 1.0, "calls": 5000.0}
NS |= {"im2col_elements": 1.0, "packed_elements": 0.2, "gemm_calls": 5000.0, "window_elements": 0.5}


def true_ns(kind, rows):
    features = features_of(kind)
    return matrix(features, sizes_of(rows)) @ np.array([NS.get(feature.name, 0.0) for feature in features])


def layer_rows(network, rng, noise, layers=12):
    """Convolutions, poolings and ReLUs of random sizes, and both passes of the network that they make."""
    rows = []
    for index in range(layers):
        kind = ("convolution", "pooling", "relu")[index % 3]
        channels, size, outputs = (int(rng.integers(*limits)) for limits in ((8, 256), (7, 64), (8, 256)))
        row = {"kind": kind, "images": 1, "channels": channels, "height": size, "width": size, "window": 9}
        outputs = outputs if kind == "convolution" else channels
        row |= {"out_channels": outputs, "out_height": size, "out_width": size, "group": 1, "bias": 1}
        row |= {"in_elements": channels * size**2, "out_elements": outputs * size**2}
        row |= {f"kernel_{axis}": 3 for axis in "hw"} | {f"stride_{axis}": 1 for axis in "hw"}
        row |= {f"pad_{axis}": 1 for axis in "hw"} | {"layer": f"{kind}{index}", "layer_index": index}
        rows.append(row)
    frame = pd.DataFrame(rows).reindex(columns=[*dict.fromkeys([*rows[0], *SIZE_NAMES])])
    for kind, part in frame.groupby("kind"):
        frame.loc[part.index, "median_ns"] = true_ns(kind, part) * np.exp(rng.normal(0, noise, len(part)))
    frame = frame.assign(subject="layer", layer_type=frame["kind"], mode="network", variant="")
    total = frame["median_ns"].sum()
    passes = pd.DataFrame([{"subject": "layerwise", "median_ns": total}, {"subject": "forward", "median_ns": total}])
    return pd.concat([frame, passes], ignore_index=True).assign(network=network, batch=1)


def board(seed, networks=6, noise=0.03, **options):
    rng = np.random.default_rng(seed)
    parts = [layer_rows(f"net{index}", rng, noise, **options) for index in range(networks)]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(stack="known law", threads=1, status="ok", base_bytes=np.nan)
