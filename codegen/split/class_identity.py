"""Whether a user's model asks of what class it is: its split is of another one, which has methods that it has not."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator, Sequence

from codegen.model.decorators import called
from codegen.model.facts import Facts
from codegen.model.neighbours import files_seen_by
from codegen.source.index import Class, Index, Module
from codegen.source.reached import made_and_run, reached
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import children, walk, walk_for

_TELLING = frozenset({"__repr__", "__str__", "__format__", "extra_repr", "__reduce__", "__getstate__", "__setstate__"})
"""Methods that tell people, or a copy, of an object."""
_SAYING = frozenset({"print", "warn", "debug", "info", "warning", "error", "exception", "critical", "log"})
_NAMES = frozenset({"__class__", "__module__", "__qualname__", "_get_name", "__mro__", "__bases__", "__subclasses__"})


def check_class_identity(facts: Facts, added: Collection[str]) -> None:
    """Refuse a model of a user whose result may depend on the class that it is of, beside what messages say of it.

    Args:
        facts: The class of the model.
        added: The names of what a split has and the class has not.

    Raises:
        Unsound: Where it asks.
    """
    own = [cls for cls in facts.lineage if not cls.module.is_timms]
    index = facts.index
    asking: list[tuple[ast.FunctionDef, ast.AST, str]] = [
        (method, node, cls.module.path)
        for cls in own
        for name, method in cls.members.items()
        if isinstance(method, ast.FunctionDef) and name not in _TELLING
        for node in (
            *_questions(method, "self", added),
            *_of_class_method(method),
            *_given_away(index, cls.module, method, "self", added),
        )
    ]
    asking += _frames(index) if own else []
    _check_others(facts, own, added)
    _check_handed_over(facts, own)
    if not asking:  # what runs takes long to find
        return
    trees = [module.tree for module in index.user_modules]
    run = {id(code) for code in made_and_run(trees, [cls.node for cls in own], {"forward", index.method})}
    for method, node, path in asking:
        if id(method) in run:
            raise Unsound(node, _REASON, path)


_REASON = "it asks for the class of self, or who calls it, which a split changes"


def _check_handed_over(facts: Facts, own: Sequence[Class]) -> None:
    """Refuse a model whose running methods hand it to code of which it is not known that it asks for no class."""
    methods = [(c, m) for c in own for m in c.members.values() if isinstance(m, ast.FunctionDef)]
    suspects = [
        (method, node, cls.module.path)
        for cls, method in methods
        if method.name not in _TELLING
        for node in _said_nowhere(method)
        if _hands_over(facts, cls.module, node)
    ]
    if not suspects:
        return
    trees = [module.tree for module in facts.index.user_modules]
    run = {id(code) for code in reached(trees, {"forward", facts.index.method})}
    for method, node, path in suspects:
        if id(method) in run:
            raise Unsound(node, _REASON, path)


def _hands_over(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether code asks something of ``self`` or of its methods that tells of the class, by the means of a library."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args) if name in _LOOKING - _WRITING:
            return any(_is_method(facts, argument) for argument in args) and name != "hasattr"
        case ast.Call(func=function, args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords)]
            writes = isinstance(function, ast.Attribute) and function.attr == "format"
            asks = module.origin_of(function).startswith(("inspect.", "functools.partial", "pprint."))
            telling = writes or dotted(function) in _WRITING or asks
            if telling and any(_is_method(facts, value) for value in given):
                return True
            return any(_mentions_self(value) for value in given) and not _may_take_self(facts, module, function)
        case ast.BinOp(op=ast.Mod(), right=right):
            return any(isinstance(n, ast.Name) and n.id == "self" for n in _parts(right))
        case ast.Attribute(value=owner, attr=attr) if attr.startswith("__"):
            of_self = isinstance(owner, ast.Name) and owner.id == "self"
            return (of_self and attr not in _OPERATIONS) or (_is_method(facts, owner) and attr != "__name__")
    return False


def _parts(value: ast.expr) -> Sequence[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple | ast.List) else (value,)


def _mentions_self(value: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "self" for part in _parts(value))


def _is_method(facts: Facts, node: ast.AST) -> bool:
    """Whether an expression is a method of the model, which is bound to it."""
    return isinstance(node, ast.Attribute) and dotted(node.value) == "self" and node.attr in facts.methods


def _may_take_self(facts: Facts, module: Module, function: ast.expr) -> bool:
    """Whether a call surely asks of no class: what can be read is followed, a method of a parent is its own."""
    name = dotted(function)
    head, attr = name.partition(".")[0], name.rpartition(".")[2]
    if not name:  # "{!r}".format(self), operator.attrgetter(...)(self)
        return False
    if facts.index.function(module, name) is not None or facts.index.resolve(module, name) is not None:
        return True
    if facts.index.resolve(module, name.rpartition(".")[0]) is not None:  # Parent.forward(self, x)
        return not attr.startswith("__") or attr in _OPERATIONS
    if head in module.bindings:
        path = module.origin_of(function)
        return path.startswith(("torch.nn.", "torch.utils.checkpoint.")) and attr not in _TELLING
    if hasattr(builtins, head):
        return attr in _LOOKING - _WRITING or attr in _OPERATIONS
    return True  # a variable, or a part of the model


_WRITING = frozenset({"repr", "str", "format", "ascii", "vars", "dir"})
"""Functions of Python that say all of what they are given."""
_OPERATIONS = frozenset(
    {"__init__", "__call__", "__dict__", "__len__", "__getitem__", "__iter__", "__contains__", "__enter__", "__exit__"}
    | {"__setattr__", "__getattr__", "__delattr__", "__setitem__", "__class__", "__getattribute__"}
)
"""Attributes of an object that tell nothing of its class, or are asked for by their names elsewhere."""


def _check_others(facts: Facts, own: Sequence[Class], added: Collection[str]) -> None:
    """Refuse a model that goes to code which is not followed, where any near it that runs asks for a class."""
    index = facts.index
    if not any(_goes_astray(index, cls.module, m) for cls in own for m in cls.members.values()):
        return
    near = {module.path: module.tree for cls in own for module in files_seen_by(index, cls.module)}
    trees = list(near.values())
    run = reached(trees, {"forward", index.method})
    named = {node.id for function in run for node in walk(function) if isinstance(node, ast.Name)}
    functions = (node for tree in trees for node in walk_for(tree, ast.FunctionDef))
    for function in (*run, *(f for f in functions if not named.isdisjoint(_registered_with(f)))):
        for node in _said_nowhere(function):
            if _asks_of_anything(node, added) and not _is_of_self(node):
                path = next(path for path, tree in near.items() if any(inner is function for inner in walk(tree)))
                raise Unsound(node, _REASON, path)


def _said_nowhere(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of code but for what only reaches a message."""
    match node:
        case ast.Raise():
            return
        case ast.Call(func=function) if dotted(function).rpartition(".")[2] in _SAYING:
            return
    yield node
    for child in [node.test] if isinstance(node, ast.Assert) else children(node):
        yield from _said_nowhere(child)


