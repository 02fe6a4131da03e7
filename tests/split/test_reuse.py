"""An embedding is what it was after the stages have run, so that it can be used again."""

import textwrap

import pytest
from sources import result_in_users_file, split_of

from codegen.types import Refusal, Split

SOURCE = """
import copy
import functools
import itertools
import operator

import numpy as np
import torch
import torch.nn.functional as F
from helpers import same
from timm.layers import create_act_layer, get_act_fn, get_act_layer
from torch import nn
from torch.utils._pytree import tree_map


act = functools.partial(F.silu, inplace=True)
relu_ = F.relu_
gelu = functools.partial(F.gelu, approximate="tanh")
def choose(kind):
    return functools.partial(F.relu, inplace=True) if kind == "relu" else F.gelu


scaled = lambda t: t.mul_(2)
ACTS = {{"silu": functools.partial(F.silu, inplace=True)}}


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2.0)

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


swish = Swish.apply


class Double(Swish):
    @staticmethod
    def forward(ctx, x):
        return x * 2.0


class Counter:
    def __init__(self):
        self.count = 1.0

    def __enter__(self):
        self.count += 1
        return self

    def __exit__(self, *error):
        return False

    def step(self):
        self.count *= 2

    def half(self):
        return self.count / 2


class Numbers:
    def __iter__(self):
        return self

    def __next__(self):
        return 1.0


def pairs():
    return (number for number in (1.0, 2.0))


def yielding():
    yield 1.0


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.act = nn.ReLU(inplace=True)
        self.branches = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True))])
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        {made}
        x = x + self.pos_embed
{stages}
"""


def result(stages, made="pass"):
    stages = textwrap.indent(textwrap.dedent(stages), " " * 8)
    return result_in_users_file(SOURCE.format(made=made, stages=stages))


IN_PLACE = [
    "for block in self.blocks:\n    x += 1\n    x = block(x)\nreturn x",
    "for block in self.blocks:\n    x.mul_(2)\n    x = block(x)\nreturn x",
    "for block in self.blocks:\n    x = block(F.relu(x, inplace=True))\nreturn x",
    "for block in self.blocks:\n    x = block(self.act(x))\nreturn x",
    "y = x\nfor block in self.blocks:\n    y[:, 0] = 0\n    x = block(x)\nreturn x",
    "y = x[:, :1]\nfor block in self.blocks:\n    y.zero_()\n    x = block(x)\nreturn x",
    "if self.training:\n    x.clamp_(0)\nfor block in self.blocks:\n    x = block(x)\nreturn x",
]


@pytest.mark.parametrize("stages", IN_PLACE)
def test_the_stages_may_not_change_the_tokens_in_place(stages):
    found = result(stages)
    assert isinstance(found, Refusal)
    assert "the stages change it in place" in found.reason


LOOP = "for block in self.blocks:\n    x = block(x)\n"
UNREAD = [
    "y = tree_map(lambda t: t, x)\n" + LOOP + "y.add_(1)\nreturn x",
    "y = tree_map(lambda t: t, {'x': [x]})\n" + LOOP + "y['x'][0].add_(1)\nreturn x",
    "y = x.as_subclass(torch.Tensor)\n" + LOOP + "y.add_(1)\nreturn x",
    "y = copy.copy(x)\n" + LOOP + "y += 1\nreturn x",
    "y = functools.reduce(lambda a, b: a, [x])\n" + LOOP + "y[:, 0] = 0\nreturn x",
    "y = itertools.chain([x])\n" + LOOP + "next(y).add_(1)\nreturn x",
    "y = torch.from_numpy(x.detach().numpy())\n" + LOOP + "y.zero_()\nreturn x",
    "y = same(x)\n" + LOOP + "y.zero_()\nreturn x",
    "y, _ = same(x, x)\n" + LOOP + "y.zero_()\nreturn x",
    "y = same(same(x).detach())\n" + LOOP + "torch.add(x, 1, out=y)\nreturn x",
]


