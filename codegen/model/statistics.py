"""Who reads the running statistics of a norm: the embedding changes them in training, and few ask for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.model.facts import Facts
from codegen.source.index import Index, Module
from codegen.source.reached import made_and_run
from codegen.syntax.walking import walk

_STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_BUFFERS = frozenset({"buffers", "named_buffers", "state_dict", "get_buffer", "_buffers"})
_PARTS = ("running_", "num_batches", "_buffers")  # of names that are computed


def reader_of_statistics(facts: Facts) -> tuple[Module, ast.AST] | None:
    """Where a user's code asks for running statistics, or for any buffers, when a model is made or runs.

    Methods that nothing there calls, as those which fold a norm into a convolution, do not count.

    Args:
        facts: The class of the model.
    """
    index = facts.index
    modules = index.user_modules
    if not any(word in module.text for module in modules for word in (*_STATISTICS, *_BUFFERS, *_PARTS)):
        return None
    classes = [cls.node for cls in facts.lineage]
    run = made_and_run([module.tree for module in modules], classes, {"forward", index.method})
    own_buffers = {id(node) for node in _own_buffers(index, modules)}
    asking = {id(node) for code in run for node in walk(code) if _asks(node)} - own_buffers
    own = [cls.module for cls in facts.lineage]
    for module in modules:
        for node in walk(module.tree) if asking else ():
            if id(node) in asking and (module in own or not _asks_for_any(node)):
                return module, node
    return None


def _own_buffers(index: Index, modules: Sequence[Module]) -> Iterator[ast.AST]:
    """Where classes name buffers of their own, which torch's norms know nothing of: ``self.running_var`` of EvoNorm.

    A class of which another one derives that is a norm of torch, or may be one, may mean that norm's.
    """
    classes = [cls for module in modules for cls in index.classes(module).values()]
    norms = {ancestor for cls in classes if not _is_plain(Facts.of(index, cls)) for ancestor in index.lineage(cls)}
    methods = [node for cls in classes if cls not in norms for node in cls.members.values()]
    for node in (node for method in methods if isinstance(method, ast.FunctionDef) for node in walk(method)):
        match node:
            case ast.Attribute(value=ast.Name("self"), attr=attr) if attr in _STATISTICS:
                yield node
            case ast.Call(func=ast.Attribute(ast.Name("self"), "register_buffer"), args=[ast.Constant() as name, *_]):
                yield name


def _is_plain(facts: Facts) -> bool:
    """Whether a class is a module, and surely no other one of torch's."""
    return facts.is_readable and not facts.torch_parent


def _asks_for_any(node: ast.AST) -> bool:
    """Whether code asks for all buffers, which others than the model's own files do with models of any kind."""
    return isinstance(node, ast.Attribute) and node.attr in _BUFFERS


def _asks(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=attr, ctx=ast.Load()):
            return attr in _STATISTICS | _BUFFERS
        case ast.Constant(value=str(text)):
            return text.replace(".", "").isidentifier() and any(part in text for part in _PARTS)
    return False
