"""Which values are zero in a net that is run without weights and without images, as `caffe time` does.

Its inputs are zeros, and its weights and biases what their fillers say: zeros where there are none (caffe.proto,
`FillerParameter`). Deploy definitions have none, so that all of their layers run on zeros.
"""

from sitecnn.network.caffe.caffe_pb2 import (
    ConvolutionParameter,
    FillerParameter,
    InnerProductParameter,
    LayerParameter,
)

KEEPS_ZEROS = frozenset(
    {
        *("AbsVal", "BatchNorm", "Concat", "Crop", "Dropout", "Eltwise", "Flatten", "LRN", "MVN", "Permute"),
        *("Pooling", "PReLU", "Reduction", "ReLU", "Reshape", "Slice", "Split", "TanH", "Tile"),
    }
)
"""Types whose output is zero if their input is. All other types may produce anything."""


def makes_zeros(layer: LayerParameter, *, of_zeros: bool) -> bool:
    """Whether all that a layer writes is zero if all that it reads is, or is not (`of_zeros`)."""
    match layer.type:
        case "Input":
            return True
        case "DummyData":
            return all(_is_zero(filler) for filler in layer.dummy_data_param.data_filler)
        case "Convolution" | "Deconvolution":
            return _product_is_zero(layer.convolution_param, of_zeros)
        case "InnerProduct":
            return _product_is_zero(layer.inner_product_param, of_zeros)
        case "Scale":
            return of_zeros and _is_zero(layer.scale_param.bias_filler)
    return of_zeros and layer.type in KEEPS_ZEROS


def _product_is_zero(param: ConvolutionParameter | InnerProductParameter, of_zeros: bool) -> bool:
    unbiased = not param.bias_term or _is_zero(param.bias_filler)
    return unbiased and (of_zeros or _is_zero(param.weight_filler))


def _is_zero(filler: FillerParameter) -> bool:
    return filler.type == "constant" and filler.value == 0
