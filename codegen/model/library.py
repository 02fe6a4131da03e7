"""What is known of torch: which of its modules, functions and methods keep a shape, and which give a tensor.

What is not listed is not known.
"""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Shapes

SHAPE_KEEPING_MODULES = names(
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
SHAPE_KEEPING_FUNCTIONS = names(
    """
    relu gelu silu mish elu leaky_relu hardswish hardsigmoid sigmoid tanh softmax log_softmax dropout normalize
    layer_norm batch_norm group_norm rms_norm abs exp log sqrt clamp
    """
)
SHAPE_KEEPING_METHODS = names(
    """
    contiguous to float half bfloat16 double int long bool cpu cuda clone detach requires_grad_ abs neg exp log
    sqrt sigmoid tanh relu softmax log_softmax clamp masked_fill cumsum
    """
)
BROADCASTING = names("masked_fill clamp add sub mul div addcmul addcdiv lerp maximum minimum")
"""Functions and methods of a tensor that broadcast it with what else they are given."""
IN_PLACE_METHODS = names(
    """
    add_ sub_ mul_ div_ pow_ neg_ abs_ exp_ sqrt_ clamp_ copy_ zero_ fill_ masked_fill_ relu_ sigmoid_ tanh_ normal_
    uniform_ trunc_normal_ requires_grad_ bernoulli_ addcmul_ lerp_ scatter_ index_fill_ index_add_ index_copy_
    """
)
"""Methods that change a tensor in place, but for its shape."""
FILLED = names("torch.zeros torch.ones torch.empty torch.randn torch.rand")
"""Functions that make a tensor of the sizes that they are given."""

# Types

TENSOR_METHODS = SHAPE_KEEPING_METHODS | names(
    """
    flatten unflatten transpose permute reshape view type_as expand expand_as repeat repeat_interleave mean sum prod
    unsqueeze squeeze rsqrt pow add sub mul div matmul bmm gather index_select scatter flip roll norm amax amin argmax
    argmin argsort all any eq ne lt le gt ge where new_zeros new_ones new_full new_empty new_tensor t swapaxes movedim
    narrow select triu tril std var floor ceil round
    """
)
TENSOR_FUNCTIONS = SHAPE_KEEPING_FUNCTIONS | names(
    """
    cat concat stack zeros ones empty full rand randn arange linspace tensor as_tensor zeros_like ones_like empty_like
    full_like rand_like randn_like where matmul bmm einsum sum mean flatten reshape transpose permute unsqueeze squeeze
    cumsum gather outer randperm bernoulli repeat_interleave argsort
    """
)
"""Functions of ``torch`` that give a tensor."""
FUNCTIONAL = SHAPE_KEEPING_FUNCTIONS | names(
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
    | names(
        """
        Linear Bilinear LazyLinear Flatten Unflatten Fold Unfold Embedding EmbeddingBag Upsample ChannelShuffle
        ReflectionPad1d ReflectionPad2d ReplicationPad1d ReplicationPad2d ConstantPad1d ConstantPad2d CircularPad2d
        TransformerEncoder TransformerEncoderLayer TransformerDecoder TransformerDecoderLayer
        """
    )
)

# Effects

ALLOCATING_FUNCTIONS = names(
    """
    cat concat stack pack zeros ones empty full rand randn arange linspace tensor zeros_like ones_like empty_like
    full_like rand_like randn_like where matmul bmm sum mean cumsum gather outer randperm bernoulli interpolate
    pad conv1d conv2d conv3d linear layer_norm batch_norm group_norm rms_norm scaled_dot_product_attention unfold fold
    grid_sample embedding one_hot max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d
    gelu softmax log_softmax normalize fused_layer_norm_affine fused_rms_norm_affine fused_rms_norm
    """
)
"""Functions of torch and its kin whose result is a tensor of its own."""
QUALITIES = names("device dtype ndim layout is_cuda requires_grad is_sparse is_leaf itemsize")
"""Attributes of a tensor that are the same however many images it holds."""
ALLOCATING_METHODS = names(
    """
    clone mean sum prod matmul bmm new_zeros new_ones new_full new_empty size dim numel stride item norm amax amin
    argmax argmin softmax log_softmax sigmoid cumsum repeat repeat_interleave index_select eq ne lt le gt ge
    abs neg exp log sqrt rsqrt pow add sub mul div tanh relu masked_fill clamp floor ceil round std var tril triu flip
    roll prod logical_not logical_and logical_or where gather scatter sin cos square erf
    """
)
"""Methods of tensors whose result is a tensor of its own, or a number."""
TORCH_STATISTICS = ("BatchNorm", "SyncBatchNorm", "Lazy")
"""Modules of torch, by how their names begin, that write on themselves when they run."""
IN_PLACE_MODULES = {
    **dict.fromkeys(names("ReLU ReLU6 SiLU Mish Hardswish Hardsigmoid SELU"), 0),
    **dict.fromkeys(names("ELU CELU LeakyReLU AlphaDropout FeatureAlphaDropout"), 1),
    **dict.fromkeys(names("Dropout Dropout1d Dropout2d Dropout3d"), 1),
    **dict.fromkeys(names("Threshold RReLU Hardtanh"), 2),
}
"""Modules of torch that may be told to work in place, and by which argument."""
TORCH_WRAPPERS = names("DataParallel Module ModuleList ModuleDict Sequential ParameterList ParameterDict")
"""Modules of torch that run, or hold, what they are given."""
TORCH_HANDING_ON = names(
    """
    Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout Flatten Unflatten ReLU ReLU6
    Hardtanh Hardswish Hardsigmoid SiLU Mish ELU SELU CELU LeakyReLU RReLU Threshold
    """
)
"""Modules of torch that may give back the tensor that they are given, or another view of it."""
PURE_BUILTINS = names(
    """
    abs all any bool bytes dict divmod enumerate filter float format frozenset id int isinstance issubclass len list map
    max min pow range repr reversed round set slice sorted str sum tuple type zip callable complex hash ord chr iter
    """
)
"""Functions of Python that leave alone what they are given."""
TAKING_BUILTINS = names("max min sum")
"""Functions of Python that may give one of the things that they are given in a container."""
MUTATING_METHODS = names(
    """
    append extend insert pop remove clear update setdefault add discard sort reverse popitem appendleft popleft
    extendleft rotate __setitem__ __delitem__ send throw close write
    """
)
"""Methods of Python's containers that change them."""
PURE_METHODS = names(
    """
    get items keys values copy index count split rsplit join format startswith endswith strip lower upper replace
    size dim numel ndimension stride type item tolist numpy unbind chunk tensor_split unfold
    new view_as reshape_as broadcast_to diagonal cross addmm baddbmm addcmul masked_select nonzero unique topk sort
    median min max logical_not logical_and logical_or isnan isinf element_size data_ptr is_contiguous is_floating_point
    get_device square sign sin cos cumprod logsumexp nan_to_num diff tile softplus group __len__ __contains__
    moveaxis swapdims fill_diagonal T mT H expm1 log1p log2 erf atan2 lerp clip clamp_min clamp_max fmod remainder
    mH isfinite any all cross dot outer mv trace argwhere hex fromkeys is_complex __getitem__
    """
)
"""Methods of tensors, texts and containers that leave them as they are."""
READING_MODULE_METHODS = names(
    """
    parameters named_parameters buffers named_buffers modules named_modules children named_children state_dict
    get_submodule get_parameter get_buffer extra_repr values items keys
    """
)
"""Methods of ``nn.Module`` that look at it and hand on what it holds."""
MODULE_METHODS = names(
    """
    add_module register_module register_parameter register_buffer apply cuda ipu xpu mtia cpu type float double half
    bfloat16 to to_empty requires_grad_ zero_grad share_memory load_state_dict set_submodule set_extra_state
    get_extra_state compile register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_backward_hook register_state_dict_pre_hook
    register_load_state_dict_pre_hook register_load_state_dict_post_hook append extend insert pop clear update
    popitem setdefault
    """
)
"""Methods of ``nn.Module`` and its containers that change it or have code of others run."""
LOGGING_METHODS = names("debug info warning warn error exception critical log isEnabledFor name")
"""Methods of a logger, and its name."""
