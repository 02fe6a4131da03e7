"""What `timm-split generate` costs, against nothing but libcst parsing the same files.

    python benchmarks/generate.py [--rounds 5]

Runs in turn, in processes of their own: libcst's `parse_module` over every file of the installed timm that defines
`forward_features` (timed inside the process, imports not counted), and the whole command (timed from outside, the
start of the interpreter counted). Prints medians, their ratio, and the command's peak memory. The command's own code
is compiled to bytecode by a first run that does not count, as pip does when it installs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARSE = """
import sys, time
import libcst
texts = [open(path, encoding="utf-8").read() for path in sys.argv[1:]]
start = time.perf_counter()
for text in texts:
    libcst.parse_module(text)
print(time.perf_counter() - start)
"""


def bare_parse(files: list[Path]) -> float:
    """Seconds that libcst takes to parse the files."""
    command = [sys.executable, "-c", PARSE, *map(str, files)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def whole_command(version: str, bytecode: str) -> tuple[float, float]:
    """Seconds that the command takes, and its peak memory in MB; its bytecode is in a folder, or is put there."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "codegen", "generate", "--timm-version", version, "--output", f"{folder}/out"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        sys.exit(f"timm-split generate failed with status {status}")
    return seconds, usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        sys.exit("timm is not installed")
    root = Path(spec.origin).parent
    version = (root / "version.py").read_text().split("'")[1]
    files = [p for p in sorted((root / "models").glob("*.py")) if "def forward_features" in p.read_text("utf-8")]

    parses, commands, peaks = [], [], []
    with tempfile.TemporaryDirectory() as bytecode:
        whole_command(version, bytecode)
        for _ in range(rounds):
            parses.append(bare_parse(files))
            seconds, peak = whole_command(version, bytecode)
            commands.append(seconds)
            peaks.append(peak)
    ratios = [command / parse for command, parse in zip(commands, parses, strict=True)]
    print(f"timm {version}, {len(files)} files, {rounds} rounds")
    print(f"libcst.parse_module over the files  {statistics.median(parses):6.2f} s")
    print(f"timm-split generate, whole process  {statistics.median(commands):6.2f} s")
    print(f"ratio                               {statistics.median(ratios):6.2f}    (target: at most 0.4)")
    print(f"peak memory of generate             {max(peaks):6.0f} MB (target: at most 300)")


if __name__ == "__main__":
    main()
