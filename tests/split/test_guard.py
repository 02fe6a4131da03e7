"""A list of images is answered where it was; the rest of the method is cut like any other."""

import pytest
from differential import reason, tiny
from sources import outcomes_of

from codegen.types import Split

BODY = "x = self.patch_embed(x)\nx = self.blocks[0](x)\nreturn x"
ONE = "if isinstance(x, list):\n    return [self.forward_features(y) for y in x]\n"


def guards(head, header="", methods=""):
    result = outcomes_of(tiny(head + BODY, header=header, methods=methods))["Tiny"].result
    return result.guards if isinstance(result, Split) else None


@pytest.mark.parametrize(
    "head",
    [
        ONE,
        ONE.replace("list", "(list, tuple)"),
        ONE.replace("list", "tuple"),
        "if isinstance(x, list):\n    y = x[0]\n    return self.forward_features(y)\n",
        "if isinstance(x, list):\n    return self.of_list(x)\n",
        "if isinstance(x, list):\n    raise TypeError(x)\n",
    ],
)
def test_a_guard_stays_in_the_whole_method(head):
    assert guards(head, methods="def of_list(self, x): return [self.forward_features(y) for y in x]") == (
        head.rstrip(),
    )


def test_there_may_be_two():
    second = ONE.replace("list", "tuple")
    assert guards(ONE + second) == (ONE.rstrip(), second.rstrip())


@pytest.mark.parametrize(
    ("head", "header"),
    [
        (ONE, "list = tuple"),
        (ONE, "def isinstance(x, y): return True"),
        (ONE.replace("list", "dict"), ""),
        (ONE.replace("list", "nn.Module"), ""),
        (ONE.replace("list", "self.kinds"), ""),
        (ONE.replace("isinstance(x, list)", "not isinstance(x, list)"), ""),
        (ONE.replace("isinstance(x, list)", "isinstance(x, list) and self.flag"), ""),
        (ONE.replace("isinstance(x, list)", "isinstance(x[0], list)"), ""),
        (ONE.replace("isinstance(x, list)", "isinstance(self.x, list)"), ""),
        (ONE.replace("isinstance(x, list)", "type(x) is list"), ""),
        ("list = tuple\n" + ONE, ""),
        (ONE + "else:\n    self.blocks[0](x)\n", ""),
        ("if isinstance(x, list):\n    if self.flag:\n        return x\n", ""),
        ("self.count = 1\n" + ONE, ""),
    ],
)
def test_what_is_not_surely_a_list_of_images_is_none(head, header):
    assert not guards(head, header=header)


def test_what_it_reads_is_imported():
    head = ONE.replace("[self.forward_features(y) for y in x]", "join(self.forward_features(y) for y in x)")
    result = outcomes_of(tiny(head + BODY, header="def join(x): return list(x)"))["Tiny"].result
    assert "join" in {imported.name for imported in result.imports}


def test_a_method_that_only_answers_lists_has_nothing_to_cut():
    assert reason(tiny(ONE))
