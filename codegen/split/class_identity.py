"""Whether a user's model asks of what class it is: its split is of another one, which has methods that it has not."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from codegen.model.facts import Facts
from codegen.source.reached import made_and_run
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.walking import children, walk

_TELLING = frozenset({"__repr__", "__str__", "__format__", "extra_repr", "__reduce__", "__getstate__", "__setstate__"})
"""Methods that tell people, or a copy, of an object."""
_SAYING = frozenset({"print", "warn", "debug", "info", "warning", "error", "exception", "critical", "log"})
_NAMES = frozenset({"__module__", "__qualname__", "_get_name", "__mro__", "__bases__", "__subclasses__"})


def check_class_identity(facts: Facts, added: Collection[str]) -> None:
    """Refuse a model of a user whose result may depend on the class that it is of, beside what messages say of it.

    Args:
        facts: The class of the model.
        added: The names of what a split has and the class has not.

    Raises:
        Unsound: Where it asks.
    """
    own = [cls for cls in facts.lineage if not cls.module.is_timms]
    asking = [
        (method, node, cls.module.path)
        for cls in own
        for name, method in cls.members.items()
        if isinstance(method, ast.FunctionDef) and name not in _TELLING
        for node in (*_questions(method, added), *_of_class_method(method))
    ]
    if not asking:  # what runs takes long to find
        return
    trees = [module.tree for module in facts.index.user_modules]
    run = {id(code) for code in made_and_run(trees, [cls.node for cls in own], {"forward", facts.index.method})}
    for method, node, path in asking:
        if id(method) in run:
            raise Unsound(node, "it asks for the class of self, which a split changes", path)


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


def _questions(node: ast.AST, added: Collection[str]) -> Iterator[ast.AST]:
    """Where code asks, what only reaches a message aside."""
    match node:
        case ast.Raise():
            return
        case ast.Assert(test=test):
            yield from _questions(test, added)
            return
        case ast.Call(func=function) if dotted(function).rpartition(".")[2] in _SAYING:
            return
        case ast.Call(func=ast.Name("type" | "repr" | "str" | "format"), args=[ast.Name("self"), *_]):
            yield node
        case ast.Attribute(value=ast.Name("self"), attr=attr) if attr == "__class__" or attr in _NAMES:
            yield node
        case ast.FormattedValue(value=ast.Name("self")) | ast.Attribute(attr="__qualname__"):
            yield node
        case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[ast.Name("self"), ast.Constant(name), *_]):
            if name in added or name in _NAMES or name == "__class__":
                yield node
    for child in children(node):
        yield from _questions(child, added)
