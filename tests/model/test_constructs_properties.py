"""Random programs of the constructs that :mod:`test_constructs` has row by row: what is claimed of a name is true."""

import contextlib
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from truth import SETTINGS, Program, run, wrong_batch, wrong_order, wrong_types

NAMES = ("x", "y", "z")
NUMBERS = ("n", "m")
METHODS = """
def turned(self, t, by=1):
    if by > 1:
        return t.transpose(1, by)
    return t.transpose(0, by)

def changed_(self, t):
    u = t
    u.transpose_(0, 1)

def both(self, t, u=None, *rest, last=None):
    if u is None:
        return t, 1
    return u, last

def grows(self, values, value=1):
    values.append(value)
    return values

def either(self, t, flag=False):
    for _ in range(2):
        if flag:
            return self.patch_embed(t)
        t = t * 1
    return t

def tried(self, t):
    try:
        t = t.flatten(2)
        if self.dynamic:
            raise ValueError
        return t.transpose(1, 2)
    except ValueError:
        return t
"""
dims = st.sampled_from((-4, -3, -2, -1, 0, 0, 1, 1, 2, 2, 3))


@st.composite
def tensors(draw, depth=2):
    """An expression that gives a tensor, if it goes well."""
    name = draw(st.sampled_from(NAMES))
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return name
    inner = draw(tensors(depth - 1))
    one, other, third = draw(dims), draw(dims), draw(dims)
    return draw(
        st.sampled_from(
            (
                f"{inner}.flatten({one}, {other})",
                f"{inner}.flatten(2).transpose(1, 2)",
                f"{inner}.transpose({one}, {other})",
                f"{inner}.permute(0, 2, 3, 1)",
                f"{inner}.permute({one}, {other}, {third}, 0)",
                f"{inner}.mT",
                f"{inner}.reshape(len({name}), -1)",
                f"{inner}.reshape({name}.shape[{one}], {name}.shape[{other}], -1)",
                f"{inner}.reshape({name}.shape[0], *{name}.shape[2:], {name}.shape[1])",
                f"{inner}.view({name}.shape)",
                f"{inner}.unflatten({one}, ({name}.shape[{other}], -1))",
                f"{inner}.reshape(B, -1, n)",
                f"{inner}.mean({one}, keepdim=True)",
                f"{inner}.sum({one})",
                f"{inner}.amax(dim=({one}, {other}))",
                f"{inner}.unsqueeze({one})",
                f"{inner}.squeeze({one})",
                f"{inner}.unbind({one})[0]",
                f"{inner}.chunk(2, {one})[0]",
                f"{inner}.roll(1, {one})",
                f"{inner}.expand({name}.shape[0], *{name}.shape[1:])",
                f"{inner}.clone()",
                f"{inner}.masked_fill({name} > 0, 1)",
                f"{inner}[:, {draw(st.integers(0, 2))}]",
                f"{inner}[:, None]",
                f"{inner}[..., 0]",
                f"{inner}[None]",
                f"{inner}[1:]",
                f"{inner}[:, [0, 1]]",
                f"torch.cat(({inner}, {name}), {one})",
                f"torch.stack([{inner}, {name}], dim={one})",
                f"torch.cat([t for t in {inner}.split(1, {one})], {other})",
                f"F.pad({inner}, (0, 1, 0, 1))",
                f"F.pad({inner}, (0, 0, 0, 0, 0, 0, 0, 1))",
                f"({inner} + {name})",
                f"({inner} * n)",
                f"({inner} @ {name})",
                f"self.patch_embed({inner})",
                f"self.conv({inner})",
                f"self.last({inner})",
                f"self.flat({inner})",
                f"self.fold({inner})",
                f"self.norm({inner})",
                f"self.act({inner})",
                f"self.mixed[0]({inner})",
                f"self.either({inner}, flag)",
                f"self.tried({inner})",
                f"self.turned({inner}, {abs(one)})",
                f"self.both({inner})[0]",
                f"self.both(*[{inner}, {name}])[0]",
                f"self.both({inner}, last=1, u={name})[0]",
                f"early({inner}, flag)",
                f"either({inner}, third={name})",
                f"({inner} if flag else {name})",
                f"({name} := {inner})",
                f"[{inner}, {name}][{draw(st.integers(-2, 1))}]",
                f"[t.contiguous() for t in ({inner}, {name})][0]",
                f"(lambda t, {name}={inner}: {name} + t * 0)({name})",
            )
        )
    )


@st.composite
def numbers(draw):
    """An expression that gives a number, or something near to one."""
    name, number = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NUMBERS))
    return draw(
        st.sampled_from(
            (
                "1",
                "2.5",
                "None",
                "True",
                number,
                f"{name}.shape[{draw(dims)}]",
                f"{name}.shape",
                f"{name}.ndim",
                f"len({name})",
                f"{number} + 1",
                f"{number} / 2",
                f"{number} // 2",
                f"{number} * 0.5",
                f"-{number}",
                f"{number} > 1",
                f"({number}, {draw(st.sampled_from(NUMBERS))})",
                f"[{number}, {draw(st.sampled_from(NUMBERS))}]",
                f"{number} if flag else {draw(st.sampled_from(NUMBERS))}",
                f"{number} or 2",
                f"({number} := 3.5)",
                f"self.both({name}, {name}, last={number})[1]",
                f"self.grows([{number}])",
                f"[{number} for _ in range(2)]",
                f"[{number} := i for i in (1, 2.5)][0]",
                "self.scale",
                "self.grid[0]",
                "int(count)",
                "float(count)",
                "falls_off(count, flag)",
                "self.maybe",
            )
        )
    )


