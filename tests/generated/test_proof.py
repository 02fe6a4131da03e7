"""The proof of `timm-split verify`, for one name of every split class: all 1344 names are the command's work."""

import pytest
from names import NAMES, PACKAGE, PAIRED, TAPPED

import generated
from codegen.proof.operations import CHECKS, check_ops


def test_every_split_class_that_has_names_is_proved_below():
    assert {PACKAGE.classes[name] for name in NAMES} == set(PACKAGE.classes.values()) - PACKAGE.refused.keys()


# three minutes for the one Sequencer
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.exhaustive) if n == "sequencer2d_s" else n for n in NAMES]
)
def test_ops_are_timms_and_both_boundaries_are_right(name):
    result = check_ops(name, PACKAGE.classes[name], generated.split)
    expected = dict.fromkeys(CHECKS, "holds")
    if PACKAGE.classes[name] not in PAIRED:
        expected["patches"] = "not offered"
    if PACKAGE.classes[name] not in TAPPED:
        expected["intermediates"] = "not offered"
    assert {check.name: check.verdict for check in result.checks} == expected, result
