"""Every construct of the language, in each question that the interpreter answers: right or unknown, never wrong.

A row is the statements of a method. They are run on real tensors, in several settings, and what is claimed of any name
is held against what it then holds: its type, whether its rows are those of the images, in which order its tokens lie.
No row says what is right. ``known`` names the questions that have to be answered all the same, since timm's code needs
them: the type of every name, the batch and the order of ``x``.
"""

import functools

import pytest
from truth import Program, claims_of, observed, wrong_batch, wrong_order, wrong_types

TABLE: dict[Program, str] = {}


def row(body: str, known: str = "", *, init: str = "", methods: str = "", module: str = "") -> None:
    program = Program(body, init, methods, module)
    TABLE[program] = " ".join({*TABLE.get(program, "").split(), *known.split()})


every = functools.partial(row, known="types batch order")

# What needs no construct
every("x = self.patch_embed(x)")
every("x = self.conv(x)")
every("x = self.conv(x).flatten(2).transpose(1, 2)")
every("x = self.last(self.conv(x))")
every("x = self.drop(self.norm(self.patch_embed(x)) + self.pos_embed)")
every("x = self.row(x)")
every("x = self.stems[0](x)")
every("x = self.helper(x)")
every("x = to_tokens(self.conv(x))")
every("pass")

# Assignment
every("y = x = self.patch_embed(x)")
every("x = y = self.patch_embed(x)")
every("x: torch.Tensor = self.patch_embed(x)")
every("n, x = x.shape[0], self.patch_embed(x)")
every("(n, (x, m)), k = (1, (self.patch_embed(x), 2.5)), x.shape[1]")
row("[n, x] = [1, self.patch_embed(x)]", known="batch order")
every("B, C, H, W = x.shape")
every("x, n = self.pair(self.patch_embed(x))")
every("x, (H, W) = self.measured(self.conv(x))")
row("B, _, H, W = x.shape\nx = self.patch_embed(x)\nx = x.reshape(B, H // 2, W // 2, -1)", known="types batch")
row("y = x = x.flatten(0, 1)")
row("x = y = x.flatten(0, 1)")
row("x: torch.Tensor = x.flatten(0, 1)")
row("x: torch.Tensor = self.last(self.conv(x))")
row("y: int = 3\ny = x")
row("y: int\nif flag:\n    y = 3\nelse:\n    y = x")
row("y: Optional[torch.Tensor] = None\nif flag:\n    y = x")
row("y: torch.Tensor = x\ny = 2")
row("n = m = 1\nm = 2.5")
row("x, y = x.flatten(0, 1), x")
row("y = x\nx, y = y.flatten(0, 1), x\nx, y = y, x")
row("n, m = 1, 2.5\nn, m = m, n")
row("n, n = 1, 2.5")
row("x, x = x, x.flatten(0, 1)")
row("n = 1\nn, m = 2.5, n")
row("*rest, n = x.shape")
row("b, *rest = x.shape")
row("b, *rest = x, 1, 2.5")
row("*rest, b = 1, 2, x")
row("x, *_ = [x.flatten(0, 1), x]")
row("a, *x, b = 1, x, 2, 3")
row("*x, = x,")
row("(a, *b), *c = (1, 2.5), 'a'")
row("a, b = 'ab'")
row("a, b = {'a': 1, 'b': 2}")
row("a, b = {1: 'a', 2: 'b'}.items()")
row("a, b = x.reshape(2, -1)")
row("a, b = range(2)")
row("a, b = map(float, (1, 2))")
row("x = x, x")
row("x = (x)")
row("x = x,")
row("x = [x.flatten(0, 1), x][1]")
row("x = (x.flatten(0, 1), x)[-2]")
row("x = {'a': x.flatten(0, 1), 'b': x}['a']")
row("y = (1, 2.5)[flag]")
row("y = [1, 2.5][count - 4]")
row("y = (1, 2.5, 'a')[1:]")
row("y = (1, 2.5, 'a')[::-1]")
row("y = (1, 2.5, 'a')[-1]")
row("y = 'abc'[1]")
row("y = 'abc'[1:]")
row("y = b'abc'[1]")
row("y = ...")
row("y = 1j")
row("y = b'a'")
row("y = f'{x.ndim}'")
row("y = 'a' 'b'")
row("y = -1")
row("y = {1, 2}")
row("y = {1: 2.5}")
row("y = {**{'a': 1}, 'b': 2.5}")
row("y = {'a': 1, **{'b': 2.5}}")
row("y = [*(1, 2.5)]")
row("y = (*x.shape, 2.5)")
row("y = *x.shape, 2.5")
row("y = []")
row("y = ()")
row("y = {}")
row("y = [1, 2.5]")
row("y = [1, None]")
row("y = [x, 1]")
row("y = [[1], [2.5]]")
row("y = [(1, x), (2, 2.5)]")

# Targets that are no names
row("xs = [x, x]\nxs[0] = 3")
row("xs = [1, 2]\nxs[0] = 2.5")
row("xs = [1, 2]\nxs[0], n = 2.5, 3")
row("xs = [1, 2]\n*xs[0:1], n = 2.5, 3")
row("xs = [1, 2]\nxs[:] = [2.5]")
row("xs = [1, 2]\nfor xs[0] in (2.5,):\n    pass")
row("xs = [1, 2]\nwith nullcontext(2.5) as xs[0]:\n    pass")
row("xs = [1, 2]\nxs[0] += 0.5")
row("xs = [1, 2]\nxs[0] /= 2")
row("xs = [1, 2]\nxs[0]: float = 2.5")
row("xs = [1, 2]\ndel xs[0]")
row("xs = [[1], [2]]\nxs[0][0] = 2.5")
row("xs = [1]\nys = xs\nys[0] = 2.5")
row("xs = [1]\nys = (xs, 1)\nys[0][0] = 2.5")
row("xs = [1]\nys = [xs]\nys[0].append(2.5)")
row("xs = [[1]]\ny = xs[0]\ny.append(2.5)")
row("d = {'a': 1}\nd['b'] = 2.5")
row("d = {'a': x}\nd['a'] = x.flatten(0, 1)\nx = d['a']")
row("xs = [x]\nxs[0] = x.flatten(0, 1)\nx = xs[0]")
row("xs = [x]\nys = xs\nys[0] = x.flatten(0, 1)\nx = xs[0]")
row("xs = [x, x]\nfor y in xs:\n    y.data = y.data.flatten(0, 1)")
row("x.data = x.data.flatten(0, 1)")
row("x.data, n = x.data.flatten(0, 1), 1")
row("x.data: torch.Tensor = x.data.flatten(0, 1)")
row("for x.data in (x.data.flatten(0, 1),):\n    pass")
row("with nullcontext(x.data.flatten(0, 1)) as x.data:\n    pass")
row("y = x\ny.data = x.data.flatten(0, 1)")
row("y = x.detach()\ny.data = x.data.flatten(0, 1)")
row("y = x.flatten(2)\nx.data = x.data.flatten(0, 1)")
row("[x][0].data = x.data.flatten(0, 1)")
row("xs = [x]\nxs[0].data = x.data.flatten(0, 1)")
row("(x if flag else x).data = x.data.flatten(0, 1)")
row("y = x if flag else x + 1\ny.data = x.data.flatten(0, 1)")
row("setattr(x, 'data', x.data.flatten(0, 1))")
row("x.__setattr__('data', x.data.flatten(0, 1))")
row("x[:] = x.flip(0)")
row("x[0] = x[1]")
row("x[:, 0] = 1", known="types batch")
row("y = self.patch_embed(x)\ny[:, 0] = 0")
row("self.x = x\nself.x.data = x.data.flatten(0, 1)")
row("self.x = x\nself.x = x.flatten(0, 1)\nx = self.x")

# Methods and functions that change their tensor
for _call in (
    "x.transpose_(0, 1)",
    "x.transpose_(2, 3)",
    "x.swapaxes_(0, 1)",
    "x.swapdims_(0, 1)",
    "x.unsqueeze_(0)",
    "x.squeeze_(0)",
    "x.set_(x.flatten(0, 1))",
    "x.resize_(2, 3)",
    "x.resize_as_(x[0])",
    "torch.Tensor.transpose_(x, 0, 1)",
    "getattr(x, 'transpose_')(0, 1)",
    "x.transpose_.__call__(0, 1)",
    "torch.squeeze_copy(x, dim=0, out=x)",
    "torch.flatten(x, 0, 1).transpose_(0, 1)",
    "torch.cat((x, x), out=x.new_zeros(0))",
    "fold_(x)",
    "self.folds_(x)",
    "list(map(fold_, [x]))",
    "fold_(*[x])",
    "fold_(**{'x': x})",
    "(lambda t: t.transpose_(0, 1))(x)",
    "partial(fold_, x)()",
    "x.copy_(x.flip(0))",
    "x.index_copy_(0, torch.arange(2), x[2:4].clone())",
    "torch.nn.init.ones_(x)",
):
    row(_call)
    row(f"y = x\n{_call}\nz = y")
    row(f"y = x.view_as(x)\n{_call}")
    row(f"y = x[:]\nfor x in (y,):\n    {_call}")
row("op = x.transpose_\nop(0, 1)")
row("y = x.clone()\ntorch.cat((x, x), out=y)")
row("y = x.clone()\ntorch.cat((x, x), dim=0, out=y)\nz = y")
row("y = x.transpose_(0, 1)")
row("y = x.add_(1)", known="types batch")
row("y = x.squeeze_(0).transpose_(0, 1)")
row("y = F.relu(x, inplace=True)")
row("y = x.unsqueeze(0)\ny.squeeze_(0)")
row("xs = (x, 1)\nxs[0].transpose_(0, 1)")
row("y, n = x, 1\ny.transpose_(0, 1)")
row("def f(t):\n    t.transpose_(0, 1)\nf(x)")
row("def f():\n    x.transpose_(0, 1)\nf()")
row("f = lambda: x.transpose_(0, 1)\nf()")
row("n = [x.transpose_(0, 1) for _ in range(1)]")
row("n = x.transpose_(0, 1).shape")
row("if x.transpose_(0, 1).ndim:\n    pass")
row("assert x.transpose_(0, 1) is not None")
row("x.transpose_(0, 1) if flag else None")
row("flag and x.transpose_(0, 1)")
row("for _ in x.transpose_(0, 1):\n    pass")
row("with nullcontext(x.transpose_(0, 1)):\n    pass")
row("x = self.pick(x, c=x.transpose_(0, 1))")
row("y = x, x.transpose_(0, 1)")
row("y = f'{x.transpose_(0, 1)}'")
row("y = {'a': x.transpose_(0, 1)}")
row("y = x[x.transpose_(0, 1).ndim:]")
row("n = 1\nn = x.transpose_(0, 1).ndim < 3")
row("self.inner(x)", methods="def inner(self, t):\n    u = t\n    u.transpose_(0, 1)")
row("self.inner(x)", methods="def inner(self, t):\n    self.folds_(t)")
row("self.inner(x)", methods="def inner(self, *ts):\n    ts[0].transpose_(0, 1)")
row("self.inner(t=x)", methods="def inner(self, **ts):\n    ts['t'].transpose_(0, 1)")
row(
    "self.inner(x)",
    methods="def inner(self, t):\n    if self.dynamic:\n        return t.transpose_(0, 1)\n    return t",
)
row("self.x = x\nself.inner()", methods="def inner(self):\n    self.x.transpose_(0, 1)")
row("y = self.inner(x)\ny.transpose_(0, 1)", methods="def inner(self, t):\n    return t")
row("y = self.identity(x)\ny.transpose_(0, 1)", init="self.identity = nn.Identity()")
row("y = self.drop(x)\ny.transpose_(0, 1)")
row("y = x.contiguous()\ny.transpose_(0, 1)")
row("y = x.to(x.dtype)\ny.transpose_(0, 1)")
row("y = x.float()\ny.transpose_(0, 1)")
row("y = F.dropout(x, 0., False)\ny.transpose_(0, 1)")
row("y = x.expand(-1, -1, -1, -1)\ny.transpose_(0, 1)")
row("y = torch.utils.checkpoint.checkpoint(lambda t: t, x, use_reentrant=False)\ny.transpose_(0, 1)")
row("y = max([x], key=len)\ny.transpose_(0, 1)")
row("y = plain or x\nif y is x:\n    y.transpose_(0, 1)")
row("y = x if flag else x\ny.transpose_(0, 1)")
row("y = (z := x)\ny.transpose_(0, 1)")
row("for y in (x,):\n    y.transpose_(0, 1)")
row("for y in [x]:\n    pass\ny.transpose_(0, 1)")
row("with nullcontext(x) as y:\n    y.transpose_(0, 1)")
row("match x:\n    case y:\n        y.transpose_(0, 1)")
row("y, = x,\ny.transpose_(0, 1)")
row("y, *_ = [x, x]\ny.transpose_(0, 1)")
row("*_, y = [x, x]\ny.transpose_(0, 1)")
row("_, *y = [x, x]\ny[0].transpose_(0, 1)")
row("y = {'a': x}\ny['a'].transpose_(0, 1)")
row("y = dict(a=x)\ny.get('a').transpose_(0, 1)")
row("y = [[x]]\ny[0][0].transpose_(0, 1)")
row("y = [t for t in (x,)]\ny[0].transpose_(0, 1)")
row("y = [x][::-1]\ny[0].transpose_(0, 1)")
row("y = [x] + [1]\ny[0].transpose_(0, 1)")
row("y = [x] * 2\ny[0].transpose_(0, 1)")
row("y = list((x, x))\ny[0].transpose_(0, 1)")
row("y = [x].pop()\ny.transpose_(0, 1)")
row("y = []\ny.append(x)\ny[0].transpose_(0, 1)")
row("y = []\ny += [x]\ny[0].transpose_(0, 1)")
row("y = [None]\ny[0] = x\ny[0].transpose_(0, 1)")
row("self.kept = x\ny = self.kept\ny.transpose_(0, 1)")
row("class Box:\n    kept = x\nBox.kept.transpose_(0, 1)")
row("box = Box()\nbox.kept = x\nbox.kept.transpose_(0, 1)", module="class Box:\n    pass\n")

for _alias in (
    "max([x], key=len)",
    "[x].pop()",
    "(x, 1)[0]",
    "x[...]",
    "x.view_as(x)",
    "x.identity() if flag else x",
    "self.act.other",
    "{1: x}[1]",
):
    row(f"self.act.other = x\ny = {_alias}\nfold_(y)")
row("for y in [x]:\n    fold_(y)")
row("match x:\n    case y:\n        fold_(y)")
row("y, *_ = [x, x]\nfold_(y)")
row("y, z = x, x\nfold_(z)")
row("f = lambda: x.transpose_(0, 1)\nx = self.act(x)\nf()")
row("def f():\n    x.transpose_(0, 1)\nx = self.act(x)\nf()")
row("x = self.conv(x.mT)")
row("x = self.conv(x.transpose(2, 3))")
row("y = x.permute(0, 2, 3, 1)\nx = F.avg_pool2d(y, 1)")

# Augmented assignment
row("k = x.shape[1]\nk /= 4")
row("k = x.shape[1]\nk //= 2", known="types batch")
row("k = 2\nk **= -1")
row("k = 2\nk **= 2")
row("k = 2\nk **= count - 5")
row("k = 2\nk *= 2.5")
row("k = 2\nk *= x")
row("k = 2\nk += x.sum()")
row("k = True\nk += 1")
row("k = True\nk |= 2")
row("k = True\nk &= False")
row("k = True\nk ^= True")
row("k = 5\nk %= 2.5")
row("k = 5.5\nk //= 2")
row("k = 5\nk <<= 1")
row("k = 'a'\nk *= 3")
row("k = 'a%s'\nk %= 3")
row("k = [1]\nk += [2.5]")
row("k = [1]\nk += (2.5,)")
row("k = [1]\nj = k\nj += [2.5]")
row("k = [1]\nk *= 2")
row("k = (1,)\nk += (2.5,)")
row("k = {1: 2}\nk |= {'a': 2.5}")
row("x += 1", known="types batch order")
row("x *= x.shape[0]", known="types batch")
row("x @= x.mT")
row("x += x.flip(0)")
row("x -= x.mean(0)")
row("y = x\ny += x.flip(0)")
row("x = self.patch_embed(x)\nx += self.pos_embed", known="types batch order")
row("x = x[0]\nx = x + self.views")
row("x = self.views + x")
row("x = x + self.views")
row("n = 1\nn += flag")
row("n = True\nn += flag")
row("B = x.shape[0]\nB *= 3\nx = x.reshape(B, -1)")
row("B = x.shape[0]\nB += 0\nx = x.reshape(B, -1)")
row("B = x.shape[0]\nB = B * 3\nx = x.reshape(B, -1)")
row("B, C = x.shape[1], x.shape[0]\nx = x.reshape(B, -1)")
row("B, C, H, W = x.shape\nB, C = C, B\nx = x.reshape(B, -1)")
row("C, B, H, W = x.shape\nx = x.reshape(B, C, -1)")

