"""What moves values and computes nothing."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


@dataclass(frozen=True)
class Concat(Settings):
    """Joining along `axis`."""

    axis: int = 1


@dataclass(frozen=True)
class Slice(Settings):
    """Cutting along `axis` at `slice_point`, or evenly."""

    axis: int = 1
    slice_point: tuple[int, ...] = ()


@dataclass(frozen=True)
class Flatten(Settings):
    """Axes `axis` to `end_axis` become one."""

    axis: int = 1
    end_axis: int = -1


@dataclass(frozen=True)
class Reshape(Settings):
    """Caffe's `shape` for `num_axes` axes from `axis` on: 0 keeps a dimension, one -1 takes what is left."""

    dims: tuple[int, ...]
    axis: int = 0
    num_axes: int = -1


@dataclass(frozen=True)
class Crop(Settings):
    """Cutting the first input to the second's size from `axis` on."""

    axis: int = 2
    offset: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tile(Settings):
    """`tiles` copies along `axis`."""

    tiles: int
    axis: int = 1


@dataclass(frozen=True)
class Permute(Settings):
    """Axes in a new order (SSD)."""

    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Resize(Settings):
    """Enlargement or reduction of an image to `size` as (h, w) in pixels; `scale` where it was told as a factor."""

    size: tuple[int, int]
    scale: int = 0


@dataclass(frozen=True)
class Shuffle(Settings):
    """Channels dealt out anew among `group` groups (ShuffleNet)."""

    group: int


@dataclass(frozen=True)
class Blocks(Settings):
    """Squares of `size` × `size` pixels become channels, or channels become pixels where `reverse`."""

    size: int
    reverse: bool = False


@dataclass(frozen=True)
class Pad(Settings):
    """Rows added above and below, columns left and right."""

    pad_u: int = 0
    pad_d: int = 0
    pad_l: int = 0
    pad_r: int = 0


@dataclass(frozen=True)
class Unsqueeze(Settings):
    """A new axis of 1, before the axis `dim`."""

    dim: int
