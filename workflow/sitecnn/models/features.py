"""What the time of each kind of kernel is made of: countable work, read off its sizes.

A time is modelled as Σ coefficient · feature, so a coefficient reads as nanoseconds per unit of that work
(per multiply-accumulate, per element moved, per call). Sizes come as columns, so one call covers a whole
network, or many. Engines and processors spend their time on different things, so each has features of its own, in a
module of its own.
"""

from functools import cache

import numpy as np

from sitecnn.models.caffe_features import CAFFE_FEATURES, ELEMENTWISE
from sitecnn.models.caffe_gpu_features import CAFFE_GPU_FEATURES
from sitecnn.models.feature import Array, Feature, Sizes
from sitecnn.models.onnxruntime_features import ONNXRUNTIME_FEATURES, onnxruntime_features
from sitecnn.models.tflite_features import NAMED as TFLITE_NAMED
from sitecnn.models.tflite_features import TFLITE_FEATURES, tflite_features

FEATURES = {**CAFFE_FEATURES, **ONNXRUNTIME_FEATURES, **TFLITE_FEATURES}
"""The features of each kind that is listed, on a CPU."""

MULTIPLYING = ("convolution", "deconvolution", "inner_product", "gemm")


def features_of(kind: str, processor: str = "cpu") -> tuple[Feature, ...]:
    """The features that the time of a kind is made of on a `cpu` or `gpu`."""
    if processor == "gpu" and kind in CAFFE_GPU_FEATURES:
        return CAFFE_GPU_FEATURES[kind]
    if kind.startswith("tflite_"):
        return tflite_features(kind)
    if kind.startswith("ort_"):
        return onnxruntime_features(kind)
    return CAFFE_FEATURES.get(kind, ELEMENTWISE)


@cache
def features_named(kind: str, names: tuple[str, ...]) -> tuple[Feature, ...]:
    """The features of a kind by their names, on either processor; KeyError for one that it does not have."""
    of_tflite = TFLITE_NAMED if kind.startswith("tflite_") else {}
    known = {**of_tflite} | {
        feature.name: feature for feature in (*ELEMENTWISE, *CAFFE_GPU_FEATURES.get(kind, ()), *features_of(kind))
    }
    return tuple(known[name] for name in names)


def matrix(features: tuple[Feature, ...], sizes: Sizes) -> Array:
    """(kernels × features) counts of work."""
    return np.column_stack([np.asarray(feature.count(sizes), dtype=np.float64) for feature in features])


def macs(kind: str, sizes: Sizes) -> Array:
    """Multiply-accumulates of kernels of a kind; 0 for kinds that do not multiply matrices."""
    if kind not in MULTIPLYING:
        return np.zeros_like(sizes["in_elements"])
    (feature,) = features_named(kind, ("macs",))
    return feature.count(sizes)


def least_elements(kind: str, sizes: Sizes) -> Array:
    """Elements that a kernel of a kind has to read or write at least once, weights among them; NaN if unknown."""
    return sizes["out_elements"] + sizes["parameters"] if kind in MULTIPLYING else sizes["out_elements"]
