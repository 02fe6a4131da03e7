"""Which files a module of unknown class may come from, and whether these keep anything outside of their objects."""

import pytest

from codegen.model.neighbours import shares_state
from codegen.source.index import Index
from codegen.source.release import find_release

MODEL = """
import logging

import torch
from torch import nn
{imports}

logger = logging.getLogger(__name__)


class M(nn.Module):
    def __init__(self, layer=nn.Identity):
        super().__init__()
        self.layer = layer()

    def forward_features(self, x):
        logger.info("a batch")
        return self.layer(x)
{more}
"""
NOTING = """
from torch import nn
{imports}

SEEN = []


{decorator}
class Noting(nn.Module):
    def forward(self, x):
        SEEN.append(x)
        return x
"""
EMPTY = {"__init__.py": ""}


def shares(tmp_path, files, name="m.py"):
    package = tmp_path / "package"
    for path, text in (EMPTY | files).items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    index = Index(find_release(None, package, announce=lambda message: None))
    return shares_state(index, index.parse(f"package/{name}"))


def model(imports="", more=""):
    return MODEL.format(imports=imports, more=more)


def noting(imports="", decorator=""):
    return NOTING.format(imports=imports, decorator=decorator)


def test_a_file_that_keeps_nothing_and_logs(tmp_path):
    assert not shares(tmp_path, {"m.py": model()})


def test_a_file_far_away_is_no_concern(tmp_path):
    assert not shares(tmp_path, {"m.py": model(), "far.py": noting()})


@pytest.mark.parametrize(
    "files",
    [
        {"m.py": model("from .near import Noting"), "near.py": noting()},
        {"m.py": model("from . import near"), "near.py": noting()},
        {
            "m.py": model("from .parts import Noting"),
            "parts/__init__.py": "from .near import Noting",
            "parts/near.py": noting(""),
        },
        {"m.py": model(more="\n    def build(self):\n        from .near import Noting\n"), "near.py": noting()},
    ],
    ids=["imported", "as a module", "by way of a package", "in a function"],
)
def test_what_a_file_imports_may_be_in_it(tmp_path, files):
    assert shares(tmp_path, files)


def test_who_makes_a_model_may_give_it_what_it_has(tmp_path):
    maker = "from .m import M\nfrom .near import Noting\n\n\nclass Maker:\n    model = M(Noting)\n"
    assert shares(tmp_path, {"m.py": model(), "near.py": noting(), "make.py": maker})


def test_what_is_registered_where_a_file_looks_things_up_may_be_in_it(tmp_path):
    registry = "class Registry(dict):\n    def register(self, cls):\n        return cls\n\n\nLAYERS = Registry()\n"
    far = noting("from .registry import LAYERS", "@LAYERS.register")
    looks = model("from .registry import LAYERS", "\n    def look(self):\n        return LAYERS['noting']\n")
    assert shares(tmp_path, {"registry.py": registry, "far.py": far, "m.py": looks})
    assert not shares(tmp_path, {"m.py": model("from .registry import Registry")})


KEEPING = [
    "helpers.SEEN.append(x)",
    "helpers.last = x",
    "SEEN.append(x)",
    "SEEN.extend(x)",
    "Other.seen.append(x)",
    "Other.last = x",
    "type(self).last = x",
    "logger.seen = x",
    "TABLE.mine(x)",
]
READING = [
    "logger.warning('slow')",
    "TABLE.repeat_interleave(2)",
    "TABLE.mean(0)",
    "x.add_(1)",
    "self.last = x",
    "helpers.f(x)",
]
HELPERS = "SEEN = []\nTABLE = make()\n\n\nclass Other:\n    seen = []\n\n\ndef f(x):\n    return x\n"


@pytest.mark.parametrize("code", KEEPING)
def test_functions_that_keep_something(tmp_path, code):
    more = f"\n    def forward(self, x):\n        {code}\n        return x\n"
    imports = "from . import helpers\nfrom .helpers import SEEN, TABLE, Other"
    assert shares(tmp_path, {"m.py": model(imports, more), "helpers.py": HELPERS})


@pytest.mark.parametrize("code", READING)
def test_functions_that_keep_nothing(tmp_path, code):
    more = f"\n    def forward(self, x):\n        {code}\n        return x\n"
    imports = "from . import helpers\nfrom .helpers import SEEN, TABLE, Other"
    assert not shares(tmp_path, {"m.py": model(imports, more), "helpers.py": HELPERS})