# Deletion
row("y = x\ndel y")
row("y = 1\ndel y\ny = 2.5")
row("y = 1\nif flag:\n    del y\n    y = x")
row("y = x\ndel x\nx = y.flatten(0, 1)")
row("xs = [1, 2.5]\ndel xs[1]")
row("xs = [x.flatten(0, 1), x]\ndel xs[0]\nx = xs[0]")
row("xs = [x, x.flatten(0, 1)]\ndel xs[0]\nx = xs[0]")
row("d = {'a': x}\ndel d['a']\nd['a'] = x.flatten(0, 1)\nx = d['a']")

# Branches
every("if flag:\n    x = self.patch_embed(x)\nelse:\n    x = self.conv(x).flatten(2).transpose(1, 2)")
row("if mask is not None:\n    x = x * 1\nx = self.patch_embed(x)", known="types batch order")
row("if flag:\n    x = x.flatten(0, 1)")
row("if flag:\n    pass\nelse:\n    x = x.flatten(0, 1)")
row("if flag:\n    x = x.flatten(2)\nelif mask is None:\n    x = x.flatten(0, 1)\nelse:\n    pass")
row("if flag:\n    x = self.conv(x)\nelif mask is None:\n    x = self.patch_embed(x)\nelse:\n    x = self.last(x)")
row("if self.dynamic:\n    x = self.patch_embed(x)")
row("x = self.conv(x)\nif self.dynamic:\n    x = to_tokens(x)")
row("x = self.conv(x)\nif self.dynamic:\n    x = x.transpose(2, 3)")
row("if flag:\n    y = 1\nelse:\n    y = 2.5")
row("if flag:\n    y = 1\nelif mask is None:\n    y = 'a'\nelse:\n    y = x")
row("y = 1\nif flag:\n    y = True")
row("y = 1\nif flag:\n    y = None\nelse:\n    y = 2")
row("y = None\nif flag:\n    y = 1\nif mask is None:\n    y = 2.5")
row("y = None\nif flag:\n    y = (1, 2)\nelse:\n    y = (1, 2, 3)")
row("y = [1]\nif flag:\n    y = [2.5]")
row("y = []\nif flag:\n    y.append(1)\nelse:\n    y.append(2.5)")
row("y = mask\nif y is None:\n    y = 3")
row("y = mask\nif y is None:\n    y = x")
row("if mask is not None:\n    y = mask\nelse:\n    y = 3")
row("y = plain if plain is not None else 3")
row("if plain is None:\n    plain = 3")
row("if plain is None:\n    plain = x")
row("if isinstance(plain, int):\n    plain = 2.5")
row("if not flag:\n    y = 1\nif flag:\n    y = 2.5")
row("y = 1 if flag else 2.5")
row("y = 1 if flag else None")
row("y = 1 if flag else True")
row("y = (1, 2) if flag else (1, 2.5)")
row("y = (1, 2) if flag else (1, 2, 3)")
row("y = [1] if flag else [2.5]")
row("y = [] if flag else [2.5]")
row("y = None if flag else 1 if mask is None else 2.5")
row("x = x.flatten(0, 1) if flag else x")
row("x = self.conv(x) if flag else self.patch_embed(x)")
row("x = self.patch_embed(x) if flag else self.flat(self.conv(x))", known="types batch order")
row("x = self.patch_embed(x) if self.patch_embed is not None else x")
row("x = self.conv(x) if self.maybe is None else x.flatten(0, 1)")
row("y = self.maybe")
row("y = self.maybe is None")
row("x = self.patch_embed(x)\nif self.maybe is not None:\n    x = x + self.maybe", known="types batch order")
row("y = flag and 3")
row("y = flag or 3")
row("y = count and 2.5")
row("y = count and None")
row("y = None or 1")
row("y = 0 or 'a'")
row("y = count or None")
row("y = plain or 3")
row("y = flag or plain")
row("y = flag and count > 1")
row("y = not x.sum() > 0")
row("y = flag and x")
row("x = flag and x or x.flatten(0, 1)")

# Operators
for _value in (
    "x > 1",
    "x == 1",
    "1 < x",
    "x != x",
    "x.shape == x.shape",
    "1 < 2 < x.sum()",
    "1 < x.sum() < 200000",
    "x is None",
    "x.ndim in (3, 4)",
    "x.shape[0] > x.sum()",
    "x.shape[0] > 1",
    "self.pos_embed > 0",
    "count == x.sum()",
    "not flag",
    "-flag",
    "+flag",
    "~flag",
    "~count",
    "-count",
    "-2.5",
    "-x",
    "+x",
    "not x.numel()",
    "-x.shape[0]",
    "flag + flag",
    "flag * 2",
    "flag & flag",
    "flag | 1",
    "flag ^ flag",
    "flag << 1",
    "1 + flag",
    "5 % 2.0",
    "5 % 2",
    "'a %s' % 1",
    "'a' + 'b'",
    "'a' * 2",
    "2 * 'a'",
    "[1] * 2",
    "2 * [1]",
    "[1] + [2.5]",
    "(1,) + (2.5,)",
    "(1, 2) * 2",
    "x.shape + (1,)",
    "x.shape[1:] + x.shape[:1]",
    "x.shape * 2",
    "x.shape[1:]",
    "x.shape[::2]",
    "x.shape[:2] + (-1,)",
    "7 // 2.0",
    "7 // 2",
    "7 / 2",
    "6 / 2",
    "2 ** count",
    "2 ** -count",
    "2 ** 2",
    "2 ** -1",
    "count ** 0.5",
    "count ** count",
    "0.5 ** 2",
    "x ** 2",
    "2 ** x",
    "x / 2",
    "2 / x",
    "x // 2",
    "2 - x",
    "count * x",
    "x * count",
    "x.shape[1] * 0.5",
    "x.shape[1] * 2",
    "x.shape[1] / 2",
    "x.shape[1] // 2",
    "x.shape[1] % 2",
    "x.shape[1] ** -0.5",
    "x.sum() * 2",
    "2 * x.sum()",
    "1 << 2",
    "1 & 2",
    "x @ x.mT",
    "mask is None",
    "mask",
    "flag",
    "count",
    "plain",
    "True",
    "None",
    "divmod(5, 2)",
    "1 if x.ndim else 2",
    "len(x)",
    "int(2.5)",
    "float(1)",
    "bool(1)",
    "str(1)",
    "abs(-2)",
    "abs(-2.5)",
    "abs(x)",
    "abs(flag)",
    "round(2.5)",
    "round(2.5, 1)",
    "round(5, 1)",
    "max(1, 2.5)",
    "max(1, 2)",
    "min(count, 2.5)",
    "max(x.shape)",
    "max((1, 2.5))",
    "max(x.sum(), 1)",
    "sum([1, 2])",
    "sum([x, x])",
    "sum([1.5])",
    "sum((1, 2.5))",
    "sum([[1]], [])",
    "pow(2, -1)",
    "pow(2, 2)",
    "math.ceil(2.5)",
    "math.floor(2.5)",
    "math.sqrt(4)",
    "math.prod(x.shape)",
    "math.pi",
    "math.log2(8)",
    "math.gcd(4, 6)",
    "math.isqrt(9)",
    "math.inf",
    "math.trunc(2.5)",
    "math.fabs(2)",
    "math.modf(2.5)",
    "isinstance(x, int)",
    "id(x)",
    "list(range(3))",
    "list(x.shape)",
    "tuple(x.shape)",
    "tuple([1, 2])",
    "range(3)",
    "sorted([2.5, 1])",
    "type(x)",
    "list((1, 2.5))",
    "list('ab')",
    "set([1])",
    "dict(a=1)",
    "dict(a=1, b=2.5)",
    "zip((1,), (2,))",
    "enumerate([1])",
    "reversed([1])",
    "map(int, [1])",
    "list(map(float, [1]))",
    "any([1])",
    "all([1])",
    "next(iter([2.5]))",
    "hash('a')",
    "callable(x)",
    "hasattr(x, 'a')",
    "getattr(x, 'ndim')",
    "getattr(x, 'nothing', 2.5)",
    "repr(x)",
    "print()",
    "slice(1)",
    "ord('a')",
    "chr(97)",
    "complex(1)",
    "functools.reduce(max, [1, 2.5])",
    "vars(self)",
    "iter([1])",
    "int.from_bytes(b'a', 'big')",
    "int('3')",
    "float('3')",
    "bool(x.numel())",
    "int(x.sum())",
    "float(x.sum())",
    "len(x.shape)",
    "str.upper('a')",
    "'a'.upper()",
    "'a,b'.split(',')",
    "'a'.join(['b'])",
    "'a'.index('a')",
    "'a'.isdigit()",
    "'{}'.format(1)",
    "'a'.encode()",
    "(2).bit_length()",
    "(2.5).is_integer()",
    "(2.5).as_integer_ratio()",
    "[1].index(1)",
    "[1].copy()",
    "[1, 2.5].pop()",
    "[1, 2.5].pop(0)",
    "(1, 2.5).index(1)",
    "{'a': 1}.get('a')",
    "{'a': 1}.get('b', 2.5)",
    "{'a': 1}.get('b')",
    "{'a': 1}.keys()",
    "list({'a': 1}.values())",
    "{'a': 1, 'b': 2.5}['b']",
    "list({'a': 1}.items())",
    "[1].append(2)",
    "len([1])",
    "torch",
    "nn.Identity",
    "torch.float32",
    "to_tokens",
    "self",
    "self.helper",
    "self.patch_embed",
    "self.training",
    "self.kind",
    "self.depth",
    "self.scale",
    "self.dynamic",
    "self.grid",
    "self.grid[0]",
    "self.prop",
    "self.patch_embed.grid_size",
    "self.patch_embed.flatten",
    "self.patch_embed.proj.weight",
    "self.norm.eps",
    "self.conv.kernel_size",
    "self.conv.out_channels",
    "self.conv.bias",
    "self.pos_embed",
    "self.pos_embed.shape",
    "len(self.stems)",
    "self.stems",
    "self.stems[0]",
    "list(self.stems)",
    "self.cls_token.expand(x.shape[0], -1, -1)",
    "self.parameters()",
    "self.state_dict()",
    "self.training and flag",
    "MODE",
    "self.__class__",
    "self.__class__.__name__",
    "self.conv.weight.shape[0]",
    "self.drop.p",
    "self.norm.normalized_shape",
    "self.conv.padding_mode",
    "Tiny.kind",
    "__name__",
    "Size",
    "typing.List",
    "lambda: 1",
    "(lambda: 1)()",
    "(lambda n: n)(2.5)",
    "(n for n in (1,))",
    "{n for n in (1,)}",
    "{n: 2.5 for n in (1,)}",
    "[n for n in (1, 2.5)]",
    "[2.5 for _ in (1,)]",
    "[n for n in range(3)]",
    "[n for n in x.shape]",
    "[[n] for n in range(2)]",
    "[(n, x) for n in range(2)]",
    "[n for n in 'ab']",
    "[n for n in x]",
    "[n for n in {'a': 1}]",
    "[n for n, m in ((1, 'a'), (2.5, 'b'))]",
    "[m for n, m in enumerate('ab')]",
    "[n for n, m in zip([1], [2.5])]",
    "[m for n in ([1], [2.5]) for m in n]",
    "[n for n in x.shape if n > 3]",
    "[count for count in (1, 2.5)]",
    "[x for x in (1, 2)]",
    "[flag for _ in range(2) for flag in (1, 2.5)]",
    "[blk(x) for blk in self.stems]",
    "[blk.flatten for blk in self.stems]",
    "[n / 2 for n in (1, 2)]",
    "[s // 2 for s in x.shape]",
    "[None for _ in range(2)]",
    "[n if n else None for n in range(2)]",
    "[y := 2.5 for _ in range(1)]",
    "tuple(n for n in (1, 2))",
    "sum(n for n in (1, 2.5))",
    "max(n for n in (1, 2.5))",
    "[*range(2)]",
    "[*x.shape]",
    "[x.shape[0], *self.grid]",
    "(x.shape[0], *self.grid)",
    "[1, *[2.5]]",
    "[1][0:1]",
    "(1, 2.5)[0:1]",
):
    row(f"y = {_value}")

# Methods of tensors and functions of torch
for _value in (
    "x.shape",
    "x.size()",
    "x.size(0)",
    "x.size(dim=1)",
    "x.ndim",
    "x.dim()",
    "x.numel()",
    "x.nelement()",
    "x.stride()",
    "x.stride(0)",
    "x.dtype",
    "x.device",
    "x.is_cuda",
    "x.requires_grad",
    "x.shape[-1]",
    "x.shape.numel()",
    "x.sum().item()",
    "x.shape[0].bit_length()",
    "x.tolist()",
    "x.sum().tolist()",
    "x.max()",
    "x.max(1)",
    "x.max(dim=1)",
    "x.min(-1, keepdim=True)",
    "x.max(x)",
    "x.median(1)",
    "x.mode(1)",
    "x.sort()",
    "x.sort(dim=0)",
    "x.topk(2)",
    "x.kthvalue(1)",
    "x.cummax(1)",
    "x.aminmax()",
    "x.unbind(1)",
    "x.unbind()",
    "x.chunk(2, 1)",
    "x.split(1, 1)",
    "x.split([1, 2], dim=1)",
    "x.tensor_split(3, 1)",
    "x.hsplit(3)",
    "x.is_contiguous()",
    "x.nonzero()",
    "x.nonzero(as_tuple=True)",
    "torch.where(x > 0)",
    "torch.where(x > 0, x, 0)",
    "x.where(x > 0, 0)",
    "torch.meshgrid(x[0, 0, 0], x[0, 0, 0], indexing='ij')",
    "torch.max(x, 1)",
    "torch.max(x)",
    "torch.max(x, dim=1)[0]",
    "x.max(1)[0]",
    "x.max(1).values",
    "x.topk(2, dim=1).indices",
    "torch.topk(x, 2, 1)",
    "torch.sort(x)",
    "torch.split(x, 1)",
    "torch.chunk(x, 2)",
    "torch.unbind(x)",
    "torch.std_mean(x)",
    "torch.var_mean(x, 1)",
    "torch.unique(x, return_counts=True)",
    "x.unique(return_inverse=True)",
    "torch.broadcast_tensors(x, x)",
    "torch.frexp(x)",
    "F.max_pool2d(x, 2, return_indices=True)",
    "F.max_pool2d(x, 2)",
    "torch.linalg.qr(x)",
    "torch.linalg.norm(x)",
    "torch.linalg.svd(x)",
    "torch.slogdet(x @ x.mT)",
    "torch.broadcast_shapes((1,), (2,))",
    "torch.result_type(x, 1)",
    "torch.get_default_dtype()",
    "torch.is_tensor(x)",
    "torch.is_grad_enabled()",
    "torch.equal(x, x)",
    "x.equal(x)",
    "torch.numel(x)",
    "x.allclose(x)",
    "torch.allclose(x, x)",
    "x.is_floating_point()",
    "torch.is_floating_point(x)",
    "x.type()",
    "x.type(torch.float64)",
    "x.numpy()",
    "x.grad",
    "x.grad_fn",
    "x.layout",
    "x.data",
    "x.T",
    "x.mT",
    "x.real",
    "x.itemsize",
    "x.nbytes",
    "x.is_leaf",
    "x.is_sparse",
    "x.get_device()",
    "x.element_size()",
    "x.data_ptr()",
    "x.__len__()",
    "x.storage_offset()",
    "x.untyped_storage()",
    "x.flatten",
    "x.histc()",
    "x.backward",
    "x.to_sparse()",
    "torch.Size([1])",
    "torch.zeros(3)",
    "torch.tensor(1)",
    "torch.arange(3)",
    "torch.device('cpu')",
    "torch.finfo(x.dtype).eps",
    "torch.initial_seed()",
    "torch.Generator()",
    "torch.nn.Parameter(x)",
    "F.softmax(x, 0)",
    "F.interpolate(x, scale_factor=2)",
    "self.pair(x)",
    "self.pair(x)[1]",
    "self.measured(x)",
    "self.measured(x)[1]",
    "self.measured(x)[1][0]",
    "self.pool(x)",
    "self.attn(x[0], x[0], x[0])",
    "self.attn(x[0], x[0], x[0])[1]",
    "self.lstm(x[0])",
    "self.lstm(x[0])[0]",
    "self.flatter(x)",
    "self.embed(torch.arange(3))",
    "self.drop(x)",
    "self.nothing",
    "self.nothing is None",
    "self.row",
    "self.row[0]",
    "self.named",
    "self.names['a'](x)",
    "self.named.x",
    "self.number",
):
    row(
        f"y = {_value}",
        init="self.pool = nn.MaxPool2d(2, return_indices=True)\nself.attn = nn.MultiheadAttention(20, 1)\n"
        "self.lstm = nn.LSTM(20, 2)\nself.flatter = nn.Flatten()\n"
        "self.embed = nn.Embedding(5, 2)\nself.nothing = None\n"
        "self.named = nn.Module()\nself.named.x = 3\nself.names = nn.ModuleDict({'a': Pair()})\n"
        "self.register_buffer('number', None)",
    )

