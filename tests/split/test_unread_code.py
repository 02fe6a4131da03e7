"""Code that cannot be followed may do anything that it can reach: what the stages read of it is refused."""

import pytest
from sources import result_in_users_file

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Place, Refusal, Split

SOURCE = """
import copy
import functools
import torch
import torch.nn.functional as F
from torch import nn
{imports}

BOX = []


class Noting(nn.Module):
    def forward(self, x):
        BOX.append(x.mean())
        return x


class Keeping(nn.Module):
    def forward(self, x):
        self.last = x.mean()
        return x


class Counting(nn.Module):
    seen = []

    def forward(self, x):
        type(self).last = x.mean()
        self.__class__.seen.append(x.mean())
        return x


class Holding(nn.Module):
    def __init__(self, act=nn.Identity, fn=None):
        super().__init__()
        self.act = act()
        self.fn = fn

    def forward(self, x):
        return self.act(x)


class Outer(nn.Module):
    def __init__(self, layer=nn.Identity):
        super().__init__()
        self.inner = Holding(layer)

    def forward(self, x):
        return self.inner(x)


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


class Chain(nn.Sequential):
    def forward(self, x):
        return super().forward(x)


class Inner:
    class Noting(nn.Module):
        def forward(self, x):
            BOX.append(x.mean())
            return x


try:
    from torch.nn import NoSuchNorm as Norm
except ImportError:
    class Norm(nn.Module):
        def forward(self, x):
            BOX.append(x.mean())
            return x


class Convolution(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        BOX.append(x.mean())
        return x


class Statistics(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) + self.running_mean[:, None]


def noted(self, x):
    BOX.append(x.mean())
    return x


class Assigned(nn.Linear):
    forward = noted


TABLE = {{"noting": Inner.Noting}}
LAYERS = [Noting]
{top}

class M(nn.Module):
    def __init__(self, kind="noting"):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.bn = nn.BatchNorm1d(8)
        self.register_buffer("table", torch.ones(16, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        {made}
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        {stem}
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}


class Other(nn.Module):
    def forward(self, x):
        return x
{after}
"""


def result(tmp_path, made="pass", stem="x = self.a(x)", last="x", top="", after="", imports=""):
    text = SOURCE.format(made=made, stem=stem, last=last, top=top, after=after, imports=imports)
    (tmp_path / "m.py").write_text(text)
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    return next(outcome.result for outcome in outcomes if outcome.name == "M")


MADE = [
    "self.a = Inner.Noting()",
    "self.a = TABLE[kind]()",
    "self.a = Norm()",
    "self.a = Convolution(8, 8, 1)",
    "self.a = Assigned(8, 8)",
    "self.a = Holding(Noting)",
    "self.a = Holding(act=Noting)",
    "self.a = Residual(Noting())",
    "self.a = Outer(*[Noting])",
    "self.a = Outer(**{'layer': Noting})",
    "given = dict(layer=Noting)\n        self.a = Outer(**given)",
    "self.a = Outer(*LAYERS)",
    "self.a = Chain(Noting())",
    "self.a = functools.partial(Noting)()",
    "self.a = [nn.Identity, Noting][-1]()",
    "self.a = copy.deepcopy(Noting())",
    "import copy as c\n        self.a = c.deepcopy(Noting())",
    "self.a = Holding()\n        self.a.act = Noting()",
    "for name, part in list(self.named_children()):\n            self.register_module('a', Noting())",
]


@pytest.mark.parametrize("made", MADE)
def test_a_module_that_is_not_in_sight_may_change_what_a_global_holds(tmp_path, made):
    assert isinstance(result(tmp_path, made, last="x + BOX.pop()"), Refusal)


@pytest.mark.parametrize(
    "made", ["self.a = Holding(Keeping)", "self.a = Chain(Keeping())", "self.a = Residual(Keeping())"]
)
def test_what_it_keeps_itself_is_not_read_by_the_stages(tmp_path, made):
    part = {"H": "act", "C": "0", "R": "fn"}[made.removeprefix("self.a = ")[0]]
    path = "self.a[0].last" if part == "0" else f"self.a.{part}.last"
    assert isinstance(result(tmp_path, made, last=f"x + {path}"), Refusal)


@pytest.mark.parametrize("made", ["self.a = Holding()", "self.a = nn.Identity()", "self.a = nn.Sequential(nn.GELU())"])
def test_what_is_in_sight_is_split(tmp_path, made):
    assert isinstance(result(tmp_path, made, last="x"), Split)


