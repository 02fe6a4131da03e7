"""What a class says about itself: which attributes are its stem, its blocks, its positional encoding.

Two sources are read, neither is run. timm's ``group_matcher`` names the stem and the blocks by regular expressions
over parameter names. ``__init__`` shows what each attribute is made of. Where neither decides, the names of attributes
are read in the field's usual vocabulary.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import regex

from codegen.model.library import QUALITIES
from codegen.model.special import EVERY
from codegen.source.index import Class, Index
from codegen.syntax.computed_names import MARK
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.walking import children, walk, walk_for

UNKNOWN = "?"
_PATIENCE = 0.2  # seconds for a pattern to match a name, which takes those of timm some microseconds


class Role(Enum):
    """What an attribute of ``self`` is to the tokens."""

    STEM = "stem"
    BLOCK = "block"
    BOTH = "stem and blocks"
    POSITION = "positional encoding"
    PARAMETER = "parameter"
    DROPOUT = "dropout"
    ACTIVATION = "activation"
    PRE_NORM = "pre-norm"
    PATCH_DROP = "patch dropout"
    OTHER = "module"


_POSITION = {"pos", "position", "positional", "posemb", "posembed", "posenc", "pe", "rope", "rotary", "rot", "ape"}
_AXES = {"time", "temporal", "frame", "space", "spatial"}
_EMBEDDINGS = {"embed", "embedding", "emb"}
_RELATIVE = {"rel", "relative", "relpos", "bias", "rpb", "rpe", "conv", "block", "blk"}
_PRE_NORM = re.compile(r"(^|_)(norm|ln)_?pre(_|$)|(^|_)pre_?(norm|ln|layernorm|layrnorm)(_|$)")
_PATCH_DROP = re.compile(r"(patch|token)_?drop")
_ACTIVATION = re.compile(r"^(act|activation|relu|gelu|silu|nonlin\w*)\d*$", re.IGNORECASE)
_NORMS = frozenset(
    {"LayerNorm", "LayerNorm2d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "GroupNorm", "RMSNorm"}
    | {"norm_layer"}
)
"""What makes a norm, by its name."""
_STEM = re.compile(r"(^|_)(embed\w*|stem\w*|downsample\w*|patchify|patches|tokenizer)(_|$)")
_TORCH_BLOCKS = frozenset({"TransformerEncoder", "TransformerDecoder", "Transformer"})
_BLOCKS = re.compile(r"^(\w*_)?(blocks?|layers?|stages?|levels?|transformers?|trunk|network|encoder|decoder)_?\d*$")


def names_position(name: str) -> bool:
    """Whether an identifier speaks of absolute or rotary position: ``_pos_embed``, ``time_embed``, ``rope``.

    Relative position biases (``rel_pos_bias``) belong to attention, positional convolutions between blocks to stages.
    """
    words = {re.sub(r"\d+$", "", word) for word in name.lower().split("_")}
    absolute = words & _POSITION or (words & _AXES and words & _EMBEDDINGS)
    return bool(absolute) and not words & _RELATIVE


@functools.cache
def _compiled(patterns: tuple[str, ...]) -> tuple[regex.Pattern[str], ...]:
    """Those of the strings in a matcher that are patterns."""
    found = []
    for pattern in patterns:
        with contextlib.suppress(regex.error):
            found.append(regex.compile(pattern))
    return tuple(found)


@dataclass(frozen=True)
class Matcher:
    """What ``group_matcher`` declares: regular expressions over parameter names, ``^patch_embed|pos_embed``."""

    stem: tuple[str, ...]
    blocks: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.stem or self.prefixes)

    def role(self, attribute: str) -> Role | None:
        """The role that the matcher gives an attribute, ``None`` where it does not mention it.

        A pattern that needs more than the attribute's own name (``^features\\.conv0``) speaks of a part of it.

        Raises:
            TimeoutError: If a pattern tries too many ways to match.
        """
        path = f"{attribute}."
        if self.prefixes:
            return Role.STEM if attribute.startswith(self.prefixes) else None
        stem = _compiled(self.stem)
        whole = any(p.match(path, timeout=_PATIENCE) or p.fullmatch(attribute, timeout=_PATIENCE) for p in stem)
        part = any(p.match(path, partial=True, timeout=_PATIENCE) for p in stem)
        blocks = any(p.match(path, partial=True, timeout=_PATIENCE) for p in _compiled(self.blocks))
        if whole:
            return Role.STEM
        if part:
            return Role.BOTH if blocks else Role.STEM
        return Role.BLOCK if blocks else None


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of one model class.

    Attributes:
        index: The release.
        cls: The class.
        prefix: Path from ``self`` to the object that the facts are about, ``self.encoder`` for a delegate.
    """

    index: Index
    cls: Class
    prefix: str = "self"
    _runs: dict[str, frozenset[str]] = field(default_factory=dict)
    _run_by: dict[ast.AST, frozenset[str]] = field(default_factory=dict)
    _roles: dict[str, Role] = field(default_factory=dict)
    _positions: dict[str, bool] = field(default_factory=dict)

    @staticmethod
    def of(index: Index, cls: Class) -> Facts:
        """What is known of a class, worked out once: many models have the same parts."""
        key, memory = ("facts", id(cls)), index.memory
        if key not in memory:
            memory[key] = Facts(index, cls)
        found: Facts = memory[key]
        return found

    @cached_property
    def lineage(self) -> tuple[Class, ...]:
        return self.index.lineage(self.cls)

    def method(self, name: str) -> tuple[Class, ast.FunctionDef] | None:
        """A method of the class and the class that defines it."""
        found = self.members.get(name)
        return (found[0], found[1]) if found is not None and isinstance(found[1], ast.FunctionDef) else None

    def has_member(self, name: str) -> bool:
        """Whether the class or one that it derives from binds a name, to a method or to anything else."""
        return name in self.members

    @cached_property
    def members(self) -> Mapping[str, tuple[Class, ast.stmt]]:
        """What the class and those that it derives from bind, each name by the first of them that does."""
        return {name: (owner, node) for owner in reversed(self.lineage) for name, node in owner.members.items()}

    @cached_property
    def special(self) -> frozenset[str]:
        """The methods that give an operation of Python a meaning of its own."""
        return EVERY.intersection(self.members)

    @cached_property
    def told(self) -> frozenset[str]:
        """Settings that some method gives what an attribute holds, whatever that was made with."""
        return frozenset(name for cls in self.lineage for name in cls.stores.told)

    @cached_property
    def altered(self) -> frozenset[str]:
        """Attributes of ``self`` that hold modules into which some method puts what is not in sight."""
        return frozenset(name for cls in self.lineage for name in cls.stores.altered)

    @cached_property
    def replaced(self) -> frozenset[str]:
        """Attributes of ``self`` that hold modules some of which a method replaces."""
        return frozenset(name for cls in self.lineage for name in cls.stores.replaced)

    def put(self, attribute: str) -> tuple[ast.Call, ...]:
        """The calls that make what methods put into what an attribute holds."""
        stores = [cls.stores for cls in self.lineage]
        return tuple(call for s in stores for found in (s.appended, s.added) for call in found.get(attribute, ()))

    @cached_property
    def _homes(self) -> Mapping[int, Class]:
        homes: dict[int, Class] = {}
        for cls in self.lineage:
            values = [value for several in cls.stores.values.values() for value in several]
            put = (*cls.stores.appended.values(), *cls.stores.added.values())
            values += [call for several in put for call in several]
            for leaf in (leaf for value in values for leaf in alternatives(value)):
                homes[id(leaf)] = cls
                homes |= {id(element): cls for element in _listed(leaf)}
        return homes

    def home(self, node: ast.expr) -> Class:
        """The class in the lineage in which an attribute, or an element of one, is made."""
        return self._homes.get(id(node), self.cls)

    @cached_property
    def torch_parent(self) -> str:
        """The class of ``torch.nn`` that the class derives from, ``LayerNorm``; empty if it is plain or not known."""
        for cls in self.lineage:
            for base in cls.node.bases:
                origin = cls.module.origin_of(base)
                name = origin.rpartition(".")[2]
                if origin.startswith("torch.nn.") and name != "Module":
                    return name
        return ""

    @cached_property
    def is_readable(self) -> bool:
        """Whether all that the class derives from can be read, but for what torch has."""
        return all(
            base == "object" or origin.startswith("torch.") or self.index.resolve(cls.module, base) is not None
            for cls in self.lineage
            for base, origin in ((dotted(node), cls.module.origin_of(node)) for node in cls.node.bases)
        )

    @cached_property
    def methods(self) -> frozenset[str]:
        return frozenset(name for name, (_, node) in self.members.items() if isinstance(node, ast.FunctionDef))

    @cached_property
    def values(self) -> Mapping[str, tuple[ast.expr, ...]]:
        """Everything that any method assigns to each attribute of ``self``."""
        found: dict[str, tuple[ast.expr, ...]] = {}
        for cls in self.lineage:
            for name, values in cls.stores.values.items():
                found[name] = (*found.get(name, ()), *values)
        return found

    def constructors(self, attribute: str) -> Iterator[ast.Call]:
        """The calls that make an attribute, looked for in both arms of a conditional expression."""
        pending = list(self.values.get(attribute, ()))
        while pending:
            value = pending.pop()
            if isinstance(value, ast.IfExp):
                pending += [value.body, value.orelse]
            elif isinstance(value, ast.Call):
                yield value

    def elements(self, attribute: str) -> Iterator[ast.Call]:
        """The calls that make the elements of a container: ``ModuleList([X() for ...])``, ``self.a.append(X())``."""
        for call in self.constructors(attribute):
            yield from _listed(call)
        for cls in self.lineage:
            yield from cls.stores.appended.get(attribute, ())

    def classes(self, attribute: str) -> Iterator[Class]:
        """The classes of the release that an attribute (``encoder``) or an element (``stages.0``) may belong to."""
        head, _, element = attribute.partition(".")
        for call in self.elements(head) if element else self.constructors(head):
            name = dotted(call.func)
            for owner in self.lineage:
                found = self.index.resolve(owner.module, name) if name else None
                if found is not None:
                    yield found
                    break

    def is_parameter(self, attribute: str) -> bool:
        return any(self._makes_parameter(call) for call in self.constructors(attribute))

    def _makes_parameter(self, call: ast.Call) -> bool:
        """Whether a call gives a parameter: ``nn.Parameter(...)``, or a function that returns one."""
        name = dotted(call.func)
        if name.rpartition(".")[2] == "Parameter":
            return True
        found = next((f for owner in self.lineage if (f := self.index.function(owner.module, name))), None)
        last = found[1].body[-1] if found is not None else None
        match last:
            case ast.Return(value=ast.Call(func=function)):
                return dotted(function).rpartition(".")[2] == "Parameter"
        return False

    def is_container(self, attribute: str) -> bool:
        """Whether an attribute is a sequence of modules made elsewhere: ``nn.ModuleList([...])``, ``Seq(*stages)``."""
        for call in self.constructors(attribute):
            name = dotted(call.func).rpartition(".")[2]
            spread = [arg.value for arg in call.args if isinstance(arg, ast.Starred)]
            if name == "ModuleList" or not all(isinstance(several, ast.List) for several in spread):
                return True
        return False

    @cached_property
    def matcher(self) -> Matcher:
        found = self.method("group_matcher")
        return _read_matcher(found[1]) if found else Matcher((), ())

    def role(self, attribute: str) -> Role:
        """The role of an attribute of ``self``, or of an element of one (``patch_embeds.0``)."""
        if attribute not in self._roles:
            self._roles[attribute] = self._role(attribute)
        return self._roles[attribute]

    def _role(self, attribute: str) -> Role:
        if attribute == UNKNOWN:
            return Role.BLOCK  # the stages may choose their modules so, a stem that does is not recognised
        attribute = attribute.replace(MARK, "1")
        declared = self._declared(attribute)
        attribute, _, element = attribute.partition(".")
        calls = [*self.constructors(attribute), *self.elements(attribute)]
        makers = {dotted(call.func).rpartition(".")[2] for call in calls}
        if _PATCH_DROP.search(attribute) or "PatchDropout" in makers:
            return Role.PATCH_DROP
        if _PRE_NORM.search(attribute):
            return Role.PRE_NORM
        if declared in (Role.BLOCK, Role.BOTH):
            return declared
        if "Dropout" in makers:
            return Role.DROPOUT
        if names_position(attribute) or any(map(self._is_named_position, self.values.get(attribute, ()))):
            return Role.POSITION
        if declared is Role.STEM:
            return Role.PARAMETER if self.is_parameter(attribute) else Role.STEM
        if self.is_parameter(attribute):
            return Role.PARAMETER
        if _ACTIVATION.match(attribute) or "act_layer" in makers:
            return Role.ACTIVATION
        if element and not self.matcher and _STEM.search(attribute):
            return Role.STEM
        if self.is_container(attribute) or (not self.matcher and _BLOCKS.match(attribute)):
            return Role.BLOCK
        if makers & _TORCH_BLOCKS:
            return Role.BLOCK
        if not self.matcher and _STEM.search(attribute):
            return Role.OTHER if makers and makers <= _NORMS else Role.STEM  # a norm by any name, `norm_stem`
        if not self.matcher and any(Facts.of(self.index, cls).holds_blocks for cls in self.classes(attribute)):
            return Role.BLOCK
        if self.matcher.prefixes and any(self.constructors(attribute)):
            return Role.BLOCK  # such a matcher puts all that is not stem into a later group
        return Role.OTHER

    def is_like_blocks(self, attribute: str) -> bool:
        """Whether an attribute is of the same class as an element of a container that is named as blocks are."""
        return not self._block_classes.isdisjoint(self.classes(attribute))

    @cached_property
    def _block_classes(self) -> frozenset[Class]:
        named = [name for name in self.values if self.is_named_block(name) and self.is_container(name)]
        return frozenset(cls for name in named for cls in self.classes(f"{name}.0") if "norm" not in cls.name.lower())

    def is_named_block(self, attribute: str) -> bool:
        """Whether an attribute is called as blocks are, and so is more than a container."""
        named = _BLOCKS.match(attribute) is not None and _STEM.search(attribute) is None
        return named or self._declared(attribute) is Role.BLOCK

    def is_named_stem(self, attribute: str) -> bool:
        """Whether an attribute is called as a stem is, where nothing declares what is one."""
        return not self.matcher and _STEM.search(attribute) is not None and "downsample" not in attribute

    def _is_named_position(self, value: ast.expr) -> bool:
        """Whether a value is an attribute that holds a position: ``self.table = self.pos_embed``."""
        return isinstance(value, ast.Attribute) and self.is_attribute(value) and names_position(value.attr)

    def _declared(self, attribute: str) -> Role | None:
        try:
            return self.matcher.role(attribute)
        except TimeoutError:
            found = self.method("group_matcher")
            assert found is not None
            reason = f"a pattern of `group_matcher` takes too long to match `{attribute}`: repeat nothing twice in it"
            raise Unsound(found[1], reason, found[0].module.path) from None

    @cached_property
    def holds_blocks(self) -> bool:
        """Whether the ``forward`` of a module runs a container that is named as blocks are: a trunk of its own."""
        found = self.method("forward")
        return found is not None and any(
            _BLOCKS.match(attribute) and self.is_container(attribute) for attribute in self.runs(found[1])
        )

    def holds_stem(self, attribute: str) -> bool:
        """Whether the ``forward`` of a module runs a stem of its own."""
        inner = (Facts.of(self.index, cls) for cls in self.classes(attribute))
        return any(f.role(a) is Role.STEM for f in inner if (m := f.method("forward")) for a in f.runs(m[1]))

    def holds_position(self, attribute: str) -> bool:
        """Whether the ``forward`` of a module gives the tokens a position: a table of its own, a helper named so."""
        if attribute not in self._positions:
            inner = (Facts.of(self.index, cls) for cls in self.classes(attribute))
            self._positions[attribute] = any(facts.runs_position for facts in inner)
        return self._positions[attribute]

    @cached_property
    def runs_position(self) -> bool:
        """Whether the ``forward`` of a module runs what is a position by its role or by its name."""
        found = self.method("forward")
        if found is None:
            return False
        runs, calls = self.runs(found[1]), self.calls(found[1])
        return any(self.role(a) is Role.POSITION for a in runs) or any(map(names_position, calls))

    def runs(self, node: ast.AST) -> frozenset[str]:
        """Attributes of ``self`` that code hands tokens to, through helper methods too.

        Called, iterated, indexed or passed on counts; looked at (``self.blocks is None``, ``len(self.blocks)``,
        ``self.patch_embed.grid_size``) does not. :data:`UNKNOWN` stands for an attribute whose name is computed.
        """
        if node not in self._run_by:
            self._run_by[node] = frozenset(self._scan(node, frozenset()))
        return self._run_by[node]

    def _scan(self, node: ast.AST, visited: frozenset[str]) -> Iterator[str]:
        match node:
            case ast.Call(func=ast.Name(id="len" | "isinstance" | "hasattr" | "print" | "type")):
                return
            case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id="self"), key, *_]):
                yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else UNKNOWN
                return
            case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
                return
            case ast.Attribute(value=ast.Attribute() as owner, attr=attr) if _is_quality(attr) and _is_path(owner):
                return  # x.to(self.blocks[0].norm1.weight.dtype)
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Assert(test=test):
                calls = walk_for(test, ast.Call)
                arms = [child for child in children(node) if child is not test]
                for child in [*calls, *arms]:
                    yield from self._scan(child, visited)
                return
            case ast.Subscript(value=ast.Attribute() as value, slice=ast.Constant(value=int(number))) if (
                self.is_attribute(value)
            ):
                yield f"{dotted(value).removeprefix(self.prefix + '.')}.{number}"
                return
            case ast.Attribute() if dotted(node).startswith(f"{self.prefix}."):
                name = dotted(node).removeprefix(f"{self.prefix}.")
                if isinstance(node.ctx, ast.Store):
                    return
                head, _, rest = name.partition(".")
                if head in self.methods and not rest:
                    yield from self._of_method(head, visited)
                elif not rest or rest in ("forward", "__call__"):
                    yield head
                return
            case ast.Call(func=ast.Attribute() as function) if self._is_method_of_attribute(function):
                # self.shared_rel_pos.get_bias(): some method of the attribute runs
                yield dotted(function).removeprefix(f"{self.prefix}.").partition(".")[0]
                for arg in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    yield from self._scan(arg, visited)
                return
            case ast.Name() | ast.Attribute() if dotted(node) == self.prefix:
                yield UNKNOWN  # self goes somewhere as a whole
                return
        for child in children(node):
            yield from self._scan(child, visited)

    def is_attribute(self, node: ast.AST) -> bool:
        """Whether a node is an attribute of ``self`` and nothing deeper."""
        return isinstance(node, ast.Attribute) and dotted(node.value) == self.prefix

    def _is_method_of_attribute(self, function: ast.Attribute) -> bool:
        path = dotted(function)
        return path.startswith(f"{self.prefix}.") and path.count(".") > self.prefix.count(".") + 1

    def _of_method(self, name: str, visited: frozenset[str]) -> Iterator[str]:
        if name in visited:
            return
        if name not in self._runs:
            found = self.method(name)
            assert found is not None
            inner = Facts(self.index, self.cls, "self") if self.prefix != "self" else self
            bodies = [statement for method in self._with_parents(*found) for statement in method.body]
            scanned = (a for statement in bodies for a in inner._scan(statement, visited | {name}))
            # a property that looks its module up under a computed name is named for what it gives
            self._runs[name] = frozenset({name} if _looks_one_up(found[1]) else scanned)
        yield from self._runs[name]

    def inherited(self, owner: Class, name: str) -> tuple[Class, ast.stmt] | None:
        """What ``super().name`` is in a method of a class of the lineage, and the class that binds it."""
        after = self.lineage[self.lineage.index(owner) + 1 :]
        return next(((cls, cls.members[name]) for cls in after if name in cls.members), None)

    def _with_parents(self, owner: Class, method: ast.FunctionDef) -> list[ast.FunctionDef]:
        """A method, and those that it calls by ``super()``, and so on."""
        found = [method]
        for call in walk_for(method, ast.Call):
            match call.func:
                case ast.Attribute(value=ast.Call(func=ast.Name("super")), attr=attr) if owner in self.lineage:
                    inherited = self.inherited(owner, attr)
                    if inherited is not None and isinstance(inherited[1], ast.FunctionDef):
                        found += self._with_parents(inherited[0], inherited[1])
        return found

    def is_module(self, attribute: str, node: ast.AST) -> bool:
        """Whether an attribute that code reads can be a module or a parameter, rather than a number or a flag."""
        head = attribute.partition(".")[0]
        if head == "training":  # the flag of every module
            return False
        if head not in self.values or any(self.constructors(head)):
            return True
        if MARK in head and all(isinstance(value, ast.Name) for value in self.values[head]):
            return True  # self.add_module(self.norm_name, norm)
        return any(dotted(call.func) == f"{self.prefix}.{head}" for call in walk_for(node, ast.Call))

    def calls(self, node: ast.AST) -> Iterator[str]:
        """Methods of ``self`` that code calls."""
        for call in walk_for(node, ast.Call):
            head, _, name = dotted(call.func).rpartition(".")
            if head == self.prefix and name in self.methods:
                yield name


