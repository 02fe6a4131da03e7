"""The words for what a module is, as far as the rest of the analysis asks."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from codegen.source.index import Class, Index, Module


@dataclass(frozen=True)
class Function:
    """A function that an attribute holds.

    Attributes:
        module: Where it stands.
        node: It.
        owner: The class whose method it is, if it is one of ``self``.
    """

    module: Module
    node: ast.FunctionDef
    owner: Class | None = None


Kind = Class | Function | str
"""A class or a function of the release, or a word: ``torch`` for a module of torch that makes another tensor of what
it is given, ``view`` for one that may hand it on, ``in place`` for one that changes it, ``statistics`` for one that
keeps some of what it has seen,
``foreign`` for one of a library of layers, ``hooked`` for what has hooks, ``function`` for code of the release of which
no more is known, ``inner`` for a function
and ``box`` for a list or the like that are made in the method, ``?`` for what is not known."""
STATISTICS = "statistics"
IN_PLACE = "in place"
TORCHS = frozenset({"torch", "view", STATISTICS, IN_PLACE})
"""The kinds of torch's modules."""
CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
_LAYERS = tuple(f"{name}." for name in ("mmcv", "mmengine", "torchvision", "xformers", "flash_attn", "apex", "fvcore"))
"""Libraries whose layers know nothing of the files of users, unless these hand them something."""
_CHOICES = re.compile(
    r"(^|_)(norm|act|drop|dropout|conv|pool|aa|bn|ln)(\d?d?|_layer|_cls|_fn)*$|(^|_)(norm|act|activation)_"
)


def is_of_layers(index: Index, path: str) -> bool:
    """Whether a name is of a library of layers, whose files are not those of the user."""
    return path.startswith(_LAYERS) and index.module(path.partition(".")[0]) is None


def is_believed(module: Module, name: str) -> bool:
    """Whether a name says what is made: in timm, ``norm_layer`` and the like make modules that compute and no more."""
    return module.is_timms and _CHOICES.search(name) is not None
