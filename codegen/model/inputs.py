"""What a model takes: an image batch or something else, and what docstrings say of it further inside.

Some ``forward_features`` leave the description of their parameters to the module that they hand them to.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from codegen.model.facts import Facts
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.documentation import is_entry, parameter_texts
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import walk
from codegen.types import Parameter

_IMAGES = re.compile(r"(x|inputs?|images?|imgs?)\d*")
_TENSORS = frozenset({"", "torch.Tensor", "Tensor"})
_DEPTH = 4


def is_image_batch(module: str, name: str, annotation: ast.expr | None) -> bool:
    """Whether a parameter is an image batch, (B, C, H, W), and nothing else.

    timm's models are made for image batches, which it calls ``x``. Where another name or type says that it takes
    something else as well, and in models that are not timm's, that is not known.

    Args:
        module: Import path of the module in which the method stands.
        name: Its first parameter.
        annotation: Of the parameter.
    """
    kind = ast.unparse(annotation) if annotation is not None else ""
    return module.startswith("timm.") and _IMAGES.fullmatch(name) is not None and kind in _TENSORS


def described(facts: Facts, statements: Sequence[ast.stmt], parameter: Parameter) -> Parameter:
    """A parameter with a text: its own, or else that of the method or module to which statements hand it.

    Args:
        facts: The class.
        statements: Those of the embedding.
        parameter: One of its parameters.
    """
    if parameter.texts:
        return parameter
    return replace(parameter, texts=tuple(_texts_inside(facts, statements, parameter.name, 0))[:1])


def _texts_inside(facts: Facts, statements: Sequence[ast.stmt], name: str, depth: int) -> Iterator[str]:
    """The entries for a name in the docstrings of what it is handed to as it is, under that name."""
    for statement in statements:
        for call in walk(statement):
            if not isinstance(call, ast.Call) or depth == _DEPTH:
                continue
            for inner, function in _called(facts, call):
                taken = _taken_as(function, call, name)
                texts = parameter_texts(ast.get_docstring(function) or "", {taken}).get(taken, ())
                if texts and is_entry(texts[0]):
                    yield texts[0].replace(taken, name, 1)
                elif taken:
                    yield from (
                        text.replace(taken, name, 1) for text in _texts_inside(inner, function.body, taken, depth + 1)
                    )
        if name in bound_names(statement):
            return


def _called(facts: Facts, call: ast.Call) -> Iterator[tuple[Facts, ast.FunctionDef]]:
    """The method that a call runs, if it is known: one of ``self``, or the ``forward`` of an attribute of it."""
    path = dotted(call.func)
    if not path.startswith(f"{facts.prefix}."):
        return
    name = path.removeprefix(f"{facts.prefix}.")
    own = facts.method(name)
    if own is not None:
        yield Facts(facts.index, facts.cls), own[1]
        return
    classes = list({cls.path: cls for cls in facts.classes(name)}.values())
    if len(classes) == 1:
        inner = Facts.of(facts.index, classes[0])
        forward = inner.method("forward")
        if forward is not None:
            yield inner, forward[1]


def _taken_as(function: ast.FunctionDef, call: ast.Call, name: str) -> str:
    """The parameter of a method that gets a variable, empty if none does."""
    parameters = positional_names(function.args)[1:]
    pairs = [*zip(parameters, call.args, strict=False), *((k.arg or "", k.value) for k in call.keywords)]
    return next((taken for taken, value in pairs if isinstance(value, ast.Name) and value.id == name), "")
