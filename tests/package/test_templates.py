"""The run-time modules: Python files that run where they stand, and are copied into every package as they are."""

import importlib

import pytest
from sources import GENERATED

from codegen.package.render import render
from codegen.package.templates import folder, runtime_modules

RUNTIME = runtime_modules()


@pytest.mark.parametrize("name", RUNTIME)
def test_a_run_time_module_is_copied_as_it_is(name):
    text = (folder() / "runtime" / name).read_bytes()
    assert (GENERATED / name).read_bytes() == text
    assert render("", [], user_source="models.py").get(name, RUNTIME["_factory.py"]).encode() == text


@pytest.mark.parametrize("name", RUNTIME)
def test_a_run_time_module_can_be_imported_where_it_stands(name):
    module = importlib.import_module(f"templates.runtime.{name.removesuffix('.py')}")
    assert module.__file__ == str(folder() / "runtime" / name)


def test_only_a_package_of_timms_models_has_a_factory():
    with_factory, without = render("1.2.3", []), render("1.2.3", [], user_source="models.py")
    assert with_factory.keys() - without.keys() == {"_factory.py"}
