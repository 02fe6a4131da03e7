"""User models that are another thing when they run than they read: each is refused, or split as it runs."""

import pytest

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Refusal

HEAD = (
    "import torch\nfrom torch import nn\n\n\nclass Block(nn.Module):\n    def forward(self, x):\n        return x\n\n\n"
)
INIT = """
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.a = None
"""
METHOD = """
    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        return x
"""
PARENT = f"class P(nn.Module):{INIT}{METHOD}\n\n"
OTHER = f"class P(nn.Module):{INIT}{METHOD.replace('return x', 'return x * 9')}\n\n"
CHILD = (
    "class M(P):\n    def forward_features(self, x):\n        x = super().forward_features(x)\n        return x\n\n\n"
)
MODEL = f"class M(nn.Module):{INIT}{METHOD}\n\n"


def result(tmp_path, source, **neighbours):
    for name, text in {"m": HEAD + source, **neighbours}.items():
        (tmp_path / f"{name}.py").write_text(text)
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    return next((outcome.result for outcome in outcomes if outcome.name == "M"), None)


def indented(text):
    return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "source",
    [
        PARENT + CHILD + OTHER,
        f"if torch.cuda.is_available():\n{indented(PARENT)}else:\n{indented(OTHER)}\n\n{CHILD}",
        f"try:\n    from elsewhere import P\nexcept ImportError:\n{indented(PARENT)}\n\n{CHILD}",
        PARENT + OTHER + CHILD,
    ],
)
def test_a_parent_whose_name_is_bound_twice_is_not_written_out(tmp_path, source):
    found = result(tmp_path, source)
    assert isinstance(found, Refusal)
    assert found.reason.startswith("its base `P` is bound more than once, or under a condition (line ")


def test_a_mixin_whose_name_is_bound_twice_may_have_the_method(tmp_path):
    mixins = "class Mix:\n    def forward_features(self, x):\n        return x\n\n\n{}class Mix:\n    pass\n"
    source = PARENT + mixins.format("class M(Mix, P):\n    pass\n\n\n")
    found = result(tmp_path, source + "class Whole(P):\n    pass\n")
    assert isinstance(found, Refusal)
    assert "its base `Mix` is unknown" in found.reason


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ("import h\n\nh.patch(M)\n", "`h.patch` is given the class, and may change it"),
        ("import h\n\nh.patch(cls=M)\n", "is given the class"),
        ("name = 'forward_' + 'features'\nsetattr(M, name, None)\n", "by a computed name"),
        ("for name in ('forward_features',):\n    delattr(M, name)\n", "by a computed name"),
        ("M.__bases__ = (nn.Module,)\n", "changes a class after it is made"),
        ("for cls in [M]:\n    del cls.forward_features\n", "changes a class after it is made"),
    ],
)
def test_a_class_that_is_changed_after_it_is_made_is_refused(tmp_path, after, why):
    neighbour = "def patch(cls):\n    cls.forward_features = None\n"
    found = result(tmp_path, MODEL + after, h=neighbour)
    assert isinstance(found, Refusal)
    assert why in found.reason


@pytest.mark.parametrize(
    "after",
    [
        "import h\n\nh.register(M)\n",
        "MODELS = {'m': M}\n",
        "print(M, isinstance(M, type))\n",
        "from functools import partial\n\nmake = partial(M)\n",
        "model = M()\n",
    ],
)
def test_what_only_keeps_a_class_leaves_it_as_it_is(tmp_path, after):
    neighbour = "REGISTRY = {}\n\n\ndef register(cls):\n    REGISTRY[cls.__name__] = cls\n    return cls\n"
    assert not isinstance(result(tmp_path, MODEL + after, h=neighbour), Refusal)


TAG = "class Tag:\n    def {method}(self, *others):\n        setattr(others[-1], 'forward_' + 'features', None)\n\n\n"
REGISTER = "def register(cls):\n    {use}\n    return cls\n\n\n@register\n"


@pytest.mark.parametrize(
    ("method", "use"),
    [
        ("__get__", "NAMES.append(cls.tag)"),
        ("__get__", "hasattr(cls, 'tag')"),
        ("__subclasscheck__", "issubclass(cls, Tag)"),
        ("__iter__", "list(cls.tag)"),
        ("__eq__", "cls.tag == cls"),
    ],
)
def test_a_registration_beside_code_that_may_set_anything_is_not_believed(tmp_path, method, use):
    model = MODEL.replace("    def __init__", "    tag = Tag()\n\n    def __init__", 1)
    source = "NAMES = []\n\n\n" + TAG.format(method=method) + REGISTER.format(use=use) + model
    assert isinstance(result(tmp_path, source), Refusal)
    assert not isinstance(result(tmp_path, REGISTER.format(use="NAMES.append(cls)") + MODEL + "NAMES = []\n"), Refusal)


def test_a_builtin_that_is_replaced_is_not_believed(tmp_path):
    source = "import builtins\n\n\nbuiltins.print = exit\n\n\n" + REGISTER.format(use="print(cls)") + MODEL
    assert isinstance(result(tmp_path, source), Refusal)


def test_a_class_whose_objects_become_others_is_refused(tmp_path):
    found = result(tmp_path, MODEL.replace("self.a = None", "self.__class__ = Block"))
    assert isinstance(found, Refusal)
    assert found.reason == "it changes what class it is"


def test_a_class_that_is_put_into_another_module_is_no_base(tmp_path):
    source = "import h\n\n\nclass Q(nn.Module):\n    pass\n\n\nh.P = Q\n\n\n" + CHILD.replace("(P)", "(h.P)")
    assert isinstance(result(tmp_path, source, h=HEAD + PARENT), Refusal)


