"""What names really hold after some statements of a method: a tiny model is run, and claims are held against it.

Every number is its own: two batches, three channels, seven features, and grids of patches of which no side is any of
these. So nothing is right by coincidence. A patch that changes shows where in a tensor it lies.
"""

import ast
import functools
import itertools
import textwrap
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from sources import TINY

from codegen.model.annotations import annotate
from codegen.model.facts import Facts
from codegen.model.shape import keeps_batch, token_order
from codegen.source.index import Index, Module
from codegen.types import Release

LAYERS = """
import functools
import math
import typing
from collections import OrderedDict
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = Tuple[int, int]
MODE = 3


def rest_of_module():
    global MODE
    MODE = 2.5


def to_tokens(x):
    return x.flatten(2).transpose(1, 2)


def fold(x):
    return x.flatten(0, 1)


def fold_(x):
    x.data = x.data.flatten(0, 1)


def early(x, flag):
    if flag:
        return to_tokens(x)
    return x


def either(first, second=None, *, third=None):
    return first if second is None else second


def last(*values, **named):
    return values[-1]


def add(values, value=2.5):
    values.append(value)


def falls_off(x, flag):
    if flag:
        return x


def swallows(text):
    with suppress(ValueError):
        return float(text)


def counts(n):
    return n if n < 2 else counts(n - 1) + 0.5


def yields(x):
    yield x


class PatchEmbed(nn.Module):
    def __init__(self, dim=7, flatten=True):
        super().__init__()
        self.grid_size = (8, 10)
        self.flatten = flatten
        self.proj = nn.Conv2d(3, dim, 2, 2)

    def forward(self, x):
        x = self.proj(x)
        if self.flatten:
            x = x.flatten(2).transpose(1, 2)
        return x


class Last(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Measured(nn.Module):
    def forward(self, x) -> Tuple[torch.Tensor, Size]:
        return x, (x.shape[-2], x.shape[-1])


class Fold(nn.Module):
    def forward(self, x):
        return x.flatten(0, 1)


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class Pair(nn.Module):
    def forward(self, x):
        return x, 2.5
"""
CLASS = """

class Tiny(nn.Module):
    kind = 3

    def __init__(self, dynamic=False, scale=1, depth: int = 3, embed_layer=PatchEmbed):
        super().__init__()
{parts}
        self.dynamic = dynamic
        self.scale = scale
        self.depth = depth
        self.grid = (8, 10)
{init}

    def helper(self, x):
        return self.patch_embed(x)

    def either(self, x, flag=False):
        if flag:
            return x.flatten(0, 1)
        return x

    def first(self, *values, **named):
        return values[0]

    def pick(self, a, b=None, *, c=0):
        return a if b is None else b

    def collect(self, values):
        values.append(2.5)

    def folds_(self, x):
        x.data = x.data.flatten(0, 1)
        return 1

    def deep(self, x, n=3):
        return x if n == 0 else self.deep(x, n - 1)

    @staticmethod
    def stat(x, y):
        return y

    @classmethod
    def by_class(cls, x, y):
        return y

    @property
    def prop(self):
        return 2.5
{methods}

    def forward_features(
        self, x, mask: Optional[torch.Tensor] = None, flag: bool = False, count: int = 4, plain=None
    ):
{body}
        return dict(locals())
"""
PARTS = {
    "patch_embed": "PatchEmbed()",
    "conv": "nn.Conv2d(3, 7, 2, 2)",
    "norm": "nn.LayerNorm(7)",
    "act": "nn.GELU()",
    "drop": "nn.Dropout(0.)",
    "last": "Last()",
    "fold": "Fold()",
    "flat": "Flat()",
    "pair": "Pair()",
    "measured": "Measured()",
    "given": "embed_layer()",
    "stems": "nn.ModuleList([PatchEmbed() for _ in range(2)])",
    "mixed": "nn.ModuleList([nn.Identity(), Fold()])",
    "row": "nn.Sequential(nn.Conv2d(3, 7, 2, 2), nn.GELU())",
    "cls_token": "nn.Parameter(torch.ones(1, 1, 7))",
    "pos_embed": "nn.Parameter(torch.ones(1, 80, 7))",
    "views": "nn.Parameter(torch.ones(13, 1, 1, 1, 1))",
    "maybe": "nn.Parameter(torch.ones(1, 80, 7)) if dynamic else None",
}
"""What the model holds, as far as a program mentions it."""