def _goes_astray(index: Index, module: Module, method: ast.AST) -> bool:
    """Whether a method hands ``self`` on, but to a function that can be read, or to a parent: ``[self]``."""
    harmless: set[int] = set()
    for node in walk(method):
        match node:
            case ast.Attribute(value=ast.Name("self") as owner, attr=attr) if attr not in _HANDING_ON:
                harmless.add(id(owner))
            case ast.Call(func=ast.Name(id=name), args=args) if name in _LOOKING:
                harmless.update(map(id, args))
            case ast.Call(func=ast.Attribute(attr="__init__" | "forward"), args=[ast.Name() as first, *_]):
                harmless.add(id(first))  # nn.Module.__init__(self)
            case ast.Call(func=function, args=args, keywords=keywords) if dotted(function):
                found = index.function(module, dotted(function))
                if found is not None and not found[1].decorator_list:
                    harmless.update(map(id, [*args, *(keyword.value for keyword in keywords)]))
    return any(isinstance(n, ast.Name) and n.id == "self" and id(n) not in harmless for n in walk(method))


def _registered_with(function: ast.FunctionDef) -> Iterator[str]:
    """The functions under whose names a function runs: ``@gain.register``."""
    for decorator in function.decorator_list:
        owner, _, name = dotted(called(decorator)).rpartition(".")
        if name == "register":
            yield owner


_LOOKING = frozenset(
    {"super", "hasattr", "getattr", "setattr", "isinstance", "type", "repr", "str", "format", "id", "print", "len"}
)
"""Functions of Python that hand nothing on."""
_HANDING_ON = frozenset({"apply", "modules", "named_modules"})