def test_a_super_of_its_own_is_not_taken_for_the_builtin(tmp_path):
    found = result(tmp_path, f"def super():\n    return nn.Identity()\n\n\n{PARENT}{CHILD}")
    assert isinstance(found, Refusal)


RETURNING = METHOD.replace(
    "        x = x + self.pos_embed\n", "        if {}:\n            return x\n        x = x + self.pos_embed\n"
)


@pytest.mark.parametrize(
    ("question", "more"),
    [
        ("self.b", "    b = property(lambda self: self.step())\n"),
        ("self.b is None", "    b: bool = property(lambda self: self.step())\n"),
        ("self.b is None", "    from h import flag\n\n    @flag\n    def b(self):\n        return self.step()\n"),
        ("len(self.blocks) == 0", ""),
        ("self.drop", ""),
        ("self.drop.p", ""),
        ("self.a == 1", ""),
        ("isinstance(self.a, Kind)", ""),
    ],
)
def test_a_question_that_may_run_code_is_not_asked_twice(tmp_path, question, more):
    source = f"class M(nn.Module):\n{more}{INIT}{RETURNING.format(question)}"
    found = result(tmp_path, f"class Kind:\n    pass\n\n\n{source}", h="flag = property\n")
    assert isinstance(found, Refusal) or not found.early


@pytest.mark.parametrize("question", ["self.a is None", "self.a", "not self.a", "isinstance(self.drop, nn.Identity)"])
def test_a_question_that_only_looks_is(tmp_path, question):
    found = result(tmp_path, f"class M(nn.Module):{INIT}{RETURNING.format(question)}")
    assert found.early == (question,)


@pytest.mark.parametrize(
    ("header", "statement"),
    [
        ("from torch import set_grad_enabled", "set_grad_enabled(True)"),
        ("from torch import set_grad_enabled as g", "g(True)"),
        ("g = torch.set_grad_enabled", "g(True)"),
        ("", "getattr(torch, 'set_grad_enabled')(True)"),
        ("", "torch._C._set_grad_enabled(True)"),
        ("", "torch.autograd.grad_mode.set_grad_enabled(True)"),
        ("", "self.patch_embed.register_forward_hook(print)"),
    ],
)
def test_a_body_that_changes_what_its_context_sets_is_refused(tmp_path, header, statement):
    lines = METHOD.strip("\n").splitlines()
    body = [lines[0], "        with torch.no_grad():", *(f"    {line}" for line in lines[1:])]
    body.insert(3, f"            {statement}")
    found = result(tmp_path, f"{header}\nclass M(nn.Module):{INIT}\n" + "\n".join(body))
    assert isinstance(found, Refusal)


@pytest.mark.parametrize("given", ["self", "self.drop", "self.patch_embed"])
def test_a_hook_that_a_function_registers_is_a_hook(tmp_path, given):
    attach = "def attach(module):\n    module.register_forward_hook(lambda *a: STATE.append(1))\n\n\nSTATE = []\n\n\n"
    init = INIT + f"        attach({given})\n"
    body = METHOD.replace("return x", "return x * len(STATE)")
    assert isinstance(result(tmp_path, f"{attach}class M(nn.Module):{init}{body}"), Refusal)


def test_a_constant_that_another_file_assigns_to_is_no_constant(tmp_path):
    neighbour = HEAD + "SCALE = 2\n\n\n" + PARENT.replace("x = block(x)", "x = block(x) * SCALE")
    source = f"import h\nfrom h import P\n\n\ndef set_scale(value):\n    h.SCALE = value\n\n\n{CHILD}"
    assert isinstance(result(tmp_path, source, h=neighbour), Refusal)


WRITING = """class Stem(nn.Conv2d):
    def own(self, owner):
        self.owner = [owner]

    def forward(self, x):
        self.owner[0].a = float(x.mean())
        return super().forward(x)


def link(stem, owner):
    stem.owner = [owner]


"""


@pytest.mark.parametrize(
    "linked",
    [
        "self.patch_embed = Stem(3, 8, 4, 4)\nself.patch_embed.owner = [self]",
        "self.patch_embed = Stem(3, 8, 4, 4)\nsetattr(self.patch_embed, 'owner', [self])",
        "self.patch_embed = Stem(3, 8, 4, 4)\nself.patch_embed.__dict__['owner'] = [self]",
        "self.patch_embed = Stem(3, 8, 4, 4)\nself.patch_embed.own(self)",
        "self.patch_embed = Stem(3, 8, 4, 4)\nlink(self.patch_embed, self)",
        "stem = Stem(3, 8, 4, 4)\nstem.owner = [self]\nself.patch_embed = stem",
        "stem = Stem(3, 8, 4, 4)\nsetattr(stem, 'owner', [self])\nself.patch_embed = stem",
        "stem = Stem(3, 8, 4, 4)\nstem.own(self)\nself.patch_embed = stem",
        "stem = Stem(3, 8, 4, 4)\nlink(stem, self)\nself.patch_embed = stem",
    ],
)
def test_a_stem_that_is_given_the_model_later_may_write_on_it(tmp_path, linked):
    init = INIT + "".join(f"        {line}\n" for line in linked.splitlines())
    body = METHOD.replace("return x", "return x * self.a")
    assert isinstance(result(tmp_path, f"{WRITING}class M(nn.Module):{init}{body}"), Refusal)
