"""A plugin of pytest for timm's own tests: ``timm.create_model`` gives split models, and outcomes are written down.

``--split-with PACKAGE`` splits with a generated package. ``--outcomes FILE`` writes a line for each test that has
passed or failed: ``passed tests/test_models.py::test_model_forward[1-test_vit]``.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

_models: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--split-with", help="the generated package that splits every model")
    parser.addoption("--outcomes", type=Path, help="the file for what came of each test")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--split-with"):
        _split_every_model(importlib.import_module(config.getoption("--split-with")))
    if config.getoption("--outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Outcomes(config.getoption("--outcomes")))


def _split_every_model(package: Any) -> None:
    """Have ``create_model`` split what it makes, wherever timm's modules have it."""
    import timm

    make = timm.create_model

    @functools.wraps(make)
    def create_model(*args: Any, **kwargs: Any) -> Any:
        model = make(*args, **kwargs)
        try:
            package.split(model)
        except TypeError as error:  # a class that is refused, or a wrapper (features_only)
            _models[f"not split: {error}"] += 1
        else:
            _models["split"] += 1
        return model

    for module in list(sys.modules.values()):
        if getattr(module, "create_model", None) is make:
            module.create_model = create_model


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Add up what the workers of pytest-xdist have counted."""
    _models.update(getattr(node, "workeroutput", {}).get("models", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["models"] = dict(_models)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for kind, number in _models.most_common():
        terminalreporter.write_line(f"{number} models {kind}")


class _Outcomes:
    """Writes down what came of each test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.when == "call" and report.passed:
            self._outcomes.setdefault(report.nodeid, "passed")

    def pytest_sessionfinish(self) -> None:
        self._path.write_text("".join(f"{outcome} {name}\n" for name, outcome in self._outcomes.items()))
