"""How a class that delegates to an inner model reaches it: through that model's own methods, where it is split.

The statements of the inner model stand in the split class, since a constructor of timm's makes an inner model without
the new methods. After ``split()`` it has them, and then they are called: whatever is put on a module and its methods,
as FSDP2 gathers parameters in methods that are registered for it, is passed by where statements only read its parts.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.package.signatures import arguments, later_arguments
from codegen.split.inside import RECEIVER, names_of, same_method, same_statements
from codegen.syntax.dataflow import flow, returns
from codegen.syntax.parsing import parse
from codegen.types import Outcome, Patches, Split


@dataclass(frozen=True)
class Reach:
    """The calls that stand for the statements of an inner model, where it is split.

    Attributes:
        model: The inner model, ``self.encoder``.
        split_class: Its split class.
        length: How many statements of ``forward_stages`` are the inner model's.
        target: What holds the features for the statements after these; empty if there are none.
    """

    model: str
    split_class: str
    length: int
    target: str

    @property
    def question(self) -> str:
        """What is asked before each call. TorchScript has no classes of modules, and runs the statements."""
        return f"if not torch.jit.is_scripting() and isinstance({self.model}, {self.split_class}):\n"

    def first(self, method: str, call: str) -> str:
        """The statement with which a method begins that the inner model has as well."""
        return f"{self.question}    return {self.model}.{method}({call})"

    def stages(self, split: Split, whole: str) -> tuple[str, ...]:
        """The statements of ``forward_stages``, whose first parameter is ``whole``."""
        call = ", ".join([whole, *later_arguments(split.forward_stages.parameters)])
        if not self.target:
            return (self.first("forward_stages", call), *split.forward_stages.body)
        inside = "\n".join(split.forward_stages.body[: self.length])
        indented = "\n".join(f"    {line}".rstrip() for line in inside.split("\n"))
        called = f"{self.question}    {self.target} = {self.model}.forward_stages({call})\nelse:\n{indented}"
        return (called, *split.forward_stages.body[self.length :])


def reach(split: Split, inner: Outcome | None) -> Reach | None:
    """The calls of an inner model's methods that do what the statements of a split do.

    Args:
        split: That of the class that delegates.
        inner: The inner model's class.

    Returns:
        None where the statements alone are right: the class does not delegate, the inner model's split has other
        statements, or what follows them reads more than the features.
    """
    if split.delegate is None or inner is None or not isinstance(inner.result, Split):
        return None
    its, attribute = inner.result, split.delegate.attribute
    same = (
        (split.embedding, split.fields) == (its.embedding, its.fields)
        and same_method(split.embed, its.embed, attribute)
        and same_statements(split.recomputed, its.recomputed, attribute)
        and names_of(split.forward_stages) == names_of(its.forward_stages)
        and _same_patches(split, its, attribute)
    )
    target = _target(split.forward_stages.body, its.forward_stages.body, attribute) if same else None
    if target is None:
        return None
    return Reach(f"{RECEIVER}.{attribute}", f"{inner.name}Split", len(its.forward_stages.body), target)


def calls(split: Split, reached: Reach | None) -> dict[str, tuple[str, ...]]:
    """For each method that makes an embedding in one go, the statement with which it begins, if any."""
    if reached is None:
        return {"embed": (), "embed_patches": ()}
    made = {"embed": split.embed}
    if isinstance(split.patches, Patches):
        made["embed_patches"] = split.patches.embed_patches
    return {name: (reached.first(name, arguments(method.parameters)),) for name, method in made.items()}


def _same_patches(split: Split, its: Split, attribute: str) -> bool:
    mine, others = split.patches, its.patches
    if not isinstance(mine, Patches) or not isinstance(others, Patches):
        return not isinstance(mine, Patches) and not isinstance(others, Patches)
    return (
        (mine.record, mine.fields) == (others.record, others.fields)
        and same_method(mine.embed_patches, others.embed_patches, attribute)
        and same_statements(mine.recomputed, others.recomputed, attribute)
        and same_method(mine.embed_positions, others.embed_positions, attribute)
    )


def _target(mine: Sequence[str], its: Sequence[str], attribute: str) -> str | None:
    """What holds the features after the inner model's statements, empty if these are all; None if they differ."""
    number = len(its) - 1
    if len(mine) <= number or not same_statements(mine[:number], its[:number], attribute):
        return None
    if len(mine) == len(its) and same_statements(mine, its, attribute):
        return ""
    match parse(mine[number]).body:
        case [ast.Assign(targets=[ast.Name(id=target)], value=value)]:
            returned = ast.unparse(ast.Return(value))
        case _:
            return None
    first = [parse(text).body[0] for text in mine[: number + 1]]
    rest = [parse(text).body[0] for text in mine[number + 1 :]]
    mixed = flow(rest).needs & flow(first).may_bind - {target}
    if mixed or not rest or any(returns(statement) for statement in first):
        return None
    return target if same_statements([returned], its[number:], attribute) else None