@dataclass(frozen=True)
class Program:
    """Statements of ``forward_features``, and what is added to the model that runs them."""

    body: str
    init: str = ""
    methods: str = ""
    module: str = ""

    def __str__(self) -> str:
        parts = (self.module[:80], self.init, self.methods, self.body)
        return " | ".join(part.strip().replace("\n", "; ") for part in parts if part)

    @functools.cached_property
    def source(self) -> str:
        """The module of the model, after :data:`LAYERS`."""
        body, init = (textwrap.indent(text or "pass", " " * 8) for text in (self.body, self.init))
        methods = textwrap.indent(self.methods, " " * 4)
        own = f"{self.module}{self.init}{self.methods}{self.body}".replace("self.helper", "self.patch_embed")
        parts = "".join(f"        self.{name} = {made}\n" for name, made in PARTS.items() if name in own)
        return self.module + CLASS.format(body=body, init=init, methods=methods, parts=parts)


@dataclass(frozen=True)
class Setting:
    """How a program is run once. Between them they take every arm that a flag decides."""

    batch: int
    size: tuple[int, int]
    flag: bool = False
    masked: bool = False
    plain: object = None
    dynamic: bool = False
    scale: object = 1
    training: bool = False

    def images(self) -> torch.Tensor:
        """Images of its own, which the program may change."""
        return _images(self.batch, self.size).clone()


@functools.cache
def _images(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) + 0.5


SETTINGS = (
    Setting(11, (16, 20)),
    Setting(6, (10, 32), flag=True, masked=True, plain=3),
    Setting(6, (10, 32), masked=True, plain="a", dynamic=True, scale=2.5, training=True),
    Setting(11, (16, 20), flag=True, dynamic=True, training=True),
)


def run(program: Program, setting: Setting, images: torch.Tensor | None = None) -> Mapping[str, object]:
    """The names after the statements.

    Raises:
        Exception: what the statements raise.
    """
    names: dict[str, object] = {"__name__": "tiny"}
    exec(_compiled(LAYERS), names)
    names["goes_on"] = _counting()
    exec(_compiled(program.source), names)
    images = setting.images() if images is None else images
    torch.default_generator.manual_seed(0)
    model = names["Tiny"](dynamic=setting.dynamic, scale=setting.scale).eval()
    for parameter in model.parameters():
        parameter.data.uniform_(0.5, 1.5)
    model.training = setting.training
    mask = torch.ones(setting.batch, 80) if setting.masked else None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.forward_features(images, mask, setting.flag, plain=setting.plain)


class Endless(Exception):
    """A program that loops on and on."""


def _counting(most: int = 200) -> Callable[[], bool]:
    """A question for loops, which is true that many times."""
    rounds = itertools.count()

    def goes_on() -> bool:
        if next(rounds) == most:
            raise Endless
        return True

    return goes_on


class _Bounded(ast.NodeTransformer):
    def visit_While(self, node: ast.While) -> ast.While:
        self.generic_visit(node)
        question = ast.Call(ast.Name("goes_on", ast.Load()), [], [])
        node.test = ast.BoolOp(ast.And(), [node.test, question])
        return node


@functools.lru_cache(maxsize=64)
def _compiled(source: str) -> types.CodeType:
    tree = _Bounded().visit(ast.parse(source))
    return compile(ast.fix_missing_locations(tree), "tiny.py", "exec")


