"""What `import generated` costs beyond `import timm`.

    python benchmarks/imports.py [--rounds 5]

Each round is a fresh process that imports timm, then the generated package. Prints the median of the second import and
the modules of timm that it brought in, of which there should be none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

IMPORT = """
import json, sys, time
import timm
before = set(sys.modules)
start = time.perf_counter()
import generated
seconds = time.perf_counter() - start
added = sorted(set(sys.modules) - before)
print(json.dumps([seconds, added]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: list[float] = []
    added: list[str] = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True)
        seconds, added = json.loads(done.stdout)
        times.append(seconds)
    print(f"import generated, after import timm  {1000 * statistics.median(times):.1f} ms (target: at most 20)")
    print(f"modules added: {', '.join(added)}")
    print(f"of these timm's: {', '.join(name for name in added if name.startswith('timm')) or 'none'}")


if __name__ == "__main__":
    main()
