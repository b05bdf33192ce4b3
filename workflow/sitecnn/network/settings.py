"""What a layer was told, typed, one dataclass per layer type that has settings."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """A layer type that has no settings that matter to its shapes or its cost."""


@dataclass(frozen=True)
class Convolution(Settings):
    """Convolution, Deconvolution, Im2col: lengths in pixels for each axis after `axis`, the channels."""

    num_output: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1
    bias: bool = True
    axis: int = 1


@dataclass(frozen=True)
class Pooling(Settings):
    """Pooling: `method` is MAX, AVE or STOCHASTIC; lengths as (h, w) in pixels; `ceil` rounds up, as Caffe does."""

    method: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    global_pooling: bool = False
    ceil: bool = True


@dataclass(frozen=True)
class SPP(Settings):
    """Spatial pyramid pooling: 4^level bins a channel at each of `pyramid_height` levels."""

    pyramid_height: int
    method: str = "MAX"


@dataclass(frozen=True)
class InnerProduct(Settings):
    """Fully connected: `transpose` is Caffe's (weights stored input-major)."""

    num_output: int
    bias: bool = True
    axis: int = 1
    transpose: bool = False


@dataclass(frozen=True)
class Embed(Settings):
    """Row look-up in a table of `input_dim` rows."""

    num_output: int
    input_dim: int
    bias: bool = True


@dataclass(frozen=True)
class Recurrent(Settings):
    """RNN and LSTM, unrolled over the first axis."""

    num_output: int
    expose_hidden: bool = False


@dataclass(frozen=True)
class Lstm(Settings):
    """LSTM of an older fork, over rows that are the steps of `images` sequences."""

    num_output: int
    images: int = 1


@dataclass(frozen=True)
class DenseBlock(Settings):
    """`transitions` convolutions of 3×3 that each add `growth` channels; behind one of 1×1 each with a `bottleneck`."""

    transitions: int
    growth: int
    bottleneck: bool = False


@dataclass(frozen=True)
class Correlation(Settings):
    """Products of patches of `kernel`² pixels of two images, displaced by up to `displacement` pixels (FlowNet)."""

    kernel: int
    displacement: int
    pad: int = 0
    stride: int = 1
    displacement_stride: int = 1


@dataclass(frozen=True)
class LRN(Settings):
    """Local response normalisation: `region` is ACROSS_CHANNELS or WITHIN_CHANNEL."""

    local_size: int
    region: str
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True)
class BatchNorm(Settings):
    """Batch normalisation by stored means and variances, or by the batch's own."""

    use_global_stats: bool = True
    eps: float = 1e-5


@dataclass(frozen=True)
class MVN(Settings):
    """Mean and variance normalisation of each image."""

    normalize_variance: bool = True
    across_channels: bool = False
    eps: float = 1e-9


@dataclass(frozen=True)
class Scale(Settings):
    """Multiplication by a learned blob of `num_axes` axes from `axis` on or by a second input; then a bias."""

    axis: int = 1
    num_axes: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Bias(Settings):
    """Addition of a learned blob of `num_axes` axes from `axis` on, or of a second input."""

    axis: int = 1
    num_axes: int = 1


@dataclass(frozen=True)
class ReLU(Settings):
    """Rectifier; a slope other than 0 is a leaky one."""

    negative_slope: float = 0.0


@dataclass(frozen=True)
class PReLU(Settings):
    """Rectifier with learned slopes, one a channel or one for all."""

    channel_shared: bool = False


@dataclass(frozen=True)
class ELU(Settings):
    """Exponential linear unit."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Power(Settings):
    """(shift + scale·x)^power."""

    power: float = 1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Exp(Settings):
    """base^(shift + scale·x); a base of -1 is e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Log(Settings):
    """log to `base` of (shift + scale·x); a base of -1 is e."""

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Clip(Settings):
    """Values cut off below `min` and above `max`."""

    min: float
    max: float


@dataclass(frozen=True)
class Swish(Settings):
    """x·sigmoid(beta·x)."""

    beta: float = 1.0


@dataclass(frozen=True)
class Threshold(Settings):
    """1 above the threshold, else 0."""

    threshold: float = 0.0


@dataclass(frozen=True)
class Dropout(Settings):
    """Dropout: at test time it only passes data on."""

    dropout_ratio: float = 0.5


@dataclass(frozen=True)
class Softmax(Settings):
    """Softmax along `axis`, which may be negative."""

    axis: int = 1


@dataclass(frozen=True)
class Eltwise(Settings):
    """`operation` is SUM, PROD or MAX; `coeff` of a SUM, one per input, or none for all 1."""

    operation: str = "SUM"
    coeff: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reduction(Settings):
    """`operation` (SUM, ASUM, SUMSQ, MEAN) over all axes from `axis` on, times `coeff`."""

    operation: str = "SUM"
    axis: int = 0
    coeff: float = 1.0


@dataclass(frozen=True)
class ArgMax(Settings):
    """The `top_k` largest along `axis`, or of the whole image where it is None."""

    out_max_val: bool = False
    top_k: int = 1
    axis: int | None = None


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
class Normalize(Settings):
    """Division by the L2 norm, times a learned scale (SSD)."""

    across_spatial: bool = True
    channel_shared: bool = True


@dataclass(frozen=True)
class PriorBox(Settings):
    """Default boxes on every pixel of a feature map (SSD)."""

    min_size: tuple[float, ...]
    max_size: tuple[float, ...] = ()
    aspect_ratio: tuple[float, ...] = ()
    flip: bool = True
    width: tuple[float, ...] = ()
    height: tuple[float, ...] = ()


@dataclass(frozen=True)
class DetectionOutput(Settings):
    """Boxes decoded, sorted and thinned out (SSD)."""

    num_classes: int
    share_location: bool = True
    keep_top_k: int = -1


@dataclass(frozen=True)
class RegionPooling(Settings):
    """ROIPooling, ROIAlign, PSROIPooling: `pooled` as (h, w) bins; `output_dim` channels if position-sensitive."""

    pooled: tuple[int, int]
    spatial_scale: float
    output_dim: int = 0


@dataclass(frozen=True)
class Proposal(Settings):
    """Region proposals: `post_nms_topn` boxes an image."""

    post_nms_topn: int = 300


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


FEW_VALUES = 64
"""Constants of at most so many values are settings (axes, sizes, bounds); of larger ones only the shape counts."""


@dataclass(frozen=True)
class Constant:
    """A constant tensor: shape, numpy's name of its type, values in row-major order (None: too many to be kept)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: tuple[float, ...] | None = None


@dataclass(frozen=True)
class OnnxOperator(Settings):
    """An operator of ONNX, told by ONNX's rules and never by those of Caffe's layer type of the same name.

    `version` is the operator set in which it last changed (`since_version`), of its `domain` (empty: ONNX's own).
    `attributes` are those that the file gives, by name: int, float, str, Constant, or a tuple of one of them; graphs
    are left out. `constants` are the constant inputs with their positions; all other inputs are the layer's bottoms.
    """

    type: str
    attributes: tuple[tuple[str, Any], ...] = ()
    constants: tuple[tuple[int, Constant], ...] = ()
    domain: str = ""
    version: int = 1

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default where the file does not give it."""
        return dict(self.attributes).get(name, default)

    def constant(self, position: int) -> Constant | None:
        """The constant input at a position, None where that input is data or left out."""
        return dict(self.constants).get(position)
