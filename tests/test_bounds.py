"""Whatever the source, ``generate`` ends soon: with a package, a refusal, or an error of one line."""

import time

import pytest
from click.testing import CliRunner

from codegen.cli import main

SECONDS = 20  # most take one; a machine that is busy may take several times as long
HEAD = "import torch\nfrom torch import nn\n"
STEM = "x = self.patch_embed(x)\n"
STAGES = "for block in self.blocks:\n    x = block(x)\nreturn x\n"
REGISTRY = "from timm.models._registry import register_model\nfrom timm.models._builder import build_model_with_cfg\n"


def indented(text: str, depth: int) -> str:
    return "".join(" " * depth + line for line in text.splitlines(keepends=True))


def model(body: str = STEM, *, init: str = "", methods: str = "", header: str = "", name: str = "M") -> str:
    """A model in which something grows."""
    return (
        f"{HEAD}{header}\n\nclass {name}(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.patch_embed = nn.Conv2d(3, 8, 2, 2)\n        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])\n"
        f"{indented(init, 8)}{indented(methods, 4)}\n    def forward_features(self, x):\n{indented(body + STAGES, 8)}"
    )


def matcher(stem: str) -> str:
    named = "a" * 60
    declared = f"def group_matcher(self, coarse=False):\n    return dict(stem=r{stem!r}, blocks=r'^blocks')\n"
    return model(f"{STEM}x = self.{named}(x)\n", init=f"self.{named} = nn.Identity()\n", methods=declared)


def registered(body: str, helpers: str = "") -> str:
    function = f"@register_model\ndef grow(pretrained=False, **kwargs):\n{indented(body, 4)}"
    return f"{REGISTRY}{model()}\n{helpers}\n{function}"


def calls(depth: int) -> str:
    """Functions each of which calls the next twice."""
    chain = "".join(f"def f{i}(a):\n    f{i + 1}(a)\n    return f{i + 1}(a)\n\n\n" for i in range(depth))
    return f"{chain}def f{depth}(a):\n    return 1\n"


BUILT = "return build_model_with_cfg(M, a, pretrained, **kwargs)\n"
TOO_DEEP = "nested too deeply"
SPLIT = "split  M "

