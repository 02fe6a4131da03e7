"""What the first layers of a container do to what they are given: ``Sequential(conv, ReLU(inplace=True))``.

A layer that works in place changes what its neighbour before it has made, where that surely makes something new. That
is said of what is plainly written in an order alone: of a list that is turned round or sorted, nothing is.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from codegen.model.bound import ANYTHING, bindings_of, remembered, stored_by
from codegen.model.facts import Facts
from codegen.model.kinds import children_of, kinds_of
from codegen.model.making import Making, with_passed
from codegen.model.module_kind import CONTAINERS, IN_PLACE, STATISTICS, TORCHS, Kind
from codegen.model.outside import Outside
from codegen.model.purity import may_tell_in_place
from codegen.model.tampering import is_tampered_with
from codegen.source.index import Class, Module
from codegen.source.stores import PUTS
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk


class Given(IntEnum):
    """What layers do to what they are given, the least that is known of them first."""

    CHANGED = 0
    """They may change it in place."""
    HANDED_ON = 1
    """They may hand it on as it is."""
    REPLACED = 2
    """They make something new of it."""


def leaves_alone(facts: Facts, attribute: str, makes_new: Callable[[Class], bool]) -> bool:
    """Whether what an attribute holds surely leaves alone what it is given, or each of its parts what that is given.

    Args:
        facts: The class of a user.
        attribute: It.
        makes_new: Whether a class, which changes nothing that it is given, never gives that back.
    """
    memory, key = facts.index.memory, ("leaves alone", id(facts.cls), attribute)
    if key not in memory:
        memory[key] = False  # while that is being found out
        memory[key] = _leaves_alone(facts, attribute, makes_new)
    found: bool = memory[key]
    return found


def _leaves_alone(facts: Facts, attribute: str, makes_new: Callable[[Class], bool]) -> bool:
    if attribute in facts.altered or is_tampered_with(facts, attribute) or _is_rearranged(facts):
        return False
    if Outside.of(facts.index).stored.get(attribute):
        return False
    found: list[Given] = []
    for cls in facts.lineage:
        for method in cls.members.values():
            if isinstance(method, ast.FunctionDef):
                order = _Order(facts, _making(facts, cls.module, method), makes_new, method)
                stored = remembered(facts, "stored", method, stored_by)
                found += map(order.of, (*stored.get(attribute, ()), *stored.get(ANYTHING, ())))
    return bool(found) and min(found) != Given.CHANGED


def _making(facts: Facts, module: Module, function: ast.FunctionDef, depth: int = 0) -> Making:
    """What the names in a function make; in a constructor, what it is passed elsewhere too."""
    bound = remembered(facts, "bound", function, bindings_of)
    home = next((cls for cls in facts.lineage if cls.constructor is function), None)
    if home is not None:
        bound = with_passed(facts, home, bound)
    return Making(facts, module, bound, kinds_of, depth)


def _is_rearranged(facts: Facts) -> bool:
    """Whether a method that makes the model may give the layers of a container another order, or other ones."""
    for cls in facts.lineage:
        for name, method in cls.members.items() if not cls.module.is_timms else ():
            if isinstance(method, ast.FunctionDef) and not name.startswith("forward"):
                making = _making(facts, cls.module, method)
                owners = (owner for node in walk(method) for owner in _rearranged_by(node))
                if any(_may_hold_layers(making, owner) for owner in owners):
                    return True
    return False


def _rearranged_by(node: ast.AST) -> Iterator[ast.expr]:
    """What a node may give another order: ``block[0], block[1] = block[1], block[0]``, ``self.stem.pop(0)``."""
    match node:
        case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
            yield owner
        case ast.Attribute(value=owner, attr="_modules"):
            yield owner
        case ast.Attribute(value=owner, ctx=ast.Store() | ast.Del()) if dotted(owner) != "self":
            yield owner  # block.conv = nn.Identity()
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _TURNING:
            yield owner


def _may_hold_layers(making: Making, owner: ast.expr) -> bool:
    kinds = set(making.of(owner))
    return any(isinstance(kind, Class) or kind in TORCHS for kind in kinds)


_DEPTH = 6  # of calls that make layers
_READING = ("len", "enumerate", "list", "tuple", "ModuleList", "Sequential", "isinstance", "range", "zip", "print")


@dataclass(frozen=True, eq=False)
class _Order:
    """Reads in what order a function puts layers together.

    Attributes:
        facts: The class whose method it is, or for which it runs.
        making: What the names in it make.
        makes_new: Whether a class never gives back what it is given.
        function: It.
        each: Whether the layers of a list are given the same, and not what the one before has made.
        depth: How many calls deep it is.
        open: The variables that are being read.
    """

    facts: Facts
    making: Making
    makes_new: Callable[[Class], bool]
    function: ast.FunctionDef
    each: bool = False
    depth: int = 0
    open: frozenset[str] = frozenset()

    def of(self, node: ast.expr) -> Given:
        """What a module does to what it is given, or the modules in a list one after the other."""
        if self.depth > _DEPTH:
            return Given.CHANGED
        match node:
            case ast.Call():
                return self._made(node)
            case ast.Name(id=name) if name in self.making.values:
                return self._variable(name)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return self._in_order(map(self.of, parts))
            case ast.Starred(value=inner) | ast.NamedExpr(value=inner):
                return self.of(inner)
            case ast.ListComp(elt=part) | ast.GeneratorExp(elt=part):
                return min(self._empty, self.of(part))  # it may have no round
            case ast.IfExp(body=body, orelse=orelse):
                return min(self.of(body), self.of(orelse))
            case ast.BoolOp(values=parts):
                return min(map(self.of, parts))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._in_order([self.of(left), self.of(right)])
            case ast.BinOp(left=repeated, op=ast.Mult()):
                return self.of(repeated)
        return self._by_kinds(self.making.of(node))

    def _in_order(self, parts: Iterable[Given]) -> Given:
        found = Given.HANDED_ON if not self.each else Given.REPLACED
        for part in parts:
            if self.each:
                found = min(found, part)
            elif found == Given.HANDED_ON:
                found = part
        return found

    def _made(self, node: ast.Call) -> Given:
        path = self.making.module.origin_of(node.func)
        name = path.removeprefix("torch.nn.")
        if path.startswith("torch.nn.") and name in CONTAINERS:
            inner = replace(self, each=name != "Sequential")
            return Given.CHANGED if node.keywords else inner._in_order([inner._listed(part) for part in node.args])
        if dotted(node.func) in ("list", "tuple") and len(node.args) == 1:
            return self.of(node.args[0])
        read = self._function(node)
        made = set(self.making.of(node))
        if read is None:
            hands_on = not any(isinstance(kind, Class) or kind in TORCHS for kind in made)  # map(wrap, layers)
            return Given.CHANGED if hands_on and any(map(self._may_be_in_place, _given(node))) else self._by_kinds(made)
        return read if read == Given.REPLACED or IN_PLACE not in made else Given.CHANGED

    def _listed(self, node: ast.expr) -> Given:
        """An argument of a container: a module, a list of them, or pairs of a name and one."""
        match node:
            case ast.Call(func=function, args=[inner]) if dotted(function).endswith("OrderedDict"):
                return self._listed(inner)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) if parts and all(map(_is_pair, parts)):
                return self._in_order(self.of(part.elts[1]) for part in parts if isinstance(part, ast.Tuple | ast.List))
            case ast.Dict(values=parts):
                return self._in_order(map(self.of, parts))
        return self.of(node)

    def _may_be_in_place(self, given: ast.expr) -> bool:
        """Whether what a call is given may be, or make, a layer that works in place."""
        value = given.body if isinstance(given, ast.Lambda) else given
        return IN_PLACE in set(self.making.of(value)) or may_tell_in_place(value)

    def _function(self, call: ast.Call) -> Given | None:
        """What a function or a method of the files makes, or a class of theirs that is a sequence."""
        facts, name = self.facts, dotted(call.func)
        own = not name or name.partition(".")[0] in self.making.values
        found = None if own else facts.index.function(self.making.module, name)
        method = facts.method(name.removeprefix("self.")) if name.startswith("self.") else None
        if method is not None:
            found = method[0].module, method[1]
        if found is not None:
            module, code = found
            values = [n.value for n in walk(code) if isinstance(n, ast.Return) and n.value is not None]
            making = _making(facts, module, code, self.making.depth + 1)
            passed = self.making.passed(code, call.args, call.keywords, 0 if method is None else 1, frozenset())
            making = replace(making, values={**making.values, **passed})
            inner = replace(self, making=making, function=code, depth=self.depth + 1, open=frozenset())
            does = min(map(inner.of, values), default=Given.CHANGED)
            hidden = code.args.vararg or code.args.kwarg or not passed
            return Given.CHANGED if hidden and any(map(self._may_be_in_place, _given(call))) else does
        cls = None if own else facts.index.resolve(self.making.module, name)
        if cls is None or (made := Facts.of(facts.index, cls)).torch_parent != "Sequential":
            return None
        return self._sequence(made, _given(call))

    def _sequence(self, made: Facts, given: Sequence[ast.expr]) -> Given:
        """What an object of a class that derives from ``nn.Sequential`` does."""
        constructor = made.cls.constructor
        inside = (
            set() if constructor is None else _kinds_inside(_making(made, made.cls.module, constructor), constructor)
        )
        if IN_PLACE not in children_of(made) | inside and not any(map(self._may_be_in_place, given)):
            return Given.HANDED_ON
        if constructor is None or made.has_member("forward") or made.has_member("__iter__") or _is_rearranged(made):
            return Given.CHANGED
        calls = [node for node in walk(constructor) if isinstance(node, ast.Call)]
        parents = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"]
        puts = any(isinstance(c.func, ast.Attribute) and c.func.attr in PUTS and _is_self(c.func) for c in calls)
        if len(parents) != 1 or parents[0].keywords or puts or any(map(_sets_own, walk(constructor))):
            return Given.CHANGED
        making = _making(made, made.cls.module, constructor, self.making.depth + 1)
        inner = _Order(made, making, self.makes_new, constructor, depth=self.depth + 1)
        found = inner._in_order(map(inner._listed, parents[0].args))
        return found if found == Given.REPLACED or not any(map(self._may_be_in_place, given)) else Given.CHANGED

    def _by_kinds(self, kinds: Iterable[Kind]) -> Given:
        found = set(kinds)
        if IN_PLACE in found:
            return Given.CHANGED
        classes = [kind for kind in found if isinstance(kind, Class)]
        new = found - set(classes) <= {"torch", STATISTICS, "foreign"} and all(map(self.makes_new, classes))
        return Given.REPLACED if found and new else Given.HANDED_ON

    # Variables

    def _variable(self, name: str) -> Given:
        """What a variable holds: a module, or a list that statements fill in their order."""
        if name in self.open or any(
            isinstance(argument, ast.arg) and argument.arg == name for argument in walk(self.function.args)
        ):
            return self._by_kinds(self.making.of(ast.Name(name, ast.Load())))
        if not self._is_only_filled(name):
            kinds = set(self.making.of(ast.Name(name, ast.Load())))
            return Given.CHANGED if IN_PLACE in kinds or not kinds else Given.HANDED_ON
        ends: list[Given] = []
        inner = replace(self, open=self.open | {name})
        last = inner._fill(self.function.body, name, self._empty, ends)
        return min([last, *ends])

    @property
    def _empty(self) -> Given:
        return Given.REPLACED if self.each else Given.HANDED_ON

    def _is_only_filled(self, name: str) -> bool:
        """Whether nothing is done with a variable but to fill it, to look at it, and to hand it to a container."""
        plain: set[int] = set()
        for node in walk(self.function):
            match node:
                case ast.Expr(ast.Call(func=ast.Attribute(value=ast.Name() as owner, attr=attr))) if attr in _FILLING:
                    plain.add(id(owner))
                case ast.Call(func=function, args=args) if dotted(function).rpartition(".")[2] in _READING:
                    plain |= {id(part) for argument in args for part in (argument, getattr(argument, "value", None))}
                case ast.Return(value=value) | ast.Starred(value=value):
                    plain |= {id(part) for part in _joined(value)}
                case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=value):
                    own = dotted(target) == name or dotted(target).startswith("self.")
                    plain |= {id(target), *(id(part) for part in _joined(value) if own)}
                case ast.AugAssign(target=target):
                    plain.add(id(target))
                case ast.Attribute(value=ast.Name() as owner) if node.attr not in (*_TURNING, *_FILLING):
                    plain.add(id(owner))
                case ast.For(iter=iterable):
                    plain.add(id(iterable))
                case ast.If(test=ast.Name() as test):
                    plain.add(id(test))
        inner = [node for statement in self.function.body for node in walk(statement) if isinstance(node, _FUNCTIONS)]
        plain -= {id(part) for function in inner for part in walk(function)}  # which runs at another time
        mentions = (node for node in walk(self.function) if isinstance(node, ast.Name) and node.id == name)
        return all(id(node) in plain for node in mentions)

    def _fill(self, statements: Sequence[ast.stmt], name: str, before: Given, ends: list[Given]) -> Given:
        """What a list does after some statements have put layers into it.

        Args:
            statements: They.
            name: The variable.
            before: What it does before them.
            ends: What it did where it was bound anew.
        """
        for node in statements:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=found)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value)
                ) if found == name:
                    own = any(isinstance(part, ast.Name) and part.id == name for part in walk(value))
                    if own:
                        before = self._again(value, name, before)
                    else:
                        ends.append(before)
                        before = self._listed(value)
                case ast.AugAssign(target=ast.Name(id=found), value=value) if found == name:
                    before = self._in_order([before, self._listed(value)])
                case ast.Expr(ast.Call(func=ast.Attribute(ast.Name(id=found)), args=[*_, value])) if found == name:
                    part = self._listed(value.elts[1] if isinstance(value, ast.Tuple) and _is_pair(value) else value)
                    before = self._in_order([before, part])
                case ast.If(body=body, orelse=orelse):
                    before = min(self._fill(body, name, before, ends), self._fill(orelse, name, before, ends))
                case ast.For(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                    before = min(before, self._fill([*body, *orelse], name, before, ends))
                case ast.With(body=body):
                    before = self._fill(body, name, before, ends)
                case ast.Try() | ast.Match():
                    if any(isinstance(inner, ast.Name) and inner.id == name for inner in walk(node)):
                        return Given.CHANGED
        return before

    def _again(self, value: ast.expr, name: str, before: Given) -> Given:
        """What a variable holds that is bound to what is made of it: ``layers = layers + [act]``."""
        match value:
            case ast.Name(id=found) if found == name:
                return before
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._in_order([self._again(left, name, before), self._again(right, name, before)])
            case ast.IfExp(body=body, orelse=orelse):
                return min(self._again(body, name, before), self._again(orelse, name, before))
            case ast.Call(func=function, args=parts) if dotted(function).endswith("Sequential"):
                inner = replace(self, each=False)
                return inner._in_order([inner._again(part, name, before) for part in parts])
            case ast.Call(args=[ast.Name(id=found)]) if found == name:
                return min(before, Given.HANDED_ON)  # what wraps it is believed, as all layers that cannot be read
        mentioned = any(isinstance(part, ast.Name) and part.id == name for part in walk(value))
        return Given.CHANGED if mentioned else self._listed(value)


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FILLING = ("append", "extend", "add_module")
_TURNING = ("insert", "reverse", "sort", "pop", "remove", "clear", "__setitem__", "__delitem__", "__iadd__")


def _given(call: ast.Call) -> Sequence[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _joined(value: ast.expr | None) -> Iterable[ast.expr]:
    match value:
        case None:
            return ()
        case ast.BinOp(left=left, right=right):
            return (*_joined(left), *_joined(right))
        case ast.IfExp(body=body, orelse=orelse):
            return (*_joined(body), *_joined(orelse))
    return (value,)


def _is_pair(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and len(node.elts) == 2 and not isinstance(node.elts[0], ast.Call)


def _is_self(function: ast.Attribute) -> bool:
    return dotted(function.value) == "self"


def _sets_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and dotted(node.value) == "self"


def _kinds_inside(making: Making, code: ast.AST) -> set[Kind]:
    """The kinds of modules that code makes anywhere."""
    return {kind for node in walk(code) if isinstance(node, ast.Call) for kind in making.of(node)}