_BATCH_OPERATIONS = (
    "x.expand(11, -1, -1, -1)", "x.repeat(2, 1, 1, 1)", "x.repeat_interleave(2, 0)", "x.repeat_interleave(2)",
    "x.repeat(1, 1, 1, 1)", "x.tile(2)", "x.tile((2, 1, 1, 1))", "x.roll(1, 0)", "x.roll(1)",
    "x.roll((1, 1), (2, 3))", "x.flip(0)", "x.flip((0, 1))", "x.flip(-1)", "x.fliplr()", "x.flipud()", "x.rot90()",
    "x.index_select(0, torch.arange(2))", "x.index_select(dim=0, index=torch.arange(2))", "x.narrow(0, 0, 1)",
    "x.take(torch.arange(2))", "x.gather(0, torch.zeros(1, 3, 8, 8).long())",
    "x.gather(1, torch.zeros(2, 1, 4, 4).long())", "x.masked_select(x > 0)", "x[x > 0]", "x[x[:, 0, 0, 0] > 1]",
    "x[None]", "x[..., 0]", "x[...]", "x[:]", "x[:, None]", "x[0:x.shape[0]]", "x[:3]", "x[-1:]", "x[::1]", "x[::2]",
    "x[[0, 1]]", "x[torch.arange(2)]", "x[torch.arange(len(x)), 0]", "x[:, 0]", "x[:, torch.arange(2)]",
    "x[..., [0, 1], :, [0, 1]]", "x[:, [0, 1], :, [0, 1]]", "x[:, 0, :, [0, 1]]", "x[:, [0, 1], [0, 1]]",
    "x[None, 0]", "x[0, None]", "x[True]", "x[count:]", "x[:count]", "x[0]", "x[-1]", "x[slice(0, 1)]",
    "x[(slice(0, 1),)]", "x[(0,)]", "x[0,]", "x[..., None]", "x[:, :, None]", "x[..., :1, :]", "x[flag]", "x[count]",
    "x[:, plain]", "x[mask is None]", "x[()]", "x.unsqueeze(0)", "x.unsqueeze(1)", "x.unsqueeze(-5)",
    "x.unsqueeze(dim=0)", "x.squeeze()", "x.squeeze(0)", "x.squeeze(1)", "x[:1].squeeze(0)", "x.view(-1)",
    "x.view(x.shape[0], -1)", "x.view(torch.int32)", "x.view(x.shape)", "x.view_as(x)",
    "x.view_as(x.flatten(0, 1).unsqueeze(1))", "x.reshape_as(x)", "x.reshape((len(x), -1))",
    "x.reshape(shape=(x.shape[0], -1))", "x.reshape(*x.shape[:2], -1)", "x.reshape(x.shape[:2] + (-1,))",
    "x.reshape(*x.shape[1:2], -1)", "x.reshape(x.size(0), -1)", "x.reshape(x.shape[1], x.shape[0], -1)",
    "x.reshape(-1, *x.shape[1:])", "x.reshape(-1, 3, 4, 5)", "x.reshape(-1, x.shape[0])",
    "x.reshape(x.shape[0] // 1, -1)", "x.reshape(3, -1)", "x.reshape(count, -1)", "x.reshape(x.shape[-4], -1)",
    "x.unfold(0, 2, 2)", "x.unfold(2, 2, 2)", "x.movedim(0, 1)", "x.movedim((0, 1), (1, 0))", "x.movedim(1, -1)",
    "x.moveaxis(1, 0)", "x.swapaxes(0, 1)", "x.swapdims(0, 1)", "x.swapaxes(1, 2)", "x.permute(1, 0, 2, 3)",
    "x.permute((1, 0, 2, 3))", "x.permute([0, 2, 3, 1])", "x.permute(dims=(1, 0, 2, 3))", "x.permute(-4, 2, 3, 1)",
    "x.permute(-3, 0, 2, 3)", "x.transpose(dim0=0, dim1=1)", "x.transpose(1, dim1=0)", "x.transpose(-1, -4)",
    "x.transpose(1, count - 4)", "x.T", "x.mT", "x[0, 0].t()", "x.adjoint()", "x.diagonal(dim1=0, dim2=1)",
    "x.diagonal()", "x.diagonal(0, 2, 3)", "x.sum(dim=(0, 1))", "x.sum((1, -4))", "x.sum([0])", "x.mean(dim=-4)",
    "x.mean(dim=[2, 3])", "x.mean((2, 3))", "x.mean(axis=0)", "x.sum(axis=(0,))", "x.mean(0, keepdim=True)",
    "x.mean(keepdim=True, dim=(0,))", "x.amax(dim=0)", "x.amax((2, 3))", "x.argmax()", "x.argmax(1)", "x.norm()",
    "x.norm(dim=0)", "x.norm(2, 0)", "x.norm(2, dim=1)", "x.std(0)", "x.std(dim=1)", "x.var(0, True)", "x.prod(0)",
    "x.any()", "x.all(0)", "x.logsumexp(0)", "x.logsumexp(1)", "x.softmax(0)", "x.softmax(dim=-1)", "x.cumsum(0)",
    "x.cumsum(1)", "x.mean(dtype=torch.float64)", "x.mean(None)", "x.sum(dim=None)", "x.sum(())", "x.sum(count - 4)",
    "x.flatten()", "x.flatten(end_dim=1)", "x.flatten(1)", "x.flatten(-4, 1)", "x.flatten(start_dim=2)",
    "x.flatten(start_dim=0, end_dim=1)", "x.flatten(count - 4)", "x.ravel()", "x.unflatten(0, (len(x), 1))",
    "x.unflatten(0, (1, len(x)))", "x.unflatten(2, (-1, 2))", "x.contiguous()", "x.float()", "x.to(torch.float64)",
    "x.type_as(x)", "x.clone()", "x.detach()", "x.new_zeros(3)", "x.new_zeros(x.shape[0], 3)", "x.new_zeros(x.shape)",
    "x.new_tensor([1.])", "x.new_empty(0)", "x.new_ones(1, 2)", "x.new_full((3,), 1)", "torch.zeros_like(x)",
    "torch.empty(x.shape)", "torch.ones(x.shape[1:])", "torch.zeros(x.shape[0], 3)",
    "torch.zeros(x.shape[0], 3)[None]", "torch.zeros(3, device=x.device)", "x @ x.mT", "x.mT @ x",
    "torch.bmm(x[:, 0], x[:, 0].mT)", "torch.einsum('bchw->cbhw', x)",
    "torch.einsum('bchw,cd->bdhw', x, self.square)", "torch.einsum('b...->...b', x)", "x * self.views",
    "self.views * x", "self.views.mul(x)", "x.mul(self.views)", "torch.add(x, self.views)",
    "torch.where(x > 0, x, self.views)", "torch.lerp(x, self.views, 0.5)", "x + x.mean(0)", "x - x.flip(0)",
    "x * x[0]", "x * 2", "x / x.shape[0]", "-x", "x > 0", "torch.cat((x, x))", "torch.cat([x, x], 1)",
    "torch.cat([x, x], -4)", "torch.cat(tensors=(x, x))", "torch.cat((x, x), axis=0)",
    "torch.cat((x, x), dim=count - 4)", "torch.concat((x, x), 0)", "torch.concat((x, x), 1)", "torch.hstack((x, x))",
    "torch.vstack((x, x))", "torch.dstack((x, x))", "torch.stack([x, x], 1)", "torch.stack([x, x], dim=-5)",
    "torch.stack([x, x], -1)", "torch.stack((x, x)).mean(0)", "torch.stack(x.unbind(1))", "torch.stack(x.unbind(0))",
    "torch.cat([x[:1], x[1:]])", "torch.cat([t for t in x.split(1)])", "torch.cat([x] * 2, 1)",
    "torch.cat((x.flatten(0, 1)[None], x.flatten(0, 1)[None]), 1)",
    "torch.cat((self.views[:, :, 0], self.views[:, :, 0]), 1)", "torch.cat(list(x), 0)",
    "torch.tensor_split(x, 2)[0]", "x.chunk(2)[0]", "x.chunk(2, dim=1)[0]", "x.split(1)[0]", "x.split(1, 1)[0]",
    "x.unbind()[0]", "x.unbind(1)[0]", "x.max(0)[0]", "x.max(1)[0]", "x.max(1).values", "x.max(0).values",
    "x.sort(0)[0]", "x.topk(2, 0)[0]", "x.topk(2, dim=1).values", "torch.max(x, 0)[0]", "torch.max(x, self.views)",
    "torch.minimum(x, self.views)", "F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))", "F.pad(x, (0, 1, 0, 1))",
    "F.pad(x, [0, 0] * 4)", "F.pad(x, (0, 0) * 3 + (1, 1))", "F.pad(x, (1,) * 8)",
    "F.pad(x, pad=(0, 0, 0, 0, 0, 0, 0, 1))", "F.interpolate(x, scale_factor=2)", "F.unfold(x, 2, stride=2)",
    "F.fold(F.unfold(x, 2, stride=2), x.shape[2:], 2, stride=2)", "F.pixel_unshuffle(x, 2)", "F.one_hot(x.long())",
    "F.softmax(x, 0)", "F.softmax(x, 1)", "F.normalize(x, dim=0)", "F.normalize(x)", "F.adaptive_avg_pool2d(x, 1)",
    "F.avg_pool2d(x, 2)", "F.linear(x, x[0, 0])", "F.relu(x)", "F.gelu(x)", "F.layer_norm(x, x.shape[1:])",
    "F.layer_norm(x, x.shape)", "F.dropout(x, 0.1)", "F.scaled_dot_product_attention(x, x, x)",
    "F.cosine_similarity(x, x, dim=0)", "F.cosine_similarity(x, x)", "F.mse_loss(x, x)",
    "F.batch_norm(x, None, None, training=True)",
    "torch.utils.checkpoint.checkpoint(self.fold, x, use_reentrant=False)", "torch.vmap(self.fold)(x)",
    "torch.func.functional_call(self.fold, {}, (x,))", "torch.diff(x, dim=0)", "torch.cumsum(x, 0)",
    "torch.sum(x, 0)", "torch.mean(x, (2, 3))", "torch.mean(x)", "torch.mean(x, dim=0)", "torch.flatten(x, 2)",
    "torch.flatten(x)", "torch.flatten(x, end_dim=1)", "torch.transpose(x, 0, 1)",
    "torch.transpose(input=x, dim0=0, dim1=1)", "torch.permute(x, (1, 0, 2, 3))", "torch.reshape(x, (-1,))",
    "torch.reshape(x, (x.shape[0], -1))", "torch.squeeze(x)", "torch.unsqueeze(x, 0)", "torch.flip(x, (0,))",
    "torch.roll(x, 1, 0)", "torch.repeat_interleave(x, 2, 0)", "torch.index_select(x, 0, torch.arange(2))",
    "torch.gather(x, 0, torch.zeros(1, 1, 1, 1).long())", "torch.take_along_dim(x, x.argsort(0), 0)",
    "torch.Tensor.flatten(x, 0, 1)", "torch.Tensor.transpose(x, 0, 1)", "torch.atleast_3d(x)",
    "torch.tile(x, (2, 1, 1, 1))", "torch.kron(x[:, :1, :1, :1], x[:2, :1, :1, :1])",
    "torch.outer(x.flatten(), x.flatten()[:2])", "torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 0, 0, 1))",
    "torch.nn.Identity()(x)", "nn.Flatten(0)(x)", "nn.Flatten()(x)", "nn.Flatten(2)(x)",
    "nn.Unflatten(0, (1, len(x)))(x)", "nn.Sequential(self.fold)(x)", "Fold()(x)", "self.fold(x)",
    "self.fold.forward(x)", "self.fold.__call__(x)", "self.mixed[0](x)", "self.mixed[1](x)", "self.mixed[-1](x)",
    "self.mixed[count - 4](x)", "self.act(x)", "self.act.forward(x)", "self.either(x, flag)", "self.either(x)",
    "self.first(x.flatten(0, 1), x)", "self.first(*(x.flatten(0, 1), x))", "self.first(*[x], x.flatten(0, 1))",
    "self.pick(x, x.flatten(0, 1))", "self.pick(a=x.flatten(0, 1))", "self.pick(b=x.flatten(0, 1), a=x)",
    "self.pick(**{'a': x.flatten(0, 1)})", "self.pick(x, **{'b': x.flatten(0, 1)})",
    "self.pick(*[x.flatten(0, 1)], b=None)", "self.pick(x, c=x.flatten(0, 1))", "self.stat(x, x.flatten(0, 1))",
    "self.stat(y=x, x=x.flatten(0, 1))", "self.by_class(x, x.flatten(0, 1))", "Tiny.stat(x, x.flatten(0, 1))",
    "Tiny.pick(self, x, x.flatten(0, 1))", "Tiny.by_class(x, x.flatten(0, 1))", "self.deep(x)",
    "self.deep(x.flatten(0, 1))", "last(x, x.flatten(0, 1))", "either(x)", "either(x, x.flatten(0, 1))",
    "either(x.flatten(0, 1), third=x)", "either(second=x.flatten(0, 1), first=x)", "(lambda t: t.flatten(0, 1))(x)",
    "(lambda t, u=x.flatten(0, 1): u)(x)", "partial(either, x)(x.flatten(0, 1))",
    "partial(either, second=x.flatten(0, 1))(x)", "functools.partial(fold)(x)", "[fold][0](x)", "{'a': fold}['a'](x)",
    "(fold if flag else to_tokens)(x)", "(flag and fold or to_tokens)(x)", "getattr(self, 'fold')(x)",
    "getattr(x, 'flatten')(0, 1)", "early(x, flag)", "early(x, True)", "next(yields(x))",
    "list(yields(x.flatten(0, 1)))[0]", "next(iter((x,)))", "list(x.split(1))[0]",
    "max((x, x.flatten(0, 1)), key=lambda t: len(t))", "min([x], key=len)", "sorted([x], key=len)[0]", "sum([x, x])",
    "sum(x)", "sum(x.unbind(1))", "sum([x], self.views)", "functools.reduce(torch.add, [x, self.views])",
    "[x.flatten(0, 1), x][0]", "[t for t in (x, x.flatten(0, 1))][1]", "[x for x in (x, x.flatten(0, 1))][-1]",
    "(x := x.flatten(0, 1))", "(x := x.flatten(0, 1)) + 1", "copy(x)", "deepcopy(fold)(x)",
    "x.__class__.flatten(x, 0, 1)", "x.__getitem__(0)", "x.__add__(self.views)", "x.__matmul__(x.mT)",
    "x.apply_(abs)", "x.index_fill(0, torch.arange(2), 1)", "x.index_add(0, torch.zeros(11).long()[:len(x)], x)",
    "x.scatter(0, torch.zeros(6, 3, 1, 1).long(), x)", "x.masked_fill(x > 0, 1)", "x.masked_fill(self.views > 0, 1)",
    "x.where(x > 0, self.views)", "x.clamp(0, 1)", "x.clamp(min=self.views)", "x.maximum(self.views)",
    "x.expand_as(self.views * x)", "x.expand(*x.shape)", "x.expand(13, *x.shape)", "x[:, 0, 0, 0].expand(3, -1)",
    "x.broadcast_to((2, *x.shape))", "x.T.T", "x.transpose(0, 1).transpose(0, 1)",
    "x.transpose(0, 1).transpose(1, 0)", "x.flatten(0, 1).unflatten(0, (-1, 3))", "x.flatten(0, 1).reshape(x.shape)",
    "x.reshape(-1).reshape(x.shape[0], -1)", "x.permute(1, 0, 2, 3).reshape(x.shape[0], -1)",
    "x.reshape(1, -1).reshape(x.shape[0], -1)", "self.views.reshape(13, -1)",
    "self.views.expand(-1, x.shape[0], -1, -1, -1)[0]", "self.cls_token.expand(x.shape[0], -1, -1)",
    "self.cls_token.expand(-1, -1, -1)", "self.cls_token.repeat(x.shape[0], 1, 1)",
    "self.cls_token.repeat(2, x.shape[0], 1)", "self.pos_embed", "self.pos_embed + 0", "mask",
    "mask if mask is not None else x", "plain", "x.narrow(1, 0, 1)", "x.select(0, 0)", "x.select(1, 0)",
    "x.tensor_split(2)[0]", "x.nonzero()", "x.unique()", "x.histc()", "x.triu()", "x[:, 0, 0].cov()",
    "x[:, 0, 0].corrcoef()", "x[:, 0, 0] @ x[:, 0, 0].T", "x[:, 0, 0].mm(x[0, 0].T)", "x[:, 0, 0].T.mm(x[:, 0, 0])",
    "torch.cdist(x, x)", "torch.cdist(x[:, 0, 0], x[:, 0, 0])", "torch.tensordot(x, x, 4)",
    "torch.tensordot(self.square, x, ([0], [1]))", "torch.block_diag(x[:, 0, 0], x[:, 0, 0])",
    "torch.cartesian_prod(x[:, 0, 0, 0], x[0, 0, 0])", "torch.combinations(x[:, 0, 0, 0])",
    "torch.meshgrid(x[0, 0, 0], x[:, 0, 0, 0], indexing='ij')[0]", "torch.arange(x.shape[0])",
    "torch.arange(x.shape[0] + 1)", "torch.randn(x.shape[0], 3)", "torch.rand(3, x.shape[0])",
    "torch.full((x.shape[0],), 1)", "torch.full(x.shape[1:], 1)", "torch.eye(x.shape[0])",
    "torch.linspace(0, 1, x.shape[0])", "torch.empty_like(x.T)", "torch.ones_like(x[0])",
    "torch.as_tensor(x.tolist())", "torch.tensor([1, 2])", "torch.tensor(x.shape)", "torch.Tensor(3)",
    "torch.cat([torch.zeros(1), torch.ones(2)])", "torch.stack([x.sum((1, 2, 3))] * 2, 0)",
    "torch.randperm(x.shape[0])", "x[torch.randperm(x.shape[0])]", "x[torch.arange(x.shape[0])]",
    "x[x.sum((1, 2, 3)).argsort()]", "x[range(2)]", "x[(0, 1),]", "x[0:1, 0]", "x[:, 0:1]", "x[:, ::2]",
    "x[..., ::2, ::2]", "x[None, :, 0]", "x[:, None, 0]", "x[:, ..., 0]", "x[..., :, None]",
    "x[..., None, :, :, :, :]", "x[None, ...]", "x[:, [0]]", "x[[0], :]", "x[:, torch.tensor(0)]",
    "x[torch.tensor(0)]", "x[:, x.new_zeros(2).long()]", "x[:, x[0] > 0]", "x[..., x[0, 0, 0] > 0]",
)  # fmt: skip
for _value in _BATCH_OPERATIONS:
    row(
        f"x = {_value}",
        init="self.register_buffer('square', torch.ones(3, 3))",
        module="from copy import copy, deepcopy\n",
    )
