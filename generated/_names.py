"""Lets a generated module answer for the names of the module that its models come from."""

from __future__ import annotations

import importlib
from typing import Any


def look_up(module: str, name: str) -> Any:
    """What a generated module gives for a name that it does not have.

    A model of a split class comes from a generated module, and what belongs to it is looked up there by
    ``importlib.import_module(type(model).__module__)``: timm finds ``checkpoint_filter_fn`` so, for instance.

    Args:
        module: The module that the models come from, ``timm.models.eva``. It is imported by then.
        name: The name.

    Raises:
        AttributeError: It is not there either; or it is one of those by which a module accounts for itself
            (``__all__``, ``__file__``), and then that module's account is not the generated one's.
    """
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(f"a generated module has no {name} of {module}", name=name)
    return getattr(importlib.import_module(module), name)
