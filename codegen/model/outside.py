"""What a user's code does to objects of other classes: what it passes to their constructors, and sets on them.

A class that reads ``act=nn.Identity`` may be made with another ``act``, and may be given one later:
``self.stem.act = Other()``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.module_kind import is_of_layers
from codegen.model.neighbours import files_seen_by
from codegen.source.index import Class, Index, Module
from codegen.source.stores import PUTS, text_of
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import children, walk

_NUMBERS = ast.Constant | ast.Compare | ast.UnaryOp | ast.BinOp | ast.JoinedStr
_UNKNOWN = ast.Yield()  # stands for a value that is not in sight


class Elsewhere(ast.expr):
    """An expression that stands in another function than what is being read.

    Attributes:
        value: The expression.
        module: Its file.
        function: The function or method that it stands in.
        owner: The class whose method that is.
        called: What is given it, if that is a call.
    """

    def __init__(
        self,
        value: ast.expr,
        module: Module,
        function: ast.FunctionDef | None,
        owner: Class | None = None,
        called: ast.expr | None = None,
    ) -> None:
        super().__init__()
        self.value, self.module, self.function, self.owner, self.called = value, module, function, owner, called

    def may_make(self, index: Index, lineage: Sequence[Class]) -> bool:
        """Whether it may be passed to a constructor of some classes."""
        called = dotted(self.called) if self.called is not None else ""
        if isinstance(self.called, ast.Attribute) and self.called.attr == "__init__" and self.owner is not None:
            return not set(lineage).isdisjoint(index.lineage(self.owner))
        head, _, rest = called.partition(".")
        own = self.function is not None and head in _own(self.function)
        made = index.resolve(self.module, called) if called and not own else None
        if made is not None:
            return not set(lineage).isdisjoint(index.lineage(made))
        if not own and called and is_of_layers(index, self.module.origin(head, rest)):
            return False
        # block(dim), dict(dim=dim): where a file names the class, or one that its own file hands it to
        near = {module.path for cls in lineage for module in files_seen_by(index, cls.module)}
        return self.module.path in near or any(cls.name in self.module.text for cls in lineage)


@dataclass(frozen=True)
class Outside:
    """What all of a user's code does.

    Attributes:
        named: What calls pass under a name, whatever they call, or put into a dictionary under it.
        placed: What calls of a class pass to a parameter by its place: by the full name of the class.
        stored: What attributes are set to, on anything but the ``self`` of a method, and what is put into what they
            hold there.
        replaced: Which attributes are set on objects, not on classes.
    """

    named: Mapping[str, tuple[Elsewhere, ...]]
    placed: Mapping[tuple[str, str], tuple[Elsewhere, ...]]
    stored: Mapping[str, tuple[Elsewhere, ...]]
    replaced: frozenset[str]

    @staticmethod
    def of(index: Index) -> Outside:
        """What the code of a release's user does."""
        if "outside" not in index.memory:
            index.memory["outside"] = _read(index)
        found: Outside = index.memory["outside"]
        return found

    def passed(self, cls: Class, parameter: str) -> tuple[Elsewhere, ...]:
        """What a parameter of the constructor of a class may be given."""
        return (*self.named.get(parameter, ()), *self.placed.get((cls.path, parameter), ()))


def _read(index: Index) -> Outside:
    named: dict[str, list[Elsewhere]] = {}
    placed: dict[tuple[str, str], list[Elsewhere]] = {}
    stored: dict[str, list[Elsewhere]] = {}
    replaced: set[str] = set()
    for module in index.user_modules:
        owners = {id(node): cls for cls in index.classes(module).values() for node in cls.node.body}
        for node, function in _nodes(module):
            owner = owners.get(id(function))
            for name, value in _named(node):
                if not isinstance(value, _NUMBERS):
                    called = node.func if isinstance(node, ast.Call) else None
                    named.setdefault(name, []).append(Elsewhere(value, module, function, owner, called))
            if isinstance(node, ast.Call):
                made = index.resolve(module, dotted(node.func)) if dotted(node.func) else None
                if made is not None:
                    for name, value in zip(_parameters(index, made), node.args, strict=False):
                        if not isinstance(value, _NUMBERS | ast.Starred):
                            found = Elsewhere(value, module, function, owner, node.func)
                            placed.setdefault((made.path, name), []).append(found)
            # of a function that is no method, `self` may be an object of any class that it is given to
            own = "self" if owner is not None else ""
            for target, name, value in _stored(node, own):
                stored.setdefault(name, []).append(Elsewhere(value, module, function, owner))
                if index.resolve(module, dotted(target)) is None:
                    replaced.add(name)
            for name, value in _put(node, own, function):
                stored.setdefault(name, []).append(Elsewhere(value, module, function, owner))
    return Outside(
        {name: tuple(values) for name, values in named.items()},
        {key: tuple(values) for key, values in placed.items()},
        {name: tuple(values) for name, values in stored.items()},
        frozenset(replaced),
    )


