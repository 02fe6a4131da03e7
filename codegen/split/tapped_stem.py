"""A stem that gives what it makes on its way beside what it makes, where it can.

``if hasattr(self.stem, "forward_intermediates"): x, y = self.stem.forward_intermediates(x)``, ``else: x, y =
self.stem(x), None``. Either way ``x`` is what the call of the stem gives, if that method runs the parts of a
``Sequential`` in turn as the call does; and ``y`` is not known from an embedding, if the stem has the method.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from codegen.model.decorators import are_as_they_read
from codegen.model.facts import Facts
from codegen.model.makers import Maker, makers_of
from codegen.model.quiet import is_quiet
from codegen.source.index import Class, Module
from codegen.split.stem_parts import Joined, run_parts
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, dotted, flow
from codegen.syntax.statements import Statement, arms, read_method

_CALLING = frozenset({"forward", "__call__", "__iter__", "__getattr__", "__getattribute__"})


def call_whole(facts: Facts, module: Module, statement: Statement) -> Joined | None:
    """A call of the stem for a statement that runs it one way or the other; ``None`` where it is no such statement.

    Args:
        facts: The class.
        module: The file in which the method stands.
        statement: One of the method.
    """
    match statement.tree:
        case ast.If(
            test=ast.Call(func=ast.Name("hasattr"), args=[stem, ast.Constant(str(method))], keywords=[]) as test,
            body=[ast.Assign(targets=[ast.Tuple(elts=both)], value=ast.Call(func=function, args=given, keywords=[]))],
            orelse=[
                ast.Assign(
                    targets=[ast.Tuple(elts=others)],
                    value=ast.Tuple(elts=[ast.Call(func=called, args=taken, keywords=[]), ast.Constant(None)]),
                )
            ],
        ):
            pass
        case _:
            return None
    name = dotted(stem)
    match both, given:
        case [ast.Name(id=x), ast.Name(id=y)], [ast.Name(id=images)] if x == images and x != y:
            pass
        case _:
            return None
    same = [*map(dotted, (*both, *given))] == [*map(dotted, (*others, *taken))]
    if not same or dotted(function) != f"{name}.{method}" or dotted(called) != name or name.count(".") != 1:
        return None
    if not name.startswith("self.") or not is_quiet(facts, module, ast.Expr(test), ()):
        return None
    makers = makers_of(facts, name.removeprefix("self."))
    if makers is None or not all(_gives_both(facts, maker, method) for maker in makers):
        return None
    inner = arms(statement)[2][0]
    comments = statement.text[: len(statement.text) - len(statement.code)]
    none = replace(statement, text=f"{comments}{y} = None")
    call = replace(inner, text=f"{x} = {name}({x})")
    return Joined((none, call), arms(statement)[1] + (inner,), asked=((y, ast.unparse(test)),))


def _gives_both(facts: Facts, maker: Maker, method: str) -> bool:
    """Whether a module has no method of a name, or one that gives first what calling the module gives."""
    if maker.cls is None:
        return maker.is_chosen or maker.origin.startswith("torch.nn.")
    lineage = facts.index.lineage(maker.cls)
    if not are_as_they_read(facts.index, lineage) or not all(_is_known(facts, cls) for cls in lineage):
        return False
    made = Facts.of(facts.index, maker.cls)
    if method in made.values or any(made.has_member(name) for name in ("__getattr__", "__getattribute__")):
        return False
    found = made.method(method)
    if found is None:
        return not made.has_member(method)
    return made.torch_parent == "Sequential" and _runs_parts(made, *found)


def _is_known(facts: Facts, cls: Class) -> bool:
    """Whether each base of a class is one of the release or of torch."""
    names = [dotted(base) for base in cls.node.bases]
    origins = [cls.module.origin(*name.partition(".")[::2]) for name in names if name]
    return len(origins) == len(names) and all(
        facts.index.resolve(cls.module, name) is not None or origin.startswith("torch.nn.")
        for name, origin in zip(names, origins, strict=True)
    )


def _runs_parts(made: Facts, owner: Class, function: ast.FunctionDef) -> bool:
    """Whether a method of a ``Sequential`` runs its parts in turn and returns the result first of two."""
    if function.decorator_list or any(made.has_member(name) for name in _CALLING):
        return False
    try:
        body = read_method(owner.module.text, function, owner.module.path)
    except Unsound:
        return False
    if [parameter.kind for parameter in body.parameters] != ["positional"] or body.receiver != "self":
        return False
    x = body.parameters[0].name
    *statements, last = body.statements
    match last.tree:
        case ast.Return(value=ast.Tuple(elts=[ast.Name(id=first), ast.Name()])) if first == x:
            pass
        case _:
            return False
    loops = 0
    for statement in statements:
        joined = run_parts(made, owner.module, statement)
        if joined is not None:
            loops += 1
            rest = [each.tree for each in joined.statements[:-1]]
        else:
            rest = [statement.tree]
        touched = {name for tree in rest for name in bound_names(tree)} | flow(rest).needs
        if x in touched or not all(is_quiet(made, owner.module, tree, ()) for tree in rest):
            return False
    return loops == 1