for _value in _BATCH_OPERATIONS:
    row(
        f"x = self.conv(x)\nx = {_value}",
        init="self.register_buffer('square', torch.ones(7, 7))",
        module="from copy import copy, deepcopy\n",
    )

# Loops
every("for _ in range(2):\n    x = x * 1\nx = self.patch_embed(x)")
every("x = self.patch_embed(x)\nfor _ in range(2):\n    x = self.norm(x)")
row("x = self.patch_embed(x)\nfor i, stem in enumerate(self.stems):\n    x = self.drop(x)", known="batch order")
row("for i in range(3):\n    pass")
row("for i in [1, 2.5]:\n    pass")
row("for i in (1, 2.5):\n    break")
row("for i in x:\n    pass")
row("for i in x.shape:\n    pass")
row("for i, n in enumerate('ab'):\n    pass")
row("for i, (n, m) in enumerate(zip((1, 2), (2.5, x))):\n    pass")
row("for n, m in zip(x, [1, 2.5]):\n    pass")
row("for n, *m in ((1, 2.5), (2.5, 1)):\n    pass")
row("for k, v in {'a': 1, 'b': 2.5}.items():\n    pass")
row("for k in {'a': 1}:\n    pass")
row("for c in 'ab':\n    pass")
row("for i in reversed((1, 2.5)):\n    pass")
row("for i in sorted([2.5, 1]):\n    pass")
row("for i in [[1], [2.5]]:\n    for j in i:\n        pass")
row("for i, blk in enumerate(self.stems):\n    x = blk(x)\n    break")
row("for blk in self.stems:\n    y = blk(x)")
row("for blk in self.stems:\n    x = blk(x)\n    break", known="batch")
row("for blk in self.mixed:\n    x = blk(x)")
row("for blk in self.mixed[1:]:\n    x = blk(x)")
row("for blk in reversed(self.mixed):\n    x = blk(x)\n    break")
row("for blk in self.row:\n    x = blk(x)")
row("for blk in self.row.children():\n    x = blk(x)")
row("for name, blk in self.mixed.named_children():\n    x = blk(x)")
row("for i in range(2):\n    x = self.mixed[i](x)")
row("for blk in [self.norm, self.fold]:\n    pass\nx = blk(x)")
row("for blk, y in zip(self.mixed, (x, x)):\n    x = blk(y)")
row("for x in (x.flatten(0, 1),):\n    pass")
row("for x in [x, x.flatten(0, 1)]:\n    pass")
row("for x in x:\n    pass")
row("for x in x.split(1):\n    pass")
row("for x in x.split(1, 1):\n    pass")
row("for n, x in enumerate([x.flatten(0, 1)]):\n    pass")
row("for y in x.unbind(1):\n    pass")
row("for x, y in ((x, x.flatten(0, 1)),):\n    x, y = y, x")
row("for y in (x,):\n    x = y.flatten(0, 1)")
row("for _ in ():\n    x = x.flatten(0, 1)")
row("for _ in range(1):\n    x = x.flatten(0, 1)")
row("for _ in range(3):\n    x = x.transpose(0, 1)")
row("for _ in range(2):\n    x = x.transpose(0, 1)")
row("x = self.conv(x)\nfor _ in range(3):\n    x = x.transpose(2, 3)")
row("x = self.conv(x)\nfor _ in range(3):\n    x = x.permute(0, 2, 3, 1)")
row("a = b = c = x\nfor _ in range(5):\n    a = b\n    b = c\n    c = x.flatten(0, 1)")
row("a = b = c = d = e = x\nfor _ in range(9):\n    a, b, c, d, e = b, c, d, e, x.flatten(0, 1)")
row("a = b = c = 1\nfor _ in range(5):\n    a = b\n    b = c\n    c = 2.5")
row("a = b = c = d = e = 1\nfor _ in range(9):\n    a, b, c, d, e = b, c, d, e, 2.5")
row("a = x\nb = 1\nfor _ in range(3):\n    a = a.flatten(0, 1) if b > 2 else a\n    b = b + 1")
row("n = 1\nfor _ in range(3):\n    n = n / 2")
row("n = 1\nfor _ in range(3):\n    n /= 2")
row("n = 1\nfor _ in range(3):\n    n = (n, n)")
row("n = 1\nfor _ in range(3):\n    n = [n]")
row("n = None\nfor _ in range(3):\n    n = 1 if n is None else 2.5")
row("xs = []\nfor _ in range(3):\n    xs.append(x)\nx = torch.cat(xs)")
row("xs = []\nfor _ in range(3):\n    xs.append(x)\nx = torch.cat(xs, 1)")
row("xs = []\nfor n in (1, 2.5):\n    xs.append(n)")
row("xs = []\nfor n in (1, 2.5):\n    xs = xs + [n]")
row("for i in range(2):\n    if flag:\n        x = x.flatten(0, 1)\n        break\nelse:\n    x = x + 1")
row("for i in range(2):\n    if flag:\n        break\n    y = 1\nelse:\n    y = 2.5")
row("y = 1\nfor i in range(2):\n    if flag:\n        continue\n    y = 2.5")
row("y = 1\nfor i in range(2):\n    y = 2.5\n    if flag:\n        break\n    y = 1")
row("y = 1\nfor i in range(2):\n    y = 2.5\n    if i:\n        continue\n    y = 1")
row(
    "y = 1\nfor i in range(2):\n    for j in range(2):\n        y = 2.5\n        if flag:\n"
    "            break\n        y = 1\n    else:\n        continue\n    break"
)
row("for _ in range(2):\n    x = x.flatten(0, 1)\n    break\n    x = self.patch_embed(x)")
row("for _ in range(2):\n    y = x\n    x = x.flatten(0, 1)\n    break\nelse:\n    x = y")
row("for _ in range(2):\n    if x.ndim == 4:\n        x = x.flatten(0, 1)\n        continue\n    x = self.act(x)")
row("for i in range(2):\n    pass\nelse:\n    i = 2.5")
row("i = 2.5\nfor i in range(0):\n    pass")
row("x = self.patch_embed(x)\nfor i in range(2):\n    if i:\n        y = 2.5\n    else:\n        y = 1")
row("while flag:\n    x = x.flatten(0, 1)\n    flag = False")
row("while x.ndim == 4:\n    x = x.flatten(0, 1)")
row("while x.ndim == 4:\n    x = x.flatten(2)")
row("n = 1\nwhile n < 9:\n    n *= 2.5")
row("n = 3\nwhile n > 1:\n    n -= 1\nelse:\n    n = 2.5")
row("while True:\n    x = x.flatten(0, 1)\n    break")
row("while True:\n    if x.ndim == 3:\n        break\n    x = x.flatten(0, 1)")
row("n = 1\nwhile True:\n    n = 2.5\n    if flag:\n        break\n    n = 'a'\n    break")
row("n = 1\nwhile (n := n / 2) > 0.1:\n    pass")
row("while (x := x.flatten(0, 1)).ndim > 3:\n    pass")
row("n = 3\nwhile n:\n    n -= 1\n    y = 1\n    if n:\n        continue\n    y = 2.5")
row("it = iter((1, 2.5))\nfor n in it:\n    break\nfor m in it:\n    break")
row("for x.data in (x.data.flatten(0, 1),):\n    break")
row("for self.y in (1, 2.5):\n    pass\ny = self.y")

# With
every("with torch.no_grad():\n    x = self.patch_embed(x)")
row("with torch.no_grad():\n    x = x.flatten(0, 1)")
row("with suppress(ValueError):\n    x = x.flatten(0, 1)\n    raise ValueError")
row("y = x\nwith suppress(ValueError):\n    x = x.flatten(0, 1)\n    raise ValueError\n    x = y")
row("y = x\nx = x.flatten(0, 1)\nwith suppress(ValueError):\n    raise ValueError\n    x = y")
row("y = x\nx = x.flatten(0, 1)\nwith suppress(ValueError):\n    float('a')\n    x = y")
row("with suppress(ValueError):\n    y = 1\n    y = float('a')\n    y = 2.5")
row("y = 'a'\nwith suppress(ValueError):\n    y = 1\n    float('a')\n    y = 1")
row("y = 'a'\nwith suppress(ValueError):\n    float('a')\n    y = 1")
row("y = x.flatten(0, 1)\nwith suppress(ValueError):\n    int('a')\n    y = x")
row("with nullcontext(x.flatten(0, 1)) as x:\n    pass")
row("with nullcontext() as n:\n    pass")
row("with nullcontext((x.flatten(0, 1), 1)) as (x, n):\n    pass")
row("with nullcontext(1) as n, nullcontext(n / 2) as m:\n    pass")
row("with nullcontext(x) as y, nullcontext(y.flatten(0, 1)) as x:\n    pass")
row("with torch.no_grad() as n:\n    y = n")
row("with (n := nullcontext(2.5)) as m:\n    pass")
row("n = 1\nwith suppress(ValueError), nullcontext(2.5) as n:\n    pass")
row(
    "n = 1\nwith changing(x):\n    pass",
    module="@contextmanager\ndef changing(x):\n    x.transpose_(0, 1)\n    yield\n",
)
row("with changing(x):\n    y = x", module="@contextmanager\ndef changing(x):\n    yield\n    x.transpose_(0, 1)\n")
row("with changing() as y:\n    y = 2", module="@contextmanager\ndef changing() -> int:\n    yield 2.5\n")
row("with changing() as y:\n    pass", module="@contextmanager\ndef changing() -> int:\n    yield 2.5\n")
row("y = swallows('a')")
row("y = swallows('2.5')")
row(
    "y = self.inner()",
    methods="def inner(self):\n    with suppress(ValueError):\n        return int('a')\n    return 'a'",
)
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    with suppress(ValueError):\n"
    "        return self.act(x + float('a'))\n    return x.flatten(0, 1)",
)
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    with torch.no_grad():\n        return self.patch_embed(x)",
    known="types batch order",
)

# Try
every("try:\n    x = self.patch_embed(x)\nfinally:\n    pass")
row("try:\n    x = x.flatten(0, 1)\n    raise ValueError\nexcept ValueError:\n    pass")
row("y = x\ntry:\n    x = x.flatten(0, 1)\n    raise ValueError\n    x = y\nexcept ValueError:\n    pass")
row("try:\n    y = 1\n    float('a')\n    y = 2.5\nexcept ValueError:\n    pass")
row("try:\n    y = 1\n    float('a')\n    y = 1\nexcept ValueError:\n    y = 2.5")
row("y = 'a'\ntry:\n    float('a')\n    y = 1\nexcept ValueError:\n    pass")
row("y = 2.5\ntry:\n    y = float('a') and 1\nexcept ValueError:\n    pass")
row("try:\n    y = 2.5\n    y = float('a') and 1\nexcept ValueError:\n    pass")
row("try:\n    pass\nexcept ValueError:\n    y = 1\nelse:\n    y = 2.5")
row("try:\n    pass\nexcept ValueError:\n    pass\nelse:\n    x = x.flatten(0, 1)\nfinally:\n    y = x")
row("try:\n    y = 1\nfinally:\n    y = 2.5")
row("try:\n    x = x + 1\nfinally:\n    x = x.flatten(0, 1)")
row("try:\n    raise ValueError('a')\nexcept ValueError as e:\n    y = e")
row("e = 1\ntry:\n    raise ValueError('a')\nexcept ValueError as e:\n    pass")
row("e = 1\ntry:\n    raise ValueError('a')\nexcept ValueError as e:\n    e = 2.5\n    y = e")
row("try:\n    raise ValueError\nexcept (TypeError, ValueError):\n    y = 2.5\nexcept Exception:\n    y = 1")
row("try:\n    raise ValueError\nexcept TypeError:\n    y = 1\nexcept:\n    y = 2.5")
row(
    "try:\n    try:\n        y = 1\n        raise ValueError\n"
    "    finally:\n        y = 2.5\nexcept ValueError:\n    pass"
)
row(
    "try:\n    try:\n        y = 2.5\n        raise ValueError\n"
    "    except TypeError:\n        y = 1\nexcept ValueError:\n    pass"
)
row("for _ in range(2):\n    try:\n        y = 1\n        break\n    finally:\n        y = 2.5")
row("for _ in range(2):\n    try:\n        y = 2.5\n        continue\n    finally:\n        z = y\n    y = 1")
row(
    "for _ in range(2):\n    try:\n        float('a')\n        y = 1\n"
    "    except ValueError:\n        y = 2.5\n        break\nelse:\n    y = 1"
)
row(
    "try:\n    self.inner(x)\nexcept ValueError:\n    pass",
    methods="def inner(self, x):\n    x.transpose_(0, 1)\n    raise ValueError",
)
row(
    "xs = [1]\ntry:\n    self.inner(xs)\nexcept ValueError:\n    pass",
    methods="def inner(self, xs):\n    xs.append(2.5)\n    raise ValueError",
)
row("y = self.inner()", methods="def inner(self):\n    try:\n        return 1\n    finally:\n        return 2.5")
row(
    "y = self.inner()",
    methods="def inner(self):\n    try:\n        return float('a') and 1\n    except ValueError:\n        pass",
)
row(
    "y = self.inner()",
    methods="def inner(self):\n    try:\n        return float('a') and 1\n    except ValueError:\n        return 2.5",
)
row(
    "y = self.inner()",
    methods="def inner(self):\n    try:\n        pass\n    except ValueError:\n"
    "        return 1\n    else:\n        return 2.5",
)
row(
    "y = self.inner()",
    methods="def inner(self):\n    for n in (1, 2.5):\n        try:\n"
    "            continue\n        finally:\n            y = n\n    return y",
)
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    try:\n        return self.act(x)\n    finally:\n        x.transpose_(0, 1)",
)

# Match
row("match x.ndim:\n    case 4:\n        x = x.flatten(0, 1)\n    case _:\n        pass")
row("match x.ndim:\n    case 5:\n        pass\n    case _:\n        x = x.flatten(0, 1)")
row("match x.ndim:\n    case 4 if flag:\n        y = 1\n    case 4:\n        y = 2.5")
row("y = 1\nmatch x.ndim:\n    case 4 if flag:\n        y = 2.5")
row("match (x.flatten(0, 1), 1):\n    case (x, n):\n        pass")
row("match [x.flatten(0, 1), 1]:\n    case [x, *n]:\n        pass")
row("match {'a': x.flatten(0, 1)}:\n    case {'a': x, **n}:\n        pass")
row("n = 1\nmatch 2.5:\n    case n:\n        pass")
row("n = 1\nmatch 2.5:\n    case float(n):\n        pass")
row("n = 1\nmatch 2.5:\n    case 1 | 2.5 as n:\n        pass")
row("n = 1\nmatch self:\n    case nn.Module(training=n):\n        pass")
row("n = 1\nmatch self:\n    case nn.Module(scale=n):\n        pass")
row("n = 1\nmatch x.ndim:\n    case 4 if (n := 2.5) > 3:\n        pass")
row("n = 1\nmatch (n := 2.5):\n    case _:\n        pass")
row("n = 1\nmatch (1, 2.5):\n    case (1, n) if flag:\n        pass")
row("n = 1\nmatch (2.5, 2):\n    case (n, 3):\n        pass")
row("match flag:\n    case True:\n        y = 1\n    case False:\n        y = 'a'")
row("y = self.inner(2)", methods="def inner(self, n):\n    match n:\n        case 1:\n            return 2")
row(
    "y = self.inner(2)",
    methods="def inner(self, n):\n    match n:\n        case 1:\n"
    "            return 2\n        case _:\n            return 2.5",
)
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    match x.ndim:\n        case 4:\n            return x.flatten(0, 1)\n    return x",
)
row("match x:\n    case torch.Tensor(shape=n):\n        pass")

