"""The parameters of a function: their names and their default values."""

from __future__ import annotations

import ast
from collections.abc import Mapping


def positional_names(arguments: ast.arguments) -> list[str]:
    """The names of the parameters that may be given by their place, in order."""
    return [parameter.arg for parameter in (*arguments.posonlyargs, *arguments.args)]


def defaults_of(arguments: ast.arguments) -> Mapping[str, ast.expr]:
    """The default of each parameter that has one, in the order in which they are written."""
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    found = {parameter.arg: value for parameter, value in zip(positional[first:], arguments.defaults, strict=True)}
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {parameter.arg: value for parameter, value in keywords if value is not None}
