"""Names and syntax that are seldom seen in models."""

import abc
import dataclasses
import functools
import typing
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import nn

T = TypeVar("T")
Optional = 3
_private_scale = 2.0
embed = 1.5
forward_stages = 2.5
Embedding = 0.5

if torch.__version__ >= "1":

    def conditional(x):
        return x * 2

else:

    def conditional(x):
        return x


try:
    from missing_package import scale_by
except ImportError:

    def scale_by(x, n):
        return x * n


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class _Private(Parts):
    """The name of the class is private."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * _private_scale
        return x


class Mangled(Parts):
    """Names that are mangled."""

    __scale = 2.0

    def __half(self, x):
        return x / 2

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.__half(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.__half(x) * self.__scale
        return x


class MangledWritten(Parts):
    """A mangled name carries a value."""

    def __init__(self):
        super().__init__()
        self.__scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.__scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.__scale
        return x


class SlotMixin:
    __slots__ = ()

    def twice(self, x):
        return x * 2


class Slots(SlotMixin, Parts):
    """A mixin with slots."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.twice(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.twice(x)
        return x


class GenericModel(Parts, Generic[T]):
    """A model with a type parameter."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = typing.cast(torch.Tensor, x)
        return x


class NestedStem(Parts):
    """The stem is a nested class."""

    class Stem(nn.Conv2d):
        def __init__(self):
            super().__init__(3, 8, 4, 4)

        def forward(self, x):
            x = super().forward(x)
            self.mean = float(x.mean())
            return x

    def __init__(self):
        super().__init__()
        self.patch_embed = self.Stem()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.mean
        return x


class NestedBlock(Parts):
    """The blocks are of a nested class."""

    class Block(nn.Linear):
        pass

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.Block(8, 8) for _ in range(2)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Overloaded(Parts):
    """A helper with overloads."""

    @typing.overload
    def scaled(self, x: torch.Tensor) -> torch.Tensor: ...

    @typing.overload
    def scaled(self, x: float) -> float: ...

    def scaled(self, x):
        return x * 2

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.scaled(x)
        return x


class DefinedTwice(Parts):
    """A helper is defined twice and the second counts."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def scaled(self, x):
        return x

    def scaled(self, x):  # noqa: F811
        self.scale = float(x.mean())
        return x

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class ConditionalMethod(Parts):
    """A method that is defined under a condition."""

    if torch.__version__ >= "1":

        def scaled(self, x):
            self.scale = float(x.mean())
            return x

    else:

        def scaled(self, x):
            return x

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class ConditionalFunction(Parts):
    """Functions that are defined under a condition or an import."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = conditional(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = scale_by(conditional(x), 3)
        return x


class OptionalIsThree(Parts):
    """`Optional` is a number."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * Optional
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / Optional
        return x


class TakenNames(Parts):
    """Names of the split are globals of the source."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * embed * Embedding
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * forward_stages * embed * Embedding
        return x


class TakenLocals(Parts):
    """Locals have the names that a split uses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        embed = x * 2
        embedding = embed + 1
        tokens = embedding - 1
        x = tokens / 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x + embedding.mean((1, 2), keepdim=True) + embed.mean((1, 2), keepdim=True)
        return x


class TorchShadowed(Parts):
    """`torch` is a local of the prefix that the stages read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        torch = x.shape[1]
        x = x * torch
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / torch
        return x


class NamedTupleUsed(Parts):
    """`NamedTuple` is a local that crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        NamedTuple = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * NamedTuple
        return x