# Walrus
row("if (n := x.shape[0]) > 1:\n    pass\nx = self.patch_embed(x)", known="batch order")
row("x = self.norm(y := self.patch_embed(x))", known="batch order")
row("(y := x.flatten(0, 1))")
row("(x := x.flatten(0, 1))")
row("x = (x := x.flatten(0, 1))")
row("y = (x := x.flatten(0, 1)) if flag else x")
row("flag and (x := x.flatten(0, 1))")
row("flag or (x := x.flatten(0, 1))")
row("y = flag and (x := x.flatten(0, 1)) is None")
row("if flag and (n := 2.5):\n    pass\nelse:\n    n = 1")
row("n = 1\nif flag and (n := 2.5):\n    pass")
row("n = 1\nif not flag or (n := 2.5):\n    pass")
row("n = 1\ny = 0 < 1 < (n := 2.5)")
row("n = 1\ny = 2 < 1 < (n := 2.5)")
row("n = 1\ny = 2.5 if (n := 'a') else 1")
row("n = 1\nassert (n := 2.5)")
row("n = 1\nassert True, (n := 2.5)")
row("n = 1\n[n := 2.5 for _ in range(1)]")
row("n = 1\ny = [n := 2.5 for _ in range(0)]")
row("n = 1\ny = {n := 2.5 for _ in range(1)}")
row("n = 1\ny = {(n := 2.5): 1 for _ in range(1)}")
row("n = 1\ny = {1: (n := 2.5) for _ in range(1)}")
row("n = 1\ny = any((n := i) for i in (1, 2.5))")
row("n = 1\ny = ((n := 2.5) for _ in range(1))\nz = list(y)")
row("n = 1\ny = [i for i in (1, 2) if (n := i / 2)]")
row("n = 1\ny = [[n := 2.5 for _ in range(1)] for _ in range(1)]")
row("[x := x.flatten(0, 1) for _ in range(1)]")
row("[(x := x.flatten(0, 1)) for _ in range(1) if flag]")
row("n = 1\ny = f'{(n := 2.5)}'")
row("n = 1\ny = x[:, (n := True)]")
row("xs = [1, 2]\nn = 1\nxs[(n := True)] = 3")
row("xs = [1, 2]\nn = 1\nxs[(n := True)] += 3")
row("xs = [1, 2]\nn = 1\ndel xs[(n := True)]")
row("n = 1\nabs((n := 2.5))")
row("n = 1\nmax(*[(n := 2.5), 1])")
row("n = 1\ndict(a=(n := 2.5))")
row("n = 1\ndict(**{'a': (n := 2.5)})")
row("n = 1\ny = -(n := 2.5)")
row("n = 1\ny = not (n := 2.5)")
row("n = 1\ny = (n := 2.5) + 1")
row("n = 1\ny = n + (n := 2.5) + n")
row("n = 1\ny = (n, (n := 2.5), n)")
row("n = 1\ny = {'a': (n := 2.5)}")
row("n = 1\nfor _ in [(n := 2.5)]:\n    pass")
row("n = 1\nwith nullcontext((n := 2.5)):\n    pass")
row("n = 1\ndef f(a=(n := 2.5)):\n    pass")
row("n = 1\nf = lambda a=(n := 2.5): a")
row("n = 1\nf = lambda: (n := 2.5)\nf()")
row("n = 1\nclass C(object if (n := 2.5) else int):\n    pass")
row("n = 1\nclass C:\n    n = 2.5")
row("n = 1\n@(n := lambda f: f)\ndef g():\n    pass")
row("n = 1\ntry:\n    raise ValueError((n := 2.5))\nexcept ValueError:\n    pass")
row("n = 1\n(n := 2.5, 1)[0]")
row("n = 1\n(y := [1, 2])[0] = (n := 2.5)")
row("n = 1\n(n := self).y = 1")
row("n = 1\ny: (n := 2.5) = 2")
row("x = x.reshape((n := x.shape[1]), -1)")
row("x = self.first((x := x.flatten(0, 1)), x)")
row("x = self.pick(x, c=(x := x.flatten(0, 1)))")
row("y = x if (x := x.flatten(0, 1)) is None else x")

# Functions inside
row("def f(t):\n    return t.flatten(0, 1)\nx = f(x)")
row("def f(t):\n    return self.patch_embed(t)\nx = f(x)")
row("def f():\n    nonlocal x\n    x = x.flatten(0, 1)\nf()")
row("def f():\n    nonlocal x\n    x = x.flatten(0, 1)")
row("def f():\n    nonlocal x\n    x = x.flatten(0, 1)\ng = f\ng()")
row("def f():\n    def g():\n        nonlocal x\n        x = x.flatten(0, 1)\n    return g\nf()()")
row("n = 1\ndef f():\n    nonlocal n\n    n = 2.5\nf()")
row("n = 1\ndef f(_):\n    nonlocal n\n    n = 2.5\nlist(map(f, [1]))")
row("n = 1\ndef f(_):\n    nonlocal n\n    n = 2.5\nx.apply_(lambda v: f(v) or v)")
row("n = 1\ndef f():\n    nonlocal n\n    n += 1.5\nself.inner(f)", methods="def inner(self, f):\n    f()")
row("n = 1\ndef f():\n    nonlocal n\n    for n in (2.5,):\n        pass\nf()")
row("def f():\n    nonlocal n\n    n = 2.5\nn = 1\nf()")
row("n = 1\ndef f():\n    nonlocal n\n    n = 2.5\nn = 1\nlen([f()])")
row("n = 1\nclass C:\n    nonlocal n\n    n = 2.5")
row("n = 1\ndef g():\n    nonlocal n\n    n = 2.5\n    yield 1\nfor _ in g():\n    pass")
row("n = 1\ndef f():\n    nonlocal n\n    n = 2.5\nf.__call__()")
row("n = 1\ndef f(self):\n    nonlocal n\n    n = 2.5\nclass P:\n    p = property(f)\ny = P().p")
row("n = 1\ndef f(*_):\n    nonlocal n\n    n = 2.5\n    return True\nclass P:\n    __eq__ = f\ny = P() == 1")
row("n = 1\ndef f(*_):\n    nonlocal n\n    n = 2.5\nhandle = self.act.register_forward_hook(f)\ny = self.act(x)")
row("def f():\n    return x\nx = x.flatten(0, 1)\ny = f()")
row("def f(y=x):\n    return y\nx = x.flatten(0, 1)\ny = f()")
row("n = 1\nf = lambda: n\nn = 2.5\ny = f()")
row("n = 1\ndef f() -> int:\n    return n\nn = 2.5\ny = f()")
row("n = 1\ndef f():\n    n = 2.5\nf()", known="")
row("def f(n):\n    n = 2.5\n    return n\ny = f(1)")
row("def to_tokens(x):\n    return x.flatten(0, 1)\nx = to_tokens(x)")
row("to_tokens = fold\nx = to_tokens(x)")
row("if flag:\n    to_tokens = fold\nelse:\n    to_tokens = early\nx = to_tokens(x) if flag else x")
row("for to_tokens in (fold,):\n    pass\nx = to_tokens(x)")
row("with nullcontext(fold) as to_tokens:\n    pass\nx = to_tokens(x)")
row("to_tokens, n = fold, 1\nx = to_tokens(x)")
row("x = to_tokens(x) if (to_tokens := fold) else x")
row("try:\n    1 / 0\nexcept ZeroDivisionError as to_tokens:\n    pass\nto_tokens = fold\nx = to_tokens(x)")
row("match fold:\n    case to_tokens:\n        x = to_tokens(x)")
row("class to_tokens:\n    def __new__(cls, x):\n        return x.flatten(0, 1)\nx = to_tokens(x)")
row("from operator import itemgetter as to_tokens\nx = to_tokens(0)(x)")
row("y = [to_tokens(x) for to_tokens in (fold,)]\nx = y[0]")
row("x = (lambda to_tokens: to_tokens(x))(fold)")
row("x = self.inner(x, fold)", methods="def inner(self, x, to_tokens):\n    return to_tokens(x)")
row("x = self.inner(x)", methods="def inner(self, x, to_tokens=fold):\n    return to_tokens(x)")
row("x = self.inner(x)", methods="def inner(self, x):\n    to_tokens = fold\n    return to_tokens(x)")
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    def to_tokens(x):\n        return x.flatten(0, 1)\n    return to_tokens(x)",
)
row("f = fold\nx = f(x)")
row("f = to_tokens\nx = f(x)")
row("stem = self.patch_embed\nx = stem(x)")
row("stem = self.fold\nx = stem(x)")
row("helper = self.either\nx = helper(x, True)")
row("def wrap(f):\n    return lambda t: f(t).flatten(0, 1)\n@wrap\ndef g(t):\n    return t\nx = g(x)")
row("async def f(t):\n    return t\ny = f(x)")
row("def g(t):\n    yield t\ny = g(x)")
row("def f(t) -> int:\n    return t\ny = 1")
row("class C:\n    y = 1\ny = C.y")
row("class C:\n    y = 1\nC.y = 2.5\ny = C.y")
row("class C(nn.Module):\n    def forward(self, x):\n        return x.flatten(0, 1)\nx = C()(x)")
row("class PatchEmbed(nn.Module):\n    def forward(self, x):\n        return x.flatten(0, 1)\nx = PatchEmbed()(x)")

# Imports and names of other things
row("import math\ny = math.ceil(2.5)")
row("import math as x")
row("from math import pi as x")
row("from math import sqrt as abs\ny = abs(4)")
row("from math import sqrt as len\ny = len(4)")
row("len = math.sqrt\ny = len(4)")
row("int = float\ny = int(4)")
row("range = zip\ny = [n for n in range([1], [2])]")
row("isinstance = divmod\ny = isinstance(4, 3)")
row("torch = math\ny = torch.ceil(2.5)")
row(
    "class torch:\n    @staticmethod\n    def cat(xs, dim=0):\n"
    "        return xs[0].flatten(0, 1)\nx = torch.cat((x, x), dim=1)"
)
row("class F:\n    @staticmethod\n    def relu(x):\n        return x.flatten(0, 1)\nx = F.relu(x)")
row("class math:\n    @staticmethod\n    def ceil(x):\n        return 2.5\ny = math.ceil(1)")
row(
    "x = torch.relu(x)",
    module="class torch:\n    class Tensor: pass\n    class nn: pass\n"
    "    ones = staticmethod(globals()['torch'].ones)\n"
    "    @staticmethod\n    def relu(x):\n        return x.flatten(0, 1)\n",
)
row("x = F.relu(x)", module="class F:\n    @staticmethod\n    def relu(x):\n        return x.flatten(0, 1)\n")
row(
    "x = F.relu(x)",
    module="if True:\n    class F:\n        @staticmethod\n        def relu(x):\n            return x.flatten(0, 1)\n",
)
row("x = F.relu(x)", module="def setup():\n    global F\n    class F:\n        relu = staticmethod(fold)\nsetup()\n")
row("y = len(x)", module="def len(x):\n    return 2.5\n")
row("y = str(3)", module="str = float\n")
row("y = self.inner()", methods="def inner(self) -> str:\n    return 2.5\n", module="str = float\n")
row("y = abs(-1)", module="from math import sqrt\nabs = lambda n: 2.5\n")
row("y = self.inner()", methods="def inner(self) -> Optional[int]:\n    return [1]\n", module="Optional = List\n")
row(
    "y = self.inner()",
    methods="def inner(self) -> Optional[int]:\n    return [1]\n",
    module="from typing import List as Optional\n",
)
row(
    "y = self.inner()",
    methods="def inner(self) -> Optional[int]:\n    return [1]\n",
    module="class Optional(list):\n    pass\n",
)
row("y = self.inner()", methods="def inner(self) -> Tensor:\n    return 2.5\n", module="class Tensor:\n    pass\n")
row("y = self.inner()", methods="def inner(self) -> Tensor:\n    return 2.5\n", module="Tensor = float\n")
row("y = self.inner()", methods="def inner(self) -> Size:\n    return 2.5\n", module="Size = float\n")
row(
    "y = self.inner()",
    methods="def inner(self) -> Size:\n    return 2.5\n",
    module="def change():\n    global Size\n    Size = float\nchange()\n",
)
row("y = self.inner()", methods="Size = float\ndef inner(self) -> Size:\n    return 2.5\n")
row("y = self.inner()", methods="int = float\ndef inner(self) -> int:\n    return 2.5\n")
row("y = self.inner()", methods="def inner(self) -> Grid:\n    return (1, 2)\n", module="Grid = Tuple[int, int]\n")
row(
    "y = self.inner()",
    methods="def inner(self) -> Grid:\n    return 2\n",
    module="Grid = Tuple[int, int]\nGrid = int\n",
)
row("y = self.inner()", methods="def inner(self) -> T:\n    return (1, 2)\n", module="T = typing.TypeVar('T')\n")
row(
    "y = self.inner()",
    methods="def inner(self) -> Grid:\n    return Grid(1, 2)\n",
    module="class Grid(typing.NamedTuple):\n    h: int\n    w: int\n",
)
for _annotation, _value in (
    ("int | None", "1"), ("tuple[int, ...]", "(1, 2)"), ("Tuple[int, ...]", "(1, 2)"), ("list[int]", "[1]"),
    ("Union[int, None]", "None"), ("Union[int, float]", "2.5"), ("typing.Optional[int]", "None"), ("Any", "2.5"),
    ("object", "2.5"), ("'Optional[Tensor]'", "None"), ("'Tensor'", "torch.ones(1)"),
    ("torch.Tensor", "torch.ones(1)"), ("typing.Literal['a']", "'a'"), ("Dict[str, Tensor]", "{}"),
    ("typing.Sequence[int]", "(1, 2)"), ("typing.Iterable[int]", "[1]"), ("typing.Mapping[str, int]", "{}"),
    ("Tuple", "(1, 2.5)"), ("tuple", "(1, 2.5)"), ("list", "[1]"), ("List", "[2.5]"), ("Dict", "{}"), ("dict", "{}"),
    ("Tuple[()]", "()"), ("typing.Annotated[int, 'a']", "1"), ("typing.Callable", "len"), ("nn.Module", "self"),
    ("'Tiny'", "self"), ("torch.Size", "torch.Size([1])"), ("torch.dtype", "torch.float32"), ("None", "None"),
    ("complex", "1j"), ("bytes", "b'a'"), ("set", "{1}"), ("Optional[Tuple[int, int]]", "(1, 2)"),
    ("List[Tuple[int, Tensor]]", "[(1, torch.ones(1))]"), ("typing.Final[int]", "1"), ("type", "int"),
    ("typing.Type[int]", "int"), ("List['Tensor']", "[torch.ones(1)]"), ("'List[Tensor]'", "[torch.ones(1)]"),
    ("float", "2.5"), ("bool", "True"), ("str", "'a'"), ("int", "1"), ("torch.LongTensor", "torch.ones(1).long()"),
    ("nn.Parameter", "self.pos_embed"), ("typing.Generator", "(n for n in ())"),
    ("typing.Iterator[int]", "iter([1])"), ("typing.NoReturn", "1 / 0 if self is None else 1"),
):  # fmt: skip
    row("y = self.inner()", methods=f"def inner(self) -> {_annotation}:\n    return {_value}\n")
    _inner = _value.replace("self.pos_embed", "nn.Parameter(x)")
    row(
        "y = self.child(x)",
        init="self.child = Child()",
        module=f"class Child(nn.Module):\n    def forward(self, x) -> {_annotation}:\n"
        f"        self = x\n        return {_inner}\n",
    )
row("y = self.inner()", methods="async def inner(self) -> int:\n    return 1\n")
row("y = self.inner()", methods="def inner(self) -> typing.Iterator[int]:\n    yield 1\n")
row("y = self.inner()", methods="def inner(self) -> int:\n    yield 1\n")
row("y = self.inner()", methods="def inner(self):\n    yield 1\n    return 1\n")
row("y = self.inner()", methods="def inner(self):\n    return (yield 1)\n")
row("y = self.inner()", methods="def inner(self):\n    yield from (1,)\n")
row("y = self.inner", methods="@property\ndef inner(self) -> int:\n    return 1\n")
row("y = self.inner", methods="@functools.cached_property\ndef inner(self) -> int:\n    return 1\n")
row("y = self.inner()", methods="@property\ndef inner(self) -> int:\n    return lambda: 2.5\n")
row("y = self.inner()", methods="@property\ndef inner(self):\n    return lambda: 2.5\n")
row("y = self.inner()", methods="@contextmanager\ndef inner(self) -> int:\n    yield 1\n")
row(
    "y = self.inner()",
    methods="@twice\ndef inner(self) -> int:\n    return 1\n",
    module="def twice(f):\n    return lambda *a: (f(*a), f(*a))\n",
)
row(
    "y = self.inner()",
    methods="@twice\ndef inner(self):\n    return 1\n",
    module="def twice(f):\n    return lambda *a: (f(*a), f(*a))\n",
)
row("y = self.inner()", methods="@torch.no_grad()\ndef inner(self):\n    return 1\n")
row("y = self.inner()", methods="@functools.lru_cache\ndef inner(self) -> int:\n    return 1\n")
row(
    "y = twice_one()",
    module="def twice(f):\n    return lambda *a: (f(*a), f(*a))\n@twice\ndef twice_one():\n    return 1\n",
)
row(
    "x = folded(x)",
    module="def twice(f):\n    return lambda x: f(x).flatten(0, 1)\n@twice\ndef folded(x):\n    return x\n",
)
row(
    "x = self.folded(x)",
    module="def twice(f):\n    return lambda s, x: f(s, x).flatten(0, 1)\n",
    methods="@twice\ndef folded(self, x):\n    return x\n",
)

