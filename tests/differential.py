"""Run a model class and its split side by side, on a runtime that records instead of calculating.

Modules of the model only note that they were called, with what, and give a value that says so. So two runs agree if
and only if they do the same things in the same order to the same things; no tensor is needed for that.
"""

import ast
import builtins
import contextlib
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from sources import release_of, with_statements_alone

from codegen.generate import RenderedPackage, generate
from codegen.package.signatures import arguments as passed
from codegen.package.signatures import declarations, later_arguments
from codegen.types import Refusal, Split

MODULE = "timm.models.tiny"


@dataclass(frozen=True)
class Value:
    """What a module gave for what it was given. Arithmetic on it is remembered, not done."""

    how: str
    of: tuple[Any, ...] = ()

    def __add__(self, other: Any) -> "Value":
        return Value("+", (self, frozen(other)))

    def __mul__(self, other: Any) -> "Value":
        return Value("*", (self, frozen(other)))

    def flatten(self, *dims: int) -> "Value":
        return Value("flatten", (self, *dims))

    def transpose(self, *dims: int) -> "Value":
        return Value("transpose", (self, *dims))

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, 3, 4, 4)


def frozen(value: Any) -> Any:
    """A copy that later changes to lists and dicts do not reach."""
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(frozen, value))
    if isinstance(value, dict):
        return ("dict", *((key, frozen(inner)) for key, inner in value.items()))
    if isinstance(value, types.FunctionType | types.GeneratorType):
        return type(value).__name__
    if isinstance(value, Model):
        return {name: frozen(inner) for name, inner in vars(value).items()}
    if isinstance(value, Part):
        return value.name
    return value


class Part:
    """A module, parameter or container: called, it records that in the journal of its model."""

    def __init__(self, name: str, journal: list[Any], parts: int = 3) -> None:
        self.name, self.journal, self.parts = name, journal, parts
        self.grid_size = (7, 9)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.journal.append((self.name, frozen(args), frozen(kwargs)))
        result = Value(self.name, (frozen(args), frozen(kwargs)))
        return (result, Value("second of " + self.name, (frozen(args),))) if "pair" in self.name else result

    def __getitem__(self, number: int) -> "Part":
        if not -self.parts <= number < self.parts:
            raise IndexError(number)
        return Part(f"{self.name}.{number % self.parts}", self.journal)

    def __len__(self) -> int:
        return self.parts

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: Any) -> Value:
        return Value(self.name) + other


