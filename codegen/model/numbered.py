"""Whether numbered attributes, ``setattr(self, f"patch_embed{i + 1}", patch_embed)``, hold a module of their own each.

They are read as one attribute, ``patch_embed·``. Where each time that one is set a module is made for it, with parts
that nothing else is given, no two of them are the same, whatever their numbers are.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.model.outside import Outside
from codegen.model.sharing import called_in_constructor, gives_again, is_given_objects, made_at, objects_of
from codegen.model.tampering import is_tampered_with
from codegen.source.index import Class
from codegen.source.stores import PUTS
from codegen.syntax.bindings import bound_names
from codegen.syntax.computed_names import MARK
from codegen.syntax.dataflow import Unsound, dotted, flow
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk


def hold_own_modules(facts: Facts, attribute: str) -> bool:
    """Whether no two of the attributes that go by a name may hold the same module, or have one in common.

    Args:
        facts: The class.
        attribute: The name that stands for them, ``patch_embed·``.
    """
    if MARK not in attribute or facts.has_member(attribute) or is_given_objects(facts):
        return False
    if is_tampered_with(facts, attribute) or Outside.of(facts.index).stored.get(attribute):
        return False
    methods = [(cls, method) for cls in facts.lineage for method in cls.members.values()]
    return all(_is_new(facts, cls, made) for cls, method in methods for made, _ in _made_by(method, attribute, _set_to))


def may_share_parts(facts: Facts, container: str) -> bool:
    """Whether two parts of a container may be the same module, or have one in common: ``[stem] * 3``.

    Args:
        facts: The class.
        container: The attribute that holds it, a list of modules.
    """
    if facts.has_member(container) or is_tampered_with(facts, container):
        return True
    if Outside.of(facts.index).stored.get(container):
        return True
    seen: set[str] = set()
    for cls in facts.lineage:
        arguments = cls.constructor.args if cls.constructor is not None else None
        given = {made_at(n) for n in walk(arguments) if isinstance(n, ast.arg)} if arguments is not None else set()
        for made, loop in (each for method in cls.members.values() for each in _made_by(method, container, _put)):
            if made is None or any(_may_give_again(facts, cls, value) for value in made):
                return True
            objects = {found for value in made for found in objects_of(facts, cls, value)} - given
            objects = {name for name in objects if not _is_number(facts, name)} | set(map(made_at, made))
            anew = set() if loop is None else _made_in(loop)
            if not seen.isdisjoint(objects) or (loop is not None and not objects <= anew):
                return True
            seen |= objects
    return False


def _is_number(facts: Facts, name: str) -> bool:
    """Whether an object is an attribute that nothing says to hold modules: ``self.channels``."""
    attribute = name.removeprefix("self.")
    return attribute != name and kinds_of(facts, attribute) <= {"?"}


def _made_in(loop: ast.AST) -> set[str]:
    """The names of the objects that each round of a loop makes."""
    names = (n.id for n in walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return {made_at(node) for node in walk(loop) if isinstance(node, ast.expr)} | set(map(called_in_constructor, names))


def _made_by(
    method: ast.AST, attribute: str, values_of: Callable[[ast.stmt, str], Sequence[ast.expr] | None]
) -> Iterator[tuple[Sequence[ast.expr] | None, ast.AST | None]]:
    """What makes each value that a method gives an attribute, and the loop that it does so in.

    Args:
        method: The method.
        attribute: A numbered attribute, or one that holds a container.
        values_of: The values that a statement gives it; ``None`` where it does nothing of the kind.

    Yields:
        ``None`` where what makes it is not known.
    """
    known: set[int] = set()
    loops = [node for node in walk(method) if isinstance(node, ast.For | ast.While)]
    inside = {id(inner): loop for loop in reversed(loops) for inner in walk(loop)}  # the outermost one counts
    for block in _blocks(method):
        found = [values_of(statement, attribute) for statement in block]
        names = [value.id for values in found for value in values or () if isinstance(value, ast.Name)]
        for number, (statement, values) in enumerate(zip(block, found, strict=True)):
            if values is not None:
                known.add(id(statement))
                for value in values:
                    twice = isinstance(value, ast.Name) and names.count(value.id) > 1
                    loop = inside.get(id(statement), _round(statement, value))
                    yield None if twice else _makers(block[:number], value), loop
    plain = {id(node) for s in walk(method) if id(s) in known or _sets_constant(s) for node in walk(s)}
    for node in walk(method):
        if id(node) not in plain and _may_set(node, attribute):
            yield None, None


def _round(statement: ast.stmt, part: ast.expr) -> ast.AST | None:
    """The comprehension that makes a part."""
    rounds = (node for node in walk(statement) if isinstance(node, ast.ListComp | ast.GeneratorExp))
    return next((node for node in rounds if node.elt is part), None)


def _put(statement: ast.stmt, container: str) -> Sequence[ast.expr] | None:
    """What a statement puts into a container of ``self``, a call in a comprehension for each round of it."""
    match statement:
        case ast.Assign(targets=[ast.Attribute(ast.Name("self"), name)], value=ast.Call(args=args, keywords=[])):
            lists = [argument.value if isinstance(argument, ast.Starred) else argument for argument in args]
            parts = [_listed(value) for value in lists]
            known = [part for listed in parts for part in listed or ()]
            return known if name == container and None not in parts else None
        case ast.Expr(ast.Call(func=ast.Attribute(ast.Attribute(ast.Name("self"), name), attr), args=[value])):
            if name == container and attr in ("append", "extend"):
                return [value] if attr == "append" else _listed(value)
    return None


def _listed(value: ast.expr) -> Sequence[ast.expr] | None:
    match value:
        case ast.List(elts=parts) | ast.Tuple(elts=parts) if not any(isinstance(p, ast.Starred) for p in parts):
            return parts
        case ast.ListComp(elt=ast.Call() as part) | ast.GeneratorExp(elt=ast.Call() as part):
            return [part]
        case ast.Call():  # nn.Sequential(conv, norm)
            return [value]
    return None


def _sets_constant(node: ast.AST) -> bool:
    """Whether a statement sets something of what an attribute holds to a constant: ``requires_grad = False``."""
    match node:
        case ast.Assign(targets=[ast.Attribute(value=ast.Attribute())], value=ast.Constant()):
            return True
    return False


def _blocks(node: ast.AST) -> Iterator[Sequence[ast.stmt]]:
    for inner in walk(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(inner, name, None)
            if isinstance(block, list):
                yield block


def _set_to(statement: ast.stmt, attribute: str) -> Sequence[ast.expr] | None:
    """What a statement sets such an attribute of ``self`` to; ``None`` where it does nothing of the kind."""
    match statement:
        case ast.Expr(
            value=ast.Call(func=ast.Name("setattr"), args=[ast.Name("self"), ast.Constant(name), value], keywords=[])
            | ast.Call(
                func=ast.Attribute(ast.Name("self"), "add_module" | "register_module"),
                args=[ast.Constant(name), value],
                keywords=[],
            )
        ) if name == attribute:
            return [value]
        case ast.Assign(targets=[ast.Attribute(ast.Name("self"), name)], value=value) if name == attribute:
            return [value]
    return None


def _may_set(node: ast.AST, attribute: str) -> bool:
    """Whether code may set such an attribute, or change what it holds: ``self.patch_embed1.norm = norm``."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return _head(node) == attribute
        case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args):
            named = any(isinstance(argument, ast.Constant) and argument.value == attribute for argument in args)
            return (attr in PUTS and _head(owner) == attribute) or named
        case ast.Call(func=ast.Name("setattr"), args=args):
            return any(isinstance(argument, ast.Constant) and argument.value == attribute for argument in args)
    return False