@pytest.mark.parametrize("stages", UNREAD)
def test_what_a_function_gives_that_cannot_be_read_may_be_what_it_was_given(stages):
    assert isinstance(result(stages), Refusal)


FINE = [
    "for block in self.branches:\n    x = block(x)\nreturn x",
    "for block in self.blocks:\n    x = block(x)\n    x += 1\nreturn x",
    "x = self.blocks[0](x)\nx += 1\nfor block in self.blocks:\n    x = block(x)\nreturn self.act(x)",
    "y = x.clone()\ny.zero_()\nfor block in self.blocks:\n    x = block(x)\nreturn x + y",
    "skip = x\nfor block in self.blocks:\n    x = block(x)\nx += skip\nreturn x",
    "y = same(x)\n" + LOOP + "x += y\nreturn x",
    "y = same(x) + 1\n" + LOOP + "y.zero_()\nreturn x + y",
    "y = same(x).clone()\n" + LOOP + "y.zero_()\nreturn x + y",
]


@pytest.mark.parametrize("stages", FINE)
def test_what_the_stages_made_themselves_they_may_change(stages):
    assert isinstance(result(stages), Split)


BLOCK = """
class Mine(nn.Module):
    KINDS = {"silu": nn.SiLU}
    bound = staticmethod(F.relu_)

    def __init__(
        self,
        kind=nn.ReLU,
        act=functools.partial(F.relu, inplace=True),
        plain=F.silu,
        sigmoid=torch.Tensor.sigmoid_,
        act_layer=nn.GELU,
        fn=None,
    ):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.kind = kind
        self.by_choice = act_layer()
        self.by_argument = fn
        self.of_global = swish
        self.sigmoid = sigmoid
        self.given = act
        self.silu = plain
        self.add = operator.iadd
        self.named = ACTS["silu"]
        self.by_text = getattr(nn, "Si" + "LU")(inplace=True)
        self.of_class = self.KINDS["silu"](inplace=True)
        self.of_timm = get_act_layer("swish")(inplace=True)
        self.chosen = choose("relu")
        self.relu_ = F.relu_
        self.by_name = getattr(F, "relu_")
        self.partial = functools.partial(F.silu, inplace=True)
        self.table = {"relu": functools.partial(F.relu, inplace=True)}
        self.made = functools.partial(nn.ReLU, inplace=True)()
        self.gelu = F.gelu
        self.scripted = torch.jit.script(nn.SiLU(inplace=True))
        self.act = nn.ReLU(inplace=True)
        self.begins = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 8))
        self.ends = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True))
        self.drop = Drop()

    def helper(self, x):
        return self.act(x)

    def tried(self, x):
        try:
            return x
        finally:
            pass

    def looped(self, x):
        while True:
            return x

    def matched(self, x):
        match x.ndim:
            case 3:
                return x

    def forward(self, x):
        {forward}


class Drop(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x * 2


class M("""


def result_with_block(forward):
    block = BLOCK.replace("{forward}", forward.replace("; ", "\n        "))
    stages = textwrap.indent("for block in self.blocks:\n    x = block(x)\nreturn x", " " * 8)
    source = SOURCE.format(made="pass", stages=stages).replace("class M(", block)
    passed = "act_layer=functools.partial(nn.SiLU, inplace=True), fn=torch.Tensor.sigmoid_" if "by_" in forward else ""
    return result_in_users_file(source.replace("nn.ModuleList([nn.Linear(8, 8)])", f"nn.ModuleList([Mine({passed})])"))