@functools.lru_cache(maxsize=16)
def observed(program: Program) -> tuple[tuple[Setting, Mapping[str, object]], ...]:
    """The settings in which the statements come to their end, and the names then.

    Raises:
        Exception: what the statements raise in the first, if they come to their end in none.
    """
    found = []
    errors = []
    for setting in SETTINGS:
        try:
            found.append((setting, run(program, setting)))
        except Exception as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return tuple(found)


@functools.cache
def _layers() -> ast.Module:
    return ast.parse(LAYERS)


class Claims:
    """What the package claims of the names after a program."""

    def __init__(self, program: Program) -> None:
        path, text = TINY, LAYERS + program.source
        tree = ast.Module([*_layers().body, *ast.parse(program.source).body], [])
        index = Index(Release("1.2.3", "memory", {path: text}), {path: Module(path, text, tree)})
        self.facts = Facts(index, index.classes(index.parse(path))["Tiny"])
        method = self.facts.cls.members["forward_features"]
        assert isinstance(method, ast.FunctionDef)
        self.statements = method.body[:-1]
        self.parameters = {argument.arg: argument.annotation for argument in method.args.args[1:]}

    def types(self) -> Mapping[str, str]:
        return annotate(self.facts, self.statements, self.parameters, "x")

    def batch(self) -> frozenset[str]:
        return keeps_batch(self.facts, self.statements, "x")

    def order(self, name: str) -> str:
        return token_order(self.facts, self.statements, "x", name)


@functools.lru_cache(maxsize=16)
def claims_of(program: Program) -> Claims:
    return Claims(program)


def wrong_types(program: Program) -> list[str]:
    """Every type that is claimed of a name and is not that of its value."""
    claimed = claims_of(program).types()
    return [
        f"{name} is {values[name]!r:.80}, claimed {text}"
        for _, values in observed(program)
        for name, text in claimed.items()
        if text and name in values and not has_type(values[name], text)
    ]


def has_type(value: object, text: str) -> bool:
    """Whether a value is of a type as generated code spells it."""
    return _has_type(value, eval(text, {"torch": torch, **vars(typing)}))


def _has_type(value: object, kind: object) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, one) for one in arguments)
    if not arguments:
        return _is_plain(value, origin or kind)
    if origin is tuple and arguments[-1] is Ellipsis:
        return isinstance(value, tuple) and all(_has_type(item, arguments[0]) for item in value)
    if origin is tuple:
        return (
            type(value) is tuple
            and len(value) == len(arguments)
            and all(_has_type(*pair) for pair in zip(value, arguments, strict=True))
        )
    if origin is list:  # TorchScript has lists where torch returns sizes, or tuples of tensors
        tensors = isinstance(value, tuple) and arguments == (torch.Tensor,)
        return (tensors or isinstance(value, list | torch.Size)) and all(_has_type(i, arguments[0]) for i in value)
    if origin is dict:
        pairs = value.items() if isinstance(value, dict) else ()
        return isinstance(value, dict) and all(
            _has_type(key, arguments[0]) and _has_type(item, arguments[1]) for key, item in pairs
        )
    return isinstance(value, origin)


def _is_plain(value: object, kind: object) -> bool:
    if kind in (int, float, bool, str):
        return type(value) is kind
    return value is None if kind in (None, type(None)) else isinstance(value, kind)


def wrong_batch(program: Program) -> list[str]:
    """Every name of which it is claimed that its rows are the images, and they are not.

    A norm over the batch may mix them: most of an image is still in its own row. What is ``None`` has no rows.
    """
    claimed = claims_of(program).batch()
    wrong = []
    for setting, values in observed(program):
        names = sorted(name for name in claimed if values.get(name) is not None)
        for name in names:
            value = values[name]
            if not isinstance(value, torch.Tensor) or value.shape[:1] != (setting.batch,):
                wrong.append(f"{name} is {getattr(value, 'shape', value)!r:.80} of {setting.batch} images")
        names = [name for name in names if not _is_untouched(values[name], setting)]
        if not names or wrong:
            continue
        images = setting.images()
        images[1] *= 0.5
        after = run(program, setting, images)
        for name in names:
            change = _change(values[name], after.get(name))
            if change is None or (change.any() and not _most(change.flatten(1).amax(1))[1]):
                wrong.append(f"{name} has image 1 in another row")
    return wrong


