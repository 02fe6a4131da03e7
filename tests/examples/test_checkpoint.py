"""Checkpoints under what happens to a long run: bits that flip, killed processes, another number of processes."""

import csv
import os
import resource
import signal
import subprocess
import sys
import time
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


def start(output: Path, *more: object, processes: int = 1, largest_file: int | None = None) -> subprocess.Popen:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes > 1 else []
    words = [*launch, ROOT / "examples/pretrain.py", *f"{MODEL} {RUN} {DECODER}".split(), "--output", output, *more]
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
    deadline = time.monotonic() + 200
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (killed / ".checkpoint.pt.123").write_bytes(b"half")

    assert train(killed, "--resume", killed / "checkpoint.pt") == expected
    assert not [path for path in killed.iterdir() if path.name.startswith(".")]


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
