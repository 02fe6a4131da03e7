"""The module of the package in which the split classes of a model file stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.types import Outcome

_RESERVED = frozenset(
    {"__init__", "_drop", "_factory", "_layout", "_manifest", "_masks", "_split", "_tokens", "masking"}
)


def module_name(module: str) -> str:
    """The generated module for one of timm's: ``timm.models.vision_transformer_sam`` is ``vit_sam``."""
    name = module.removeprefix("timm.models.").replace(".", "_")
    short = "vision_transformer"
    return f"vit{name.removeprefix(short)}" if name.startswith(short) else name


def module_names(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """The generated module of each module. Somebody's own ``vit.py`` comes before timm's, which makes way."""
    modules = sorted({outcome.module for outcome in outcomes}, key=lambda name: (name.startswith("timm."), name))
    names: dict[str, str] = {}
    for module in modules:
        name = module_name(module)
        while name in _RESERVED or name in names.values():
            name += "_"
        names[module] = name
    return names
