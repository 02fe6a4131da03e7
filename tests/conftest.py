"""For all tests: they run side by side, so each of them keeps to one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
