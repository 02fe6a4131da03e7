"""What a constructor does to the parts of a part: the class of that part does not tell what it holds, or runs."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

PARTS = """
import functools
import operator
import types

import torch
from torch import nn

STATE = {"mean": 1.0}


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.Identity()
        self.layers = nn.Sequential(nn.Identity())

    def scale(self, x):
        return x

    def forward(self, x):
        return self.layers(self.scale(self.norm(self.proj(x).flatten(2).transpose(1, 2))))


class Noting(nn.Module):
    def forward(self, x):
        STATE["mean"] = float(x.mean())
        return x


def find(model):
    return [m for m in model.modules() if isinstance(m, nn.Sequential)][0]


def add(model):
    for part in model.children():
        if isinstance(part, nn.Sequential):
            part.append(Noting())


def noted(self, x):
    STATE["mean"] = float(x.mean())
    return x


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Stem()
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        REPLACE

    def found(self):
        return find(self)

    def layers(self, depth):
        return nn.Sequential(*[nn.Linear(8, 8) for _ in range(depth)])

    def forward_features(self, x):
        x = self.stem(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x * STATE["mean"]
"""
WAYS = [
    "self.stem.norm = Noting()",
    "setattr(self.stem, 'no' + 'rm', Noting())",
    "self.stem.add_module('norm', Noting())",
    "self.stem._modules['norm'] = Noting()",
    "self.stem.layers[0] = Noting()",
    "self.stem.layers.append(Noting())",
    "self.stem.layers.insert(0, Noting())",
    "self.stem.layers.extend([Noting()])",
    "self.stem.layers.add_module('1', Noting())",
    "self.stem.layers.__setitem__(0, Noting())",
    "self.stem.get_submodule('layers')[0] = Noting()",
    "layers = self.stem.layers; layers.append(Noting())",
    "layers = getattr(self.stem, 'layers'); layers[0] = Noting()",
    "stem = self.stem; stem.layers.append(Noting())",
    "self.stem.scale = functools.partial(noted, None)",
    "self.stem.scale = types.MethodType(noted, self.stem)",
    "setattr(self.stem, 'scale', lambda x: noted(None, x))",
    "functools.partial(setattr, self.stem, 'norm')(Noting())",
    "functools.partial(setattr, self.stem, 'forward')(functools.partial(noted, None))",
    "put = setattr; put(self.stem, 'norm', Noting())",
    "list(map(setattr, [self.stem], ['norm'], [Noting()]))",
    "pair = self.stem, 'norm'; setattr(*pair, Noting())",
    "owner = [self.stem]; setattr(*owner, 'norm', Noting())",
    "(lambda model: model.add_module('stem', nn.Sequential(Stem(), Noting())))(self)",
    "operator.setitem(self.stem._modules, 'norm', Noting())",
    "operator.setitem(self._modules, 'stem', nn.Sequential(Stem(), Noting()))",
    "(setattr, delattr)[0](self.stem, 'norm', Noting())",
    "sets = {'a': setattr}; sets['a'](self.stem, 'norm', Noting())",
    "nn.Sequential.append(self.stem.layers, Noting())",
    "(self.stem.layers or None).append(Noting())",
    "(self.stem.layers if self.stem else None).append(Noting())",
    "parts = {'a': self.stem.layers}; parts['a'].append(Noting())",
    "stages = [self.stem.layers]; stages[0].append(Noting())",
    "(layers := self.stem.layers).append(Noting())",
    "exec('self.stem.norm = Noting()')",
    "next(m for m in self.modules() if isinstance(m, nn.Sequential)).append(Noting())",
    "[*self.stem.children()][2].append(Noting())",
    "dict(self.named_modules())['stem.layers'].append(Noting())",
    "found = [m for m in self.modules() if isinstance(m, nn.Sequential)]; found[0].append(Noting())",
    "max(self.stem.children(), key=lambda m: isinstance(m, nn.Sequential)).insert(0, Noting())",
    "functools.reduce(getattr, 'stem.layers'.split('.'), self).append(Noting())",
    "operator.attrgetter('stem.layers')(self).append(Noting())",
    "find(self).append(Noting())",
    "find(self.stem)[0] = Noting()",
    "add(self)",
    "layers = find(self)\n        layers += nn.Sequential(Noting())",
    "for part in self.stem.children():\n            part += nn.Sequential(Noting())",
    "self.apply(add)",
    "self.stem.apply(lambda m: m.append(Noting()) if isinstance(m, nn.Sequential) else None)",
    "last, *_ = reversed([*self.stem.children()]); last.append(Noting())",
    "self.found().append(Noting())",
    "self.stem._modules['layers'].append(Noting())",
    "vars(self.stem)['_modules']['layers'].append(Noting())",
    "self.stem.__dict__['_modules']['norm'] = Noting()",
    "(lambda m: m.append(Noting()))(self.stem.layers)",
    "list(map(add, self.children()))",
    "nn.Sequential.append(next(iter(self.stem.children())), Noting())",
    "[setattr(self.stem, name, Noting()) for name, _ in list(self.stem.named_children())]",
]


@pytest.mark.parametrize("way", WAYS)
def test_a_part_of_the_stem_is_replaced(way):
    assert isinstance(result_in_users_file(PARTS.replace("REPLACE", way)), Refusal)


@pytest.mark.parametrize(
    "way",
    [
        "pass",
        "self.head = nn.Linear(8, 8)",
        "self.other = Noting()",
        "self.blocks.append(nn.Linear(8, 8))",
        "self.stem.layers.append(nn.GELU())",
        "self.stem.layers[0] = nn.LayerNorm(8)",
        "layers = []; layers.append(Noting())",
        "setattr(self, 'depth', 1)",
        "self.late = self.layers(2); self.late.append(nn.Linear(8, 8))",
        "layers = self.layers(2); layers.append(Noting()); self.late = layers",
        "dims = []; dims.append(self.pos_embed.shape[1])",
        "dims = [self.pos_embed]; dims.append(self.blocks[0].out_features)",
        "depth = len(self.blocks); depth += 1",
        "parts = list(self.stem.children()); parts += [Noting()]",
        "parts = [*self.stem.children()]; parts.append(Noting()); self.late = nn.Sequential(*parts[2:])",
        "total = sum(p.numel() for p in self.parameters()); total += self.pos_embed.numel()",
        "names = {}; names[len(self.blocks)] = Noting()",
        "known = self.state_dict(); known['new'] = torch.zeros(1)",
    ],
)
def test_what_does_not_concern_what_runs(way):
    assert isinstance(result_in_users_file(PARTS.replace("REPLACE", way)), Split)
