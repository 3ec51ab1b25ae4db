"""A small network and a batch that settle in some tens of steps, each sample in its own number of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.models import layered_hopfield


@pytest.fixture
def net() -> ReferenceEngine:
    return ReferenceEngine(layered_hopfield([6, 5, 3]), seed=1)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 6))


@pytest.fixture
def y() -> np.ndarray:
    return np.array([0, 1, 2, 0])


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program in an interpreter of its own: one that may be killed, or crash."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
