"""What every test runs under."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test models are tiny: a second thread costs more in waiting than it computes. Set before torch is
# imported; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Triton decides whether to interpret kernels when they are defined, so this too must come first.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Engines that tests start are processes of their own, which have to find the fakes.
_ROOT = str(Path(__file__).resolve().parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))

# The user's own engine and choice of a model are left alone, by subprocesses too.
_FOLDER = Path(tempfile.mkdtemp(prefix="infill-"))
os.environ["INFILL_RUNTIME_DIR"] = str(_FOLDER / "run")
os.environ["INFILL_CONFIG_DIR"] = str(_FOLDER / "config")


@pytest.fixture(scope="session", autouse=True)
def _no_engine_is_left() -> Iterator[None]:
    """Whatever engine the tests have started through the language server is ended with them."""
    import shutil

    from engine.service.lifecycle import stop
    from engine.service.place import Place

    yield
    if (_FOLDER / "run").exists():
        stop(Place(folder=_FOLDER / "run"))
    shutil.rmtree(_FOLDER, ignore_errors=True)