# The source, and what the command says of it.
SOURCES = {
    "a pattern that backtracks for ever": (matcher("^(a|aa)+$"), "a pattern of `group_matcher` takes too long"),
    "a pattern that nests repetitions": (matcher("^(?:(a|a)*)*!"), "a pattern of `group_matcher` takes too long"),
    "setattr in a comment": (model() + "# " + "setattr(" * 20_000 + "\n", SPLIT),
    "setattr in a string": (model() + "x = '" + "setattr(" * 20_000 + "'\n", SPLIT),
    "elif": (
        model(STEM + "if x is None:\n    x = 0\n" + "".join(f"elif x.dim() == {i}:\n    x = 1\n" for i in range(400))),
        TOO_DEEP,
    ),
    "a sum": (model(f"{STEM}x = {' + '.join(['x'] * 400)}\n"), TOO_DEEP),
    "a sum beyond Python": (model(f"{STEM}x = {' + '.join(['x'] * 9_000)}\n"), TOO_DEEP),
    "chained calls": (model(f"{STEM}x = x{'.add(1)' * 200}\n"), TOO_DEEP),
    "subscripts": (model(f"{STEM}x = x{'[0]' * 1000}\n"), TOO_DEEP),
    "conditional expressions": (
        model(f"{STEM}x = {' '.join(f'{i} if x.dim() == {i} else' for i in range(400))} x\n"),
        TOO_DEEP,
    ),
    "lambdas": (model(f"{STEM}f = {'lambda: ' * 500}1\n"), TOO_DEEP),
    "generators": (model(f"{STEM}y = [i for i in x {' '.join(f'for i{j} in x' for j in range(500))}]\n"), SPLIT),
    "brackets": (model(f"{STEM}y = {'[' * 150}{']' * 150}\n"), SPLIT),
    "brackets beyond Python": (model(f"{STEM}y = {'[' * 5000}{']' * 5000}\n"), "does not parse"),
    "negations": (model(f"{STEM}x = {'-' * 20_000}x\n"), TOO_DEEP),
    "helpers that call helpers": (
        model(
            f"{STEM}x = self.h0(x)\n",
            methods="".join(f"def h{i}(self, x):\n    return self.h{i + 1}(x)\n" for i in range(600)),
        ),
        TOO_DEEP,
    ),
    "helpers that call themselves": (
        model(f"{STEM}x = self.h(x)\n", methods="def h(self, x):\n    return self.h(self.h(x))\n"),
        SPLIT,
    ),
    "attributes": (
        model(
            STEM + "".join(f"x = self.a{i}(x)\n" for i in range(700)),
            init="".join(f"self.a{i} = nn.Identity()\n" for i in range(700)),
        ),
        SPLIT,
    ),
    "statements": (model(STEM + "x = x + 1\n" * 4000), "the method has more than 40000 characters"),
    "a call of many arguments": (
        model(f"{STEM}x = f({', '.join(['x'] * 50_000)})\n"),
        "the method has more than 40000 characters",
    ),
    "inheritance": (
        model(name="M0") + "".join(f"class M{i}(M{i - 1}): pass\n" for i in range(1, 1200)),
        "more than 100 classes to inherit from",
    ),
    "inheritance from below": (
        model(name="M1200") + "".join(f"class M{i}(M{i + 1}): pass\n" for i in range(1200)),
        "more than 100 classes to inherit from",
    ),
    "diamonds": (
        model(name="A0")
        + "class B0(A0): pass\n"
        + "".join(
            f"class A{i}(A{i - 1}, B{i - 1}): pass\nclass B{i}(A{i - 1}, B{i - 1}): pass\n" for i in range(1, 30)
        ),
        "split  A29  inherits from m.A0",
    ),
    "a class that inherits from itself": (model().replace("nn.Module", "M"), SPLIT),
    "classes that inherit from one another": (f"{model().replace('nn.Module', 'N')}class N(M): pass\n", SPLIT),
    "classes": (HEAD + "".join(f"class A{i}(nn.Module): pass\n" for i in range(5000)) + model(), SPLIT),
    "aliases": (HEAD + "".join(f"C{i} = C{i + 1}\n" for i in range(3000)) + "C3000 = nn.Conv2d\n" + model(), SPLIT),
    "a text that grows": (registered("a = 'x'\n" + "a = a.replace('x', 'x' 'x' 'x' 'x')\n" * 80 + BUILT), SPLIT),
    "functions that call one another twice": (registered("return f0(dict(a=1))\n", calls(40)), SPLIT),
    "a function that calls itself": (registered("return f(1)\n", "def f(a):\n    return f(a)\n"), SPLIT),
    "questions": (registered("".join(f"if torch.f{i}():\n    b = 1\n" for i in range(60)) + "a = b\n" + BUILT), SPLIT),
    "a dictionary": (
        model(header="D = {" + ", ".join(f"{i}: {i}" for i in range(50_000)) + "}\n"),
        SPLIT,
    ),
    "a large file": (model() + "".join(f"X{i} = {i}\n" for i in range(100_000)), "more than 1000000 bytes"),
    "a large number": (
        model(f"{STEM}n = 9\nfor i in range(5):\n    n = n ** n\nx = x.view(10**10**8, 2**2**40)\n"),
        SPLIT,
    ),
    "a number of many digits": (model() + f"X = {'9' * 10_000}\n", "does not parse"),
    "a large string": (model(f"{STEM}y = 'a' * 10**12\nx = x + len(y)\n"), SPLIT),
    "many rounds": (model(f"{STEM}for i in range(10**12):\n    x = x + i\n"), SPLIT),
    "a long line": (model() + "X = '" + "a" * 900_000 + "'\n", SPLIT),
    "a null byte": (model() + "\0", "null bytes"),
}


@pytest.mark.parametrize("grows", SOURCES)
def test_it_ends_soon_and_says_in_one_line_what_became_of_it(tmp_path, grows):
    source, said = SOURCES[grows]
    (tmp_path / "m.py").write_text(source)
    command = ["generate", "--source", str(tmp_path / "m.py"), "--output", str(tmp_path / "splits")]
    start = time.monotonic()
    done = CliRunner().invoke(main, command)
    assert time.monotonic() - start < SECONDS
    assert isinstance(done.exception, SystemExit | None)
    assert done.stderr.count("\n") == (1 if done.exit_code else 0)
    assert said in done.output


def test_modules_that_import_one_another_end_soon(tmp_path):
    (tmp_path / "m.py").write_text(f"from n import *\nfrom n import Base\n{model().replace('nn.Module', 'Base')}")
    (tmp_path / "n.py").write_text("from m import *\nfrom m import Base\n")
    command = ["generate", "--source", str(tmp_path / "m.py"), "--output", str(tmp_path / "splits")]
    assert CliRunner().invoke(main, command).exit_code == 0
