"""More ways for what the embedding leaves to reach the stages."""

import dataclasses
import functools
import types

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class Stem(nn.Conv2d):
    """A patch embedding that remembers its mean."""

    def __init__(self):
        super().__init__(3, 8, 4, 4)
        self.mean = 0.0

    def forward(self, x):
        x = super().forward(x)
        self.mean = float(x.mean())
        return x


class Reader(nn.Module):
    """A block that reads the stem it was given."""

    def __init__(self, stem=None):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.kept = [stem]

    def forward(self, x):
        return self.proj(x) * self.kept[0].mean


class Holder(nn.Module):
    """A block that reads its attribute `stem`."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.stem = None

    def forward(self, x):
        return self.proj(x) * self.stem.mean


class RevIN(nn.Module):
    """Normalizes, and denormalizes by what it kept."""

    def __init__(self):
        super().__init__()
        self.mean = None

    def forward(self, x):
        return self.normalize(x)

    def normalize(self, x):
        self.mean = x.mean(1, keepdim=True).detach()
        return x - self.mean

    def denormalize(self, x):
        return x + self.mean


def make_reader(stem):
    return Reader(stem)


class BlockGivenStem(Parts):
    """A block has the stem from its argument."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Reader(self.patch_embed), Reader(self.patch_embed)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BlockGivenStemByKeyword(Parts):
    """A block has the stem from a keyword."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Reader(stem=self.patch_embed)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BlockGivenLocal(Parts):
    """The stem has a local name where the block gets it."""

    def __init__(self):
        super().__init__()
        stem = Stem()
        self.blocks = nn.ModuleList([Reader(stem)])
        self.patch_embed = stem

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ListReader(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, x):
        return x * self.parts[0].mean


class BlockGivenList(Parts):
    """A block has the stem in a list."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([ListReader([self.patch_embed])])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class DictReader(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        self.parts = parts

    def forward(self, x):
        return x * self.parts["stem"].mean


