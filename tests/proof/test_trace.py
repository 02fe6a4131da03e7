from typing import NamedTuple

import pytest
import torch
from torch import nn

from codegen.proof.trace import Trace, record


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))
        self.one, self.two = torch.ones(4), torch.ones(4)  # not registered


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def trace(run):
    with torch.device("meta"):
        model, x, y = Layers(), torch.zeros(2, 4), torch.zeros(2, 4)
        return record(model, lambda recorder: run(model, x, y), [x, y])


def difference(timm, split) -> str:
    return trace(timm).difference(trace(split))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda m, x, y: m.first(x) - y + 0, id="an op more"),
        pytest.param(lambda m, x, y: m.first(x), id="an op less"),
        pytest.param(lambda m, x, y: m.second(x) - y, id="another parameter of the same shape"),
        pytest.param(lambda m, x, y: m.first(y) - x, id="another tensor of the same shape"),
        pytest.param(lambda m, x, y: y - m.first(x), id="swapped arguments"),
        pytest.param(lambda m, x, y: torch.sub(m.first(x), y, alpha=2), id="another scalar"),
        pytest.param(lambda m, x, y: m.first(x) - y.t().contiguous().t(), id="another stride"),
        pytest.param(lambda m, x, y: m.first(x) - y.to(torch.float64), id="another dtype"),
        pytest.param(lambda m, x, y: m.first(x).sub_(y), id="in place"),
        pytest.param(lambda m, x, y: (m.first(x) - y,), id="another structure"),
        pytest.param(lambda m, x, y: [m.first(x) - y, x][1], id="another output"),
        pytest.param(lambda m, x, y: m.first(x) - m.scale, id="a buffer"),
    ],
)
def test_a_pass_that_computes_something_else_has_another_trace(other):
    assert difference(lambda m, x, y: m.first(x) - y, other)


def test_a_pass_that_is_written_otherwise_has_the_same_trace():
    def otherwise(model, x, y):
        z = torch.nn.functional.linear(x, model.first.weight, model.first.bias)
        return z - y

    assert not difference(lambda m, x, y: m.first(x) - y, otherwise)


def test_two_models_of_a_kind_have_the_same_trace():
    def run(model, x, y):
        return Pair(model.second(model.first(x)), y * model.scale)

    assert trace(run) == trace(run)


def test_the_order_of_independent_ops_is_part_of_a_trace():
    def one(model, x, y):
        a = model.first(x)
        b = model.second(y)
        return a + b

    def two(model, x, y):
        b = model.second(y)
        a = model.first(x)
        return a + b

    assert difference(one, two).startswith("op 0 is ")


def test_a_named_tuple_is_not_a_tuple():
    assert "returns" in difference(lambda m, x, y: (x, y), lambda m, x, y: Pair(x, y))


def test_tensors_inside_lists_and_keyword_arguments_are_identified():
    assert difference(lambda m, x, y: torch.cat([x, y]), lambda m, x, y: torch.cat([y, x, x])[:4])
    assert difference(lambda m, x, y: torch.sub(x, other=y), lambda m, x, y: torch.sub(y, other=x))


def test_the_first_difference_is_reported_with_both_ops():
    text = difference(lambda m, x, y: m.first(x), lambda m, x, y: m.second(x))
    assert "second.weight" in text
    assert "first.weight" in text


def test_freed_tensors_do_not_lend_their_identity_to_later_ones():
    def run(model, x, y):
        for _ in range(50):
            x = x * 2
        return x

    assert len({op.split("-> ")[1].split()[0] for op in trace(run).ops}) == 50


def test_tensors_that_are_not_registered_are_distinguished():
    assert difference(lambda m, x, y: x + m.one, lambda m, x, y: x + m.two)


def test_random_numbers_are_ops_too():
    assert difference(lambda m, x, y: x, lambda m, x, y: [torch.rand(1), x][1])


def test_modules_and_parameters_are_events_in_order():
    events = trace(lambda m, x, y: m.second(m.first(x)) * m.scale).events
    assert [event.name for event in events if event.module] == ["first", "second"]
    read = [event.name for event in events if not event.module]
    assert set(read) == {"first.weight", "first.bias", "second.weight", "second.bias", "scale"}
    assert read[-1] == "scale"


def test_containers_that_are_run_are_events():
    model = nn.Sequential(nn.Sequential(nn.Identity()), nn.ReLU())
    with torch.device("meta"):
        events = record(model, lambda recorder: model(torch.zeros(1))).events
    assert [event.name for event in events] == ["0", "0.0", "1"]


def test_cuts_count_the_events_before_them():
    model = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())

    def run(recorder):
        x = model[0](torch.zeros(1, device="meta"))
        recorder.cut()
        return model[2](model[1](x))

    assert record(model, run).cuts == (1,)


def test_no_hook_is_left_behind_when_a_pass_raises():
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(RuntimeError):
        record(model, lambda recorder: model(torch.zeros(1)) + torch.zeros(1, device="meta"))
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_stacks_are_kept_for_what_asks_for_them():
    model = nn.Sequential(nn.ReLU(), nn.Tanh())

    def forward():
        return model(torch.zeros(1, device="meta"))

    events = record(model, lambda recorder: forward(), look=lambda name, module: name == "1").events
    assert not events[0].stack
    assert forward.__code__ in [line.code for line in events[1].stack]
    assert not [line for line in events[1].stack if "torch" in line.code.co_filename.split("/")]


def test_an_empty_trace_differs_from_one_with_ops():
    assert Trace((), (), "").difference(trace(lambda m, x, y: x + y))