def _own(function: ast.FunctionDef) -> frozenset[str]:
    """The names that are a function's own."""
    arguments = (argument.arg for argument in walk(function.args) if isinstance(argument, ast.arg))
    return frozenset([*arguments, *(name for statement in function.body for name in bound_names(statement))])


def _nodes(module: Module) -> Iterator[tuple[ast.AST, ast.FunctionDef | None]]:
    """What stands in a file, each with the method or function that it stands in."""
    inside: set[int] = set()
    for function in (node for node in walk(module.tree) if isinstance(node, ast.FunctionDef)):
        for node in walk(function) if id(function) not in inside else ():
            inside.add(id(node))
            yield node, function
    yield from ((node, None) for node in walk(module.tree) if id(node) not in inside)


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Call(keywords=keywords):
            yield from ((keyword.arg, keyword.value) for keyword in keywords if keyword.arg is not None)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(str(name)))], value=value):
            yield name, value


def _parameters(index: Index, cls: Class) -> list[str]:
    constructor = next((c.constructor for c in index.lineage(cls) if c.constructor is not None), None)
    arguments = constructor.args if constructor is not None else None
    return [] if arguments is None else positional_names(arguments)[1:]


def _stored(node: ast.AST, own: str) -> Iterator[tuple[ast.expr, str, ast.expr]]:
    """What code sets on anything but the variable ``own``."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _set(target, value, own)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from _set(target, value, own)
        case ast.AugAssign(target=target) | ast.For(target=target) | ast.comprehension(target=target):
            yield from _set(target, _UNKNOWN, own)
        case ast.withitem(optional_vars=ast.expr() as target):
            yield from _set(target, _UNKNOWN, own)
        case (
            ast.Call(func=ast.Name("setattr"), args=[owner, key, value])
            | ast.Call(func=ast.Attribute(value=owner, attr="add_module" | "register_module"), args=[key, value])
        ):
            name = text_of(key)
            if name is not None and not _is_variable(owner, own):
                yield owner, name, value


def _put(node: ast.AST, own: str, function: ast.FunctionDef | None) -> Iterator[tuple[str, ast.expr]]:
    """What code puts into what an attribute of anything but the variable ``own`` holds: ``stem.layers.append(act)``."""
    match node:
        case ast.Call(func=ast.Attribute(value=holder, attr=attr), args=[*before, value]) if attr in PUTS:
            holders = [holder, *before[:1]]  # nn.Sequential.append(self.layers, act)
        case ast.Assign(targets=targets, value=value):
            holders = [target.value for target in targets if isinstance(target, ast.Subscript)]
        case _:
            return
    if not _is_number(value):
        yield from ((name, value) for holder in holders for name in _held_as(holder, own, function))


def _is_number(value: ast.expr) -> bool:
    made = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("float", "int", "len")
    return made or isinstance(value, _NUMBERS)


def _held_as(holder: ast.expr, own: str, function: ast.FunctionDef | None) -> Iterator[str]:
    """The names of the attributes that an expression may read one of, or that a variable was bound to."""
    match holder:
        case ast.Attribute(value=owner, attr=attr) if not _is_variable(owner, own):
            yield attr
        case ast.Call(func=ast.Attribute(attr="get_submodule"), args=[ast.Constant(str(path))]):
            yield path.rpartition(".")[2]
        case ast.Call(func=ast.Name("getattr"), args=[_, key, *_]) if (name := text_of(key)) is not None:
            yield name
        case ast.Name(id=variable):
            for node in walk(function) if function is not None else ():
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == variable:
                        yield from () if isinstance(value, ast.Name) else _held_as(value, "", None)
        case ast.Subscript(value=ast.Name() as inner):  # parts["a"]
            yield from _held_as(inner, own, function)
        case ast.BoolOp() | ast.IfExp() | ast.Dict() | ast.List() | ast.Tuple() | ast.NamedExpr():
            for part in children(holder):
                yield from _held_as(part, own, function) if isinstance(part, ast.expr) else ()


def _set(target: ast.expr, value: ast.expr, own: str) -> Iterator[tuple[ast.expr, str, ast.expr]]:
    match target:
        case ast.Attribute(value=owner, attr=attr) if not _is_variable(owner, own):
            yield owner, attr, value
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from _set(element, _UNKNOWN, own)
        case ast.Starred(value=inner):
            yield from _set(inner, _UNKNOWN, own)


def _is_variable(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