def _is_untouched(value: object, setting: Setting) -> bool:
    return isinstance(value, torch.Tensor) and torch.equal(value, _images(setting.batch, setting.size))


def _change(before: object, after: object) -> torch.Tensor | None:
    """How much each element of a tensor changes; none where it is no tensor of that shape any more."""
    if not (isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor) and before.shape == after.shape):
        return None
    return torch.nan_to_num(after.double() - before.double()).abs()


def _most(change: torch.Tensor) -> torch.Tensor:
    """Where the most changes."""
    return (change > 0) & (change >= change.max() * 0.9)


AXES = {"NLC": (1,), "NHWC": (1, 2), "NCHW": (2, 3)}


def wrong_order(program: Program) -> list[str]:
    """Every layout that is claimed of a name, where its patches do not lie so. What is ``None`` has none."""
    claims = claims_of(program)
    wrong = []
    orders: dict[str, str] = {}
    for setting, values in observed(program):
        for name in {name for name in values if name in program.body} - orders.keys() - {"self"}:
            orders[name] = claims.order(name)
        names = [
            name
            for name in sorted(values.keys() & orders.keys())
            if orders[name]
            and values[name] is not None
            and not (orders[name] == "NCHW" and _is_untouched(values[name], setting))
        ]
        places = _places(program, setting, values, names) if names else {}
        wrong += [
            f"{name} is {getattr(values[name], 'shape', values[name])!r:.80}, claimed {orders[name]}"
            for name in names
            if not _lies(values[name], orders[name], places[name])
        ]
    return wrong


def _places(
    program: Program, setting: Setting, values: Mapping[str, object], names: Sequence[str]
) -> Mapping[str, Mapping[tuple[int, int], torch.Tensor | None]]:
    """How each tensor changes with one patch of an image, for three patches in two rows and two columns."""
    places: dict[str, dict[tuple[int, int], torch.Tensor | None]] = {name: {} for name in names}
    height, width = setting.size
    for row, column in ((0, 0), (0, width - 2), (height - 2, width - 2)):
        images = setting.images()
        images[1, :, row : row + 2, column : column + 2] *= 0.5
        after = run(program, setting, images)
        for name in names:
            places[name][row, column] = _change(values.get(name), after.get(name))
    return places


def _lies(value: object, order: str, places: Mapping[tuple[int, int], torch.Tensor | None]) -> bool:
    """Whether each patch has a place of its own and fills the channels there; those in a row share their row."""
    if not isinstance(value, torch.Tensor) or value.ndim != len(order):
        return False
    seen = {}
    for patch, change in places.items():
        if change is None:
            return False
        if not change.any():  # nothing of this patch is left
            continue
        moved = change.movedim(order.index("C"), -1)  # (N, L, C) or (N, H, W, C)
        image, *spot = _most(moved.amax(-1)).nonzero()[0].tolist()
        channels = moved[(image, *spot)]
        if value.dtype != torch.bool and 2 * int((channels > channels.max() * 1e-3).sum()) < len(channels):
            return False
        seen[patch] = spot
    if order == "NLC":
        return value.shape[1] == 1 or all(seen[one] != seen[other] for one, other in itertools.combinations(seen, 2))
    return all(
        (4 * abs(seen[one][side] - seen[other][side]) <= value.shape[axis]) == (one[side] == other[side])
        or value.shape[axis] == 1
        for one, other in itertools.combinations(seen, 2)
        for side, axis in enumerate(AXES[order])
    )