class _Made:
    """What a constructor of a module gave, until it is known under which name the model keeps it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


class Model:
    """Stands for ``nn.Module``: what ``build`` sets to a module becomes a recording one."""

    def __init__(self) -> None:
        self.journal: list[Any] = []
        self.build()
        for name, value in vars(self).items():
            if isinstance(value, _Made):
                setattr(self, name, Part(name, self.journal))


class _Tools(types.ModuleType):
    """Stands for ``torch`` and ``torch.nn``, which code under test imports and annotations name."""

    Tensor = Value
    Module = Model

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "no_grad":
            return contextlib.nullcontext
        return _Made


_TOOLS = _Tools("torch")
_TOOLS.nn = _TOOLS
_SPLIT = types.SimpleNamespace(SplitModel=type("SplitModel", (), {}))


def execute(text: str, modules: dict[str, Any]) -> dict[str, Any]:
    """Run the text of a module in which imports find ``modules`` and the stand-ins."""

    def find(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if name in modules:
            return modules[name]
        if name.partition(".")[0] == "torch":
            return _TOOLS
        if (level, name) == (1, "_split"):
            return _SPLIT
        if name in ("typing", "__future__", "math"):
            return builtins.__import__(name, globals, locals, fromlist, level)
        raise ImportError(name)

    names: dict[str, Any] = {"__builtins__": {**vars(builtins), "__import__": find}, "__name__": MODULE}
    exec(compile(text, "<model>", "exec", dont_inherit=True), names)
    return names


def package_of(source: str) -> RenderedPackage:
    """The package for a release of one file. Its files are as rendered: the formatter takes most of the time."""
    with patch("codegen.package.render.format_files", dict):
        return generate(release_of(source))


@dataclass(frozen=True)
class Run:
    """What can be seen of one call: what it gave or raised, what was called, and what the model is like after it."""

    result: Any
    journal: Any
    state: Any


def observe(make: Callable[[], Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Run:
    model = make()
    try:
        result = frozen(model.forward_features(*arguments, **keywords))
    except Exception as error:  # whatever the program under test raises is its behaviour
        result = (type(error).__name__, str(error))
    state = {name: frozen(value) for name, value in vars(model).items() if name != "journal"}
    return Run(result, tuple(model.journal), state)


def halves(split: Split) -> Callable[..., Any]:
    """The method that runs both halves of a split, as it is generated where the class does not delegate."""
    call = ", ".join(
        [f"self.embed({passed(split.embed.parameters)})", *later_arguments(split.forward_stages.parameters)]
    )
    declared = ast.parse(
        f"def halves(self, {declarations(split.forward_features)}):\n    return self.forward_stages({call})"
    )
    names: dict[str, Any] = {}
    for node in ast.walk(declared):
        if isinstance(node, ast.arg):
            node.annotation = None
    exec(compile(declared, "<halves>", "exec"), names)
    return names["halves"]


def both(source: str, *arguments: Any, **keywords: Any) -> tuple[Run, Run] | Refusal:
    """Run ``Tiny.forward_features`` as it is written and as it is split, or say why it is not split."""
    package = package_of(source)
    (outcome,) = (o for o in package.outcomes if o.name == "Tiny")
    if isinstance(outcome.result, Refusal):
        return outcome.result
    original = execute(source, {})
    generated = execute(
        with_statements_alone(package.files["tiny.py"]), {MODULE: types.SimpleNamespace(**original), "typing": typing}
    )
    if outcome.result.delegate is not None:  # the class keeps its own forward_features: run the halves in its place
        generated["TinySplit"].forward_features = halves(outcome.result)
    arguments = arguments or (Value("images"),)
    return (
        observe(original["Tiny"], arguments, keywords),
        observe(generated["TinySplit"], arguments, keywords),
    )


MODULES = {
    "patch_embed": "nn.Conv2d()",
    "pos_embed": "nn.Parameter()",
    "pos_drop": "nn.Dropout()",
    "patch_embeds": "nn.ModuleList([nn.Conv2d() for _ in range(3)])",
    "blocks": "nn.ModuleList([nn.Block() for _ in range(3)])",
    "norm": "nn.LayerNorm()",
    "flag": "True",
    "depth": "3",
    "items": "[1, 2]",
}


def tiny(body: str, parameters: str = "x", *, header: str = "", methods: str = "", **modules: str) -> str:
    """The source of a model with this body of ``forward_features``, and with these modules beside the usual ones."""
    made = "\n".join(f"self.{name} = {value}" for name, value in {**MODULES, **modules}.items())
    return (
        f"import torch\nfrom torch import nn\n{textwrap.dedent(header)}\n\n"
        "class Tiny(nn.Module):\n    def build(self):\n"
        + textwrap.indent(made, " " * 8)
        + "\n\n"
        + textwrap.indent(textwrap.dedent(methods), " " * 4)
        + f"\n    def forward_features(self, {parameters}):\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8)
        + "\n"
    )


def same(source: str, *arguments: Any, **keywords: Any) -> Run:
    """The run that the model and its split have in common."""
    runs = both(source, *arguments, **keywords)
    assert not isinstance(runs, Refusal), runs
    original, split = runs
    assert split == original
    return split


def reason(source: str) -> str:
    """Why a model is refused."""
    runs = both(source)
    assert isinstance(runs, Refusal)
    return runs.reason
