"""A part of a release in a second process: the same outcomes, whatever becomes of that process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from codegen.split import ahead
from codegen.split.files import split_release
from tests.sources import index_of

MODEL = """
import torch
from torch import nn


class Model{number}(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.blocks = nn.Sequential(nn.Conv2d(8, 8, 1))

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        return self.blocks(x)
"""
FILES = {f"timm/models/model{number:02}.py": MODEL.format(number=number) for number in range(24)}
forks = pytest.mark.skipif(sys.platform != "linux", reason="there is a second process on Linux alone")


def index():
    return index_of("", FILES)


@pytest.fixture
def free(monkeypatch):
    """As in the command, which has no threads, on a machine with two processors."""
    monkeypatch.setattr(ahead, "_has_second_processor", lambda: True)


@forks
def test_a_second_process_delivers_what_the_first_would_have_found(free):
    expected = list(split_release(index()))
    shared = index()
    with ahead.split_ahead(shared.release) as read:
        until(lambda: min(FILES) in read(""))  # it comes last
        delivered = [outcome for path in FILES for outcome in read("")[path].outcomes]
        outcomes = list(split_release(shared, read))
    assert outcomes == delivered == expected


def until(happens):
    for _ in range(600):
        if happens():
            return
        time.sleep(0.1)
    raise TimeoutError


@forks
def test_what_is_not_delivered_yet_is_not_waited_for(free, monkeypatch):
    monkeypatch.setattr(ahead, "_split", lambda release, paths, sending: signal.pause())
    shared = index()
    with ahead.split_ahead(shared.release) as read:
        assert list(split_release(shared, read)) == list(split_release(index()))


@forks
def test_what_is_begun_is_waited_for(free, monkeypatch):
    read_file = ahead.read_file

    def slowly(index, path, done):
        time.sleep(0.5)
        return read_file(index, path, done)

    monkeypatch.setattr(ahead, "read_file", slowly)
    with ahead.split_ahead(index().release) as read:
        until(lambda: max(FILES) in read(max(FILES)))
        last_but_one = sorted(FILES)[-2]
        time.sleep(0.1)
        assert last_but_one not in read("")
        assert last_but_one in read(last_but_one)


@forks
def test_what_is_begun_by_a_process_that_is_killed_is_done_by_the_first(free, monkeypatch):
    monkeypatch.setattr(ahead, "read_file", lambda index, path, done: os.kill(os.getpid(), signal.SIGKILL))
    shared = index()
    with ahead.split_ahead(shared.release) as read:
        assert list(split_release(shared, read)) == list(split_release(index()))


@forks
def test_what_a_killed_process_does_not_deliver_is_done_by_the_first(free, monkeypatch):
    monkeypatch.setattr(ahead, "_split", lambda release, paths, sending: os.kill(os.getpid(), signal.SIGKILL))
    shared = index()
    with ahead.split_ahead(shared.release) as read:
        ahead.multiprocessing.active_children()[0].join()
        outcomes = list(split_release(shared, read))
    assert outcomes == list(split_release(index()))


@forks
def test_an_error_in_the_second_process_is_met_again_in_the_first(free, monkeypatch, capfd):
    def fails(*arguments):
        raise MemoryError

    monkeypatch.setattr(ahead, "read_file", fails)
    shared = index()
    with ahead.split_ahead(shared.release) as read:
        ahead.multiprocessing.active_children()[0].join()
        assert not read("")
    assert capfd.readouterr().err == ""


@forks
def test_nothing_is_left_running_when_the_first_process_fails(free, monkeypatch):
    monkeypatch.setattr(ahead, "_split", lambda release, paths, sending: signal.pause())
    with pytest.raises(KeyError), ahead.split_ahead(index().release):
        raise KeyError
    assert not ahead.multiprocessing.active_children()


def test_a_process_with_threads_does_not_fork():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not ahead._has_second_processor()
    finally:
        stop.set()
        thread.join()


def test_few_models_are_not_worth_a_process():
    files = {f"timm/models/{letter}.py": "".join(MODEL.format(number=n) for n in range(10)) for letter in "ab"}
    assert ahead._with_models(index_of("", files).release) == list(files)
    assert not ahead._with_models(index_of("", dict(list(files.items())[:1])).release)
    assert not ahead._with_models(index_of("", dict.fromkeys(files, MODEL)).release)


@pytest.mark.parametrize("processors", [1, 2])
def test_the_command_gives_the_same_on_any_number_of_processors(tmp_path, processors):
    code = """
        import codegen.split.ahead as ahead, os, sys
        os.sched_getaffinity = lambda process: set(range(int(sys.argv[1])))
        from codegen.cli import main
        main(["generate", "--output", sys.argv[2]])
    """
    source = tmp_path / "written"
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(processors), str(source)], check=True, capture_output=True
    )
    import generated

    shipped = os.path.dirname(generated.__file__)
    assert subprocess.run(["diff", "-r", "-x", "__pycache__", shipped, str(source)]).returncode == 0
