"""More effects before the boundary."""

import contextlib
import functools
import random
from collections import deque

import torch
from torch import nn

SEEN = []
TABLE = {}
QUEUE = deque(maxlen=1)
LEVEL = 1.0


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class TrainWas(Parts):
    """The prefix turns training off and the stages read it."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.train(False)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = nn.functional.dropout(x, 0.5, self.training)
        return x


class EvalSubmodule(Parts):
    """The prefix sets the mode of a block."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.drop.eval()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.drop(x)
        return x


class TrainRestored(Parts):
    """The mode is turned off for the stem and turned on again after."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        was = self.training
        self.eval()
        x = nn.functional.dropout(x, 0.5, self.training)
        self.train(was)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = nn.functional.dropout(x, 0.5, self.training)
        return x


class ApplyEffect(Parts):
    """`apply` writes on every module."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.apply(lambda m: setattr(m, "scale", float(x.mean())))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class RequiresGrad(Parts):
    """The prefix freezes a block."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.blocks[0].requires_grad_(False)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ComputedSetAttr(Parts):
    """The name that is set is computed."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        name = "sc" + "ale"
        setattr(self, name, float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class VarsSet(Parts):
    """The prefix writes through `vars`."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        vars(self)["scale"] = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class BuffersSet(Parts):
    """The prefix writes through `_buffers`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self._buffers["stat"] = x.detach().mean()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class ModulesSet(Parts):
    """The prefix replaces a module through `_modules`."""

    def __init__(self):
        super().__init__()
        self.act = nn.Identity()
        self.other = nn.ReLU()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self._modules["act"] = self.other
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.act(x)
        return x


class ParametersSet(Parts):
    """The prefix replaces a parameter through `_parameters`."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self._parameters["scale"] = nn.Parameter(x.detach()[0, 0].clone())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class RegistersBuffer(Parts):
    """The prefix registers the buffer that the stages read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.register_buffer("stat", x.detach().mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class AddsModule(Parts):
    """The prefix adds the module that the stages call."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.add_module("act", nn.ReLU() if x.mean() > 0 else nn.Tanh())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.act(x)
        return x


class HookInPrefix(Parts):
    """The prefix hooks a block."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        handle = self.blocks[0].register_forward_hook(lambda m, i, o: o * 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        handle.remove()
        return x


class HookLeft(Parts):
    """The prefix hooks a block and leaves the hook there."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if x.mean() > 0 and not self.blocks[0]._forward_hooks:
            self.blocks[0].register_forward_hook(lambda m, i, o: o * 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class HookState(Parts):
    """A hook on the stem, made in the constructor, stores what the stages read."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0
        self.patch_embed.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.scale = float(output.mean())

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class HookLambda(Parts):
    """A hook in a lambda stores what the stages read."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0
        self.patch_embed.register_forward_hook(lambda m, i, o: setattr(self, "scale", float(o.mean())))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class PreHookState(Parts):
    """A hook before the stem stores what the stages read."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.patch_embed.register_forward_pre_hook(lambda m, i: self.kept.append(float(i[0].mean())))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.kept[-1]
        return x


class Counting:
    def __get__(self, owner, kind=None):
        owner.scale = owner.scale + 1.0
        return 1.0


class Descriptor(Parts):
    """A descriptor that is read in the prefix writes."""

    one = Counting()

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * self.one
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class PropertySetter(Parts):
    """A property that is set in the prefix stores elsewhere."""

    def __init__(self):
        super().__init__()
        self.kept = 1.0

    @property
    def level(self):
        return self.kept

    @level.setter
    def level(self, value):
        self.kept = value

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.level = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.kept
        return x


class GetAttrEffect(Parts):
    """`__getattr__` writes when a name is missing."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def __getattr__(self, name):
        if name == "missing":
            self.__dict__["scale"] = self.__dict__["scale"] + 1.0
            return 1.0
        return super().__getattr__(name)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * self.missing
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class SetAttrOverridden(Parts):
    """`__setattr__` writes a second name."""

    def __init__(self):
        super().__init__()
        self.level = 1.0

    def __setattr__(self, name, value):
        if name == "level":
            self.__dict__["scale"] = value
        super().__setattr__(name, value)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.level = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Caller(nn.Conv2d):
    def __call__(self, x):
        x = super().__call__(x)
        self.scale = float(x.mean())
        return x


class CallOverridden(Parts):
    """The stem stores in its own `__call__`."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Caller(3, 8, 4, 4)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.scale
        return x


class ClassCounter(Parts):
    """A value is put on the class by name."""

    count = 0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        ClassCounter.count = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * ClassCounter.count
        return x


class InstanceClassCounter(Parts):
    """A value is put on the class through `self.__class__`."""

    count = 0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.__class__.count = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.count
        return x


def keep(x):
    keep.scale = float(x.mean())
    return x


class FunctionAttribute(Parts):
    """A function keeps a value on itself."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = keep(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * keep.scale
        return x


def make_pair():
    scale = 1.0

    def put(x):
        nonlocal scale
        scale = float(x.mean())
        return x

    def get():
        return scale

    return put, get


class Closure(Parts):
    """Two closures share a variable."""

    def __init__(self):
        super().__init__()
        self.put, self.get = make_pair()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.put(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.get()
        return x


def push(kept, x):
    kept.append(float(x.mean()))
    return x


class Partial(Parts):
    """A partial holds the list that it appends to."""

    def __init__(self):
        super().__init__()
        self.kept = [1.0]
        self.push = functools.partial(push, self.kept)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.push(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.kept[-1]
        return x


def set_level(x):
    global LEVEL
    LEVEL = float(x.mean())


class GlobalStatement(Parts):
    """A helper function writes a global."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        set_level(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * LEVEL
        return x


class GlobalInMethod(Parts):
    """The method itself writes a global."""

    def forward_features(self, x):
        global LEVEL
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        LEVEL = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * LEVEL
        return x


class GlobalList(Parts):
    """A list of the module carries a value."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        SEEN.append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * SEEN[-1]
        return x


class GlobalDict(Parts):
    """A dictionary of the module carries a value."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        TABLE["scale"] = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * TABLE["scale"]
        return x


class GlobalDeque(Parts):
    """A deque of the module carries a value through an alias."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        queue = QUEUE
        queue.append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * QUEUE[-1]
        return x


@functools.lru_cache
def table(size):
    return [1.0] * size


class CachedMutated(Parts):
    """The result of a cached function is mutated."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        table(4)[0] = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * table(4)[0]
        return x


@functools.cache
def scales(size):
    return torch.ones(size)


class CachedTensor(Parts):
    """A tensor out of a cache is filled in place."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        scales(8).fill_(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scales(8)
        return x


@contextlib.contextmanager
def measured(model, x):
    yield
    model.scale = float(x.mean())


class ContextEffect(Parts):
    """A context manager writes when it is left."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        with measured(self, x):
            x = x * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class WalrusKept(Parts):
    """A walrus names what the stages read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if (mean := x.mean((1, 2), keepdim=True)).shape[-1] == 1:
            x = x * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * mean
        return x


class DelAttribute(Parts):
    """The prefix deletes what shadows a class attribute."""

    scale = 2.0

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if "scale" in self.__dict__:
            del self.scale
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class TupleTarget(Parts):
    """An attribute is one of two targets."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.scale, y = float(x.mean()), x
        x = y
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class StarTarget(Parts):
    """An attribute is a starred target."""

    def __init__(self):
        super().__init__()
        self.rest = [1.0]

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x, *self.rest = x, float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.rest[0]
        return x


class ForTarget(Parts):
    """An attribute is the target of a loop."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        for self.scale in (float(x.min()), float(x.max())):
            x = x * 1.5
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class WithTarget(Parts):
    """An attribute is the target of a `with`."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        with contextlib.nullcontext(float(x.mean())) as self.scale:
            x = x * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Augmented(Parts):
    """A buffer is augmented."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat += x.detach().mean()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class ItemSet(Parts):
    """An element of a buffer is set."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat[0] = x.detach().mean()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class ViewCopy(Parts):
    """A buffer is written through a view."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat.view(-1).copy_(x.detach().mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class ViewAlias(Parts):
    """A buffer is written through a view with a name."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        row = self.stat[0:1]
        row.fill_(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class OutKept(Parts):
    """A buffer is written by `out=`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        torch.add(x.detach().mean(), torch.ones(1), out=self.stat)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class InitConstant(Parts):
    """A buffer is written by `nn.init`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        nn.init.constant_(self.stat, float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class DataSet(Parts):
    """A buffer is written by `.data`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat.data = x.detach().mean(dim=(0, 1))[:1]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class ParameterData(Parts):
    """A weight of a block is written by `.data`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.blocks[0].bias.data.fill_(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class NextAlias(Parts):
    """An iterator advances through an alias."""

    def __init__(self):
        super().__init__()
        self.counter = iter(range(1, 1000))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        it = self.counter
        x = x * next(it)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * next(self.counter)
        return x


class Unpacked(Parts):
    """An iterator is advanced by a loop over `zip`."""

    def __init__(self):
        super().__init__()
        self.counter = iter(range(1, 1000))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        for _, n in zip(range(2), self.counter):
            x = x * n
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * next(self.counter)
        return x


class RandomSeed(Parts):
    """The prefix seeds what the stages draw with `random`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        random.seed(x.shape[1])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * random.random()
        return x


class GlobalGradMode(Parts):
    """The prefix turns gradients off for the rest."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        grad = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        torch.set_grad_enabled(grad)
        x = x * self.pos_embed
        return x


class DefaultDtype(Parts):
    """The prefix sets the default dtype that the stages read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        torch.set_default_dtype(torch.float64)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        scale = torch.rand(8)
        torch.set_default_dtype(torch.float32)
        x = x * scale
        return x


class ObjectDelAttr(Parts):
    """The prefix writes by an unbound method of a dictionary."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        dict.update(self.__dict__, scale=float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class ForwardReplaced(Parts):
    """The prefix replaces the forward of a block."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.blocks[0].forward = lambda y: y * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class InPlaceTokensKept(Parts):
    """What was kept is an alias of tokens that are changed in place after."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.kept = x
        x *= 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x + self.kept.mean().detach()
        return x
