"""SIGKILL at any moment: the run that goes on ends as if nothing had been, and every trajectory file opens."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.training.results import FIGURES

KILLS = 20

PROGRAM = f"""
import os, random, signal, time
import numpy as np
import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.datasets import load_data
from neuro_eq.errors import FileError
from neuro_eq.trajectory import staged

DATA = load_data("digits").subset(32, 8)

def train(folder):
    net = ReferenceEngine(ne.models.layered_hopfield([64, 30, 10], "tanh"), seed=1)
    os.makedirs(folder, exist_ok=True)
    history = ne.train(
        net, DATA, epochs=EPOCHS, batch_size=4, seed=5, checkpoint=folder + "/run.ckpt", resume=True,
        record=folder + "/run.h5", checkpoint_every=0.005,
    )
    np.savez(folder + "/end.npz", history=history.table(), **net.parameters)

# Files above this size are changed where they lie and not written anew; the recording is of about 1 MB.
staged.SMALL = 60_000
EPOCHS = 4
began = time.monotonic()
train("whole")
span = time.monotonic() - began
random.seed(SEED)
kills = 0
finished = False
while not finished:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train("part")
            code = 0
        finally:
            os._exit(code)
    if kills < {KILLS}:
        # Twice the work would be done before the last kill, did it never come to anything.
        time.sleep(random.uniform(0.0, 2 * span / {KILLS}))
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    if code == 0 and kills < {KILLS}:
        # It was quicker than the kills: they go on in a run of twice the length.
        EPOCHS += 4
    finished = code == 0 and kills >= {KILLS}
    kills += code != 0
    for name in ("part/run.h5", "part/run.h5.part"):
        if os.path.exists(name) and os.path.getsize(name):
            with ne.open_trajectory(name) as run:
                run.metrics, run.equilibrium, [run.states(p) for p in run.populations if p != "input"]
if EPOCHS > 4:
    os.rename("whole", "short")
    train("whole")
print("killed", kills, "epochs", EPOCHS, "span", span)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_killed_twenty_times(
    python: Callable[[str], subprocess.CompletedProcess[str]], content: Callable[[Path], dict[str, Any]],
    tmp_path: Path, seed: int,
) -> None:  # fmt: skip
    done = python(PROGRAM.replace("SEED", str(seed)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"killed {KILLS} "), done.stdout
    with np.load(tmp_path / "whole" / "end.npz") as whole, np.load(tmp_path / "part" / "end.npz") as part:
        assert set(whole) == set(part)
        for name in whole:
            one, other = whole[name], part[name]
            if name == "history":
                one[:, FIGURES.index("seconds")] = other[:, FIGURES.index("seconds")]
            assert one.tobytes() == other.tobytes(), name
    np.testing.assert_equal(content(tmp_path / "part" / "run.h5"), content(tmp_path / "whole" / "run.h5"))
    with ne.open_trajectory(tmp_path / "part" / "run.h5") as run:
        assert run.complete
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == ["end.npz", "run.ckpt", "run.h5"]
