"""Importing a generated package makes a subclass of each class, which must leave no trace elsewhere."""

import pytest
from differential import reason, tiny
from sources import refusal_of, split_of

BODY = "x = self.patch_embed(x)\nx = self.blocks[0](x)\nreturn x"


def with_base(base: str) -> str:
    source = tiny(BODY, header=base)
    assert "class Tiny(nn.Module)" in source
    return source.replace("class Tiny(nn.Module)", "class Tiny(Base)")


def test_a_registry_in_init_subclass_is_refused_with_its_line():
    base = (
        "REGISTRY = {}\n\n\nclass Base(nn.Module):\n    def __init_subclass__(cls, **more):\n"
        "        super().__init_subclass__(**more)\n        REGISTRY[cls.name] = cls\n"
    )
    source = with_base(base)
    refusal = refusal_of(source)
    assert "`__init_subclass__` of Base would run for its split too" in refusal.reason
    assert source.splitlines()[refusal.place.line - 1].strip().startswith("def __init_subclass__")


def test_a_class_with_a_hook_of_its_own_is_refused():
    hook = "def __init_subclass__(cls): pass; print(cls)"
    assert "`__init_subclass__` of Tiny would run" in reason(tiny(BODY, methods=hook))


def test_a_metaclass_of_a_parent_is_refused():
    base = "class Kind(type): pass\n\n\nclass Base(nn.Module, metaclass=Kind): pass\n"
    assert "the metaclass `Kind` of Base would run" in reason(with_base(base))


@pytest.mark.parametrize(
    "base",
    [
        "class Base(nn.Module):\n    def __init_subclass__(cls, **more):\n        super().__init_subclass__(**more)\n",
        "class Base(nn.Module):\n    def __init_subclass__(cls): 'nothing'\n",
        "from abc import ABCMeta\n\n\nclass Base(nn.Module, metaclass=ABCMeta): pass\n",
    ],
)
def test_what_does_nothing_to_a_subclass_is_no_obstacle(base):
    assert split_of(with_base(base))