@st.composite
def simple_statements(draw):
    name, other = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
    number = draw(st.sampled_from(NUMBERS))
    if draw(st.integers(0, 2)):
        tensor = draw(tensors())
        return draw(
            st.sampled_from(
                (
                    f"{name} = {tensor}",
                    f"{name} = {tensor}",
                    f"{name} = {other} = {tensor}",
                    f"{name}: torch.Tensor = {tensor}",
                    f"{name}, {other} = {tensor}, {name}",
                    f"{name}, *_ = [{tensor}, {other}]",
                    f"{name}, {number} = self.both({tensor}, {other}, last={draw(numbers())})",
                    f"{name} += {tensor}",
                    f"{name}.data = ({tensor}).data",
                    f"{name}[:, 0] = 0",
                    f"{name}.transpose_({draw(dims)}, {draw(dims)})",
                    f"self.changed_({name})",
                    f"fold_({other})",
                    f"xs.append({tensor})",
                    f"xs[0] = {tensor}",
                    f"{name} = xs[-1]",
                    f"{name} = torch.cat(xs, 1)",
                    f"xs = [{tensor}]",
                    f"def inner(t={tensor}):\n    return t\n{name} = inner()",
                    f"def inner():\n    nonlocal {name}\n    {name} = {tensor}\ninner()",
                    f"for {name} in ({tensor}, {other}):\n    pass",
                    f"with nullcontext({tensor}) as {name}:\n    pass",
                    f"match {tensor}:\n    case {name}:\n        pass",
                    f"B = {name}.shape[{draw(dims)}]",
                )
            )
        )
    value = draw(numbers())
    return draw(
        st.sampled_from(
            (
                f"{number} = {value}",
                f"{number} = {value}",
                f"{number}, m = {value}, {number}",
                f"{number} += {value}",
                f"{number} /= 2",
                f"ns.append({value})",
                f"ns = [{value}]",
                f"{number} = ns[-1]",
                f"ms = ns\nms.append({value})",
                f"self.grows(ns, {value})",
                f"for {number} in ({value}, 1):\n    pass",
                f"for i, {number} in enumerate(ns):\n    pass",
                f"def inner():\n    nonlocal {number}\n    {number} = {value}\ninner()",
                f"with nullcontext({value}) as {number}:\n    pass",
                f"{number}: float = 2.5\n{number} = {value}",
                f"if {number} is None:\n    {number} = {value}",
            )
        )
    )


@st.composite
def statements(draw, depth=2):
    kind = draw(st.integers(0, 14)) if depth else 0
    if kind < 7:
        return draw(simple_statements())
    number = draw(st.sampled_from(NUMBERS))
    one, other = (
        textwrap.indent("\n".join(draw(st.lists(statements(depth=depth - 1), min_size=1, max_size=2))), "    ")
        for _ in range(2)
    )
    return draw(
        st.sampled_from(
            (
                f"if flag:\n{one}",
                f"if flag:\n{one}\nelse:\n{other}",
                f"if self.dynamic:\n{one}\nelif mask is None:\n{other}",
                f"for i in range(3):\n{one}",
                f"for i in range(3):\n{one}\n    if flag:\n        break\n{other}\nelse:\n{one}",
                f"for i in range(3):\n    if i == 1:\n        continue\n{one}",
                f"{number} = 2\nwhile {number} > 0:\n    {number} -= 1\n{one}",
                f"while True:\n{one}\n    break",
                f"try:\n{one}\nexcept (RuntimeError, IndexError, TypeError, ValueError):\n{other}",
                f"try:\n{one}\n    raise ValueError\nexcept ValueError:\n    pass",
                f"try:\n{one}\nfinally:\n{other}",
                f"with suppress(ValueError):\n{one}\n    raise ValueError\n{other}",
                f"with torch.no_grad():\n{one}",
                f"match x.ndim:\n    case 4 if flag:\n{textwrap.indent(one, '    ')}\n    case 3 | 4:\n"
                f"{textwrap.indent(other, '    ')}",
            )
        )
    )


@st.composite
def programs(draw):
    """A program of the statements that go well, one after the other: most shapes do not fit."""
    stem = draw(st.sampled_from(("pass", "x = self.conv(x)", "x = self.patch_embed(x)", "y = self.last(x)")))
    body = f"B, C, H, W = x.shape\ny = z = x\nn, m = 1, 2\nxs = [x]\nns = [1]\n{stem}"
    setting = draw(st.sampled_from(SETTINGS))
    for statement in draw(st.lists(statements(), min_size=1, max_size=6)):
        longer = Program(f"{body}\n{statement}", methods=METHODS)
        with contextlib.suppress(Exception):
            run(longer, setting)
            body = longer.body
    return Program(body, methods=METHODS)


def check(program):
    wrong = [*wrong_types(program), *wrong_batch(program), *wrong_order(program)]
    assert not wrong, "\n".join([program.body, *wrong])


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(unhurried, max_examples=150, derandomize=True)
@given(programs())
def test_no_claim_is_wrong(program):
    check(program)


@pytest.mark.exhaustive
@settings(unhurried, max_examples=20_000)
@given(programs())
def test_no_claim_is_wrong_of_many(program):
    check(program)