# Functions and methods that are entered
every(
    "x = self.inner(x)", methods="def inner(self, x):\n    x = self.conv(x)\n    return x.flatten(2).transpose(1, 2)\n"
)
every(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    if self.dynamic:\n        return self.patch_embed(x)\n"
    "    x = self.conv(x)\n    return to_tokens(x)\n",
)
every(
    "x, H, W = self.inner(x)",
    methods="def inner(self, x):\n    x = self.conv(x)\n    B, C, H, W = x.shape\n"
    "    return x.flatten(2).transpose(1, 2), H, W\n",
)
row("y = falls_off(x, flag)")
row("y = falls_off(1, flag)")
row("y = falls_off(1, False)")
row("y = counts(3)")
row("x = early(x, flag)")
row("n = x\nx = early(x, flag)\ny = early(n, not flag)")
row("y = self.inner(flag)", methods="def inner(self, flag):\n    if flag:\n        return 1\n    return 2.5\n")
row("y = self.inner(flag)", methods="def inner(self, flag):\n    if flag:\n        return 1\n")
row(
    "y = self.inner(flag)",
    methods="def inner(self, flag):\n    if flag:\n        return 1\n    elif flag is None:\n        return 1\n",
)
row("y = self.inner(flag)", methods="def inner(self, flag):\n    if flag:\n        return 1\n    raise ValueError\n")
row(
    "y = self.inner(flag)",
    methods="def inner(self, flag):\n    if flag:\n        return 1\n    assert not flag\n    return\n",
)
row("y = self.inner()", methods="def inner(self):\n    for n in ():\n        return 1\n")
row(
    "y = self.inner()",
    methods="def inner(self):\n    for n in (1, 2):\n        return 1\n    else:\n        return 2.5\n",
)
row("y = self.inner()", methods="def inner(self):\n    for n in ():\n        return 1\n    else:\n        return 2.5\n")
row("y = self.inner()", methods="def inner(self):\n    while True:\n        return 2.5\n    return 1\n")
row("y = self.inner()", methods="def inner(self):\n    while True:\n        break\n    return 2.5\n")
row("y = self.inner()", methods="def inner(self):\n    return 2.5\n    return 1\n")
row(
    "y = self.inner()",
    methods="def inner(self):\n    n = 1\n    while n < 5:\n        n *= 2.5\n"
    "        if n > 3:\n            return n\n    return 1\n",
)
row("y = self.inner()", methods="def inner(self):\n    def f():\n        return 1\n    return 2.5\n")
row("y = self.inner()", methods="def inner(self):\n    f = lambda: 1\n    return f\n")
row("y = self.inner()", methods="def inner(self):\n    def f():\n        return 1\n")
row("y = self.inner()", methods="def inner(self):\n    class C:\n        def f(self):\n            return 1\n")
row("y = self.inner()", methods="def inner(self):\n    pass\n")
row("y = self.inner()", methods="def inner(self):\n    'Text.'\n")
row("y = self.inner()", methods="def inner(self):\n    ...\n")
row("y = self.inner()", methods="def inner(self):\n    return\n")
row("y = self.inner(1)", methods="def inner(self, n=2.5):\n    return n\n")
row("y = self.inner()", methods="def inner(self, n=2.5):\n    return n\n")
row("y = self.inner()", methods="def inner(self, n: int = None):\n    return n\n")
row("y = self.inner()", methods="def inner(self, n: Optional[int] = None):\n    return n\n")
row(
    "y = self.inner(2)",
    methods="def inner(self, n: Optional[int] = None):\n    if n is None:\n        n = 2.5\n    return n\n",
)
row("y = self.inner(1, 2.5)", methods="def inner(self, *n):\n    return n\n")
row("y = self.inner(1, 2.5)", methods="def inner(self, *n: int):\n    return n\n")
row("y = self.inner(1, 2)", methods="def inner(self, *n: int):\n    return n\n")
row("y = self.inner(a=1, b=2.5)", methods="def inner(self, **n):\n    return n\n")
row("y = self.inner(a=1)", methods="def inner(self, **n: int):\n    return n\n")
row("y = self.inner(1, m=2.5)", methods="def inner(self, n, /, *, m=1):\n    return m\n")
row("y = self.inner(*(1, 2.5))", methods="def inner(self, n, m):\n    return m\n")
row("y = self.inner(*(1,), 2.5)", methods="def inner(self, n, m):\n    return m\n")
row("y = self.inner(**{'m': 2.5}, n=1)", methods="def inner(self, n, m=1):\n    return m\n")
row("y = self.inner(m=1, n=2.5)", methods="def inner(self, n, m):\n    return n\n")
row("y = self.inner(n=2.5)", methods="def inner(self, m=1, **n):\n    return n\n")
row("y = self.inner(2.5)", methods="def inner(this, n):\n    return n\n")
row("y = self.inner(2.5)", methods="def inner(*args):\n    return args[1]\n")
row("y = self.inner(2.5)", methods="@staticmethod\ndef inner(n):\n    return n\n")
row("y = self.inner(2.5)", methods="@classmethod\ndef inner(cls, n):\n    return n\n")
row("y = self.inner()", methods="@staticmethod\ndef inner(n=2.5):\n    return n\n")
row("y = Tiny.inner(1, 2.5)", methods="def inner(self, n):\n    return n\n")
row("y = Tiny.inner(1)", methods="def inner(self):\n    return self\n")
row("y = type(self).inner(self, 2.5)", methods="def inner(self, n):\n    return n\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\ndef inner(self, n):\n    return 2.5\n")
row(
    "y = self.inner(1)",
    methods="def inner(self, n):\n    return n\nif MODE:\n    def inner(self, n):\n        return 2.5\n",
)
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\nif MODE:\n    inner = lambda self, n: 2.5\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\ninner = lambda self, n: 2.5\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\nfor inner in (lambda self, n: 2.5,):\n    pass\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\ninner, other = lambda self, n: 2.5, 1\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\nfrom math import sqrt as inner\n")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\n", init="self.inner = lambda n: 2.5")
row("y = self.inner(1)", methods="def inner(self, n):\n    return n\n", init="setattr(self, 'inner', lambda n: 2.5)")
row("self.inner = lambda n: 2.5\ny = self.inner(1)", methods="def inner(self, n):\n    return n\n")
row("x = self.helper(x)", init="self.helper = fold")
row("x = self.helper(x)", init="self.helper = self.fold")
row("x = self.helper(x)", init="if dynamic:\n    self.helper = self.fold")
row("x = self.helper(x)", init="self.helper = self.fold if dynamic else self.act")
row("x = self.helper(x)", init="self.helper, n = self.fold, 1")
row("x = self.helper(x)", methods="helper = staticmethod(fold)\n")
row("x = self.helper(x)", methods="def other(self, x):\n    return x.flatten(0, 1)\nhelper = other\n")
row("x = self.inner(x)", methods="def inner(self, x):\n    self = self.fold\n    return self(x)\n")
row(
    "x = self.inner(x)",
    methods="def inner(self, x):\n    def f(self):\n        return self.flatten(0, 1)\n    return f(x)\n",
)
row("y = self.inner(x)", methods="def inner(self, x):\n    global MODE\n    MODE = x\n    return MODE\n")
row("self.inner(x)\ny = MODE", methods="def inner(self, x):\n    global MODE\n    MODE = x\n    return MODE\n")
row("y = MODE")
row("y = GRID", module="GRID = (1, 2)\n")
row("y = GRID", module="GRID = (1, 2)\nGRID = 2.5\n")
row("y = GRID", module="GRID = (1, 2)\ndef f():\n    global GRID\n    GRID = 2.5\nf()\n")
row("y = GRID", module="GRID = 1\nGRID += 0.5\n")
row("y = GRID", module="GRID = 1\nfor GRID in (2.5,):\n    pass\n")
row("y = GRID", module="GRID = [1]\nGRID.append(2.5)\n")
row("global GLOBAL\nGLOBAL = x.flatten(0, 1)\nx = GLOBAL")
row("global MODE\nMODE = 2.5\ny = MODE")
row("rest_of_module()\ny = MODE")

# Mutation of lists
for _call in (
    "xs.append(2.5)", "xs.extend([2.5])", "xs.insert(0, 2.5)", "xs += [2.5]", "xs[0] = 2.5", "xs[:] = [2.5]",
    "xs.__setitem__(0, 2.5)", "xs.__iadd__([2.5])", "add(xs)", "self.collect(xs)", "list.append(xs, 2.5)",
    "getattr(xs, 'append')(2.5)", "ys = xs\nys.append(2.5)", "(ys := xs).append(2.5)",
    "for ys in (xs,):\n    ys.append(2.5)", "f = xs.append\nf(2.5)", "list(map(xs.append, [2.5]))",
    "[xs.append(n) for n in (1, 2.5)]", "(lambda: xs.append(2.5))()", "def f():\n    xs.append(2.5)\nf()",
    "def f(ys=xs):\n    ys.append(2.5)\nf()", "self.xs = xs\nself.xs.append(2.5)", "ys = [xs]\nys[0].append(2.5)",
    "ys = {'a': xs}\nys['a'].append(2.5)", "ys = xs if flag else [1]\nys.append(2.5)\nys = xs\nys.append(2.5)",
    "ys = xs or [1]\nys.append(2.5)", "add(values=xs)", "add(*[xs])", "add(**{'values': xs})", "partial(add, xs)()",
    "exec('xs.append(2.5)')", "self.collect(self.first(xs))", "torch._foreach_add_([x], [x])\nxs.append(x)",
    "import operator\noperator.iadd(xs, [2.5])", "xs *= 2\nxs.append(2.5)",
    "match xs:\n    case ys:\n        ys.append(2.5)", "with nullcontext(xs) as ys:\n    ys.append(2.5)",
    "try:\n    xs.append(2.5)\n    raise ValueError\nexcept ValueError:\n    pass",
    "ys = xs\nxs = [1]\nys.append(2.5)", "ys = zs = xs\nzs.append(2.5)", "xs.sort()\nxs.append(2.5)",
    "xs.clear()\nxs.append(2.5)", "ys, zs = xs, 1\nys.append(2.5)", "ys = (xs, 1)\nzs, n = ys\nzs.append(2.5)",
    "class C:\n    def __init__(self, ys):\n        ys.append(2.5)\nC(xs)",
    "sorted([1], key=lambda n: xs.append(2.5) or 1)", "del xs[:]\nxs.append(2.5)", "if flag:\n    xs.append(2.5)",
    "while len(xs) < 4:\n    xs.append(2.5)", "xs.append(plain)", "xs.append(None)", "xs.append([1])",
    "xs[len(xs):] = [2.5]", "xs.extend(x.shape)\nxs.extend(n / 2 for n in list(xs))",
):  # fmt: skip
    row(f"xs = [1, 2]\n{_call}")
    if not _call.startswith(("xs[0]", "xs.__setitem__")):
        row(f"xs = []\n{_call}")
row("y = self.inner()\ny.append(2.5)\nz = self.inner()", methods="def inner(self, n=[1]):\n    return n\n")
row("y = self.sizes\ny.append(2.5)", init="self.sizes = [1, 2]")
row("self.sizes.append(2.5)\ny = self.sizes", init="self.sizes = [1, 2]")
row("y = self.sizes", init="self.sizes = [1, 2]\nself.sizes.append(2.5)")
row("y = self.sizes", init="self.sizes = sizes = [1, 2]\nsizes.append(2.5)")
row("y = self.sizes", init="self.sizes = [1, 2]\nself.sizes += [2.5]")
row("y = self.sizes", init="self.sizes = 1", methods="def later(self):\n    self.sizes = 2.5\n")
row("self.later()\ny = self.sizes", init="self.sizes = 1", methods="def later(self):\n    self.sizes = 2.5\n")
row("y = self.sizes", init="self.sizes = 1\nself.later()", methods="def later(self):\n    self.sizes = 2.5\n")
row("y = self.sizes", init="self.sizes = 1\nself.sizes /= 2")
row("y = self.sizes", init="self.sizes = 1\nfor self.sizes in (2.5,):\n    pass")
row("y = self.sizes", init="self.sizes = 1\nself.sizes, n = 2.5, 1")
row("y = self.sizes", init="self.sizes = 1\nsetattr(self, 'sizes', 2.5)")
row("y = self.sizes", init="self.sizes = 1\nif dynamic:\n    self.sizes = 2.5")
row("y = self.sizes", init="self.sizes: int = 1")
row("y = self.sizes", init="self.sizes: float = 1\nself.sizes = 2.5")
row("self.sizes = 2.5\ny = self.sizes", init="self.sizes = 1")
row("y = self.sizes\nself.sizes = 2.5\nz = self.sizes", init="self.sizes = 1")
row("y = self.kind\nself.kind = 2.5\nz = self.kind")
row("Tiny.kind = 2.5\ny = self.kind")
row("y = self.kind", init="self.kind = 2.5")
row("y = self.kind", methods="kind = 2.5\n")
row("y = self.kind", methods="@property\ndef kind(self):\n    return 2.5\n")
row("y = self.shape", init="self.shape = (1, 2)")
row("y = self.training", methods="training = 2.5\n")
row("y = self.size", init="self.size = n = 1\nn = 2.5")
row("y = self.size", init="n = 1\nn = 2.5\nself.size = n")
row("y = self.size", init="scale = 2.5\nself.size = scale")
row("y = self.size", init="self.size = scale")
row("y = self.size", init="self.size = scale * 2")
row("y = self.size", init="self.size = depth")
row("y = self.size", init="depth = depth / 2\nself.size = depth")
row("y = self.size", init="self.size = self.pos_embed.shape[1]")
row("y = self.size", init="self.size = scale ** -0.5")
row("y = self.size", init="self.size = True if dynamic else None")
row("y = self.size", init="self.size = [s for s in (1, 2.5)]")
row("y = self.patch_embed.grid_size", init="self.patch_embed.grid_size = 2.5")
row("self.patch_embed.grid_size = 2.5\ny = self.patch_embed.grid_size")
row("y = self.patch_embed.grid_size", init="self.patch_embed = PatchEmbed()\nself.patch_embed.grid_size = [1]")
row("x = x[self.size:]", init="self.size = 0")

