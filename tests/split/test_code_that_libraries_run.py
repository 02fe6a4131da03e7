"""A library runs a user's code where nobody sees a call: a handler of what is logged, a mode, a memory of results."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import functools
import logging

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

LOG = logging.getLogger(__name__)
SEEN = [1.0]


class Handler({handler}):
    level = 0

    def emit(self, record):
        SEEN[0] = record.args[0]

    handle = emit


{listening}


class Mode(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        SEEN[0] += 1
        return function(*args, **(kwargs or {{}}))


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    @functools.lru_cache(None)
    def table(self, length):
        return torch.ones(length, 8)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        {stem}
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x {last}
"""


def result(stem, last, handler="object", listening=""):
    return result_in_users_file(SOURCE.format(stem=stem, last=last, handler=handler, listening=listening))


LOGGED = "LOG.info('%s', float(x.mean()))"


def test_a_handler_of_what_is_logged():
    assert isinstance(result(LOGGED, "* SEEN[0]", "logging.Handler"), Refusal)
    assert isinstance(result(LOGGED, "* SEEN[0]"), Split)


@pytest.mark.parametrize(
    "listening",
    [
        "LOG.addHandler(Handler())",
        "handler = Handler()\nLOG.addHandler(handler)",
        "LOG.filters.append(Handler().emit)",
        "logging.getLogger().addFilter(Handler().emit)",
        "logging.basicConfig(handlers=[Handler()])",
        "logging.setLogRecordFactory(Handler().emit)",
    ],
)
def test_what_listens_need_be_no_handler_by_its_class(listening):
    assert isinstance(result(LOGGED, "* SEEN[0]", listening=listening), Refusal)


@pytest.mark.parametrize(
    "listening",
    [
        "LOG.setLevel(logging.INFO)",
        "LOG.addHandler(logging.StreamHandler())",
        "handler = logging.StreamHandler()\nLOG.addHandler(handler)",
        "logging.basicConfig(level=logging.INFO)",
    ],
)
def test_loggings_own_handlers_run_no_code_of_the_user(listening):
    assert isinstance(result(LOGGED, "* SEEN[0]", listening=listening), Split)


def test_a_mode_that_sees_all_operations():
    assert isinstance(result("with Mode():\n            x = x * 2", "* SEEN[0]"), Refusal)
    assert isinstance(result("with torch.no_grad():\n            x = x * 2", "* SEEN[0]"), Split)


@pytest.mark.parametrize("change", ["t += 1", "t.mul_(2)", "t[0] = 0"])
def test_what_a_method_remembers_is_the_same_tensor_again(change):
    stem = f"t = self.table(16)\n        {change}"
    assert isinstance(result(stem, "+ self.table(16)"), Refusal)
    assert isinstance(result(f"t = self.table(16) + 1\n        {change}", "+ self.table(16)"), Split)
