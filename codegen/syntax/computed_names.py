"""Attributes with computed names: whatever ``getattr(self, f"norm{i}")`` may mean goes by one name, ``norm·``.

Public models number their stages so: ``setattr(self, f"block{i + 1}", block)``. Which of ``block1``, ``block2`` ... an
access means is rarely known, and need not be: code is read as if they were one attribute that may hold each of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from codegen.syntax.walking import forget, remembered, walk

MARK = "·"  # may stand in an identifier, and nobody puts it there
_BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr"})
_REGISTERING = frozenset({"add_module", "register_module", "register_parameter", "register_buffer"})
# By these, attributes are set under names that are not looked at.
_BACK_DOORS = frozenset({"__dict__", "_modules", "_parameters", "_buffers", "__setattr__", "__delattr__"})
_HINT = re.compile(r"getattr\(\s*self\s*,\s*(?!['\"])|\.(?:add|register)_module\(\s*self\.")
# What every module has; with a `_` at its end, several that begin so.
_OF_MODULES = frozenset(
    {"T_destination", "add_module", "apply", "buffers", "call_super_init", "children", "compile", "dump_patches"}
    | {"eval", "extra_repr", "forward", "get_", "load_state_dict", "modules", "named_", "parameters", "register_"}
    | {
        "requires_grad_",
        "set_",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "zero_grad",
    }
    | {"bfloat16", "cpu", "cuda", "double", "float", "half", "ipu", "mtia", "xpu"}
)

Affixes = tuple[str, str]


@dataclass(frozen=True)
class ComputedNames:
    """The computed names of a file.

    Attributes:
        affixes: How the names of each group begin and end.
        lists: Attributes that list names of one group, ``self.res_layers``, with the name that stands for these.
        held: Attributes that hold one name, ``self.norm1_name``.
    """

    affixes: Mapping[Affixes, re.Pattern[str]] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()

    def name(self, attribute: str) -> str:
        """The name that an attribute goes by."""
        for affixes, pattern in self.affixes.items():
            if pattern.fullmatch(attribute):
                return MARK.join(affixes)
        return attribute

    def rewrite(self, tree: ast.AST) -> None:
        """Give the attributes in code, in their place, the names that they go by.

        ``getattr(self, f"norm{i}")`` becomes ``getattr(self, "norm·", f"norm{i}")``: what it reads remains in sight.
        """
        if not self.affixes and not self.held:
            return
        functions: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for scope in functions or [tree]:
            for call in ast.walk(scope):
                if isinstance(call, ast.Call) and (place := _place_of_name(call)) is not None:
                    given = call.args[place]
                    affixes = _affixes(given, scope)
                    computed = affixes is not None and affixes in self.affixes
                    known = MARK.join(affixes) if affixes and computed else self._kept(given, scope)
                    if known:
                        call.args[place] = ast.copy_location(ast.Constant(known), given)
                        call.args += [given] if _reads(call) and not isinstance(given, ast.Attribute) else []
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=attr):
                    node.attr = self.name(attr)
                case ast.Call(args=args) if (place := _place_of_name(node)) is not None:
                    given = args[place]
                    if isinstance(given, ast.Constant) and isinstance(given.value, str):
                        args[place] = ast.copy_location(ast.Constant(self.name(given.value)), given)
        forget(tree)

    def _kept(self, name: ast.expr, scope: ast.AST) -> str:
        """What a name stands for that an attribute of ``self`` holds or lists; empty for any other."""
        if isinstance(name, ast.Attribute) and _is_own(name) and name.attr in self.held:
            return f"{name.attr}{MARK}"
        return self._listed(name, scope)

    def _listed(self, name: ast.expr, scope: ast.AST) -> str:
        """What a variable stands for that a loop takes from a list of names; empty for any other."""
        bound = list(_bound_to(scope, name.id)) if isinstance(name, ast.Name) else []
        if len(bound) != 1 or not isinstance(bound[0], ast.For):
            return ""
        match bound[0].target, bound[0].iter:
            case ast.Tuple(elts=[_, ast.Name()]), ast.Call(func=ast.Name("enumerate"), args=[sequence], keywords=[]):
                over: ast.expr = sequence
            case ast.Name(), sequence:
                over = sequence
            case _:
                return ""
        return self.lists.get(over.attr, "") if _is_own(over) and isinstance(over, ast.Attribute) else ""


NONE = ComputedNames()


def looked_up(node: ast.AST) -> ast.Attribute | None:
    """The attribute that ``getattr`` gets by a name that is known, ``self.norm``; ``None`` for anything else.

    It is the same node for the same call.
    """
    match node:
        case ast.Call(func=ast.Name("getattr"), args=[owner, ast.Constant(str(name)), *others], keywords=[]):
            plain = not others or MARK in name  # and no default
            held = ast.copy_location(ast.Attribute(owner, name, ast.Load()), node)
            return remembered(node, "looked up", lambda: held) if plain else None
    return None


def may_compute_names(text: str) -> bool:
    """Whether a file may get an attribute of ``self`` by a computed name, by a quick look at its text."""
    return _HINT.search(text) is not None


def find_held_names(files: Sequence[ast.Module]) -> frozenset[str]:
    """Attributes that hold the name of one module each, as OpenMMLab's norms have it, whatever that name is.

    ``self.norm1_name, norm1 = build_norm_layer(...)``, then ``self.add_module(self.norm1_name, norm1)`` and
    ``getattr(self, self.norm1_name)``: all of the files together do nothing else with such an attribute.
    """
    looked_up: set[str] = set()
    idiom: set[int] = set()
    mentions: list[tuple[str, ast.AST]] = []
    for node in (node for file in files for node in walk(file)):
        match node:
            case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), ast.Attribute(attr=attr) as name]) if (
                _is_own(name)
            ):
                looked_up.add(attr)
                idiom.add(id(name))
            case ast.Call(
                func=ast.Attribute(ast.Name("self"), "add_module" | "register_module"),
                args=[ast.Attribute() as name, _],
            ):
                idiom.add(id(name))
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Attribute() as name, ast.Name()])], value=ast.Call()):
                idiom.add(id(name))
            case ast.Attribute(attr=attr):
                mentions.append((attr, node))
            case ast.Constant(value=str(text)):
                mentions.append((text, node))
    others = {name for name, node in mentions if id(node) not in idiom or not _is_own(node)}
    members = {name for file in files for name in _members(file)}
    return frozenset(looked_up - others - members)


def find_computed_names(
    tree: ast.Module, kin: Sequence[ast.Module] = (), held: frozenset[str] = frozenset()
) -> ComputedNames:
    """The computed names of a file, as far as nothing else goes by such a name.

    Args:
        tree: The file.
        kin: Files with classes that those of this one derive from, or that derive from them.
        held: Attributes that hold one name each, wherever they stand.
    """
    if any(map(_has_back_door, (tree, *kin))):
        return NONE
    numbers: dict[Affixes, bool] = {}
    texts: dict[str, set[Affixes | None]] = {}
    for scope in (node for node in walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in (node for node in walk(scope) if isinstance(node, ast.Call)):
            place = _place_of_name(call)
            affixes = _affixes(call.args[place], scope) if place is not None else None
            if place is not None and affixes is not None and _reads(call):
                numbers[affixes] = numbers.get(affixes, True) and _is_number(call.args[place], scope)
            match call:
                case ast.Call(func=ast.Attribute(ast.Attribute(attr=attr) as owner, "append"), args=[name]) if _is_own(
                    owner
                ):
                    found = _affixes(name, scope)
                    texts.setdefault(attr, set()).add(found)
                    if found is not None:
                        numbers[found] = numbers.get(found, True) and _is_number(name, scope)
    single = {attr: next(iter(found)) for attr, found in texts.items() if len(found) == 1}
    listed = {attr: key for attr, key in single.items() if all(_only_lists(each, attr) for each in (tree, *kin))}
    others = set(_members(tree)) | {name for each in kin for name in (*_members(each), *_accessed(each))}
    loose = set(_of_others(tree))
    groups: dict[Affixes, re.Pattern[str]] = {}
    for key, number in numbers.items():
        pattern = _pattern(key, number)
        alone = all(number and numbers[other] for other in numbers if other != key and _may_meet(key, other))
        free = not any(map(pattern.fullmatch, others if number else others | loose))
        if alone and free and not _is_of_modules(key[0]):
            groups[key] = pattern
    return ComputedNames(groups, {attr: MARK.join(key) for attr, key in listed.items() if key in groups}, held)


def _has_back_door(tree: ast.AST) -> bool:
    """Whether code may set attributes by their dictionary, or by the method that all setting goes through."""
    looks = set()
    for node in walk(tree):
        match node:
            case ast.Attribute(value=ast.Attribute() as inner, attr="values" | "items" | "keys" | "get"):
                looks.add(id(inner))
            case ast.Attribute(attr=attr) if attr in _BACK_DOORS and id(node) not in looks:
                return True
            case ast.Call(func=ast.Name("vars"), args=[ast.Name("self")]):
                return True
    return False


def _pattern(affixes: Affixes, number: bool) -> re.Pattern[str]:
    prefix, suffix = map(re.escape, affixes)
    return re.compile(f"{prefix}(?:{MARK}|{'-?[0-9]+' if number else '.*'}){suffix}")


def _may_meet(one: Affixes, other: Affixes) -> bool:
    """Whether one name may begin and end in both ways."""
    begins = one[0].startswith(other[0]) or other[0].startswith(one[0])
    return begins and (one[1].endswith(other[1]) or other[1].endswith(one[1]))


def _is_of_modules(prefix: str) -> bool:
    several = (known for known in _OF_MODULES if known.endswith("_"))
    return any(known.startswith(prefix) for known in _OF_MODULES) or any(map(prefix.startswith, several))


def _place_of_name(call: ast.Call) -> int | None:
    """Which argument of a call is the name of an attribute of ``self``, or of a module that it adds."""
    match call:
        case ast.Call(func=ast.Name(id=function), args=[_, _, *_]) if function in _BY_NAME:
            return 1
        case ast.Call(func=ast.Attribute(attr=method), args=[_, *_]) if method in _REGISTERING:
            return 0
    return None


def _reads(call: ast.Call) -> bool:
    """Whether a call gets an attribute of ``self``, rather than to set one."""
    match call:
        case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), _]):
            return True
    return False


def _affixes(name: ast.expr, scope: ast.AST) -> Affixes | None:
    """How a computed name begins and ends, ``f"norm{i}"`` or a variable that is bound to one; ``None`` for others."""
    if isinstance(name, ast.Name):
        bound = list(_bound_to(scope, name.id))
        if len(bound) != 1 or not isinstance(bound[0], ast.Assign) or isinstance(bound[0].value, ast.Name):
            return None
        return _affixes(bound[0].value, scope)
    match name:
        case ast.JoinedStr(values=[ast.Constant(str(prefix)), ast.FormattedValue()]):
            suffix = ""
        case ast.JoinedStr(values=[ast.Constant(str(prefix)), ast.FormattedValue(), ast.Constant(str(suffix))]):
            pass
        case _:
            return None
    plain = len(prefix) > 1 and prefix.isidentifier() and not prefix[-1].isdigit()
    return (prefix, suffix) if plain else None


def _bound_to(scope: ast.AST, name: str) -> Iterator[ast.AST]:
    """What binds a variable in a function."""
    for node in walk(scope):
        match node:
            case ast.Assign(targets=targets):
                bound = targets
            case ast.For(target=target) | ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                bound = [target]
            case ast.comprehension(target=target) | ast.NamedExpr(target=target):
                bound = [target]
            case ast.withitem(optional_vars=ast.expr() as target):
                bound = [target]
            case ast.arg(arg=found) | ast.ExceptHandler(name=found) | ast.alias(asname=found) if found == name:
                yield node
                continue
            case _:
                continue
        if any(isinstance(inner, ast.Name) and inner.id == name for target in bound for inner in walk(target)):
            yield node


def _is_number(name: ast.expr, scope: ast.AST) -> bool:
    """Whether what a computed name is completed by is a whole number."""
    if isinstance(name, ast.Name):
        bound = next(_bound_to(scope, name.id))
        return isinstance(bound, ast.Assign) and _is_number(bound.value, scope)
    assert isinstance(name, ast.JoinedStr)
    part = next(value for value in name.values if isinstance(value, ast.FormattedValue))
    return part.conversion == -1 and part.format_spec is None and _counts(part.value, scope)


def _counts(value: ast.expr, scope: ast.AST) -> bool:
    match value:
        case ast.Constant(value=number):
            return type(number) is int
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            return _counts(left, scope) and _counts(right, scope)
        case ast.Name(id=name):
            bound = list(_bound_to(scope, name))
            return bool(bound) and all(_counts_rounds(node, name) for node in bound)
    return False


def _counts_rounds(node: ast.AST, name: str) -> bool:
    match node:
        case ast.For(target=ast.Name(), iter=ast.Call(func=ast.Name("range"))):
            return True
        case ast.For(
            target=ast.Tuple(elts=[ast.Name(id=first), _]), iter=ast.Call(func=ast.Name("enumerate"), args=[_])
        ):
            return first == name
    return False


def _is_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _only_lists(tree: ast.AST, attribute: str) -> bool:
    """Whether code only begins a list of names, appends to it, looks at it and loops over it."""
    looked_at = set()
    for node in walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(over, "append")):
                looked_at.add(id(over))
            case ast.Assign(targets=[ast.Attribute(attr=attr)], value=value) if attr == attribute:
                if not (isinstance(value, ast.List) and not value.elts):
                    return False
                looked_at.update(id(target) for target in node.targets)
            case ast.For(iter=ast.Attribute() as over) | ast.Call(func=ast.Name("enumerate" | "len"), args=[over]):
                looked_at.add(id(over))
            case ast.Subscript(value=over, ctx=ast.Load()):
                looked_at.add(id(over))
    mentions = [node for node in walk(tree) if isinstance(node, ast.Attribute) and node.attr == attribute]
    return all(id(node) in looked_at for node in mentions)


def _members(tree: ast.Module) -> Iterator[str]:
    """Names that the bodies of classes bind."""
    for node in walk(tree):
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield statement.name
            else:
                yield from (name.id for name in walk(statement) if isinstance(name, ast.Name))


def _accessed(tree: ast.Module) -> Iterator[str]:
    """Names by which code gets at attributes; a computed one may be any that begins as it does."""
    for node in walk(tree):
        match node:
            case ast.Attribute(attr=attr):
                yield attr
            case ast.Call() if (place := _place_of_name(node)) is not None:
                given = node.args[place]
                parts = given.values if isinstance(given, ast.JoinedStr) else [given]
                texts = [part.value for part in parts if isinstance(part, ast.Constant)]
                yield from (text + end for text in texts if isinstance(text, str) for end in ("", "0"))


def _of_others(tree: ast.Module) -> Iterator[str]:
    """Attributes that code takes of something else than ``self`` and what the file imports."""
    statements = (node for node in walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    bound = (alias.asname or alias.name for node in statements for alias in node.names)
    known = {"self", *(name.partition(".")[0] for name in bound)}
    for node in walk(tree):
        if isinstance(node, ast.Attribute):
            head = node.value
            while isinstance(head, ast.Attribute):
                head = head.value
            if not (isinstance(head, ast.Name) and head.id in known):
                yield node.attr
