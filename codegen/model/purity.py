"""Which functions of libraries leave alone what they are given, and which change it, or how others compute.

torch's own functions give new tensors, or views, but for those with a name that ends in ``_`` and those named here.
Elsewhere, what is not listed is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator

from codegen.model.library import MUTATING_METHODS, names
from codegen.model.special import ARITHMETIC, COMPARISON, CONVERSION, IN_PLACE_OPERATIONS, TEXT, TRUTH
from codegen.source.index import Module
from codegen.syntax.walking import walk

_LIBRARIES = names("torch math einops numpy functools itertools operator typing collections logging warnings apex")

_NAMESPACES = names(
    """
    torch torch.functional torch.nn torch.nn.functional torch.linalg torch.fft torch.special torch.sparse
    torch.nn.init torch.compiler torch.onnx math einops einops.layers.torch itertools typing collections
    apex.normalization.fused_layer_norm torch.nn.modules.utils
    """
)
"""Those of which every function is known to be pure, but for the following."""
_RUNNING = names("torch.vmap torch.cond torch.while_loop")
"""Functions that run code that they are given."""
_SETTERS = (
    "set_",
    "manual_seed",
    "seed",
    "use_deterministic",
    "enable_",
    "disable_",
    "load",
    "save",
    "register_",
    "compile",
)
"""Functions of torch, by how their names begin, that change how it works from then on, or have code of others run."""
_PRIVATE = names("torch._assert torch._shape_as_tensor torch.nn.modules.utils._pair torch.nn.modules.utils._ntuple")
_OTHERS = frozenset(
    f"{namespace}.{name}"
    for namespace, listed in {
        "functools": "partial wraps",
        "logging": "getLogger debug info warning error exception critical log",
        "warnings": "warn",
        "operator": """
            add sub mul truediv floordiv mod matmul neg pos abs eq ne lt le gt ge getitem attrgetter itemgetter
            """,
        "numpy": """
            array asarray ascontiguousarray arange linspace zeros ones full empty zeros_like ones_like full_like eye
            concatenate stack hstack vstack repeat tile meshgrid reshape transpose swapaxes expand_dims squeeze
            broadcast_to where clip sqrt exp log log2 log10 power sin cos tan arctan2 abs absolute sign ceil floor round
            prod sum mean std var min max amin amax argmin argmax argsort sort cumsum dot matmul einsum outer maximum
            minimum all any isfinite isnan unique int32 int64 float16 float32 float64 bool_ uint8
            """,
        "torch.amp": "autocast is_autocast_available",
        "torch.cuda.amp": "autocast",
        "torch.cpu.amp": "autocast",
        "torch.cuda": "is_available synchronize current_device device_count empty_cache",
        "torch.backends.cuda": "sdp_kernel",
        "torch.nn.attention": "sdpa_kernel",
        "torch.nn.attention.flex_attention": "flex_attention create_block_mask create_mask",
        "torch.nn.utils.rnn": "pad_sequence pack_padded_sequence pad_packed_sequence",
        "torch.profiler": "record_function",
        "torch.autograd.profiler": "record_function",
        "torch.autograd": "grad Variable",
        "torch.distributed": "is_available is_initialized get_rank get_world_size",
        "torch.jit": "is_scripting is_tracing annotate isinstance",
        "torch.nested": "nested_tensor to_padded_tensor",
    }.items()
    for name in listed.split()
)

_STATISTICS = {
    "torch.nn.functional.batch_norm": 1,
    "torch.nn.functional.instance_norm": 1,
    "torch.batch_norm": 3,
    "torch.instance_norm": 3,
    "torch.native_batch_norm": 3,
}
"""Functions that keep running statistics in two of their arguments, and which is the first."""
_NEVER_IN_PLACE = frozenset(
    f"torch.nn.functional.{name}"
    for name in names(
        """
        interpolate pad grid_sample affine_grid scaled_dot_product_attention conv1d conv2d conv3d layer_norm group_norm
        unfold fold one_hot softmax
        """
    )
)
"""Functions that take no ``out`` and no ``inplace``, by any name."""
_TELLING = frozenset({"out", "inplace", "max_norm"})
"""Options by which a function is told to change what it is given."""
_KEEPING = ("batch_norm", "instance_norm", "fake_quant", "renorm")
"""What is in the names of others that keep something, or change what they are given."""
_IN_PLACE_AT = {
    **dict.fromkeys(("relu", "relu6", "silu", "mish", "hardswish", "hardsigmoid", "selu"), 1),
    **dict.fromkeys(("elu", "celu", "leaky_relu"), 2),
    **dict.fromkeys(("hardtanh", "threshold", "dropout", "alpha_dropout", "feature_alpha_dropout"), 3),
    **dict.fromkeys(("dropout1d", "dropout2d", "dropout3d"), 3),
    **dict.fromkeys(("embedding", "embedding_bag"), 3),  # max_norm
    "rrelu": 4,
}
"""Functions of ``torch.nn.functional`` that may be told to work in place, and by which argument."""


def is_library(path: str) -> bool:
    """Whether a name is of a library whose own state models do not change, as far as it is not told to."""
    return path.partition(".")[0] in _LIBRARIES


def is_pure(path: str) -> bool:
    """Whether a function of a library, ``torch.nn.functional.pad``, is known to do nothing but to give a result.

    It may change what it is given where :func:`changed_arguments` says so.
    """
    namespace, _, name = path.rpartition(".")
    if path in _RUNNING or sets_mode(path) or (name.startswith("_") and path not in _PRIVATE):
        return False
    if path.startswith("torch.") and path not in _STATISTICS and any(word in name for word in _KEEPING):
        return False
    return path in _OTHERS or path in _PRIVATE or namespace in _NAMESPACES


def sets_mode(path: str) -> bool:
    """Whether a function of torch changes how others compute: ``torch.set_grad_enabled``."""
    name = path.rpartition(".")[2].lstrip("_")
    return path.startswith("torch.") and (name.startswith(_SETTERS))


_NEW_BY_OPERATION = (ARITHMETIC | COMPARISON | CONVERSION | TRUTH | TEXT) - IN_PLACE_OPERATIONS
"""Methods of a tensor that operations of Python call, and that give something new."""


def works_in_place(path: str) -> bool:
    """Whether a function of a library changes what it is given: ``torch.Tensor.add_``, ``operator.iadd``."""
    name = path.rpartition(".")[2]
    if path.startswith("operator."):
        return f"__{name.strip('_')}__" in IN_PLACE_OPERATIONS
    if name.endswith("__"):  # torch.Tensor.__imul__, torch.Tensor.__getattribute__
        return path.startswith("torch.Tensor.") and name not in _NEW_BY_OPERATION
    return name.endswith("_")


def changes_in_place(method: str) -> bool:
    """Whether a method of a list, a tensor or the like changes it, by its name."""
    named = method.endswith("_") and not method.endswith("__")
    return named or method in MUTATING_METHODS or method in IN_PLACE_OPERATIONS


def changes_what_it_is_given(module: Module, node: ast.AST) -> bool:
    """Whether code binds a name to what may work in place: ``act = partial(F.silu, inplace=True)``."""
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.expr):
        return False
    for part in walk(node):
        match part:
            case ast.Call() if may_tell_in_place(part):
                return True
            case ast.Attribute(attr=attr) if attr == "apply" or changes_in_place(attr):  # of an autograd function
                return True
            case ast.Name(id=name) if works_in_place(module.origin(name)):
                return True
    return False


def is_told_in_place(call: ast.Call) -> bool:
    """Whether a call of anything says by name that it is to work in place: ``act(x, inplace=True)``."""
    hidden = [v for k in call.keywords if k.arg is None for v in _named(k.value, ("inplace", "out"))]
    return is_told(call.keywords) or not all(map(is_false, hidden))


def may_tell_in_place(node: ast.AST) -> bool:
    """Whether an expression says, in any of its calls, what may mean to work in place: ``mk("ReLU", True)``."""
    for call in (inner for inner in walk(node) if isinstance(inner, ast.Call)):
        given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg is None)]
        parts = [part for argument in given for part in walk(argument) if not isinstance(argument, ast.Call)]
        if is_told_in_place(call) or any(isinstance(part, ast.Constant) and part.value is True for part in parts):
            return True
    return False


def is_told(keywords: Iterable[ast.keyword]) -> bool:
    """Whether options say that something is to work in place, as far as they are in sight."""
    return not all(is_false(keyword.value) for keyword in keywords if keyword.arg == "inplace")


def _named(options: ast.expr, names: Collection[str]) -> Iterator[ast.expr]:
    """What a dictionary that is written out has under some names."""
    if isinstance(options, ast.Dict):
        pairs = zip(options.keys, options.values, strict=True)
        yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value in names)


def is_false(value: ast.expr) -> bool:
    """Whether an option is surely not set: ``False``, ``None``."""
    return isinstance(value, ast.Constant) and not value.value


def may_be_told_in_place(path: str) -> bool:
    """Whether a function of torch has an option to work in place, ``F.silu``."""
    return path.rpartition(".")[2] in _IN_PLACE_AT


def changed_arguments(path: str, call: ast.Call) -> list[ast.expr]:
    """The arguments that a function of a library surely changes, or one that is pure does after all where called so."""
    name = path.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    every = [*call.args, *(keyword.value for keyword in call.keywords)]
    if works_in_place(path):
        return call.args[:1] if path.startswith("operator.") else every
    hidden = len(keywords) < len(call.keywords) and path not in _NEVER_IN_PLACE  # **options
    hidden |= name in _IN_PLACE_AT and any(isinstance(argument, ast.Starred) for argument in call.args)
    if "out" in keywords and not hidden and not any(name in keywords for name in ("inplace", "max_norm")):
        return [] if is_false(keywords["out"]) else [keywords["out"]]
    if (
        hidden
        or any(not is_false(keywords[name]) for name in _TELLING & keywords.keys())
        or len(call.args) > _IN_PLACE_AT.get(name, len(call.args))
    ):
        return every
    if path in _STATISTICS:
        first = _STATISTICS[path]
        return [*call.args[first : first + 2], *(keywords[n] for n in ("running_mean", "running_var") if n in keywords)]
    return []