IN_PLACE = [
    "nn.Dropout(0.5, inplace=True)",
    "nn.LeakyReLU(0.5, True)",
    "nn.ELU(inplace=True)",
    "nn.RReLU(0.1, 0.3, True)",
    "nn.Sequential(nn.Identity(), nn.SiLU(inplace=True))",
    "nn.SiLU(**dict(inplace=True))",
]


@pytest.mark.parametrize("act", IN_PLACE)
def test_a_module_that_works_in_place_changes_what_it_is_given(tmp_path, act):
    assert isinstance(result(tmp_path, f"self.a = {act}", "x = x + self.a(self.table)", "x + self.table"), Refusal)
    assert isinstance(result(tmp_path, f"self.a = {act}", "x = self.a(x)", "x + self.table"), Split)


def test_one_that_is_told_to_later_does_too(tmp_path):
    made = "self.a = nn.SiLU()\n        self.a.inplace = True"
    assert isinstance(result(tmp_path, made, "x = x + self.a(self.table)", "x + self.table"), Refusal)


CHANGED = [
    "F.embedding(torch.zeros(1, dtype=torch.long), self.table, None, 0.5)",
    "torch.mul(self.table, 2, **dict(out=self.table))",
    "torch.max(x.detach(), 0, out=(self.table, self.table))",
    "torch.einsum('nc->cn', self.table).add_(1)",
    "max([self.table], key=len).add_(1)",
    "next(iter(self.table)).add_(1)",
]


@pytest.mark.parametrize("call", CHANGED)
def test_a_library_changes_an_argument_in_the_forms_that_it_has(tmp_path, call):
    assert isinstance(result(tmp_path, stem=call, last="x + self.table"), Refusal)


STATISTICS = [
    "self.mean = self.bn.running_mean",
    "self.mean = dict(self.bn.named_buffers())['running_mean']",
    "self.mean = self.state_dict()['bn.running_mean']",
]


@pytest.mark.parametrize("made", STATISTICS)
def test_statistics_that_go_by_another_name_are_not_read_by_the_stages(tmp_path, made):
    stem = "x = self.bn(x.transpose(1, 2)).transpose(1, 2)"
    assert isinstance(result(tmp_path, made, stem, "x + self.mean"), Refusal)
    assert isinstance(result(tmp_path, "pass", stem, "x"), Split)


def test_a_norm_that_reads_its_own_statistics_is_not_shared(tmp_path):
    stem = "x = self.a(x.transpose(1, 2)).transpose(1, 2)"
    last = "self.a(x.transpose(1, 2))"
    assert isinstance(result(tmp_path, "self.a = Statistics(8)", stem, last), Refusal)


LIBRARY = [
    "nn.GELU = Other",
    "F.gelu = noted",
    "setattr(torch, 'relu', noted)",
    "F.__dict__['gelu'] = noted",
    "F.__dict__.update(gelu=noted)",
    "L = nn.Linear\nL.forward = noted",
    "exec('F.gelu = noted')",
    "globals()['noted'] = len",
    "globals().update(noted=len)",
]


@pytest.mark.parametrize("after", LIBRARY)
def test_a_file_that_changes_a_library_or_any_name_is_refused(tmp_path, after):
    assert isinstance(result(tmp_path, stem="pass", after=after), Refusal)


def test_a_library_that_a_helper_changes_when_it_is_imported_is_another(tmp_path):
    (tmp_path / "helper.py").write_text("import torch\ntorch.relu = torch.sigmoid\n")
    refused = result(tmp_path, stem="pass", imports="import helper")
    assert isinstance(refused, Refusal)
    assert refused.place == Place("helper.py", 2)
    assert refused.reason.startswith("its module sets `torch.relu`")


def test_what_a_helper_changes_only_when_it_is_called_is_no_concern_of_a_model_that_does_not_call_it(tmp_path):
    (tmp_path / "helper.py").write_text("import torch\n\n\ndef quiet():\n    torch.relu = torch.sigmoid\n")
    assert isinstance(result(tmp_path, stem="pass", imports="import helper"), Split)


SETTINGS = [
    "torch.backends.cudnn.benchmark = True",
    "torch.utils.data._utils.worker._worker_info = None",
    "F.gelu",
    "torch.manual_seed(0)",
]


@pytest.mark.parametrize("after", SETTINGS)
def test_a_setting_of_torch_is_no_change_of_what_it_computes(tmp_path, after):
    assert isinstance(result(tmp_path, stem="pass", after=after), Split)


