"""Parameters and arguments of the generated methods, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from codegen.types import Field, Intermediates, Method, Parameter, Split


def entry_parameter(
    name: str, record: str, fields: Sequence[Field], method: Method
) -> tuple[Parameter, tuple[str, ...]]:
    """The first parameter of a method that takes what another returns, and the statement that unpacks it, if any."""
    if not record:
        (tokens,) = fields
        declaration = f"{tokens.name}: {tokens.annotation}" if tokens.is_typed else tokens.name
        return Parameter(tokens.name, declaration), ()
    whole = _free(name, method)
    return Parameter(whole, f"{whole}: {record}"), (f"{', '.join(field.name for field in fields)} = {whole}",)


SIZE_TYPE = "Tuple[int, int]"
"""The annotation of the height and width of images."""


def entry_of_intermediates(split: Split, intermediates: Intermediates) -> tuple[Parameter, tuple[str, ...]]:
    """The first parameter of ``forward_stages_intermediates``, and the statements that take what is needed of it."""
    taken = dict(intermediates.taken)
    stages = intermediates.stages
    if intermediates.whole:  # an inner model takes what it needs of it
        annotation = split.embedding or (split.fields[0].annotation if split.fields[0].is_typed else "")
        typed = f": {annotation}" if annotation else ""
        return Parameter(intermediates.whole, f"{intermediates.whole}{typed}"), ()
    if not split.embedding:
        (field,) = split.fields
        return entry_parameter("", "", (replace(field, name=taken.get(field.name, field.name)),), stages)
    named = tuple(replace(field, name=taken.get(field.name, "_")) for field in split.fields)
    whole, unpacked = entry_parameter("embedding", split.embedding, named, stages)
    if len(taken) == len(split.fields):
        return whole, unpacked
    return whole, tuple(f"{name} = {whole.name}.{field}" for field, name in taken.items())


def _free(name: str, method: Method) -> str:
    """A name for the embedding as a whole that the body does not use."""
    text = "\n".join(method.body)
    while re.search(rf"\b{name}\b", text):
        name += "_"
    return name


def returned_type(record: str, fields: Sequence[Field]) -> str:
    """The annotation of what a method returns, with its arrow; empty where its type is not known."""
    return f" -> {record or fields[0].annotation}" if record or fields[0].is_typed else ""


def arguments(parameters: Sequence[Parameter]) -> str:
    return ", ".join([parameters[0].name, *later_arguments(parameters[1:])])


def later_arguments(parameters: Sequence[Parameter]) -> list[str]:
    """Arguments after the first: by name, as timm's own calls have them, where no ``*args`` would take their place."""
    spelled = {"*": "*{0}", "**": "**{0}", "positional-only": "{0}"}
    if any(p.kind == "*" for p in parameters):
        spelled["positional"] = "{0}"
    return [spelled.get(p.kind, "{0}={0}").format(p.name) for p in parameters]


def declarations(parameters: Sequence[Parameter]) -> str:
    """Declarations in a form that can stand between parentheses, with the ``/`` and ``*`` that they need."""
    listed: list[str] = []
    for number, parameter in enumerate(parameters):
        previous = parameters[number - 1].kind if number else ""
        if previous == "positional-only" and parameter.kind != "positional-only":
            listed.append("/")
        if parameter.kind == "keyword" and previous not in ("keyword", "*"):
            listed.append("*")
        listed.append({"*": "*", "**": "**"}.get(parameter.kind, "") + parameter.declaration)
    if parameters and parameters[-1].kind == "positional-only":
        listed.append("/")
    return ", ".join(listed)