def _asks_of_anything(node: ast.AST, added: Collection[str]) -> bool:
    match node:
        case ast.Attribute(attr=attr):
            return attr in _NAMES
        case ast.Call(func=ast.Name("type"), args=[_]):
            return True
        case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[_, ast.Constant(attr), *_]):
            return attr in added or attr in _NAMES
    return False


def _is_of_self(node: ast.AST) -> bool:
    """Whether that is asked of ``self``: of a part of the model, or in a method of it, whose questions are followed."""
    asked = node.value if isinstance(node, ast.Attribute) else node.args[0] if isinstance(node, ast.Call) else node
    return isinstance(asked, ast.Name) and asked.id == "self"


def _given_away(
    index: Index, module: Module, code: ast.FunctionDef, model: str, added: Collection[str], depth: int = 3
) -> Iterator[ast.AST]:
    """Where the functions of a user that are given the model ask: the calls that give it away."""
    for call in (node for node in walk(code) if isinstance(node, ast.Call) and dotted(node.func)):
        function = index.function(module, dotted(call.func))
        if function is None or function[0].is_timms:
            continue
        home, called = function
        parameters = positional_names(called.args)
        named = [(keyword.arg, keyword.value) for keyword in call.keywords]
        for parameter, value in [*zip(parameters, call.args, strict=False), *named]:
            if parameter is not None and dotted(value) == model:
                inner = _given_away(index, home, called, parameter, added, depth - 1) if depth else ()
                if any(_questions(called, parameter, added)) or any(inner):
                    yield call


def _frames(index: Index) -> list[tuple[ast.FunctionDef, ast.AST, str]]:
    """The functions of a user that look at what calls them, each with the place and the file."""
    if "frames" not in index.memory:
        index.memory["frames"] = [
            (function, node, module.path)
            for module in index.user_modules
            if any(name in module.text for name in (*_FRAMES, "inspect"))
            for function in walk(module.tree)
            if isinstance(function, ast.FunctionDef)
            for node in walk(function)
            if isinstance(node, ast.Attribute | ast.Name) and _looks_at_frames(module, node)
        ]
    found: list[tuple[ast.FunctionDef, ast.AST, str]] = index.memory["frames"]
    return found


def _looks_at_frames(module: Module, node: ast.expr) -> bool:
    name = dotted(node).rpartition(".")[2]
    return name in _FRAMES or (name == "stack" and module.origin_of(node) == "inspect.stack")


_FRAMES = frozenset(
    {"__self__", "__func__", "__code__", "_getframe", "currentframe", "getouterframes", "extract_stack", "format_stack"}
)


def _of_class_method(method: ast.FunctionDef) -> Iterator[ast.AST]:
    """Where a class method uses the class that it is given other than for what that has, or to make an object."""
    if [dotted(decorator) for decorator in method.decorator_list] != ["classmethod"] or not method.args.args:
        return
    name, harmless = method.args.args[0].arg, set[int]()
    for node in walk(method):
        match node:
            case ast.Attribute(value=ast.Name() as owner, attr=attr) if not attr.startswith("__"):
                harmless.add(id(owner))
            case ast.Call(func=ast.Name() as owner):
                harmless.add(id(owner))
    yield from (n for n in walk(method) if isinstance(n, ast.Name) and n.id == name and id(n) not in harmless)


def _questions(node: ast.AST, model: str, added: Collection[str]) -> Iterator[ast.AST]:
    """Where code asks of what class the variable is that holds the model, what only reaches a message aside."""
    return (inner for inner in _said_nowhere(node) if _asks(inner, model, added))


def _asks(node: ast.AST, model: str, added: Collection[str]) -> bool:
    match node:
        case ast.Attribute(attr="__qualname__"):
            return True
        case (
            ast.Call(func=ast.Name("type" | "repr" | "str" | "format"), args=[ast.Name(id=name), *_])
            | ast.FormattedValue(value=ast.Name(id=name))
        ) if name == model:
            return True
        case ast.Attribute(value=ast.Name(id=name), attr=attr):
            return name == model and attr in _NAMES
        case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[ast.Name(id=name), ast.Constant(attr), *_]):
            return name == model and (attr in added or attr in _NAMES)
    return False
