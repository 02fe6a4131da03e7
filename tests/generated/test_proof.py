"""The proof of `timm-split verify`, for one name of every split class: all 1344 names are the command's work."""

from pathlib import Path

import pytest

import generated
from codegen.proof import package
from codegen.proof.operations import CHECKS, check_ops

PACKAGE = package.find(Path(generated.__file__).parent)
NAMES = package.one_of_each(PACKAGE, [name for name, path in PACKAGE.classes.items() if path not in PACKAGE.refused])


def test_every_split_class_that_has_names_is_proved_below():
    assert {PACKAGE.classes[name] for name in NAMES} == set(PACKAGE.classes.values()) - PACKAGE.refused.keys()


@pytest.mark.parametrize("name", NAMES)
def test_ops_are_timms_and_the_boundary_is_right(name):
    result = check_ops(name, PACKAGE.classes[name], generated.split)
    assert {check.name: check.verdict for check in result.checks} == dict.fromkeys(CHECKS, "holds"), result