class FieldNames(Parts):
    """Locals that cross have the names of methods of a named tuple."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        count = x.mean((1, 2), keepdim=True)
        index = x.std((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * count + index
        return x


class PrivateLocals(Parts):
    """Locals that cross begin with an underscore."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        _mean = x.mean((1, 2), keepdim=True)
        __std = x.std((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * _mean + __std
        return x


class UnicodeNames(Parts):
    """Names in Greek, one of them normalized by Python."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        μ = x.mean((1, 2), keepdim=True)
        σ = x.std((1, 2), keepdim=True)
        ﬁ = 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = (x - μ) / (σ + 1) * fi
        return x


class StringAnnotations(Parts):
    """Annotations are strings."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean: "torch.Tensor" = x.mean((1, 2), keepdim=True)
        other: "list[int]"
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * mean
        return x


class NoGradMethod(Parts):
    """A helper is decorated with `no_grad`."""

    @torch.no_grad()
    def level(self, x):
        return x.mean((1, 2), keepdim=True)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        level = self.level(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * level
        return x


class NoGradStem(Parts):
    """A helper of the embedding has its gradients off."""

    @torch.no_grad()
    def tokens(self, x):
        return self.patch_embed(x).flatten(2).transpose(1, 2)

    def forward_features(self, x):
        x = self.tokens(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


def remembering(method):
    @functools.wraps(method)
    def wrapper(self, x):
        self.scale = float(x.mean())
        return method(self, x)

    return wrapper


class Wrapped(Parts):
    """A decorator of a helper writes."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    @remembering
    def tokens(self, x):
        return x * 2

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.tokens(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Base(Parts, abc.ABC):
    @abc.abstractmethod
    def scaled(self, x): ...

    def finish(self, x):
        return self.scaled(x)


class Abstract(Base):
    """A base class is abstract."""

    def scaled(self, x):
        return x * 2

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.finish(x)
        return x


class AbstractState(Base):
    """The abstract method is where the state is."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def scaled(self, x):
        self.scale = float(x.mean())
        return x

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.finish(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Left(Parts):
    def scaled(self, x):
        return x * 2


class Right(Parts):
    def scaled(self, x):
        self.scale = float(x.mean())
        return x


class Middle(Left):
    def scaled(self, x):
        return super().scaled(x)


class SuperChain(Middle):
    """`super()` calls go sideways."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = super().scaled(x)
        return x


class First(Parts):
    def scaled(self, x):
        return super().scaled(x) * 2


class SuperSideways(First, Right):
    """`super()` in the first base calls the second."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.scaled(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


@dataclasses.dataclass(frozen=True)
class Level:
    mean: torch.Tensor
    power: int = dataclasses.field(default=1)


class DataclassLocal(Parts):
    """A dataclass crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        level = Level(x.mean((1, 2), keepdim=True))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * level.mean**level.power
        return x


class Pair(NamedTuple):
    a: torch.Tensor
    b: int = 2


class NamedTupleLocal(Parts):
    """A named tuple crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        pair = Pair(x.mean((1, 2), keepdim=True))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * pair.a * pair.b
        return x


class Matches(Parts):
    """A match names what crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        match x.shape:
            case [_, n, dim]:
                x = x * n
            case _:
                dim = 1
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / dim
        return x


class MatchTarget(Parts):
    """A match on a class writes nothing but names."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        match {"scale": x.mean((1, 2), keepdim=True)}:
            case {"scale": torch.Tensor() as scale, **rest}:
                pass
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale + len(rest)
        return x


class TryFinally(Parts):
    """A `finally` writes."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        try:
            x = x * 2
        except ValueError as error:
            raise RuntimeError from error
        finally:
            self.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class TryElse(Parts):
    """A `try` with an `else` names what crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        try:
            mean = x.mean((1, 2), keepdim=True)
        except RuntimeError:
            mean = 1.0
        else:
            mean = mean * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * mean
        return x


class TryAcross(Parts):
    """A `try` holds both sides."""

    def forward_features(self, x):
        try:
            x = self.patch_embed(x).flatten(2).transpose(1, 2)
            x = x + self.pos_embed
            for block in self.blocks:
                x = block(x)
        finally:
            self.done = True
        return x


class StarUnpacked(Parts):
    """A star names what crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        b, *sizes = x.shape
        first, *_ = sizes
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / first + len(sizes)
        return x


class Comprehension(Parts):
    """The name of a comprehension is not the local that crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        y = x.mean((1, 2), keepdim=True)
        sizes = [y for y in range(3)]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * y + sizes[-1] + sum(x for x in sizes)
        return x


class ComprehensionWalrus(Parts):
    """A walrus in a comprehension names a local."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        sizes = [(last := n) for n in x.shape]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / last / len(sizes)
        return x


class ClassCell(Parts):
    """`__class__` is read."""

    scale = 2.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * __class__.scale
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * __class__.scale
        return x


class TypeName(Parts):
    """The name of the class is read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * len(type(self).__name__)
        return x


class DelLocal(Parts):
    """A local is deleted before and bound again after."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean = x.mean((1, 2), keepdim=True)
        x = x * mean
        del mean
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        mean = x.mean((1, 2), keepdim=True)
        x = x * mean
        return x


class DelAfter(Parts):
    """The stages delete what crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * mean
        del mean
        return x


class LocalFunction(Parts):
    """A local function closes over a name that is bound again after."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        scale = 1.0

        def scaled(y):
            return y * scale

        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        scale = 3.0
        x = scaled(x)
        return x


class LocalClass(Parts):
    """A local class crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)

        class Level:
            mean = float(x.mean())

        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * Level.mean
        return x


class LocalImport(Parts):
    """An import of the prefix is used in the stages."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        import math

        from torch.nn import functional as F

        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = F.gelu(x) * math.pi
        return x


class LateClosure(Parts):
    """A lambda of the prefix reads `x` late."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        late = lambda: x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * late()
        return x


class LambdaDefault(Parts):
    """A lambda of the prefix has its default at once."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        soon = lambda y=x: y.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * soon()
        return x


class StringKeys(Parts):
    """`locals()` is read after."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * locals()["mean"]
        return x


class Evaluated(Parts):
    """`eval` reads a local."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * eval("mean")
        return x


class ConditionalName(Parts):
    """A name is bound on one branch only."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if x.shape[1] == 4:
            mean = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        if x.shape[1] == 4:
            x = x * mean
        return x


class OtherSelf(Parts):
    """`self` has another name."""

    def forward_features(this, x):
        x = this.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + this.pos_embed
        for block in this.blocks:
            x = block(x)
        return x


class SelfUnderscore(Parts):
    """A parameter is called `self_`."""

    def forward_features(self, x, self_=2.0):
        x = x * self_
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self_
        return x


class TorchParameter(Parts):
    """A parameter is called `torch`."""

    def forward_features(self, x, torch=2.0):
        x = x * torch
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * torch
        return x


class NamedTupleParameter(Parts):
    """A parameter is called `NamedTuple`."""

    def forward_features(self, x, NamedTuple=2.0):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * NamedTuple
        return x


class EmbeddingParameter(Parts):
    """The images are called `embedding`."""

    def forward_features(self, embedding):
        x = embedding
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class KeywordOnly(Parts):
    """A parameter is keyword only."""

    def forward_features(self, x, *, scale=2.0):
        x = x * scale
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale
        return x


class PositionalOnly(Parts):
    """Parameters are positional only."""

    def forward_features(self, x, /, scale=2.0):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale
        return x


class NoneDefault(Parts):
    """A default is None."""

    def forward_features(self, x, mask=None):
        if mask is not None:
            x = x * mask
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        if mask is not None:
            x = x * mask
        return x


class StarArgs(Parts):
    """Further arguments are passed on."""

    def forward_features(self, x, *args, **kwargs):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x + len(args) + len(kwargs)
        return x


class LambdaParameter(Parts):
    """A default is a lambda."""

    def forward_features(self, x, scale=lambda y: y * 2):
        x = scale(x)
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = scale(x)
        return x


class ConstantParameter(Parts):
    """A default is a constant of the module."""

    def forward_features(self, x, scale=_private_scale):
        x = x * scale
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale
        return x
