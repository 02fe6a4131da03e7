"""Checkpoints under what happens to a long run: bits that flip, killed processes, another number of processes."""

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import checkpoint
import pytest
import torch
from data import InputError

ROOT = Path(__file__).parents[2]
MODEL = "test_vit -k patch_size=8 -k depth=1 -k embed_dim=32 -k num_heads=2 --image-size 16"
RUN = "--data digits --batch-size 240 --epochs 3 --lr 1e-3 --workers 0 --log-every 1 --device cpu"
DECODER = "-o decoder_dim=16 -o decoder_depth=1 -o decoder_heads=2"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


HANG = f"""
import sys, time, torch

sys.path.insert(0, {str(ROOT / "examples")!r})
import pretrain

save = torch.save

def save_half(state, file, **options):  # torch saves tensors by it, too, where processes exchange them
    if isinstance(state, dict) and state["epoch"] == 2:
        file.write(b"half")
        file.flush()
        time.sleep(600)
    save(state, file, **options)

torch.save = save_half
pretrain.main()
"""
"""Pre-trains, but stays in the middle of writing the checkpoint of the second epoch."""


def start(
    output: Path,
    *more: object,
    processes: int = 1,
    largest_file: int | None = None,
    script: Path = ROOT / "examples/pretrain.py",
) -> subprocess.Popen:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes > 1 else []
    words = [*launch, script, *f"{MODEL} {RUN} {DECODER}".split(), "--output", output, *more]
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,
    )


def train(output: Path, *more: object, processes: int = 1) -> dict[int, float]:
    """Run to the end; the last loss that was logged for each step."""
    process = start(output, *more, processes=processes)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return losses(output)


def losses(output: Path) -> dict[int, float]:
    with (output / "log.csv").open() as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}


def kill(process: subprocess.Popen) -> None:
    """Kill a process and all that it started: torchrun's are in sessions of their own, and would go on."""
    for one in [process.pid, *started(process.pid)]:
        os.kill(one, signal.SIGKILL)
    process.communicate()


def started(pid: int) -> list[int]:
    """The processes that one has started, and those that they have."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            found += [child, *started(child)]
    return found


def wait(process: subprocess.Popen, until: Callable[[], object]) -> None:
    """Wait for what a process does before it ends."""
    deadline = time.monotonic() + 200
    while not until():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def at_step(output: Path, step: int) -> bool:
    """Whether the last line of the log is of that step or of a later one."""
    log = output / "log.csv"
    lines = log.read_text().splitlines() if log.exists() else []
    return len(lines) > 1 and int(lines[-1].split(",")[0]) >= step


@pytest.fixture
def saved(tmp_path, monkeypatch) -> Path:
    """A checkpoint of one process."""
    monkeypatch.setattr(checkpoint.dist, "get_rank", lambda: 0)
    monkeypatch.setattr(checkpoint.dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(checkpoint.dist, "all_gather_object", lambda states, state: None)
    monkeypatch.setattr(checkpoint.dist, "barrier", lambda: None)
    model = torch.nn.Linear(32, 32)
    checkpoint.save(tmp_path / "checkpoint.pt", model, torch.optim.AdamW(model.parameters()), epoch=1)
    return tmp_path / "checkpoint.pt"


def test_a_checkpoint_is_read_back(saved):
    assert checkpoint.load(saved)["epoch"] == 1


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_found(saved, part):
    """Anywhere in what is read; torch itself reads other weights then, without a word."""
    content = bytearray(saved.read_bytes())
    weights = content.index(checkpoint.load(saved)["model"]["weight"].numpy().tobytes())
    content[weights + int(part * 32 * 32 * 4)] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint.pt cannot be read as a checkpoint \(its part .* is damaged\)"):
        checkpoint.load(saved)


@pytest.mark.parametrize("length", [0, 1, 100, 1000, -1, -100])
def test_a_checkpoint_that_was_cut_short_is_found(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        checkpoint.load(saved)


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    kept = ["checkpoint.pt", ".checkpoint.pt", ".checkpoint.pt.old", "checkpoint.pt.123", ".notes.123", ".gitignore"]
    for name in [*kept, ".checkpoint.pt.123", ".backbone.safetensors.7", ".epoch-0001.png.99", ".settings.txt.1"]:
        (tmp_path / name).touch()
    (tmp_path / ".checkpoint.pt.5").mkdir()
    checkpoint.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, ".checkpoint.pt.5"])


def test_a_run_that_is_killed_goes_on_from_its_last_epoch(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    expected = train(straight)
    process = start(killed)
    wait(process, (killed / "checkpoint.pt").exists)
    kill(process)
    (killed / ".checkpoint.pt.123").write_bytes(b"half")

    assert train(killed, "--resume", killed / "checkpoint.pt") == expected
    assert not [path for path in killed.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("processes", "parallel"),
    [
        (2, "ddp"),
        pytest.param(2, "fsdp", marks=pytest.mark.exhaustive),
        pytest.param(4, "ddp", marks=pytest.mark.exhaustive),
        pytest.param(4, "fsdp", marks=pytest.mark.exhaustive),
    ],
)
def test_processes_that_are_killed_at_any_moment_go_on(tmp_path, processes, parallel):
    """In the first epoch, while a checkpoint is written, and in an epoch that they went on with."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    options = ("--parallel", parallel)
    expected = train(straight, *options, processes=processes)
    written, script = killed / "checkpoint.pt", tmp_path / "hang.py"
    script.write_text(HANG)

    process = start(killed, *options, processes=processes)
    wait(process, lambda: at_step(killed, 2))
    kill(process)
    assert not written.exists()
    (killed / "log.csv").unlink()

    process = start(killed, *options, processes=processes, script=script)
    wait(process, lambda: at_step(killed, 10) and list(killed.glob(".checkpoint.pt.*")))
    kill(process)
    assert checkpoint.load(written)["epoch"] == 1

    process = start(killed, *options, "--resume", written, processes=processes)
    wait(process, lambda: checkpoint.load(written)["epoch"] == 2 and at_step(killed, 12))
    kill(process)

    assert train(killed, *options, "--resume", written, processes=processes) == expected
    one, other = (checkpoint.load(folder / "checkpoint.pt")["model"] for folder in (killed, straight))
    torch.testing.assert_close(one, other, rtol=0, atol=0)  # which losses are rounded too much to show
    assert not [path for path in killed.iterdir() if path.name.startswith(".")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("rank", [0, 1])
def test_the_others_end_when_one_of_them_is_killed(tmp_path, rank):
    """torchrun sees it, so that a script that starts it again goes on."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    expected = train(straight, processes=2)
    process = start(killed, processes=2)
    wait(process, lambda: at_step(killed, 7))
    os.kill(started(process.pid)[rank], signal.SIGKILL)
    said, _ = process.communicate(timeout=100)
    assert process.returncode != 0, said
    assert train(killed, "--resume", killed / "checkpoint.pt", processes=2) == expected


def test_a_full_disk_gets_one_clear_error(tmp_path):
    process = start(tmp_path, "--stop-after", 1, largest_file=30_000)  # less than a checkpoint
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "checkpoint.pt cannot be written (File too large). What was there before is whole." in said
    assert "Traceback" not in said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, parallel):
    expected = train(tmp_path / "one")
    output = tmp_path / "several"
    train(output, "--stop-after", 1, "--parallel", parallel, processes=4)
    train(output, "--stop-after", 2, "--resume", output / "checkpoint.pt")
    found = train(output, "--resume", output / "checkpoint.pt", "--parallel", parallel, processes=2)
    assert found == pytest.approx(expected, abs=1e-5, rel=0)