@pytest.mark.parametrize(
    "forward",
    [
        "x += 1; return self.fc(x)",
        "x[:, 0] = 0; return self.fc(x)",
        "return self.fc(F.relu(x, inplace=True))",
        "return self.fc(self.act(x))",
        "return self.fc(self.helper(x))",
        "y = self.tried(x); y.mul_(2); return self.fc(x)",
        "y = self.looped(x); y.mul_(2); return self.fc(x)",
        "y = self.matched(x); y.mul_(2); return self.fc(x)",
        "return self.begins(x)",
        "x.data.clamp_(0); return self.fc(x)",
        "y = x; y = y.view(-1, 8); y.mul_(2); return self.fc(x)",
        "x.__iadd__(1); return self.fc(x)",
        "operator.iadd(x, 1); return self.fc(x)",
        "torch.Tensor.mul_(x, 2); return self.fc(x)",
        "y = self.drop(x); y += 1; return self.fc(x)",
        "list(map(lambda t: t.detach().add_(1), [x])); return self.fc(x)",
        "sorted([x], key=lambda t: float(t.add_(1).sum())); return self.fc(x)",
        "list(map(torch.relu_, [x])); return self.fc(x)",
        "change = torch.Tensor.add_; change(x, 1); return self.fc(x)",
        "from operator import iadd as up; up(x, 1); return self.fc(x)",
        "functools.partial(torch.Tensor.add_, x)(1); return self.fc(x)",
        "functools.reduce(operator.iadd, [x, x]); return self.fc(x)",
        "operator.methodcaller('add_', 1)(x); return self.fc(x)",
        "torch.utils.checkpoint.checkpoint(lambda t: t.add_(1), x); return self.fc(x)",
        "return self.fc(self.relu_(x))",
        "return self.fc(act(x))",
        "return self.fc(relu_(x))",
        "return self.fc(scaled(x))",
        "return self.fc(ACTS['silu'](x))",
        "return self.fc(Swish.apply(x))",
        "return self.fc(self.scripted(x))",
        "return self.fc(self.by_choice(x))",
        "return self.fc(self.by_argument(x))",
        "return self.fc(self.of_global(x))",
        "return self.fc(swish(x))",
        "return self.fc(self.by_name(x))",
        "self.add(x, 1); return self.fc(x)",
        "return self.fc(self.named(x))",
        "return self.fc(self.by_text(x))",
        "return self.fc(self.of_class(x))",
        "return self.fc(self.of_timm(x))",
        "return self.fc(self.chosen(x))",
        "return self.fc(self.bound(x))",
        "return self.fc(self.sigmoid(x))",
        "return self.fc(self.partial(x))",
        "return self.fc(self.table['relu'](x))",
        "return self.fc(self.made(x))",
        "return self.fc(self.given(x))",
        "return self.fc(self.kind(inplace=True)(x))",
        "return self.fc(self.kind(**{'inplace': True})(x))",
        "return self.fc(self.silu(x, inplace=True))",
        "return self.fc(self.silu(x, **{'inplace': True}))",
        "return self.fc(nn.ReLU(inplace=True)(x))",
        "return self.fc(nn.ReLU(True)(x))",
        "return nn.Sequential(nn.ReLU(inplace=True), self.fc)(x)",
        "return nn.Sequential(*[nn.ReLU(inplace=True), self.fc])(x)",
        "act = nn.ModuleDict(modules={'a': nn.ReLU(inplace=True)}); return self.fc(act['a'](x))",
        "y = nn.Identity()(x); y.add_(1); return self.fc(x)",
        "y = nn.Flatten(1)(x); y += 1; return self.fc(x)",
        "y = nn.Sequential()(x); y += 1; return self.fc(x)",
        "y = nn.Dropout(0.1)(x); y += 1; return self.fc(x)",
        "y = F.dropout(x, 0.0); y += 1; return self.fc(x)",
        "(+x).add_(1); return self.fc(x)",
        "np.asarray(x.detach()).fill(1); return self.fc(x)",
        "x.detach().numpy().fill(1); return self.fc(x)",
        "x.unknown(1); return self.fc(x)",
        "torch.func.functional_call(self.act, {}, (x,)); return self.fc(x)",
        "act = functools.partial(F.relu, inplace=True); return self.fc(act(x))",
        "act = F.relu_ if self.training else F.relu; return self.fc(act(x))",
        "act = getattr(F, 'relu_'); return self.fc(act(x))",
        "act = getattr(torch, self.name + '_'); return self.fc(act(x))",
        "act = {'relu': F.relu_}['relu']; return self.fc(act(x))",
        "act = get_act_fn('swish'); return self.fc(act(x, inplace=True))",
        "return self.fc(get_act_fn('swish')(x, inplace=True))",
        "return self.fc(create_act_layer('silu', inplace=True)(x))",
        "with torch.no_grad(): x.copy_(x * 2); return self.fc(x)",
        "torch.add(x, 1, out=x); return self.fc(x)",
        "torch._foreach_add_([x], 1); return self.fc(x)",
        "np.add(x.detach().numpy(), 1, out=x.detach().numpy()); return self.fc(x)",
        "y = np.asarray(x.detach()); y[:] = 0; return self.fc(x)",
    ],
)
def test_the_blocks_may_not_change_the_tokens_in_place(forward):
    found = result_with_block(forward)
    assert isinstance(found, Refusal)
    assert "the stages change it in place" in found.reason