def _makers(before: Sequence[ast.stmt], value: ast.expr) -> Sequence[ast.expr] | None:
    """Expressions of which one has made a value since a block began; ``None`` where it may be older.

    Args:
        before: The statements of the block before that which uses the value.
        value: It.
    """
    if not isinstance(value, ast.Name):
        return (value,)
    try:
        surely = flow(before).bound
    except Unsound:
        return None
    bound = [name for statement in before for name in bound_names(statement)].count(value.id)
    made = [
        node.value
        for statement in before
        for node in walk(statement)
        if isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == [value.id]
    ]
    return made if value.id in surely and len(made) == bound else None


def _is_new(facts: Facts, cls: Class, made: Sequence[ast.expr] | None) -> bool:
    """Whether one of some expressions makes a module of parts that nothing else has."""
    return made is not None and all(_makes_alone(facts, cls, value) for value in made)


def _makes_alone(facts: Facts, cls: Class, value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _makes_alone(facts, cls, value.body) and _makes_alone(facts, cls, value.orelse)
    if not isinstance(value, ast.Call) or not _is_class(facts, cls, value.func):
        return False
    return objects_of(facts, cls, value) <= _numbers(facts, cls) and not _may_give_again(facts, cls, value)


def _may_give_again(facts: Facts, cls: Class, value: ast.expr) -> bool:
    """Whether a call in an expression may give what it has given before: ``self.norm_for(dim)``."""
    called = [inner.func for inner in walk(value) if isinstance(inner, ast.Call)]
    own = any(dotted(function).startswith("self.") for function in called)
    return own or any(gives_again(facts.index, cls, function) for function in called)


def _is_class(facts: Facts, cls: Class, callee: ast.expr) -> bool:
    """Whether a call makes an object of a class that can be read, or of one of torch."""
    name = dotted(callee)
    if not name or name.partition(".")[0] in cls.constructor_names:
        return False
    return facts.index.resolve(cls.module, name) is not None or cls.module.origin_of(callee).startswith("torch.nn.")


def _numbers(facts: Facts, cls: Class) -> frozenset[str]:
    """The parameters of a constructor that are numbers, or lists of such, by default and wherever they are passed."""
    if cls.constructor is None:
        return frozenset()
    defaults = defaults_of(cls.constructor.args)
    outside = Outside.of(facts.index)
    arguments = (node for node in walk(cls.constructor.args) if isinstance(node, ast.arg))
    return frozenset(
        made_at(argument)
        for argument in arguments
        if (default := defaults.get(argument.arg)) is not None
        and all(map(_is_plain, (default, *(given.value for given in outside.passed(cls, argument.arg)))))
    )


def _is_plain(value: ast.expr) -> bool:
    match value:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return all(map(_is_plain, elements))
        case ast.UnaryOp(operand=operand):
            return _is_plain(operand)
        case ast.BinOp(left=left, right=right):
            return _is_plain(left) and _is_plain(right)
    return isinstance(value, ast.Constant)


def _head(node: ast.expr) -> str:
    """The attribute of ``self`` with which a path begins: ``stem`` of ``self.stem[0].norm``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return node.attr
        node = node.value
    return ""