def _is_quality(attribute: str) -> bool:
    """Whether an attribute of a parameter is asked for without that anything runs."""
    return attribute in QUALITIES or attribute == "shape"


def _is_path(node: ast.expr) -> bool:
    """Whether an expression only names what it is: ``self.blocks[0].norm1.weight``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)


def _looks_one_up(function: ast.FunctionDef) -> bool:
    """Whether a method is ``@property def norm1(self): return getattr(self, self.norm1_name)``."""
    if [dotted(decorator) for decorator in function.decorator_list] != ["property"]:
        return False
    match function.body[-1]:
        case ast.Return(value=ast.Call(func=ast.Name("getattr"), args=[ast.Name(), key])):
            return len(function.body) <= 2 and not isinstance(key, ast.Constant)
    return False


def alternatives(value: ast.expr) -> Iterator[ast.expr]:
    """What an attribute may be set to, by a conditional expression; ``None`` aside."""
    if isinstance(value, ast.IfExp):
        yield from alternatives(value.body)
        yield from alternatives(value.orelse)
    elif not (isinstance(value, ast.Constant) and value.value is None):
        yield value


def _listed(value: ast.expr) -> Iterator[ast.Call]:
    """The calls that make the elements of ``ModuleList([...])``."""
    for argument in value.args if isinstance(value, ast.Call) else ():
        match argument:
            case ast.ListComp(elt=ast.Call() as element):
                yield element
            case ast.List(elts=elements):
                yield from (element for element in elements if isinstance(element, ast.Call))


def _strings(node: ast.AST) -> tuple[str, ...]:
    return tuple(n.value for n in walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def _read_matcher(function: ast.FunctionDef) -> Matcher:
    for node in walk(function):
        groups: Iterable[tuple[str | None, ast.expr]] = ()
        if isinstance(node, ast.Call) and dotted(node.func) == "dict":
            groups = [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Dict):
            groups = [
                (str(key.value) if isinstance(key, ast.Constant) else None, value)
                for key, value in zip(node.keys, node.values, strict=True)
            ]
        found = {name: _strings(value) for name, value in groups if isinstance(name, str)}
        stem = [p for name, patterns in found.items() if name.startswith("stem") for p in patterns]
        if stem:
            blocks = [p for name, patterns in found.items() if not name.startswith("stem") for p in patterns]
            return Matcher(tuple(stem), tuple(blocks))
    # a function from parameter name to group: names in group 0 are the stem
    for node in walk(function):
        if (
            isinstance(node, ast.If)
            and any(dotted(c.func).endswith(".startswith") for c in walk(node.test) if isinstance(c, ast.Call))
            and isinstance(node.body[0], ast.Return)
            and isinstance(node.body[0].value, ast.Constant)
            and node.body[0].value.value == 0
        ):
            return Matcher((), (), _strings(node.test))
    return Matcher((), ())