@pytest.mark.parametrize(
    "forward",
    [
        "return x + self.fc(x)",
        "return self.act(self.fc(x))",
        "return self.helper(self.fc(x))",
        "skip = x; x = self.fc(x); x += skip; return self.act(x)",
        "out = self.ends(x); out += x; return self.act(out)",
        "return x + self.drop(self.fc(x))",
        "for _ in range(2):\n            x = self.act(self.fc(x)); return x",
        "y = self.fc(x); torch.relu_(y); return y",
        "y = sum(map(lambda t: t * 2, [x, x])); return self.fc(y)",
        "y = torch.utils.checkpoint.checkpoint(lambda t: self.fc(t) * 2, x); return y",
        "return self.fc(self.gelu(x))",
        "y = torch.empty_like(x); torch.add(x, 1, out=y); return self.fc(x) + y",
        "return self.fc(gelu(x))",
        "return self.fc(Double.apply(x))",
        "return self.fc(self.silu(x))",
        "return self.fc(F.relu(x, inplace=False))",
        "return self.fc(nn.GELU()(x))",
        "return self.fc(nn.LayerNorm(8)(x))",
        "return nn.Sequential(self.fc, nn.GELU())(x)",
        "y = nn.Linear(8, 8)(x); y += 1; return y",
        "y = F.gelu(x); y += 1; return y",
        "act = {'relu': F.relu}['relu']; return self.fc(act(x))",
        "act = get_act_fn('gelu'); return self.fc(act(x))",
        "return self.fc(self.kind()(x))",
    ],
)
def test_the_blocks_may_change_what_they_made(forward):
    assert isinstance(result_with_block(forward), Split)