# Modules, and where they come from
every("x = self.stem(x)", init="self.stem = nn.Sequential(nn.Conv2d(3, 7, 2, 2), Flat())")
every("x = self.stem(x)", init="self.stem = make()", module="def make():\n    return PatchEmbed()\n")
every("x = self.stem(x)", init="self.stem = PatchEmbed(flatten=True)")
row("x = self.stem(x)", init="self.stem = nn.Conv2d(3, 7, 2, 2)\nself.stem = PatchEmbed()", known="types batch")
row("x = self.given(x)", known="order")
row("x = self.stem(x)", init="self.stem = PatchEmbed(flatten=False)", known="types batch order")
row("x = self.stem(x)", init="self.stem = PatchEmbed(7, False)", known="types batch order")
_KINDS = """
import copy
import types


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Kept(nn.Module):
    def __init__(self, inner=None, layer=nn.Identity):
        super().__init__()
        self.inner = inner or layer()

    def forward(self, x):
        return self.inner(x)


class Derived(PatchEmbed):
    pass


class Overridden(PatchEmbed):
    def forward(self, x):
        return x.flatten(0, 1)


class Super(PatchEmbed):
    def forward(self, x):
        return super().forward(x).flatten(0, 1)


class Called(PatchEmbed):
    def __call__(self, x):
        return x.flatten(0, 1)


class Rebound(nn.Module):
    def forward(self, x):
        return x

    forward = fold_it = lambda self, x: x.flatten(0, 1)


class Patched(nn.Module):
    def forward(self, x):
        return x


Patched.forward = lambda self, x: x.flatten(0, 1)


def decorate(cls):
    return Fold


@decorate
class Decorated(nn.Module):
    def forward(self, x):
        return x


class New(nn.Module):
    def __new__(cls):
        return Fold()

    def forward(self, x):
        return x


class Row(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.append(Fold())


class Reversed(nn.Sequential):
    def forward(self, x):
        for layer in reversed(self):
            x = layer(x)
        return x


class Appended(nn.Sequential):
    def __init__(self):
        super().__init__()
        layers = [nn.Identity()]
        alias = layers
        alias.append(Fold())
        self.extend(layers)


class Delegated(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.build()

    def build(self):
        self.add_module('fold', Fold())


class Conditional(nn.Module):
    def __init__(self, fold=True):
        super().__init__()
        self.fold = fold

    def forward(self, x):
        return x.flatten(0, 1) if self.fold else x


class Setting(nn.Module):
    def __init__(self, mode='a'):
        super().__init__()
        self.mode = mode

    def forward(self, x):
        if self.mode == 'a':
            return x
        return x.flatten(0, 1)


class Later(nn.Module):
    def __init__(self):
        super().__init__()
        self.fold = False
        self.prepare()

    def prepare(self):
        self.fold = True

    def forward(self, x):
        if self.fold:
            return x.flatten(0, 1)
        return x


class InPlace(nn.Module):
    def forward(self, x):
        x.transpose_(0, 1)
        return x


class Mutating(nn.Module):
    def forward(self, x):
        x.data = x.data.flatten(0, 1)


class Doubled(nn.Module):
    def __init__(self, inner=Fold()):
        super().__init__()
        self.inner = self.other = inner

    def forward(self, x):
        return self.other(x)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.inner = Fold()

    def forward(self, x):
        return self.inner(x)


def make_fold():
    return Fold()


def make(cls=nn.Identity):
    return cls()


def make_row(n):
    layers = []
    for _ in range(n):
        layers.append(nn.Identity())
    if n:
        layers += [Fold()]
    return nn.Sequential(*layers)


def choose(name):
    if name == 'fold':
        return Fold()
    elif name is None:
        return nn.Identity()
    return Flat()


def nested():
    def inner():
        return nn.Identity()
    return Fold()


def recursive(n):
    return recursive(n - 1) if n else Fold()


@functools.lru_cache
def cached():
    return Fold()


class Kind(type):
    def __call__(cls, *args):
        return Fold()


class Meta(nn.Module, metaclass=Kind):
    def forward(self, x):
        return x


class Alias(nn.Module):
    def forward(self, x):
        return x


Alias = Fold


class Twin(nn.Module):
    def forward(self, x):
        return x


if MODE:
    class Twin(nn.Module):
        def forward(self, x):
            return x.flatten(0, 1)


class Local(nn.Module):
    class Inner(nn.Module):
        def forward(self, x):
            return x.flatten(0, 1)


class Linear(Fold):
    pass


class Identity(Fold):
    pass


class LayerNorm(nn.LayerNorm):
    def __init__(self):
        super().__init__(3)

    def forward(self, x):
        return x.flatten(0, 1)


class Conv2d(nn.Module):
    def forward(self, x):
        return x.flatten(0, 1)


def GELU():
    return Fold()


Dropout = Fold


class Sequential(nn.Sequential):
    def forward(self, x):
        return self[0](x).flatten(0, 1)


ns = types.SimpleNamespace(Identity=Fold)


def hooked():
    module = nn.Identity()
    module.register_forward_hook(lambda module, inputs, output: output.flatten(0, 1))
    return module


class Annotated(nn.Module):
    inner: nn.Identity

    def __init__(self):
        super().__init__()
        self.inner: nn.Module = Fold()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Lying(nn.Module):
    def forward(self, x: 'image') -> 'tokens':
        return x.flatten(0, 1)


class Varargs(nn.Module):
    def forward(self, *x):
        return x


class Keyword(nn.Module):
    def forward(self, x, *, fold=True):
        return x.flatten(0, 1) if fold else x


class Defaulted(nn.Module):
    def forward(self, x, y=2.5):
        return y


class Gen(nn.Module):
    def forward(self, x):
        yield x


class Shadow(nn.Module):
    def __init__(self):
        super().__init__()
        nn = ns
        self.inner = nn.Identity()

    def forward(self, x):
        return self.inner(x)


class Child(nn.Module):
    Inner = Fold


class Init(nn.Module):
    def __init__(self, inner=nn.Identity()):
        super().__init__()
        inner = inner
        self.inner = nn.Sequential(inner, inner)

    def forward(self, x):
        return self.inner[0](x)


class SelfReplaced(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.forward = fold

    def forward(self, x):
        return x


class DynamicForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.inner.forward = fold

    def forward(self, x):
        return self.inner(x)


class Attr(nn.Module):
    def __init__(self):
        super().__init__()
        setattr(self, 'inner', Fold())

    def forward(self, x):
        return getattr(self, 'inner')(x)


class Property(nn.Module):
    @property
    def inner(self):
        return fold

    def forward(self, x):
        return self.inner(x)


class Slotted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Identity()]
        self.layers[0] = Fold()

    def forward(self, x):
        return self.layers[0](x)


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()
        for kind in (nn.Identity, Fold):
            self.layers.append(kind())

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class LoopingOver(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(2):
            self.add_module(f'layer{i}', Fold() if i else nn.Identity())

    def forward(self, x):
        for i in range(2):
            x = getattr(self, f'layer{i}')(x)
        return x


class Indexing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity() for _ in range(2)])
        self.layers[1] = Fold()

    def forward(self, x):
        return self.layers[1](x)


class Optionally(nn.Module):
    def __init__(self, inner=Fold()):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        if self.inner is not None:
            x = self.inner(x)
        return x


class Branching(nn.Module):
    def __init__(self, keep=False):
        super().__init__()
        if keep:
            self.inner = nn.Identity()
        else:
            self.inner = Fold()

    def forward(self, x):
        return self.inner(x)


class Tupled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.other = Fold(), nn.Identity()

    def forward(self, x):
        return self.inner(x)


class NormOnly(nn.Module):
    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        return (x - mean) / (x.var(1, keepdim=True) + 1e-6).sqrt()


class Static(nn.Module):
    @staticmethod
    def forward(x):
        return x.flatten(0, 1)


class ClassAttr(nn.Module):
    inner = nn.Identity()

    def __init__(self):
        super().__init__()
        self.inner = Fold()

    def forward(self, x):
        return self.inner(x)


class ClassAttrChanged(nn.Module):
    keep = True

    def forward(self, x):
        return x if self.keep else x.flatten(0, 1)


ClassAttrChanged.keep = False


class Enumerated(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), Fold()])

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            if i:
                x = layer(x)
        return x


class Getattr(nn.Module):
    def __getattr__(self, name):
        return fold if name == 'inner' else super().__getattr__(name)

    def forward(self, x):
        return self.inner(x)
"""
for _made in (
    "Fold()", "PatchEmbed(flatten=dynamic)", "PatchEmbed(**{'flatten': False})", "PatchEmbed(*(7, False))",
    "PatchEmbed() if dynamic else Fold()", "nn.Identity() if dynamic else Fold()", "[nn.Identity(), Fold()][1]",
    "{'a': Fold}['a']()", "dict(a=Fold)['a']()", "getattr(nn, 'Flatten')(0, 1)", "(lambda: Fold())()",
    "partial(Fold)()", "nn.Flatten(0, 1)", "nn.Flatten()", "nn.Flatten(2)", "nn.Flatten(start_dim=0, end_dim=1)",
    "nn.Unflatten(0, (1, -1))", "nn.Unflatten(0, (-1, 1))", "nn.Sequential(nn.Identity(), Fold())",
    "nn.Sequential(*[Fold()])", "nn.Sequential(*[nn.Identity(), Fold()])",
    "nn.Sequential(*([Fold()] if dynamic else []))", "nn.Sequential(OrderedDict(a=Fold()))",
    "nn.Sequential(OrderedDict([('a', Fold())]))", "nn.Sequential(*[Fold() for _ in range(1)])", "nn.Sequential()",
    "nn.Sequential(nn.Sequential(Fold()))", "nn.ModuleList([Fold()])[0]", "nn.ModuleDict({'a': Fold()})['a']",
    "Wrapped(Fold())", "Wrapped(nn.Identity())", "Kept(nn.Identity())", "Kept(layer=Fold)", "Kept()", "Derived()",
    "Overridden()", "Super()", "Called()", "Rebound()", "Patched()", "Decorated()", "New()", "Row()",
    "Row(nn.Identity())", "Reversed(nn.Identity(), Fold())", "Appended()", "Delegated()", "Conditional()",
    "Conditional(False)", "Setting()", "Setting(mode='b')", "Setting('b')", "Later()", "InPlace()", "Mutating()",
    "Doubled()", "Doubled(nn.Identity())", "Twice()", "make_fold()", "make(Fold)", "make(nn.Identity)",
    "make(cls=Fold)", "make()", "make_row(2)", "make_row(0)", "choose('fold')", "choose('flat')", "choose(None)",
    "nested()", "recursive(3)", "cached()", "Meta()", "Alias()", "Twin()", "Local.Inner()", "Local().Inner()",
    "nn.Conv2d(3, 3, 1)", "nn.ConvTranspose2d(3, 3, 2, 2)", "nn.MaxPool2d(2)", "nn.MaxPool2d(2, return_indices=True)",
    "nn.AdaptiveAvgPool2d(1)", "nn.AdaptiveMaxPool2d(1, return_indices=True)", "nn.PixelShuffle(1)",
    "nn.PixelUnshuffle(2)", "nn.Upsample(scale_factor=2)", "nn.Unfold(2, stride=2)", "nn.LazyLinear(5)",
    "nn.BatchNorm2d(3)", "nn.GroupNorm(1, 3)", "nn.Softmax(0)", "nn.Softmax(dim=1)", "nn.Dropout(0.)",
    "nn.Dropout2d(0.)", "nn.ZeroPad2d(1)", "nn.GLU(2)", "nn.ReLU(inplace=True)", "nn.Threshold(0, 1)",
    "nn.Softmax2d()", "nn.ChannelShuffle(1)", "nn.LPPool2d(1, 2)", "nn.ConstantPad3d((0, 0, 0, 0, 1, 0), 0)",
    "nn.InstanceNorm2d(3)", "Linear()", "Identity()", "LayerNorm()", "Conv2d()", "GELU()", "Dropout()",
    "Sequential(Fold())", "ns.Identity()", "nn.Identity(Fold())",
    "nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))", "nn.Identity().eval()", "Fold().eval()",
    "copy.deepcopy(Fold())", "hooked()", "type('T', (nn.Module,), {'forward': lambda s, x: x.flatten(0, 1)})()",
    "Fold.__new__(Fold) and Fold()", "to_tokens", "fold", "Fold().forward", "lambda x: x.flatten(0, 1)",
    "Annotated()", "Lying()", "Varargs()", "Keyword()", "Defaulted()", "Gen()", "Shadow()", "Child.Inner()", "Init()",
    "Init(Fold())", "SelfReplaced()", "DynamicForward()", "Attr()", "Property()", "Slotted()", "Looping()",
    "LoopingOver()", "Indexing()", "Optionally(None)", "Optionally(Fold())", "Optionally()", "Branching(True)",
    "Branching()", "Tupled()", "NormOnly()", "Static()", "ClassAttr()", "ClassAttrChanged()", "Enumerated()",
    "Getattr()",
):  # fmt: skip
    row(
        "y = self.stem(x)",
        init=f"self.stem = {_made}",
        module=_KINDS,
    )
