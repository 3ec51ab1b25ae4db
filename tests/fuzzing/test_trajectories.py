"""A thousand trajectory files of which some bytes are others: each is read, or one sentence says why it cannot be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

PROGRAM = """
import gc, io, os, pathlib, random, signal, sys
from contextlib import redirect_stderr, redirect_stdout
import numpy as np
import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.cli.main import main
from neuro_eq.errors import LONGEST

net = ReferenceEngine(ne.models.layered_hopfield([3, 4, 2]), seed=1)
with ne.Recorder("run.h5", samples=2) as rec:
    rec.describe(data="digits", image_shape=(1, 3))
    rec.label(epoch=1)
    settling = ne.Relaxation(max_steps=20)
    ne.EqProp(0.1).gradient(net, np.ones((2, 3)), np.array([0, 1]), free=settling, record=rec)
    position = rec.position
    rec.metrics("epoch", 0, accuracy=0.5)
    rec.metrics("step", 0, cost=0.5)
whole = pathlib.Path("run.h5").read_bytes()
# Most of a file are numbers that were never recorded.  What is left is what the file is made of.
told = [place for place, byte in enumerate(whole) if byte not in (0, 255)]
damaged = pathlib.Path("damaged.h5")
numbers = random.Random(SEED)


def limit(seconds):
    # Of the processor's time: a machine may be busy with other things.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def damage():
    content = bytearray(whole)
    for _ in range(numbers.choice([1, 1, 3, 10, 40])):
        place = numbers.choice(told) if numbers.random() < 0.8 else numbers.randrange(len(content))
        content[place] = numbers.choice([numbers.randrange(256), 0, 255, content[place] ^ 1 << numbers.randrange(8)])
    damaged.write_bytes(content)


def look():
    with ne.open_trajectory(damaged) as run:
        run.check()
        run.spec, run.phases, run.betas, run.steps, run.equilibrium, run.metrics, run.settling, run.energy_terms
        for name in run.populations:
            run.activities(name)
            if number % 5 == 0:
                run.to_xarray(name)
        for name in {*run.populations} - {"input"}:
            run.states(name), run.fixed_states(name), run.fixed_activities(name)


def gone_on_with():
    # How a process ends that goes on with the file as a run would: 0 where it can, 2 after one sentence.
    os.replace("damaged.h5", "damaged.h5.part")
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    limit(20)
    try:
        with ne.Recorder("damaged.h5", samples=2, position=position, overwrite=True) as rec:
            rec.metrics("epoch", 0, accuracy=0.5)
    except ne.NeuroEqError as error:
        sentence(str(error))
        gc.collect()  # The run itself goes on, and what HDF5 left behind is in its way no longer.
        os._exit(2)
    finally:
        os._exit(sys.exc_info()[0] is not None)


def sentence(words):
    assert words.startswith("damaged.h5"), words
    assert words.isprintable() and len(words) <= LONGEST + 3, words


found = {"read": 0, "refused": 0}
for number in range(MANY):
    damage()
    limit(20)  # A reader that never comes back ends the program.
    try:
        look()
        found["read"] += 1
    except ne.NeuroEqError as error:
        sentence(str(error))
        found["refused"] += 1
    except BaseException as error:
        raise AssertionError(f"file {number}") from error

ends = []
for number in range(2 * FEW):
    damage()
    ends.append(gone_on_with())

for number in range(FEW):
    damage()
    limit(60)
    sys.argv = ["neuro_eq", *(["inspect"] if number % 4 else ["plot", "--kind", "energy", "-o", "x.png"]), str(damaged)]
    errors = io.StringIO()
    code = 0
    try:
        with redirect_stderr(errors), redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        raise AssertionError(f"{sys.argv[1]}, file {number}") from error
    assert code in (0, 2), code
    if code:
        words = errors.getvalue()
        assert words.startswith("error: ") and words.count("\\n") == 1, words
        sentence(words[len("error: "):-1])
print(found["read"], found["refused"], *sorted(set(ends)))
"""


def test_a_thousand_damaged_files(python: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    pytest.importorskip("xarray")
    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    many = 20_000 if thorough else 1000
    # Always the same files, and others where there is time.
    program = PROGRAM.replace("SEED", os.environ.get("NEURO_EQ_FUZZ_SEED", str(int(thorough))))
    done = python(program.replace("MANY", str(many)).replace("FEW", str(many // 50)))
    assert done.returncode == 0, done.stderr[-3000:]
    read, refused, *ends = map(int, done.stdout.split())
    assert ends == [0, 2], "a file that is gone on with ends otherwise than well or in one sentence"
    assert read + refused == many
    assert min(read, refused) > many // 10
