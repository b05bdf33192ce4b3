"""Pooling and spatial pyramid pooling."""

from typing import Any

from sitecnn.network.caffe.caffe_pb2 import LayerParameter, PoolingParameter
from sitecnn.network.caffe.layers.base import (
    Inferred,
    Inputs,
    LayerType,
    changed,
    image_size,
    read,
    require,
    text,
)
from sitecnn.network.graph import Shape
from sitecnn.network.settings import SPP, Pooling

METHOD = {"method": "pool"}


def _pair(param: PoolingParameter, name: str) -> tuple[int, int]:
    """`name` for both axes, or `_h` and `_w` together (pooling_layer.cpp, `LayerSetUp`)."""
    short = name.removesuffix("_size")
    single, high, wide = param.HasField(name), param.HasField(f"{short}_h"), param.HasField(f"{short}_w")
    require(high == wide, f"{short}_h and {short}_w must be given together")
    require(not (single and high), f"both {name} and {short}_h/{short}_w are given")
    if high:
        return getattr(param, f"{short}_h"), getattr(param, f"{short}_w")
    return getattr(param, name), getattr(param, name)


def _read_settings(param: PoolingParameter, image: tuple[int, int]) -> Pooling:
    kernel = _pair(param, "kernel_size")
    if param.global_pooling:
        require(kernel == (0, 0), "global_pooling takes no kernel size")
        kernel = image
    return Pooling(
        method=PoolingParameter.PoolMethod.Name(param.pool),
        kernel=kernel,
        stride=_pair(param, "stride"),
        pad=_pair(param, "pad"),
        global_pooling=param.global_pooling,
        ceil=param.ceil_mode and param.round_mode == PoolingParameter.CEIL,
    )


def _check(settings: Pooling) -> None:
    """The checks of pooling_layer.cpp, `LayerSetUp`."""
    require(min(settings.kernel) > 0, "it needs a kernel_size of at least 1, or global_pooling: true")
    require(min(settings.stride) > 0, "stride must be at least 1")
    if settings.global_pooling:
        fits = settings.pad == (0, 0) and settings.stride == (1, 1)
        require(fits, "global_pooling takes pad 0 and stride 1 only")
    if settings.pad != (0, 0):
        require(settings.method != "STOCHASTIC", "STOCHASTIC pooling takes no padding")
        fits = all(pad < kernel for pad, kernel in zip(settings.pad, settings.kernel, strict=True))
        require(fits, f"its pad {text(settings.pad)} must be smaller than its kernel {text(settings.kernel)}")


def _pooled(image: Shape, settings: Pooling) -> Shape:
    """Output pixels, rounded up; where padded, the last window starts in the image (pooling_layer.cpp)."""
    out = []
    padded = settings.pad != (0, 0)
    for size, kernel, pad, stride in zip(image, settings.kernel, settings.pad, settings.stride, strict=True):
        span = size + 2 * pad - kernel
        count = (-(-span // stride) if settings.ceil else span // stride) + 1
        out.append(count - 1 if padded and (count - 1) * stride >= size + pad else count)
    if min(out) < 1:
        require(False, f"its kernel of {text(settings.kernel)} is larger than its input of {text(image)}")
    return tuple(out)


def _pooling(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """pooling_layer.cpp; max pooling may have a second top of the same shape, its mask."""
    shape = inputs[0]
    image = image_size(shape)
    settings = _read_settings(layer.pooling_param, image)
    _check(settings)
    require(len(layer.top) == 1 or settings.method == "MAX", f"{settings.method} pooling has one top only")
    return Inferred(((*shape[:2], *_pooled(image, settings)),) * len(layer.top), settings=settings)


def _write_pooling(settings: Pooling) -> dict[str, Any]:
    param: dict[str, Any] = {"pool": settings.method}
    if settings.global_pooling:
        param["global_pooling"] = True
    else:
        param |= _pair_fields("kernel_size", settings.kernel, 0)
        param |= _pair_fields("stride", settings.stride, 1) | _pair_fields("pad", settings.pad, 0)
    return {"pooling_param": param if settings.ceil else param | {"ceil_mode": False}}


def _pair_fields(name: str, pair: tuple[int, int], default: int) -> dict[str, int]:
    high, wide = pair
    short = name.removesuffix("_size")
    return {name: high} if high == wide != default else {} if high == wide else {f"{short}_h": high, f"{short}_w": wide}


def spp_level(level: int, image: tuple[int, int], method: str) -> Pooling:
    """The pooling that leaves 2^level bins an axis (spp_layer.cpp, `GetPoolingParam`)."""
    bins = 2**level
    kernel = (-(-image[0] // bins), -(-image[1] // bins))
    pad = ((kernel[0] * bins - image[0] + 1) // 2, (kernel[1] * bins - image[1] + 1) // 2)
    return Pooling(method, kernel, stride=kernel, pad=pad)


def _spp(layer: LayerParameter, inputs: Inputs) -> Inferred:
    """spp_layer.cpp: a pyramid of poolings, flattened and joined; a single level stays an image."""
    shape = inputs[0]
    image = image_size(shape)
    settings = read(SPP, layer.spp_param, METHOD)
    require(settings.pyramid_height > 0, "pyramid_height must be at least 1")
    bins = []
    for level in range(settings.pyramid_height):
        pooling = spp_level(level, image, settings.method)
        _check(pooling)
        bins.append(_pooled(image, pooling))
    if settings.pyramid_height == 1:
        return Inferred(((*shape[:2], *bins[0]),), settings=settings)
    return Inferred(((shape[0], shape[1] * sum(high * wide for high, wide in bins)),), settings=settings)


TYPES = (
    LayerType("Pooling", _pooling, _write_pooling, tops=(1, 2)),
    LayerType("SPP", _spp, lambda settings: {"spp_param": changed(settings, METHOD)}),
)
