"""How options of the command line are read."""

from __future__ import annotations

import ast
import math
from typing import Any

import click
from views import Size


def parse_kwargs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Any:
    """Read what an option that may be given several times says."""
    return read_kwargs(values)


def read_kwargs(values: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """Read NAME=VALUE, where the value is a Python literal or else a string.

    Raises:
        BadParameter: There is no ``=``.
    """
    parsed = []
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        try:
            parsed.append((name, ast.literal_eval(value)))
        except (ValueError, SyntaxError):
            parsed.append((name, value))
    return tuple(parsed)


def parse_size(context: click.Context, parameter: click.Parameter, value: str | None) -> Size | None:
    """Read HEIGHTxWIDTH, or one number for both."""
    if value is None:
        return None
    sides = value.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise click.BadParameter(f"{value!r} is not of the form SIDE or HEIGHTxWIDTH")
    return int(sides[0]), int(sides[-1])


def parse_range(
    context: click.Context, parameter: click.Parameter, value: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Read two numbers, of which the first is not the larger one."""
    if value is not None and value[0] > value[1]:
        raise click.BadParameter(f"{value[0]} is more than {value[1]}")
    return value


class Rate(click.FloatRange):
    """A number that is not negative, and is one."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not math.isfinite(float(super().convert(value, parameter, context))):
            self.fail(f"{value} is not a number to compute with", parameter, context)
        return super().convert(value, parameter, context)