CLASS = [
    "setattr(M, 'forward_features', noted)",
    "c = M\nc._init_weights = noted\nc.forward_features = noted",
    "M.forward_features, other = noted, 1",
    "M.forward_features: object = noted",
    "for c in nn.Module.__subclasses__():\n    c.extra = noted",
]


@pytest.mark.parametrize("after", CLASS)
def test_a_class_that_is_changed_after_it_is_made_is_refused(tmp_path, after):
    assert isinstance(result(tmp_path, stem="pass", after=after), Refusal)


def test_a_package_may_change_its_modules_when_it_is_imported(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import m\nfrom .patch import install\ninstall(m)\n")
    (package / "patch.py").write_text("def install(module):\n    module.M.forward_features = print\n")
    (package / "m.py").write_text(SOURCE.format(made="pass", stem="pass", last="x", top="", after="", imports=""))
    outcomes = analyse(find_release(None, package, announce=lambda message: None))
    assert all(isinstance(outcome.result, Refusal) for outcome in outcomes if outcome.name == "M")


def test_a_conversion_of_a_module_changes_it(tmp_path):
    assert isinstance(result(tmp_path, "self.a = nn.Linear(8, 8)", "self.a.double()", "self.a(x.double())"), Refusal)


@pytest.mark.parametrize("read", ["self.a.last", "Counting.last", "type(self.a).last", "self.a.seen.pop()"])
def test_what_a_class_keeps_is_kept_by_its_objects(tmp_path, read):
    assert isinstance(result(tmp_path, "self.a = Counting()", last=f"x + {read}"), Refusal)


def test_a_cached_property_is_kept(tmp_path):
    top = (
        "class Tables(nn.Module):\n    @functools.cached_property\n    def kept(self):\n        return torch.ones(1)\n"
    )
    made = "self.a = Tables()"
    assert isinstance(result(tmp_path, made, "self.a.kept.add_(1)", "x + self.a.kept", top), Refusal)


def test_a_part_by_another_name_is_the_same(tmp_path):
    made = "part = Keeping()\n        self.other = part\n        self.a = nn.ModuleList([part])[0]"
    assert isinstance(result(tmp_path, made, last="x + self.other.last"), Refusal)


HOOKING = [
    ("self.rec = Recorder(self.patch_embed)", "x + self.rec.out"),
    ("attach(self.patch_embed)", "x + BOX[-1]"),
    ("decorate(self.patch_embed)", "x + BOX[-1]"),
    ("replace(self.patch_embed)", "x + BOX[-1]"),
    ("replace_in(self)", "x + BOX[-1]"),
    ("self.patch_embed._forward_hooks[0] = note", "x + BOX[-1]"),
    ("self.patch_embed.__dict__['forward'] = fast", "x + BOX[-1]"),
    ("[setattr(m, 'forward', fast) for m in self.children()]", "x + BOX[-1]"),
]
HOOKS = """

def note(module, given, result):
    BOX.append(result.mean())


def fast(x):
    BOX.append(x.mean())
    return x


class Recorder:
    def __init__(self, module):
        self.out = 0
        module.register_forward_hook(self)

    def __call__(self, module, given, result):
        self.out = result.mean()


def attach(module):
    module.register_forward_hook(note)


def decorate(module):
    @module.register_forward_hook
    def noted(module, given, result):
        BOX.append(result.mean())


def replace(module):
    module.forward = fast


def replace_in(model):
    for module in model.children():
        module.forward = fast
"""


@pytest.mark.parametrize(("made", "last"), HOOKING)
def test_hooks_and_other_code_that_a_helper_installs_may_do_anything(tmp_path, made, last):
    assert isinstance(result(tmp_path, made, "pass", last, after=HOOKS), Refusal)


def test_hooks_of_all_modules_are_a_change_of_the_library(tmp_path):
    hook = "torch.nn.modules.module.register_module_forward_hook(lambda *given: BOX.append(given))"
    assert isinstance(result(tmp_path, stem="pass", after=hook), Refusal)


def test_helpers_that_hook_what_others_give_them_are_no_concern_of_a_model_that_does_not_call_them(tmp_path):
    assert isinstance(result(tmp_path, stem="pass", after=HOOKS), Split)


SHARING = """
@dataclasses.dataclass
class Context:
    mean: float = 0.0


class Measuring(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.context = context

    def forward(self, x):
        self.context.mean = x.mean()
        return x


class Using(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.context = context

    def forward(self, x):
        return x + self.context.mean
"""


@pytest.mark.parametrize("context", ["Context()", "Context", "types.SimpleNamespace()", "noted"])
def test_two_modules_that_are_given_one_object_share_what_is_kept_in_it(tmp_path, context):
    made = f"context = {context}\n        self.a = Measuring(context)\n        self.b = Using(context)"
    imports = "import dataclasses\nimport types"
    assert isinstance(result(tmp_path, made, last="self.b(x)", top=SHARING, imports=imports), Refusal)
    later = "self.set_up()\n\n    def set_up(self):\n        " + made
    later = later.replace("self.set_up()", "self.blocks = nn.ModuleList([nn.Linear(8, 8)])\n        self.set_up()", 1)
    later += "\n        self.more = 1"
    assert isinstance(result(tmp_path, later, last="self.b(x)", top=SHARING, imports=imports), Refusal)


GLOBALS = """
class Holder:
    value = 0


CONTEXT = Holder()
OTHER = CONTEXT
BOTH = TABLE_OF = Holder()


class Named(nn.Module):
    def __init__(self, context=CONTEXT):
        super().__init__()
        self.context = CONTEXT
        self.other = OTHER
        self.given = context
        self.both = BOTH

    def forward(self, x):
        {write}
        return x


class Memory:
    memo = {{}}


class Remembering(nn.Module, Memory):
    def forward(self, x):
        self.memo["x"] = x.mean()
        return x


class Recalling(nn.Module, Memory):
    def forward(self, x):
        return x + self.memo["x"]
"""


@pytest.mark.parametrize(
    ("write", "read"),
    [
        ("self.context.value = x.mean()", "CONTEXT.value"),
        ("CONTEXT.value = x.mean()", "self.a.context.value"),
        ("self.given.value = x.mean()", "CONTEXT.value"),
        ("self.other.value = x.mean()", "CONTEXT.value"),
        ("CONTEXT.value = x.mean()", "OTHER.value"),
        ("self.both.value = x.mean()", "TABLE_OF.value"),
    ],
)
def test_a_global_is_the_same_by_any_name(tmp_path, write, read):
    top = GLOBALS.format(write=write)
    assert isinstance(result(tmp_path, "self.a = Named()", last=f"x + {read}", top=top), Refusal)


def test_what_a_class_keeps_is_kept_by_all_that_derive_from_it(tmp_path):
    made = "self.a = Remembering()\n        self.b = Recalling()"
    assert isinstance(result(tmp_path, made, last="self.b(x)", top=GLOBALS.format(write="pass")), Refusal)


FOREIGN = """
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.kept = []
        self.conv1 = build_conv_layer(dict(type="Unknown"), 3, 8, 4)
        self.norm1_name, norm1 = build_norm_layer(dict(type="Unknown"), 8, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])

    @property
    def norm1(self):
        return getattr(self, self.norm1_name)

    def freeze(self):
        {freeze}

    def forward_features(self, x):
        x = self.norm1(self.conv1(x))
        for block in self.blocks:
            x = block(x) * x.shape[1]
        return x
"""
EACH = "for m in [self.conv1, self.norm1]:\n            "


def foreign(freeze):
    return result_in_users_file(FOREIGN.format(freeze=freeze))


@pytest.mark.parametrize(
    "freeze",
    [
        f"{EACH}m.eval()",
        f"{EACH}for p in m.parameters():\n                p.requires_grad = False",
        "m = self.conv1\n        m.requires_grad_(False)",
    ],
)
def test_a_variable_that_only_asks_a_layer_is_no_other_name_of_it(freeze):
    assert isinstance(foreign(freeze), Split)


@pytest.mark.parametrize(
    "freeze",
    [
        f"{EACH}m.eval()\n        self.kept.append(m)",
        f"{EACH}self.kept.append(m)",
        f"{EACH}self.blocks[0].other = m",
        "m = self.conv1\n        m.eval()\n        self.blocks.append(m)",
        f"{EACH}m.context = {{}}",
        f"{EACH}m.attach(self)",
        f"context = {{}}\n        {EACH}m.attach(context)",
        f"{EACH}self.blocks[0].other = m.inner",
        f"{EACH}other = m.get()",
        f"{EACH}for p in m.parameters():\n                self.kept.append(p)",
        f"{EACH}for p in m.parameters():\n                self.last = p",
    ],
)
def test_one_that_is_kept_is(freeze):
    assert isinstance(foreign(freeze), Refusal)
