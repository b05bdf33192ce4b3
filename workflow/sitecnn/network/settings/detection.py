"""Detection: anchors, regions and boxes."""

from dataclasses import dataclass

from sitecnn.network.settings.base import Settings


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