PUBLIC = {
    "DINOv2": """
def drop_path(x, rate, training):
    if rate == 0.0 or not training:
        return x
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - rate)
    mask.div_(1 - rate)
    return x * mask


class DropPath(nn.Module):
    def __init__(self, rate=None):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return drop_path(x, self.rate, self.training)


class LayerScale(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace
        self.gamma = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x.mul_(self.gamma) if self.inplace else x * self.gamma


class Block(nn.Module):
    def __init__(self, norm_layer=nn.LayerNorm, layer="linear", rate=0.1):
        super().__init__()
        if layer == "linear":
            layer = nn.Linear
        elif layer == "identity":

            def f(*args, **kwargs):
                return nn.Identity()

            layer = f
        self.norm = norm_layer(8)
        self.fc = layer(8, 8)
        self.scale = LayerScale()
        self.drop_path = DropPath(rate) if rate > 0 else nn.Identity()

    def forward(self, x):
        def residual(x):
            return self.scale(self.fc(self.norm(x)))

        if self.training:
            return x + self.drop_path(residual(x))
        return x + residual(x)
""",
    "Hiera": """
class Block(nn.Module):
    def __init__(self, act_layer=nn.GELU):
        super().__init__()
        self.act = act_layer()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.act(x)
        B, N, C = x.shape
        B *= 2
        return self.fc(x.reshape(B, -1, C)).reshape(B // 2, N, C)
""",
    "MaxViT": """
class Block(nn.Module):
    def __init__(self, norm=nn.LayerNorm):
        super().__init__()
        self.norm = norm(8)

    def forward(self, x):
        y = self.norm(x)
        keep = torch.FloatTensor((y.shape[0], 1, 1), device=y.device).uniform_() > 0.1
        return x + y * keep
""",
    "iBOT": """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        weights = self.fc(x).softmax(-1)
        return self.fc(weights), weights


class Block(nn.Module):
    def __init__(self, rate=0.1):
        super().__init__()
        self.attn = Attention()
        self.drop_path = nn.Dropout(rate) if rate > 0 else nn.Identity()

    def forward(self, x):
        y, weights = self.attn(x)
        return x + self.drop_path(y)
""",
    "what no class has": """
class Pool(nn.Module):
    def forward(self, x):
        return x - self.blurred(x)

    def blurred(self, x):
        return x.mean(dim=1, keepdim=True)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixers = nn.Sequential(*[Pool() for _ in range(2)])

    def forward(self, x):
        mixed = [*self.mixers.children()][0](x)
        mask = mixed.new_zeros(1).bernoulli_(0.5)
        return x + mixed * mask
""",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_blocks_as_public_models_have_them_leave_the_tokens_alone(name):
    stages = textwrap.indent("for block in self.blocks:\n    x = block(x)\nx[:, 0] = 0\nreturn x", " " * 8)
    source = SOURCE.format(made="pass", stages=stages).replace("class M(", f"{PUBLIC[name]}\n\nclass M(")
    source = source.replace("nn.ModuleList([nn.Linear(8, 8)])", "nn.ModuleList([Block()])")
    assert isinstance(result_in_users_file(source), Split)


def test_timms_own_stages_do_what_they_do():
    source = SOURCE.format(made="pass", stages=textwrap.indent(IN_PLACE[0], " " * 8))
    assert isinstance(split_of(source, "M"), Split)


RUN = "for block in self.blocks:\n    x = block(x)\n"


@pytest.mark.parametrize(
    ("made", "stages"),
    [
        ("c = Counter()", "with c:\n    x = x * c.count\nreturn x"),
        ("c = Counter()", "c.step()\nreturn x * c.count"),
        ("c = pairs()", "for number in c:\n    x = x * number\nreturn x"),
        ("c = yielding()", "for number in c:\n    x = x * number\nreturn x"),
        ("c = Numbers()", "for number in c:\n    x = x * number\n    break\nreturn x"),
        ("c = (iter([1.0]), 2)", "for number in c[0]:\n    x = x * number\nreturn x"),
        ("c = {'all': itertools.count()}", "for number in c['all']:\n    x = x * number\n    break\nreturn x"),
    ],
)
def test_an_object_that_crosses_may_not_be_used_up(made, stages):
    assert isinstance(result(RUN + stages, made), Refusal)


def test_an_object_that_is_only_asked_may_cross():
    assert isinstance(result(RUN + "return x * c.half()", "c = Counter()"), Split)


def test_an_attribute_of_the_tokens_is_lost_where_rows_are_selected():
    found = result(RUN + "return x", "x.tag = 2.0\n        x += self.pos_embed")
    assert isinstance(found, Refusal)
    assert "`x.tag` is set on the tokens" in found.reason


def test_patches_that_get_their_position_in_place_are_no_embedding_of_their_own():
    in_place, anew = (
        result_in_users_file(
            SOURCE.format(made="pass", stages=textwrap.indent(RUN + "return x", " " * 8)).replace(*how)
        )
        for how in (("x = x + self.pos_embed", "x += self.pos_embed"), ("\n\n\n\n", "\n"))
    )
    assert "change it in place" in in_place.patches.reason
    assert anew.patches.embed_positions
