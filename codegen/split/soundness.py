"""Constructs that a method may not hold if its statements are moved to another class, in two methods."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence

from codegen.model.decorators import name_of, objection
from codegen.model.neighbours import files_seen_by
from codegen.source.index import Class, Index, Module
from codegen.split.libraries import back_door, check_libraries
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import (
    BUILTINS,
    CONSUMERS,
    Flow,
    Unsound,
    dotted,
    escaping_scopes,
    returns,
    signature_names,
)
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.walking import walk, walk_for
from codegen.types import METHOD

_PLAIN_BASES = frozenset({"nn.Module", "torch.nn.Module", "Module", "object", "ABC", "abc.ABC"})

# Builtins that see the frame or the class they are called from.
_FRAME = frozenset({"locals", "vars", "dir", "globals", "eval", "exec", "super", "__class__", "breakpoint"})
_MUTABLE = {
    "list": (ast.List, ast.ListComp),
    "dictionary": (ast.Dict, ast.DictComp),
    "set": (ast.Set, ast.SetComp),
    "generator": (ast.GeneratorExp,),
}
# Builtins whose meaning the analysis relies on.
_TRUSTED = CONSUMERS | {"len", "isinstance", "getattr", "hasattr", "type", "print", "range", "enumerate", "zip"}


def parents_call(node: ast.stmt, method: str) -> ast.Call | None:
    """The call of a statement that is ``x = super().method(...)`` or returns that."""
    match node:
        case ast.Assign(targets=[ast.Name()], value=ast.Call() as call) | ast.Return(value=ast.Call() as call):
            match call.func:
                case ast.Attribute(value=ast.Call(func=ast.Name("super"), args=[], keywords=[]), attr=attr):
                    return call if attr == method else None
    return None


_TELLING = (
    *(ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal, ast.Name, ast.Call, ast.Attribute),
    *(ast.arg, ast.keyword, ast.alias),
)
"""What may make a method no plain one."""


def check_method(module: Module, function: ast.stmt, parents: str = "", *, context: str = "") -> ast.FunctionDef:
    """Refuse a method whose statements mean something else in a subclass, or that is not a plain method.

    Args:
        module: Where it stands.
        function: The method.
        parents: The name of a method that its statements may call of the parent, for it will be written out.
        context: What its decorator enters, if both halves will enter that.

    Raises:
        Unsound: With the construct and why.
    """
    if not isinstance(function, ast.FunctionDef):
        raise Unsound(function, "it is not a plain method")
    if function.decorator_list and not context:
        name = ast.unparse(function.decorator_list[0])
        raise Unsound(function.decorator_list[0], f"it is decorated with `@{name}`, which may change what it does")
    receiver, *_ = positional_names(function.args) or [""]
    if receiver != "self":
        raise Unsound(function, "its first parameter is not `self`")
    calls = (parents_call(statement, parents) for statement in function.body) if parents else ()
    written = {id(call.func.value.func) for call in calls if call is not None}  # type: ignore[attr-defined]
    for node in walk_for(function, *_TELLING):
        if id(node) in written:
            continue
        match node:
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                raise Unsound(node, "it suspends")
            case ast.Global() | ast.Nonlocal():
                declared = f"it declares {', '.join(node.names)} {type(node).__name__.lower()}"
                raise Unsound(node, f"{declared}, which two methods cannot share: keep it on the model")
            case ast.Name("super"):
                form = f"`x = super().{parents or METHOD}(x)`, a statement of the method itself"
                raise Unsound(node, f"`super()` sees the class that it stands in, and is written out only in {form}")
            case ast.Call(func=ast.Name("vars"), args=[ast.Name("self")]):
                raise Unsound(node, "`vars(self)` gives access to every attribute: write `self.name` out")
            case ast.Name(id=name) if name in _FRAME:
                advice = ": write `getattr(self, name)` for an attribute" if name == "eval" else ""
                raise Unsound(node, f"`{name}` sees the frame or the class that it stands in{advice}")
            case ast.Name(id=name) if name.startswith("__") and name.endswith("__") and name != "__debug__":
                raise Unsound(node, f"`{name}` is another one in another module")
            case ast.Attribute(attr="__class__") | ast.Call(func=ast.Name("type"), args=[ast.Name("self")]):
                raise Unsound(node, "it asks for the class of self, which a split changes")
            case ast.Attribute(attr=name) | ast.Name(id=name) if _is_private(name):
                raise Unsound(node, f"Python rewrites the private name `{name}` with the name of the class")
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) if _is_private(name):
                raise Unsound(node, f"Python rewrites the private name `{name}` with the name of the class")
            case ast.Name("self", ast.Store() | ast.Del()):
                raise Unsound(node, "`self` is rebound")
            case ast.arg("self") if node is not (*function.args.posonlyargs, *function.args.args)[0]:
                raise Unsound(node, "`self` is rebound")
            case ast.alias() if (node.asname or node.name.partition(".")[0]) == "self":
                raise Unsound(node, "`self` is rebound")
    for default in [*function.args.defaults, *function.args.kw_defaults]:
        for node in walk(default) if default is not None else ():
            if isinstance(node, ast.Call):
                raise Unsound(node, "a default value is the result of a call, which would be evaluated again")
            kind = next((name for name, kinds in _MUTABLE.items() if isinstance(node, kinds)), "")
            if kind:
                raise Unsound(
                    node, f"a default value is a {kind}: each of the two methods would have a {kind} of its own"
                )
    _check_defaults(module, function)
    return function


def _check_defaults(module: Module, function: ast.FunctionDef) -> None:
    """Refuse default values that are other ones by the time that another module reads what they are made of.

    Raises:
        Unsound: With the name that is assigned to again.
    """
    last = max(node.lineno for node in walk(function) if isinstance(node, ast.stmt))
    read = [n for d in defaults_of(function.args).values() for n in walk(d) if isinstance(n, ast.Name | ast.Attribute)]
    for node in read:
        head, _, attributes = dotted(node).partition(".")
        again = any(statement.lineno > last for statement in module.bindings.get(head, ()))
        stored = attributes and any(
            isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and dotted(n) == dotted(node)
            for n in walk(module.tree)
        )
        if head and (again or stored):
            raise Unsound(node, f"a default value is `{dotted(node)}`, which is assigned to again")


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def check_scope(module: Module, cls: ast.ClassDef, function: ast.FunctionDef, flow: Flow) -> None:
    """Refuse a method whose names mean something else in its class, or shadow builtins.

    Args:
        module: The file.
        cls: The class in which the method stands.
        function: The method.
        flow: What its body reads and binds.

    Raises:
        Unsound: With the name and why.
    """
    shadowed = _TRUSTED & (flow.may_bind | module.bindings.keys())
    if shadowed:
        raise Unsound(function, f"`{min(shadowed)}` is not the builtin of that name")
    # defaults and annotations are evaluated in the scope of the class
    inside = {name for statement in cls.body for name in module.bound_names(statement)}
    outside = signature_names(function)
    if inside & outside:
        raise Unsound(function, f"its signature takes `{min(inside & outside)}` from the body of the class")


def check_class(index: Index, cls: Class, owner: Class) -> None:
    """Refuse a class that may get its ``forward_features`` from elsewhere than from the class that seems to define it.

    Args:
        index: The release.
        cls: The class.
        owner: The first class in its lineage that defines the method.

    Raises:
        Unsound: With the construct and why.
    """
    lineage = index.lineage(cls)
    for ancestor in lineage:
        for decorator in ancestor.node.decorator_list:
            _check_decorator(index, ancestor, decorator)
        for node in walk(ancestor.node) if ancestor.module.may_name("__class__") else ():
            if isinstance(node, ast.Attribute) and node.attr == "__class__" and isinstance(node.ctx, ast.Store):
                raise Unsound(node, "it changes what class it is", ancestor.module.path)
    users = index.imported_with_users
    own = [ancestor.module for ancestor in lineage if users and not ancestor.module.name.startswith("timm.")]
    for module in dict.fromkeys([*users, *own]):
        check_libraries(index, module)
        _check_top_level(index, module, lineage)
    for module in own:
        for imported in files_seen_by(index, module):  # helper functions, in files without models
            check_libraries(index, imported, importing=True)
            _check_top_level(index, imported, lineage)
    for cls in lineage[: lineage.index(owner) + 1]:
        node = cls.node
        if node.keywords:
            raise Unsound(node, "a metaclass may change what the class is", cls.module.path)
        for statement in node.body:
            nested = isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While)
            if nested and index.method in cls.module.bound_names(statement):
                raise Unsound(statement, f"the class defines `{index.method}` under a condition", cls.module.path)
        if any(patched is None or patched in lineage for patched in _patched(index, cls.module)):
            raise Unsound(node, f"its module assigns to `{index.method}` of something", cls.module.path)
        if cls is not owner:
            for base in node.bases:
                name = ast.unparse(base)
                if name not in _PLAIN_BASES and index.resolve(cls.module, name) is None:
                    reason = f"its base `{name}` is unknown, and may have a `{index.method}` of its own"
                    raise Unsound(base, reason, cls.module.path)


def _check_top_level(index: Index, module: Module, lineage: Collection[Class]) -> None:
    """Refuse a class that statements of a file may change after it was made.

    Raises:
        Unsound: With the statement and why.
    """
    key = ("changes", module.path)
    if key not in index.memory:
        index.memory[key] = tuple(_changes(index, module))
    found: tuple[tuple[Class | None, ast.AST, str], ...] = index.memory[key]
    own = any(ancestor.module is module for ancestor in lineage)
    for cls, node, reason in found:
        # what a file sets on its own classes under a name that is in sight is looked at by that name
        named = isinstance(node, ast.Call) and dotted(node.func) in _SETTING and not _is_of(lineage, node)
        if (own and cls is None) or (cls in lineage and not (own and named)):
            raise Unsound(node, reason, module.path)


def _changes(index: Index, module: Module) -> Iterator[tuple[Class | None, ast.AST, str]]:
    """What the top level of a file may change: a class, or ``None`` for any class of the file; where, and why."""
    plain = {id(s.targets[0]) for s in module.tree.body if isinstance(s, ast.Assign) and len(s.targets) == 1}
    for node in module.running:
        if (way := back_door(module, node)) is not None:
            yield None, node, f"its module may bind any name anew, or change any class, by `{way}`"
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and dotted(node.value):
            cls = index.resolve(module, dotted(node.value))
            if cls is not None and not (cls.module is module and id(node) in plain) and _is_of([cls], node):
                yield cls, node, f"`{node.attr}` of the class is set after it is made"
        match node:
            case ast.Call(func=ast.Name(id=called), args=[_, name, *_]) if called in _SETTING and not isinstance(
                name, ast.Constant
            ):
                yield None, node, "its module sets or deletes an attribute by a computed name"
                owner = node.args[0]
                cls = index.resolve(module, dotted(owner)) if dotted(owner) else None
                for other in (*((cls,) if cls is not None else ()), *_classes_of_module(index, module, owner)):
                    yield other, node, f"{module.path} sets or deletes an attribute of it by a computed name"
            case ast.Attribute(attr="__defaults__" | "__kwdefaults__" | "__code__", ctx=ast.Store()):
                yield None, node, "its module changes a function after it is made"
            case ast.Attribute(attr="__bases__", ctx=ast.Store()) | ast.Attribute(ctx=ast.Del()):
                yield None, node, "its module changes a class after it is made"
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] not in _HARMLESS:
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            for cls in (cls for argument in arguments for cls in _classes_of_module(index, module, argument)):
                yield cls, node, f"`{ast.unparse(node.func)}` is given its module, and may change it"
            for cls in (index.resolve(module, name) for name in map(dotted, arguments) if name):
                if cls is not None and (len(arguments) > 1 or objection(index, module, node.func) is not None):
                    yield cls, node, f"`{ast.unparse(node.func)}` is given the class, and may change it"


def _classes_of_module(index: Index, module: Module, node: ast.expr) -> Iterator[Class]:
    """The classes of the module of the release that an expression stands for, if it does."""
    origin = module.imported(node)
    target = index.module(origin) if origin else None
    if target is not None and target is not module:
        yield from index.classes(target).values()


def _is_of(lineage: Collection[Class], node: ast.Attribute | ast.Call) -> bool:
    """Whether what is set is a member of one of some classes."""
    given = node.args[1] if isinstance(node, ast.Call) and len(node.args) > 1 else None
    name = node.attr if isinstance(node, ast.Attribute) else getattr(given, "value", "")
    return any(name in cls.members for cls in lineage)


_SETTING = frozenset({"setattr", "delattr"})
_HARMLESS = frozenset({"isinstance", "issubclass", "len", "partial", "print", "repr", "str", "type", "super"})


def check_stars(index: Index, cls: Class) -> None:
    """Refuse a class in whose module, or in that of an ancestor, an ``import *`` cannot be read.

    Raises:
        Unsound: With the import and why.
    """
    for module in (ancestor.module for ancestor in index.lineage(cls)):
        for node in module.bindings.get("*", ()):
            reason = f"`{ast.unparse(node)}` may bind any name of its module: name what is imported"
            raise Unsound(node, reason, module.path)


def _check_decorator(index: Index, cls: Class, decorator: ast.expr) -> None:
    """Refuse a class under a decorator that may return another one, or change it."""
    found = objection(index, cls.module, decorator)
    if found is None:
        return
    name = name_of(decorator)
    line = getattr(found.node, "lineno", decorator.lineno)
    where = "" if found.module is cls.module and line == decorator.lineno else f" ({found.module.path}:{line})"
    reason = f"the decorator `@{name}` of {cls.name} may change what the class is: {found.reason}{where}"
    if found.unread:
        reason += f"; if it returns the class as it is, say so with --trust-decorator {name}"
    raise Unsound(decorator, reason, cls.module.path)


def _patched(index: Index, module: Module) -> Collection[Class | None]:
    """The classes of a module whose method some statement assigns to; ``None`` for one that may be any."""
    key = ("patched", module.path)
    if key not in index.memory:
        text, name = module.text, index.method
        called = (
            part.partition("setattr(")[2] for line in text.split("\n") if name in line for part in line.split("#")
        )
        quoted = re.compile(rf"[\"']{name}[\"']")
        written = len(re.findall(rf"\.{name}\s*=(?!=)", text))
        own = list(_own_patches(index, module)) if written else []
        unknown = any(map(quoted.search, called)) or written > len(own)
        index.memory[key] = {*own, *([None] if unknown else [])}
    found: Collection[Class | None] = index.memory[key]
    return found


def _own_patches(index: Index, module: Module) -> Iterator[Class]:
    """The class of each ``self.forward = ...`` in a method of its own: it concerns the instances of this class."""
    for cls in index.classes(module).values():
        for method in cls.members.values():
            if isinstance(method, ast.FunctionDef) and method.args.args[:1] and method.args.args[0].arg == "self":
                for node in walk(method):
                    for target in node.targets if isinstance(node, ast.Assign) else ():
                        if isinstance(target, ast.Attribute) and dotted(target) == f"self.{index.method}":
                            yield cls


def check_imports(index: Index, module: Module, names: Collection[str]) -> None:
    """Refuse names that another module cannot import in place of reading them in theirs.

    Args:
        index: The release.
        module: The module at whose top level the names are defined.
        names: The names.

    Raises:
        Unsound: With the name and why.
    """
    for name in sorted(names):
        node = module.bindings[name][-1] if name in module.bindings else module.tree
        if name not in module.bindings:
            if name not in BUILTINS:
                raise Unsound(node, f"`{name}` is not defined at the top level of its module")
            continue
        if name not in module.surely_bound:
            raise Unsound(node, f"its module defines `{name}` under a condition, and perhaps not at all")
        origin = module.import_of(name)
        source = index.module(origin.module) if origin is not None else None
        homes = [(module.name, name), *([(origin.module, origin.name)] if origin is not None else [])]
        if any(home in index.rebound_elsewhere for home in homes):
            raise Unsound(node, f"`{name}` is a global that another file assigns to")
        if name in module.rebound or (source is not None and origin is not None and origin.name in source.rebound):
            raise Unsound(node, f"`{name}` is a global that its module rebinds while it runs")


def _is_closed(function: ast.FunctionDef, bound: Collection[str]) -> bool:
    """Whether a function reads no variable of the one that it stands in, but for ``self``."""
    inner = {a.arg for a in walk(function.args) if isinstance(a, ast.arg)}
    inner |= {name for statement in function.body for name in bound_names(statement)}
    read = {node.id for node in walk(function) if isinstance(node, ast.Name)}
    scopes = ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef | ast.GeneratorExp | ast.Nonlocal | ast.Global
    nested = any(isinstance(node, scopes) for statement in function.body for node in walk(statement))
    return not nested and not function.decorator_list and not (read - inner) & set(bound)


def check_embed(statements: Sequence[ast.stmt], fields: Collection[str] = (), early: Sequence[ast.stmt] = ()) -> None:
    """Refuse statements that cannot be a method of their own, before a boundary.

    Args:
        statements: They.
        fields: The variables that cross the boundary.
        early: Those that may return, and do so by a question that the stages ask, too.

    Raises:
        Unsound: With the construct and why.
    """
    bound = {name for statement in statements for name in bound_names(statement)}
    for scope in escaping_scopes(statements):
        if isinstance(scope, ast.FunctionDef) and scope.name not in fields and _is_closed(scope, bound):
            continue
        raise Unsound(scope, "a function made before the boundary may see names that change after it")
    for statement in statements:
        for node in walk(statement):
            if isinstance(node, ast.Return) and statement not in early and returns(statement):
                raise Unsound(node, "the method returns before the embedding is complete")
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Del):
                raise Unsound(node, "`del` before the boundary")
