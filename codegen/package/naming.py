"""The module of the package in which the split classes of a model file stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.package import templates
from codegen.types import Outcome


def module_name(module: str) -> str:
    """The generated module for one of timm's: ``timm.models.vision_transformer_sam`` is ``vit_sam``."""
    name = module.removeprefix("timm.models.").replace(".", "_")
    short = "vision_transformer"
    return f"vit{name.removeprefix(short)}" if name.startswith(short) else name


def module_names(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """The generated module of each module. A user's ``vit.py`` keeps its name, and timm's gets another."""
    modules = sorted({outcome.module for outcome in outcomes}, key=lambda name: (name.startswith("timm."), name))
    reserved = {"__init__", *(name.removesuffix(".py") for name in templates.runtime_modules())}
    names: dict[str, str] = {}
    for module in modules:
        name = module_name(module)
        while name in reserved or name in names.values():
            name += "_"
        names[module] = name
    return names