_BUILD = "def build(self):\n    self.stem = Fold()\n"
for _body, _init in (
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nif dynamic:\n    self.stem = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nsetattr(self, 'stem', Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.add_module('stem', Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.register_module('stem', Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.set_submodule('stem', Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem.forward = fold"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem.register_forward_hook(lambda m, i, o: o.flatten(0, 1))"),
    ("x = self.stem(x)",
     "self.stem = nn.Identity()\n"
     "self.stem.register_forward_pre_hook(lambda m, i: (i[0].flatten(0, 1),))"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nfor n in range(1):\n    self.stem = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem, n = Fold(), 1"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nwith torch.no_grad():\n    self.stem = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\ntry:\n    self.stem = Fold()\nfinally:\n    pass"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem = n = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Identity()\nself.stem: nn.Module = Fold()"),
    ("x = self.stem(x)", "Flat = Fold\nself.stem = Flat()"),
    ("x = self.stem(x)", "stem = nn.Identity()\nstem = Fold()\nself.stem = stem"),
    ("x = self.stem(x)", "stem = Fold()\nself.stem = stem"),
    ("x = self.stem(x)", "def stem():\n    return Fold()\nself.stem = stem()"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem.append(Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem[0] = Fold()"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem.insert(0, Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem.extend([Fold()])"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem += nn.Sequential(Fold())"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity()) + nn.Sequential(Fold())"),
    ("x = self.stem(x)", "self.stem = stem = nn.Sequential(nn.Identity())\nstem.append(Fold())"),
    ("x = self.stem(x)", "stem = nn.Sequential(nn.Identity())\nself.stem = stem\nstem.add_module('fold', Fold())"),
    ("x = self.stem(x)", "layers = [nn.Identity()]\nlayers.append(Fold())\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)", "layers = [nn.Identity()]\nlayers += [Fold()]\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)", "layers = [nn.Identity()]\nlayers[0] = Fold()\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)",
     "layers = [nn.Identity()]\nalias = layers\n"
     "alias.append(Fold())\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)",
     "layers = [nn.Identity()]\nfor n in range(1):\n"
     "    layers.insert(0, Fold())\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)", "layers = [nn.Identity()]\nadd(layers, Fold())\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)", "layers = [nn.Identity()]\nlayers = [Fold()]\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)",
     "layers = [nn.Identity()]\nif dynamic:\n"
     "    layers = layers + [Fold()]\nself.stem = nn.Sequential(*layers)"),
    ("x = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())\nself.stem = nn.Sequential(self.stem, Fold())"),
    ("x = self.stem(x)", "self.stem = self.fold"), ("x = self.stem(x)", "self.stem = self.stems[0]"),
    ("x = self.stem(x)", "self.stem = self.mixed[1]"), ("x = self.stem(x)", "self.stem = fold"),
    ("x = self.stem(x)", "self.stem = lambda x: x.flatten(0, 1)"), ("x = self.stem(x)", "self.stem = partial(fold)"),
    ("x = self.stem(x)", "self.stem = self.either"), ("x = self.stem(x, True)", "self.stem = self.either"),
    ("x = self.stem(x)", "self.build()"), ("x = self.stem(x)", "self.stem = nn.Identity()\nself.build()"),
    ("x = self.stem(x)", "self.stem = nn.Identity() if depth else None"),
    ("x = self.stem(x) if self.stem else x", "self.stem = None"),
    ("x = self.stem.inner(x)", "self.stem = nn.Module()\nself.stem.inner = Fold()"),
    ("x = self.stem.proj(x)", "self.stem = PatchEmbed()"),
    ("x = self.stem.proj(x)", "self.stem = PatchEmbed()\nself.stem.proj = Fold()"),
    ("x = self.stem(x)", "self.stem = PatchEmbed()\nself.stem.proj = Fold()\nself.stem.flatten = False"),
    ("x = self.stem(x)", "self.stem = PatchEmbed()\nself.stem.flatten = False"),
    ("self.stem.flatten = False\nx = self.stem(x)", "self.stem = PatchEmbed()"),
    ("self.stem = self.fold\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("self.stem = Fold()\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("self.stem.append(Fold())\nx = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())"),
    ("self.stem[0] = Fold()\nx = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())"),
    ("stem = self.stem\nstem.append(Fold())\nx = self.stem(x)", "self.stem = nn.Sequential(nn.Identity())"),
    ("self.stem.forward = fold\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("self.stem.register_forward_hook(lambda m, i, o: o.flatten(0, 1))\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("del self.stem\nself.stem = fold\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("setattr(self, 'stem', Fold())\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("self.build()\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("x = x if self.build() else self.stem(x)", "self.stem = nn.Identity()"),
    ("x = self.stem[0](x)", "self.stem = nn.Sequential(Fold(), nn.Identity())"),
    ("x = self.stem[-1](x)", "self.stem = nn.Sequential(nn.Identity(), Fold())"),
    ("x = self.stem[1:](x)", "self.stem = nn.Sequential(nn.Identity(), Fold())"),
    ("x = self.stem[:1](x)", "self.stem = nn.Sequential(nn.Identity(), Fold())"),
    ("x = self.stem['a'](x)", "self.stem = nn.ModuleDict({'a': Fold(), 'b': nn.Identity()})"),
    ("x = self.stem[flag](x)", "self.stem = nn.ModuleList([nn.Identity(), Fold()])"),
    ("for blk in self.stem:\n    x = blk(x)", "self.stem = nn.ModuleList([nn.Identity()])\nself.stem.append(Fold())"),
    ("for blk in self.stem:\n"
    "    x = blk(x)", "self.stem = nn.ModuleList([nn.Identity() if i else Fold() for i in range(2)])"),
    ("for blk in self.stem.values():\n    x = blk(x)", "self.stem = nn.ModuleDict({'a': Fold()})"),
    ("x = self.stem(x)\nx = self.stem(x)", "self.stem = nn.Identity()"),
    ("x = super().__getattr__('stem')(x)", "self.stem = Fold()"),
    ("x = self.get_submodule('stem')(x)", "self.stem = Fold()"),
    ("x = next(self.stem.children())(x)", "self.stem = nn.Sequential(Fold())"),
    ("x = nn.Module.__call__(self.stem, x)", "self.stem = Fold()"),
    ("x = self(x)", "self.forward = lambda x: x.flatten(0, 1)"),
    ("x = self.forward(x)", "self.forward = lambda x: x.flatten(0, 1)"),
    ("x = self.inner.forward_features(x)", "self.inner = types.SimpleNamespace(forward_features=fold)"),
):  # fmt: skip
    row(_body, init=_init, module="import types\n", methods=_BUILD if "build" in _body + _init else "")
row("x = self.stem(x)", init="self.stem = Flat()", module="Flat = Fold\n")
row(
    "x = self.stem(x)",
    init="self.stem = Flat()",
    module="class Flat(nn.Module):\n    def forward(self, x):\n        return x.flatten(0, 1)\n",
)
row(
    "x = self.stem(x)",
    init="self.stem = nn.Identity()",
    module="class nn(nn.Module):\n    Module = nn.Module\n    ModuleList = nn.ModuleList\n"
    "    Sequential = nn.Sequential\n    Parameter = nn.Parameter\n"
    "    Conv2d = nn.Conv2d\n    LayerNorm = nn.LayerNorm\n"
    "    GELU = nn.GELU\n    Dropout = nn.Dropout\n    Identity = Fold\n",
)
row("x = self.patch_embed(x)", module="PatchEmbed.forward = lambda self, x: x.flatten(0, 1)\n")
row("x = to_tokens(x)", module="to_tokens = fold\n")
row("x = to_tokens(x)", module="def setup():\n    global to_tokens\n    to_tokens = fold\nsetup()\n")
row("x = to_tokens(x)", module="if MODE:\n    def to_tokens(x):\n        return x.flatten(0, 1)\n")
row("x = to_tokens(x)", module="for to_tokens in (fold,):\n    pass\n")
row("x = to_tokens(x)", module="from operator import pos as to_tokens\n")

# In which order
for _code in (
    "y = y.permute(0, 2, 3, 1)", "y = y.permute(0, 3, 1, 2)", "y = y.permute(0, 3, 2, 1)", "y = y.transpose(1, 3)",
    "y = y.transpose(2, 3)", "y = y.transpose(1, 2)", "y = y.mT", "y = y.flatten(2)",
    "y = y.flatten(2).transpose(1, 2)", "y = y.flatten(2).transpose(-1, -2)", "y = y.flatten(2).mT",
    "y = y.flatten(2).permute(0, 2, 1)", "y = y.flatten(1, 2)", "y = y.flatten(1, 2).transpose(1, 2)",
    "y = y.flatten(1)", "y = y.permute(0, 2, 3, 1).flatten(1, 2)", "y = y.permute(0, 2, 3, 1).flatten(2)",
    "y = y.permute(0, 2, 3, 1).flatten(1)", "y = y.permute(0, 2, 3, 1).permute(0, 3, 1, 2)",
    "y = y.permute(0, 2, 3, 1).transpose(1, 3)", "y = y.permute(0, 2, 3, 1).transpose(1, 2)",
    "y = y.reshape(B, H * W, C)", "y = y.reshape(B, -1, C)", "y = y.reshape(B, C, -1).transpose(1, 2)",
    "y = y.reshape(B, C, H * W).transpose(1, 2)", "y = y.view(B, C, W, H)", "y = y.view(B, H, W, C)",
    "y = y.reshape(B, W, C, H)", "y = y.reshape(B, C, -1)", "y = y.reshape(B, -1, H * W)",
    "y = y.reshape(B, -1, H * W).transpose(1, 2)", "y = y.reshape(B, -1, W).transpose(1, 2)",
    "y = y.reshape(B, C * H, W).transpose(1, 2)", "y = y.reshape(B, C, H, W)", "y = y.reshape(B, C, -1, W)",
    "y = y.reshape(B, C, H, -1)", "y = y.reshape(B, -1, H, W)", "y = y.reshape(y.shape)",
    "y = to_tokens(y).reshape(B, H, W, C)", "y = to_tokens(y).reshape(B, W, H, C)",
    "y = to_tokens(y).reshape(B, H, W, -1)", "y = to_tokens(y).reshape(B, H, -1, C)",
    "y = to_tokens(y).reshape(B, -1, W, C)", "y = to_tokens(y).transpose(1, 2).reshape(B, C, H, W)",
    "y = to_tokens(y).transpose(1, 2).reshape(B, C, W, H)", "y = to_tokens(y).transpose(1, 2).reshape(B, -1, H, W)",
    "y = to_tokens(y).reshape(B, C, H, W)", "y = to_tokens(y).unflatten(1, (H, W))",
    "y = to_tokens(y).unflatten(1, (W, H))", "y = to_tokens(y).transpose(1, 2).unflatten(2, (H, W))",
    "y = to_tokens(y).transpose(1, 2).view(y.shape)", "y = to_tokens(y).permute(0, 2, 1).view(B, C, H, W)",
    "y = to_tokens(y).reshape(B, H // 2, 2 * W, C)", "y = to_tokens(y).reshape(B * H, W, C)",
    "y = to_tokens(y).reshape(B, -1)", "y = to_tokens(y).reshape(1, -1, C)", "y = to_tokens(y).reshape(-1, H * W, C)",
    "y = to_tokens(y).reshape(-1, C, H * W)", "y = to_tokens(y).reshape(B, C, -1)", "y = to_tokens(y)[:, 1:]",
    "y = to_tokens(y)[:, :, 1:]", "y = to_tokens(y)[:, 0]", "y = to_tokens(y)[:, None]",
    "y = to_tokens(y)[:, torch.arange(4)]", "y = to_tokens(y)[..., None]", "y = to_tokens(y)[1:]",
    "y = to_tokens(y).flip(1)", "y = to_tokens(y).roll(1, 1)", "y = to_tokens(y).unsqueeze(1)",
    "y = to_tokens(y).unsqueeze(1).squeeze(1)", "y = to_tokens(y).unsqueeze(-1)", "y = to_tokens(y).mean(1)",
    "y = to_tokens(y).mean(1, keepdim=True)",
    "y = torch.cat((self.cls_token.expand(B, -1, -1), to_tokens(y)), dim=1)",
    "y = torch.cat((self.cls_token.expand(B, -1, -1), to_tokens(y)), 1)",
    "y = torch.cat((to_tokens(y), to_tokens(y)), dim=2)", "y = torch.cat((to_tokens(y), to_tokens(y)), dim=-1)",
    "y = torch.cat((to_tokens(y), self.cls_token.expand(B, -1, -1)), dim=-2)", "y = torch.cat((y, y), 1)",
    "y = torch.cat((y, y), 3)", "y = torch.cat((y.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)), -1)",
    "y = torch.cat([to_tokens(y)[:, None], to_tokens(y)[:, None]], 1)",
    "y = torch.stack([to_tokens(y), to_tokens(y)], 1)", "y = torch.stack([y, y], 1)",
    "y = torch.stack([y[:, 0], y[:, 1]], 1)", "y = torch.stack([y[:, 0], y[:, 1]], -1)",
    "y = y + to_tokens(y).mean()", "y = y[:, 0]", "y = y[:, :2]", "y = y[..., 0]", "y = y[:, :, ::2]",
    "y = y[:, None]", "y = y[:, None].squeeze(1)", "y = y[:, None, 0]", "y = y[:, 0, None]",
    "y = y[..., None].squeeze(-1)", "y = y[:, 0].unsqueeze(1)", "y = y[:, 0].unsqueeze(-1)", "y = y[:, :, 0]",
    "y = y[:, :, 0].transpose(1, 2)", "y = y.mean(1)", "y = y.mean(1, keepdim=True)", "y = y.mean((2, 3))",
    "y = y.mean((2, 3), keepdim=True)", "y = y.mean(2).transpose(1, 2)", "y = y.sum(-1)",
    "y = y.sum(-1, keepdim=True)", "y = y.mean(-1).mean(-1)", "y = y.amax(3)", "y = y.max(1)[0]",
    "y = y.max(1, keepdim=True)[0]", "y = y.argmax(1)", "y = y.unbind(1)[0]", "y = y.movedim(1, -1)",
    "y = y.movedim(-1, 1)", "y = y.moveaxis(1, 3)", "y = y.swapaxes(1, 3)", "y = y.rot90(1, (2, 3))", "y = y.flip(2)",
    "y = y.flip(2, 3)", "y = y.roll(1, 2)", "y = y.T", "y = y.contiguous(memory_format=torch.channels_last)",
    "y = y.to(memory_format=torch.channels_last)", "y = y.unfold(2, 2, 2)", "y = y.unfold(2, 2, 2).unfold(3, 2, 2)",
    "y = F.unfold(x, 2, stride=2)", "y = F.unfold(x, 2, stride=2).transpose(1, 2)", "y = F.pixel_unshuffle(x, 2)",
    "y = F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)", "y = F.interpolate(y, scale_factor=2)",
    "y = F.interpolate(y, size=(W, H))", "y = F.pad(y, (0, 1, 0, 1))", "y = F.pad(y, (0, 0, 0, 0, 0, 1))",
    "y = F.pad(to_tokens(y), (0, 0, 0, 1))", "y = F.pad(to_tokens(y), (0, 1))", "y = F.avg_pool2d(y, 2)",
    "y = F.avg_pool2d(y.permute(0, 2, 3, 1), 1)", "y = F.adaptive_avg_pool2d(y, (4, 5))",
    "y = F.max_pool1d(to_tokens(y), 1)", "y = F.linear(to_tokens(y), torch.ones(5, 7))",
    "y = to_tokens(y) @ torch.ones(7, 5)", "y = to_tokens(y) @ to_tokens(y).mT", "y = to_tokens(y).mT @ to_tokens(y)",
    "y = y.mT @ y", "y = y @ y.mT", "y = torch.ones(5, 80) @ to_tokens(y)", "y = torch.einsum('bchw->bhwc', y)",
    "y = torch.einsum('bchw->bwhc', y)", "y = torch.einsum('bchw,cd->bdhw', y, torch.ones(7, 5))",
    "y = y.unflatten(1, (1, -1))", "y = y.unflatten(1, (1, -1)).flatten(1, 2)",
    "y = y.unflatten(2, (-1, 1)).flatten(2, 3)", "y = y.unflatten(1, (1, -1)).squeeze(1)", "y = y.squeeze(1)",
    "y = y.squeeze()", "y = y.expand(-1, -1, -1, -1)", "y = y.repeat(1, 1, 1, 1)", "y = y.repeat(1, 2, 1, 1)",
    "y = y.repeat(1, 1, 2, 1)", "y = y.tile(2)", "y = y.repeat_interleave(2, 1)", "y = y.repeat_interleave(2)",
    "y = y.view(B, C, H // 1, 1, W // 1, 1).permute(0, 2, 4, 3, 5, 1).reshape(B, H, W, C)",
    "y = y.view(B, C, H, 1, W, 1).permute(0, 4, 2, 3, 5, 1).flatten(3)",
    "y = x.reshape(B, 3, H, 2, W, 2).permute(0, 2, 4, 3, 5, 1).flatten(3)",
    "y = x.reshape(B, 3, H, 2, W, 2).permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2)",
    "y = x.reshape(B, 3, H, 2, W, 2).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)",
    "y = x.reshape(B, 3, 2, H, 2, W).permute(0, 3, 5, 1, 2, 4).flatten(3)",
    "y = x.reshape(B, 3, H, 2, W, 2).permute(0, 2, 4, 3, 5, 1).reshape(B, H * W, -1)",
    "y = x.reshape(B, 3, H, 2, W, 2).permute(0, 4, 2, 3, 5, 1).reshape(B, H, W, -1)",
    "y = x.reshape(B, 3, H, 2, W, 2).transpose(1, 2).flatten(2)",
    "y = x.reshape(B, 3, H, 2, -1).transpose(1, 2).flatten(2)", "y = self.norm(y.permute(0, 2, 3, 1))",
    "y = self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)", "y = nn.LayerNorm(10)(y)", "y = self.last(y)",
    "y = self.last(self.last(y))", "y = self.last(self.last(self.last(y)))", "y = self.flat(y)",
    "y = self.flat(self.last(y))", "y = self.flat(self.last(self.last(y)))", "y = self.act(self.flat(y))",
    "y = y.transpose(2, 3).flatten(2).transpose(1, 2)", "y = y.transpose(2, 3).transpose(2, 3)",
    "y = y.permute(0, 3, 1, 2).permute(0, 2, 3, 1)", "y = y.permute(0, 3, 2, 1).permute(0, 3, 2, 1)",
    "y, _ = self.pair(self.flat(y))", "y, size = self.measured(self.flat(y)[..., None])",
    "y = self.pair(self.flat(y))[0]", "y = [self.flat(y)][0]", "y = (self.flat(y), y)[1]",
    "y = {'a': self.flat(y)}['a']", "y = list((self.flat(y),))", "y = self.flat(y) if flag else y",
    "y = self.flat(y) if flag else y.flatten(2)", "y = self.flat(y) if self.dynamic else y",
    "y = y if flag else self.last(y)", "y = self.flat(y) + self.pos_embed",
    "y = y + self.pos_embed.transpose(1, 2).unflatten(2, (H, W))", "y = self.pos_embed + self.flat(y)",
    "y = self.last(y) + self.pos_embed.unflatten(1, (H, W))", "y = y.flatten(2) + self.pos_embed.mT",
    "y = y * y.sigmoid()", "y = y * y.mean((2, 3), keepdim=True)", "y = y / y.norm(dim=1, keepdim=True)",
    "y = y - y.amax(dim=(1, 2, 3), keepdim=True)", "y = y.mean(1) * y.transpose(0, 1)", "y = y.softmax(1)",
    "y = y.softmax(-1)", "y = y.cumsum(2)", "y = y.sort(2)[0]", "y = y.to(torch.float64).float()",
    "y = y.view(torch.int32).view(torch.float32)", "y = y.half().view(torch.int16)", "y = y.view(torch.int16)",
    "y = torch.view_as_real(torch.view_as_complex(y.unflatten(3, (-1, 2)).contiguous()))",
    "y = torch.fft.fft2(y).abs()", "y = y.new_zeros(B, H, W, C) + y.permute(0, 2, 3, 1)", "y = self.pos_embed",
    "y = self.pos_embed.expand(B, -1, -1)", "y = self.cls_token.expand(B, -1, -1)", "y = torch.zeros_like(y)",
    "y = y.new_zeros(B, C, W, H)", "y = torch.cat([t.flatten(2).transpose(1, 2) for t in (y, y)], 1)",
    "y = torch.cat([t.flatten(2) for t in (y, y)], 2).transpose(1, 2)",
    "y = torch.cat([y.flatten(2), y.flatten(2)], 1).transpose(1, 2)",
    "y = torch.cat([y.flatten(2), y.flatten(2)], 1)", "ys = [y]\nys.append(self.flat(y))\ny = ys[-1]",
    "ys = []\nfor t in y.unbind(1):\n    ys.append(t)\ny = torch.stack(ys, 1)", "z = y\nz.transpose_(1, 3)",
    "z = y.flatten(2)\nz.transpose_(1, 2)", "z = self.flat(y)\nz.transpose_(1, 2)",
    "def f(t):\n    return t.flatten(2)\ny = f(y)", "C, H, W = H, W, C\ny = y.view(B, H, W, C)",
    "H, W = W, H\ny = to_tokens(y).reshape(B, H, W, C)", "H = W = 1\ny = y.reshape(B, -1, H, W)",
    "H *= 2\ny = to_tokens(y).reshape(B, H, -1, C)", "h, w = self.grid\ny = to_tokens(y).reshape(B, h, -1, C)",
    "h, w = y.shape[-2:]\ny = to_tokens(y).reshape(B, h, w, C)",
    "w, h = y.shape[-2:]\ny = to_tokens(y).reshape(B, h, w, C)",
    "w, h = y.shape[-1], y.shape[-2]\ny = to_tokens(y).reshape(B, h, w, -1)",
    "s = y.shape\ny = to_tokens(y).mT.reshape(s)", "s = y.shape\ny = to_tokens(y).reshape(s)",
    "s = y.shape\ny = to_tokens(y).reshape(s[0], s[2], s[3], s[1])",
    "s = y.shape\ny = to_tokens(y).reshape(s[0], *s[2:], s[1])",
    "s = y.shape\ny = to_tokens(y).reshape(s[0], *s[:1:-1], s[1])", "s = y.shape[:2]\ny = y.reshape(*s, -1).mT",
    "s = list(y.shape)\ns.reverse()\ny = y.reshape(s)",
    "s = list(y.shape)\ns[2], s[3] = s[3], s[2]\ny = y.reshape(s)", "s = y.shape[::-1]\ny = y.reshape(s)",
    "s = sorted(y.shape)\ny = y.reshape(s)", "n = H * W\ny = y.reshape(B, n, C)",
    "n = H * W\ny = y.reshape(B, C, n).mT", "n = y.numel() // B // C\ny = y.reshape(B, n, C)",
    "n = y.shape[2] * y.shape[3]\ny = y.view(B, C, n).transpose(1, 2)", "y = y.reshape(B, C, y.shape[3], y.shape[2])",
    "y = y.reshape(y.size(0), y.size(1), -1).transpose(1, 2)", "y = y.reshape(len(y), 7, -1).transpose(1, 2)",
    "y = y.reshape(len(y), -1, 7)", "y = y.reshape(len(y), 80, 7)", "y = y.reshape(-1, 7, 80).transpose(1, 2)",
    "y = y.reshape(-1, 80, 7)",
):  # fmt: skip
    row(f"y = self.conv(x)\nB, C, H, W = y.shape\n{_code}")


@pytest.mark.parametrize("program", TABLE, ids=str)
def test_no_claim_is_wrong(program):
    wrong = [*wrong_types(program), *wrong_batch(program), *wrong_order(program)]
    assert not wrong


KNOWN = [(program, question) for program, known in TABLE.items() for question in sorted(known.split())]


@pytest.mark.parametrize(("program", "question"), KNOWN, ids=str)
def test_what_timm_needs_is_known(program, question):
    claims = claims_of(program)
    names = {name for _, values in observed(program) for name in values} - {"self", "plain"}
    if question == "types":
        types = claims.types()
        assert not {name for name in names if not types[name]}
    elif question == "batch":
        assert "x" in claims.batch()
    else:
        assert claims.order("x")
