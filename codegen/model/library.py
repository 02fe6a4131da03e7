"""What is known of torch: which of its modules, functions and methods keep a shape, and which give a tensor.

What is not listed is not known.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Shapes

SHAPE_KEEPING_MODULES = _names(
    """
    Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm
    LocalResponseNorm RMSNorm ReLU ReLU6 LeakyReLU PReLU RReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Hardswish
    Hardsigmoid Hardtanh Softplus Softsign LogSigmoid Tanhshrink Softshrink Hardshrink Threshold Softmax Softmax2d
    LogSoftmax
    """
)
SPATIAL_MODULES = {
    f"{kind}{rank}d": rank
    for kind in (
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AvgPool",
        "AdaptiveAvgPool",
        "AdaptiveMaxPool",
        "LPPool",
        "ZeroPad",
    )
    for rank in (1, 2, 3)
} | {"UpsamplingBilinear2d": 2, "UpsamplingNearest2d": 2, "PixelShuffle": 2, "PixelUnshuffle": 2}
"""Modules that make other channels and another grid of an image or a sequence, and how many axes the grid has."""
SHAPE_KEEPING_FUNCTIONS = _names(
    """
    relu gelu silu mish elu leaky_relu hardswish hardsigmoid sigmoid tanh softmax log_softmax dropout normalize
    layer_norm batch_norm group_norm rms_norm abs exp log sqrt clamp
    """
)
SHAPE_KEEPING_METHODS = _names(
    """
    contiguous to float half bfloat16 double int long bool cpu cuda clone detach requires_grad_ abs neg exp log
    sqrt sigmoid tanh relu softmax log_softmax clamp masked_fill cumsum
    """
)
BROADCASTING = _names("masked_fill clamp")
"""Functions and methods of a tensor that broadcast it with what else they are given."""
IN_PLACE_METHODS = _names(
    """
    add_ sub_ mul_ div_ pow_ neg_ abs_ exp_ sqrt_ clamp_ copy_ zero_ fill_ masked_fill_ relu_ sigmoid_ tanh_ normal_
    uniform_ trunc_normal_ requires_grad_ bernoulli_ addcmul_ lerp_ scatter_ index_fill_ index_add_ index_copy_
    """
)
"""Methods that change a tensor in place, but for its shape."""
FILLED = _names("torch.zeros torch.ones torch.empty torch.randn torch.rand")
"""Functions that make a tensor of the sizes that they are given."""

# Types

TENSOR_METHODS = SHAPE_KEEPING_METHODS | _names(
    """
    flatten unflatten transpose permute reshape view type_as expand expand_as repeat repeat_interleave mean sum prod
    unsqueeze squeeze rsqrt pow add sub mul div matmul bmm gather index_select scatter flip roll norm amax amin argmax
    argmin argsort all any eq ne lt le gt ge where new_zeros new_ones new_full new_empty new_tensor t swapaxes movedim
    narrow select triu tril std var floor ceil round
    """
)
TENSOR_FUNCTIONS = SHAPE_KEEPING_FUNCTIONS | _names(
    """
    cat concat stack zeros ones empty full rand randn arange linspace tensor as_tensor zeros_like ones_like empty_like
    full_like rand_like randn_like where matmul bmm einsum sum mean flatten reshape transpose permute unsqueeze squeeze
    cumsum gather outer randperm bernoulli repeat_interleave argsort
    """
)
"""Functions of ``torch`` that give a tensor."""
FUNCTIONAL = SHAPE_KEEPING_FUNCTIONS | _names(
    """
    interpolate pad conv1d conv2d conv3d linear unfold fold max_pool1d max_pool2d avg_pool1d avg_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d one_hot embedding pixel_shuffle pixel_unshuffle grid_sample
    scaled_dot_product_attention
    """
)
"""Functions of ``torch.nn.functional`` that give a tensor, unless they are asked for indices as well."""
TENSOR_MODULES = (
    SHAPE_KEEPING_MODULES
    | SPATIAL_MODULES.keys()
    | _names(
        """
        Linear Bilinear LazyLinear Flatten Unflatten Fold Unfold Embedding EmbeddingBag Upsample ChannelShuffle
        ReflectionPad1d ReflectionPad2d ReplicationPad1d ReplicationPad2d ConstantPad1d ConstantPad2d CircularPad2d
        TransformerEncoder TransformerEncoderLayer TransformerDecoder TransformerDecoderLayer
        """
    )
)