class BlockGivenDict(Parts):
    """A block has the stem in a dictionary."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        options = {"stem": self.patch_embed}
        self.blocks = nn.ModuleList([DictReader(**options)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BlockByPartial(Parts):
    """A block has the stem from a partial."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        block = functools.partial(Reader, stem=self.patch_embed)
        self.blocks = nn.ModuleList([block() for _ in range(2)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BlockByFactory(Parts):
    """A factory gives the block the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([make_reader(self.patch_embed)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ModelReader(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.owner = [model]

    def forward(self, x):
        return x * self.owner[0].patch_embed.mean


class BlockGivenModel(Parts):
    """A block has the whole model in a list."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([ModelReader(self)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class MeanStem(Stem):
    def read(self):
        return self.mean


class MethodReader(nn.Module):
    def __init__(self, read):
        super().__init__()
        self.read = read

    def forward(self, x):
        return x * self.read()


class BlockGivenMethod(Parts):
    """A block has a bound method of the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = MeanStem()
        self.blocks = nn.ModuleList([MethodReader(self.patch_embed.read)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class LambdaReader(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale()


class BlockGivenLambda(Parts):
    """A block has a lambda that reads the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([LambdaReader(lambda: self.patch_embed.mean)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class StemSetAfter(Parts):
    """The stem is set on a block after construction."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Holder()])
        self.blocks[0].stem = self.patch_embed

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class StemSetInLoop(Parts):
    """The stem is set on each block in a loop."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Holder(), Holder()])
        for block in self.blocks:
            block.stem = self.patch_embed

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class StemSetAttr(Parts):
    """The stem is put on the block by `setattr`."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Holder()])
        setattr(self.blocks[0], "stem", self.patch_embed)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Bound(Holder):
    def bind(self, stem):
        self.stem = stem
        return self


class StemSetByMethod(Parts):
    """The block is bound to the stem by a method."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Bound().bind(self.patch_embed)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Bare(nn.Module):
    def forward(self, x):
        return x * self.stem.mean


class StemAddModule(Parts):
    """The stem is added to a block with `add_module`."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.blocks = nn.ModuleList([Bare()])
        self.blocks[0].add_module("stem", self.patch_embed)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class SharedList(Parts):
    """Two attributes are one list."""

    def __init__(self):
        super().__init__()
        self.kept = self.seen = []

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.kept.append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.seen[-1]
        return x


class AliasLater(Parts):
    """An attribute is an alias of another."""

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.seen = self.kept

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.kept["mean"] = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.seen["mean"]
        return x


class Writer(nn.Conv2d):
    def __init__(self, kept):
        super().__init__(3, 8, 4, 4)
        self.kept = kept

    def forward(self, x):
        x = super().forward(x)
        self.kept.append(float(x.mean()))
        return x


class Scaled(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, x):
        return x * self.kept[-1]


class SharedListWithStem(Parts):
    """The stem and a block are given one list."""

    def __init__(self):
        super().__init__()
        kept = []
        self.patch_embed = Writer(kept)
        self.blocks = nn.ModuleList([Scaled(kept)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class StemAlias(Parts):
    """The stem has a second name that the stages read."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.first = self.patch_embed

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.first.mean
        return x


class Denormalized(Parts):
    """The stages call another method of a module of the embedding."""

    def __init__(self):
        super().__init__()
        self.revin = RevIN()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.revin(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.revin.denormalize(x)
        return x


class ModeIN(nn.Module):
    def forward(self, x, mode):
        if mode == "norm":
            self.mean = x.mean(1, keepdim=True).detach()
            return x - self.mean
        return x + self.mean


class DenormalizedByMode(Parts):
    """One forward normalizes or denormalizes by an argument."""

    def __init__(self):
        super().__init__()
        self.revin = ModeIN()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.revin(x, "norm")
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.revin(x, "denorm")
        return x


class StemInSequential(Parts):
    """The stem is in a Sequential and read by index."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Sequential(Stem(), nn.Identity())

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed[0].mean
        return x


class StemInModuleList(Parts):
    """The stem is in a list and read by index."""

    def __init__(self):
        super().__init__()
        self.stems = nn.ModuleList([Stem()])

    def forward_features(self, x):
        x = self.stems[0](x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stems[-1].mean
        return x


class StemInModuleDict(Parts):
    """The stem is in a dictionary and read by name."""

    def __init__(self):
        super().__init__()
        self.stems = nn.ModuleDict({"rgb": Stem()})

    def forward_features(self, x):
        x = self.stems["rgb"](x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stems["rgb"].mean
        return x


class StemSliced(Parts):
    """Stem and blocks are slices of one Sequential, and the stages read the first."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Stem(), nn.Flatten(2), nn.Linear(4, 4))

    def forward_features(self, x):
        x = self.layers[:1](x)
        x = x.flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.layers[2:](x.transpose(1, 2)) * self.layers[0].mean
        return x


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Stem()

    def forward(self, x):
        return self.inner(x)


class NestedStem(Parts):
    """The stem of the stem remembers."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Outer()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.inner.mean
        return x


class Child(nn.Conv2d):
    def __init__(self, parent):
        super().__init__(3, 8, 4, 4)
        self.parent = [parent]

    def forward(self, x):
        x = super().forward(x)
        self.parent[0].scale = float(x.mean())
        return x


class NestedStemByParent(Parts):
    """The stem of the stem writes on its parent."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0
        self.patch_embed = Child(self)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Heir(Stem):
    pass


class InheritedStem(Parts):
    """The stem inherits the forward that remembers."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Heir()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.mean
        return x


class Template(nn.Conv2d):
    def forward(self, x):
        return self.after(super().forward(x))

    def after(self, x):
        return x


class Remembering(Template):
    def after(self, x):
        self.mean = float(x.mean())
        return x


class HookedForward(Parts):
    """A subclass overrides the step that its base calls."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Remembering(3, 8, 4, 4)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.mean
        return x


class StaticStem(nn.Conv2d):
    mean = 0.0

    @staticmethod
    def keep(value):
        StaticStem.mean = value

    def forward(self, x):
        x = super().forward(x)
        self.keep(float(x.mean()))
        return x


class StaticState(Parts):
    """A static method writes on the class of the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = StaticStem(3, 8, 4, 4)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.mean
        return x


class ClassMethodState(Parts):
    """A class method writes on the class."""

    scale = 1.0

    @classmethod
    def keep(cls, value):
        cls.scale = value

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.keep(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class BufferStem(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 4, 4)
        self.register_buffer("stat", torch.ones(1))

    def forward(self, x):
        x = super().forward(x)
        self.stat.fill_(float(x.mean()))
        return x


class ByStateDict(Parts):
    """The stages read the buffer of the stem through `state_dict`."""

    def __init__(self):
        super().__init__()
        self.patch_embed = BufferStem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.state_dict()["patch_embed.stat"]
        return x


class ByNamedBuffers(Parts):
    """The stages read buffers by name."""

    def __init__(self):
        super().__init__()
        self.patch_embed = BufferStem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        for _, buffer in self.named_buffers():
            x = x * buffer
        return x


class ByBuffers(Parts):
    """The stages read all buffers."""

    def __init__(self):
        super().__init__()
        self.patch_embed = BufferStem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * sum(self.buffers())
        return x


class ByGetBuffer(Parts):
    """The stages ask for a buffer by its path."""

    def __init__(self):
        super().__init__()
        self.patch_embed = BufferStem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.get_buffer("patch_embed.stat")
        return x


class ByModules(Parts):
    """The stages go through all modules."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        for module in self.modules():
            if hasattr(module, "mean"):
                x = x * module.mean
        return x


class ByChildren(Parts):
    """The stages take the first child."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * next(self.children()).mean
        return x


class ByGetSubmodule(Parts):
    """The stages ask for a submodule by its path."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.get_submodule("patch_embed").mean
        return x


class ByComputedName(Parts):
    """The stages read a name that is computed."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        for name in ["patch_" + "embed"]:
            x = x * getattr(self, name).mean
        return x


class ByVars(Parts):
    """The stages read the modules in `vars`."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * vars(self)["_modules"]["patch_embed"].mean
        return x


def scale_of(model):
    return model.patch_embed.mean


class ByGlobalOfModel(Parts):
    """The stages read the model through a helper function."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale_of(self)
        return x


@dataclasses.dataclass
class Config:
    scale: float = 1.0


class ConfigDataclass(Parts):
    """A dataclass on the model is mutated."""

    def __init__(self):
        super().__init__()
        self.config = Config()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.config.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.config.scale
        return x


class ConfigNamespace(Parts):
    """A namespace on the model is mutated through an alias."""

    def __init__(self):
        super().__init__()
        self.config = types.SimpleNamespace(scale=1.0)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        config = self.config
        config.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.config.scale
        return x


class ConfigDict(Parts):
    """A dictionary on the model is updated."""

    def __init__(self):
        super().__init__()
        self.config = {"scale": 1.0}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.config.update(scale=float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.config["scale"]
        return x


class ConfigSetDefault(Parts):
    """`setdefault` writes where one reads."""

    def __init__(self):
        super().__init__()
        self.config = {}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * self.config.setdefault("scale", float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.config["scale"]
        return x


class TupleOfList(Parts):
    """A tuple holds a list."""

    def __init__(self):
        super().__init__()
        self.pair = (1.0, [])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.pair[1].append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.pair[1][-1]
        return x


class HelperDefault(Parts):
    """A mutable default of a helper method carries the value."""

    def remember(self, value=None, kept=[]):
        if value is not None:
            kept.append(value)
        return kept[-1]

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.remember(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.remember()
        return x


class HelperList(Parts):
    """A helper returns the list that it keeps."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def all_kept(self):
        return self.kept

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.all_kept().append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.all_kept()[-1]
        return x


class HelperReturnsStem(Parts):
    """A helper returns the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    def first(self):
        return self.patch_embed

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.first().mean
        return x


class PropertyReturnsStem(Parts):
    """A property returns the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()

    @property
    def first(self):
        return self.patch_embed

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.first.mean
        return x


class TokensAreBuffer(Parts):
    """The tokens are a buffer that the next embedding overwrites."""

    def __init__(self):
        super().__init__()
        self.register_buffer("buf", torch.zeros(2, 4, 8))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        with torch.no_grad():
            self.buf.resize_(x.shape).copy_(x)
        x = self.buf
        for block in self.blocks:
            x = block(x)
        return x


class TokensAreView(Parts):
    """The tokens are a view of a buffer that the next embedding overwrites."""

    def __init__(self):
        super().__init__()
        self.register_buffer("buf", torch.zeros(8, 4, 8))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        with torch.no_grad():
            self.buf[: x.shape[0]].copy_(x)
        x = self.buf[: x.shape[0]]
        for block in self.blocks:
            x = block(x)
        return x


class Reusing(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 4, 4)
        self.register_buffer("out", torch.zeros(8, 8, 2, 2))

    def forward(self, x):
        y = self.out[: x.shape[0]]
        with torch.no_grad():
            y.copy_(super().forward(x))
        return y


class StemReturnsBuffer(Parts):
    """The stem returns a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Reusing()
        self.pos_drop = nn.Identity()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.pos_drop(x)
        for block in self.blocks:
            x = block(x)
        return x


class SideIsBuffer(Parts):
    """What is carried beside the tokens is a buffer that is overwritten."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat.fill_(float(x.mean()))
        stat = self.stat
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * stat
        return x


class CachedBySize(Parts):
    """A table of the size of the tokens is kept at the embedding and read in the stages."""

    def __init__(self):
        super().__init__()
        self.cache = None

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if self.cache is None or self.cache.shape[1] != x.shape[1]:
            self.cache = torch.linspace(0, 1, x.shape[1]).view(1, -1, 1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.cache
        return x


class CachedBySizeDict(Parts):
    """Tables by size in a dictionary."""

    def __init__(self):
        super().__init__()
        self.cache = {}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if x.shape[1] not in self.cache:
            self.cache[x.shape[1]] = torch.linspace(0, 1, x.shape[1]).view(1, -1, 1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.cache[x.shape[1]]
        return x


class CachedByBatch(Parts):
    """A table that depends on the batch is kept at the embedding."""

    def __init__(self):
        super().__init__()
        self.cache = None

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if self.cache is None or self.cache.shape[0] != x.shape[0]:
            self.cache = x.detach().mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.cache
        return x


class RopeBlock(nn.Module):
    def __init__(self, owner):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.owner = [owner]

    def forward(self, x):
        return self.proj(x) * self.owner[0].table


class RopeTable(Parts):
    """Positions are stored at the embedding and read by the blocks."""

    def __init__(self):
        super().__init__()
        self.table = None
        self.blocks = nn.ModuleList([RopeBlock(self)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.table = torch.sin(torch.arange(4.0)).view(1, 4, 1) * float(x.std())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Rope(nn.Module):
    def set(self, x):
        self.table = x.detach().std(1, keepdim=True)

    def forward(self, x):
        return x * self.table


class RopeModule(Parts):
    """A rope module is set at the embedding and applied in the stages."""

    def __init__(self):
        super().__init__()
        self.rope = Rope()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.rope.set(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.rope(x)
        return x


class TokensBoundLater(Parts):
    """A list of outputs is kept and its first one is read."""

    def __init__(self):
        super().__init__()
        self.outputs = []

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.outputs = [x.detach()]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x + self.outputs[0].mean()
        return x
