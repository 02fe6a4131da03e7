"""What the methods of a class store: on ``self``, and in the modules that its attributes hold."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from codegen.syntax.dataflow import dotted
from codegen.syntax.reaching import reaching
from codegen.syntax.walking import children, walk_for

PUTS = frozenset({"append", "insert", "extend", "add_module", "register_module", "__setitem__"})
"""Methods by which something is put into a container of modules."""
_UNREAD = ast.Call(ast.Name("", ast.Load()), [], [])  # stands for a value that is not in sight
_REGISTERS = ("add_module", "register_module", "set_submodule")
_ADDS = frozenset({"append", "insert", "add_module", "register_module"})
_ALTERS = frozenset({"extend", "pop", "set_submodule", "register_forward_hook", "register_forward_pre_hook"})


def stores_in(method: ast.AST) -> Iterator[ast.AST]:
    """The assignments and calls in code, in the order of :func:`~codegen.syntax.walking.walk`."""
    return walk_for(method, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.withitem, ast.Call)


def sets_in_disguise(node: ast.AST) -> bool:
    """Whether code may set attributes by ``exec``, or by ``setattr`` otherwise than ``setattr(part, name, act)``."""
    match node:
        case ast.Name("exec" | "eval"):
            return True
        case ast.Call(func=ast.Name("setattr"), args=args):
            return len(args) != 3 or any(isinstance(argument, ast.Starred) for argument in args)
    # it is handed on, or goes by another name
    return any(isinstance(child, ast.Name) and child.id == "setattr" for child in children(node))


def makes_container(value: ast.expr) -> bool:
    """Whether an expression makes a list or the like, which others may change."""
    displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    made = isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] in _CONTAINERS
    return made or isinstance(value, displays)


_CONTAINERS = frozenset({"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "Counter", "SimpleNamespace"})


def text_of(node: ast.expr) -> str | None:
    """A text that is written in parts, ``"patch_" + "embed"``; ``None`` for what is computed otherwise."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [text_of(left), text_of(right)]
        case ast.JoinedStr(values=values):
            parts = [text_of(value.value if isinstance(value, ast.FormattedValue) else value) for value in values]
        case _:
            return None
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None


@dataclass(frozen=True)
class Stores:
    """What some methods store.

    Attributes:
        values: What is assigned to each attribute of ``self``, or registered under its name.
        appended: What is appended to each attribute, as far as it is made on the spot.
        added: What is put into each attribute in another way, as far as it is made on the spot.
        replaced: Attributes some part of which is replaced by one that counts as added.
        altered: Attributes whose parts are changed in a way that is not in sight.
        rebound: Attributes the ``forward`` of which is set to another.
        told: What is set of what attributes hold: ``flatten`` of ``self.stem.flatten = False``.
    """

    values: dict[str, tuple[ast.expr, ...]] = field(default_factory=dict)
    appended: dict[str, tuple[ast.Call, ...]] = field(default_factory=dict)
    added: dict[str, tuple[ast.Call, ...]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    rebound: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    @staticmethod
    def of(methods: Iterable[ast.AST]) -> Stores:
        """Read the methods of a class."""
        found = Stores()
        for method in methods:
            found._read(method)
        return found

    def _read(self, method: ast.AST) -> None:
        local: dict[str, ast.expr] = {}
        changed: set[str] = set()  # local names for what something is put into later
        stored: list[tuple[str, ast.expr]] = []
        for node in stores_in(method):
            match node:
                case ast.Assign(targets=targets, value=value):
                    local |= {target.id: value for target in targets if isinstance(target, ast.Name)}
                    # self.stem = stem = nn.Sequential()
                    alias = next((t for t in targets if isinstance(t, ast.Name) and isinstance(value, ast.Call)), value)
                    stored += [pair for target in targets for pair in self._set(target, alias)]
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    stored += self._set(target, value)
                case ast.AugAssign(target=target, op=op, value=value) if is_attribute_of_self(target):
                    old = ast.Attribute(target.value, target.attr, ast.Load())
                    stored.append((target.attr, ast.BinOp(old, op, value)))
                case ast.For(target=target) | ast.withitem(optional_vars=ast.expr() as target):
                    stored += self._set(target, _UNREAD)
                case ast.Call(func=ast.Name("setattr"), args=[ast.Name("self"), key, value]) if text := text_of(key):
                    stored.append((text, value))
                case ast.Call(func=ast.Attribute(ast.Name("self"), attr), args=[ast.Constant(str(name)), *args]):
                    if attr in _REGISTERS and args:
                        stored.append((name, args[0]))
                    elif attr in ("register_parameter", "register_buffer"):
                        stored.append((name, ast.Call(ast.Name("Parameter", ast.Load()), [], [])))
                case ast.Call(func=ast.Attribute(value=ast.Name(name), attr=attr)) if attr in _ADDS | _ALTERS:
                    changed.add(name)
                case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args) if is_attribute_of_self(owner):
                    self._put(owner.attr, attr, args)
        aliased = [local[name] for name in changed if name in local]
        self.altered.update(value.attr for value in aliased if is_attribute_of_self(value))
        for name, value in stored:
            # self.proj = new_proj: what that is was said a few lines above
            said = _said_before(method, value) if isinstance(value, ast.Name) and value.id not in changed else None
            self.values[name] = (*self.values.get(name, ()), *(said or (value,)))

    def _set(self, target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
        """The attributes of ``self`` that a target sets, and to what."""
        match target:
            case ast.Attribute(value=owner, attr=attr):
                if is_attribute_of_self(target):
                    yield attr, value
                elif attr == "forward" and is_attribute_of_self(owner):
                    self.altered.add(owner.attr)
                    self.rebound.add(owner.attr)
                else:
                    self.told.add(attr)
            case ast.Subscript(value=owner) if is_attribute_of_self(owner):
                self.replaced.add(owner.attr)
                self._put(owner.attr, "insert", [value])
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    yield from self._set(element, _UNREAD)
            case ast.Starred(value=inner):
                yield from self._set(inner, _UNREAD)

    def _put(self, attribute: str, method: str, arguments: list[ast.expr]) -> None:
        """Note what a method puts into what an attribute holds."""
        part = arguments[-1] if arguments else None
        if method in _ADDS and isinstance(part, ast.Call):
            kind = self.appended if method == "append" else self.added
            kind[attribute] = (*kind.get(attribute, ()), part)
        elif method in _ADDS | _ALTERS:
            self.altered.add(attribute)


def _said_before(method: ast.AST, use: ast.Name) -> list[ast.expr]:
    """The calls that a variable may be bound to where it is used; it itself where it may be something else, too."""
    said: list[ast.expr] = []
    for node in reaching(method, use) if isinstance(method, ast.FunctionDef) else ():
        match node:
            case ast.Assign(targets=targets, value=value) if use.id in map(dotted, targets) and _is_made(value):
                said.append(value)
            case ast.AnnAssign(value=ast.Call() as value):
                said.append(value)
            case ast.Assign(value=ast.Constant(value=None)) | ast.arg():
                continue
            case _:
                said.append(use)
    return said


def _is_made(value: ast.expr) -> bool:
    """Whether an expression is a call, or one of two."""
    if isinstance(value, ast.IfExp):
        return _is_made(value.body) and _is_made(value.orelse)
    return isinstance(value, ast.Call)


def is_attribute_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether a node is an attribute of ``self`` and nothing deeper."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
