"""What every test runs under."""

import os

# Test models are tiny: a second thread costs more in waiting than it computes. Set before torch is
# imported; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Triton decides whether to interpret kernels when they are defined, so this too must come first.
os.environ.setdefault("TRITON_INTERPRET", "1")
