"""A run that was stopped anywhere and goes on is the run that never stopped, to the last bit."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.methods import EqProp, ImplicitDifferentiation
from neuro_eq.schedules import Constant, Cosine
from neuro_eq.training.interruption import Interruption

BATCHES = 3
SELF = ne.models.looped_mlp(64, 6, 10)
DIRECTED = ne.models.looped_mlp(64, 6, 10, symmetric=False)

CASES: list[Any] = [
    pytest.param({"method": ne.EqProp(0.1)}, id="eqprop-adam"),
    pytest.param({"method": ne.EqProp(0.1, "one-sided"), "optimizer": ne.SGD(0.1)}, id="one-sided-sgd"),
    pytest.param({"method": ne.EqProp(0.1), "spec": SELF, "schedule": Cosine()}, id="self-synapse-cosine"),
    pytest.param({"method": ne.AsymEP(0.1), "spec": DIRECTED}, id="asymep-directed"),
    pytest.param({"method": ImplicitDifferentiation()}, id="implicit"),
    pytest.param(
        {
            "method": ne.VectorField(0.1),
            "optimizer": ne.SGD(0.1, momentum=0.9, nesterov=True),
            "schedule": Cosine(warmup=0.3),
            "budget": ne.NormBudget(0.5),
            "penalty": ne.JacobianPenalty(0.1),
        },
        id="vectorfield-momentum-warmup-budget-penalty",
    ),
]


@pytest.mark.parametrize("settings", CASES)
def test_cut_after_every_batch(
    run: Callable[..., Any], same: Callable[[Any, Any], None], stopper: Any, killed: Any, settings: dict[str, Any]
) -> None:
    whole = run("whole", **settings)
    wanted = whole()
    # The checkpoint is of this very batch, or (an hour apart) of the end of the epoch before.
    for cut, seconds in [(cut, 0.0) for cut in range(1, 2 * BATCHES + 1)] + [(2, 3600.0), (2 * BATCHES, 3600.0)]:
        part = run(f"cut{cut}-{seconds:g}", **settings)
        with pytest.raises(killed):
            part(reporter=stopper(batches=cut), checkpoint_every=seconds)
        same(part(checkpoint_every=seconds), wanted)
        np.testing.assert_equal(part.trajectory(), whole.trajectory())


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_cut_at_an_epochs_end(
    run: Callable[..., Any], same: Callable[[Any, Any], None], stopper: Any, killed: Any, epoch: int
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole()
    with pytest.raises(killed):
        part(reporter=stopper(epoch=epoch))
    same(part(), wanted)
    np.testing.assert_equal(part.trajectory(), whole.trajectory())


def test_stopped_at_every_batch_one_after_another(
    run: Callable[..., Any], same: Callable[[Any, Any], None], stopper: Any, killed: Any
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole()
    for _ in range(2 * BATCHES):
        with pytest.raises(killed):
            part(reporter=stopper(batches=1), checkpoint_every=0.0)
    same(part(), wanted)
    np.testing.assert_equal(part.trajectory(), whole.trajectory())


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_on_other_engines(
    run: Callable[..., Any], stopper: Any, killed: Any, backend: str, need: Callable[[str], None]
) -> None:
    need(backend)
    weights = []
    for cut in (None, 2, 4):
        part = run(f"cut{cut}")
        for reporter in (None,) if cut is None else (stopper(batches=cut), None):
            net = ne.compile(part.spec, backend=backend, dtype="float32", seed=1)
            arguments = {"epochs": 2, "batch_size": 8, "checkpoint": part.folder / "run.ckpt", "checkpoint_every": 0.0}
            try:
                ne.train(net, part.data, **arguments, resume=True, reporter=reporter)
            except killed:
                continue
        weights.append({name: net.to_numpy(value) for name, value in net.parameters.items()})
    for name, value in weights[0].items():
        assert value.tobytes() == weights[1][name].tobytes() == weights[2][name].tobytes(), name


def test_a_finished_run_is_not_run_again(
    run: Callable[..., Any], same: Callable[[Any, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = run()
    wanted = part()
    before = part.trajectory()
    monkeypatch.setattr(EqProp, "gradient", None)
    again = part()
    same(again, wanted)
    assert [epoch.seconds for epoch in again[1].epochs] == [epoch.seconds for epoch in wanted[1].epochs]
    np.testing.assert_equal(part.trajectory(), before)


def test_a_run_that_was_stopped_before_its_recording_was_complete(
    run: Callable[..., Any], same: Callable[[Any, Any], None]
) -> None:
    """Killed after the last checkpoint and before the trajectory file took its name."""
    part = run()
    wanted = part()
    trajectory = part.trajectory()
    (part.folder / "run.h5").rename(part.folder / "run.h5.part")
    same(part(), wanted)
    np.testing.assert_equal(part.trajectory(), trajectory)


def test_with_a_constant_schedule_a_run_goes_on_to_more_epochs(
    run: Callable[..., Any], same: Callable[[Any, Any], None]
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole(epochs=4)
    part(epochs=1)
    part(epochs=2)
    same(part(epochs=4), wanted)
    np.testing.assert_equal(part.trajectory(), whole.trajectory())
    assert sorted(path.name for path in part.folder.iterdir()) == ["run.ckpt", "run.h5"]


def test_with_another_schedule_it_does_not(run: Callable[..., Any]) -> None:
    part = run(schedule=Cosine())
    part(epochs=1)
    with pytest.raises(ne.FileError, match=r"run\.ckpt: was begun with 1 epochs, and with 2 the cosine schedule"):
        part(epochs=2)


def test_fewer_epochs_than_there_are(run: Callable[..., Any]) -> None:
    part = run()
    part(epochs=2)
    with pytest.raises(ne.FileError, match=r"run\.ckpt: is in epoch 3 already, past the 1 that are asked for"):
        part(epochs=1)


OTHER: list[tuple[dict[str, Any], str]] = [
    ({"seed": 6}, "seed, 5 there and 6 here"),
    ({"batch_size": 4}, "batch_size, 8 there and 4 here"),
    ({"method": ne.EqProp(0.2)}, r"method\.beta, 0\.1 there and 0\.2 here"),
    ({"method": ImplicitDifferentiation()}, r'method\.kind, "eqprop" there and "implicit" here'),
    ({"optimizer": ne.SGD(0.1)}, r'optimizer\.kind, "adam" there and "sgd" here'),
    ({"schedule": Cosine()}, r'schedule\.kind, "constant" there and "cosine" here'),
    ({"free": ne.Relaxation(max_steps=61)}, r"free\.max_steps, 60 there and 61 here"),
    ({"free": None}, r"free, null there and .*|free\.\S+, .* there and null here"),
]


@pytest.mark.parametrize(("change", "sentence"), OTHER, ids=[", ".join(change) for change, _ in OTHER])
def test_the_checkpoint_of_another_run_is_refused_by_name(
    run: Callable[..., Any], change: dict[str, Any], sentence: str
) -> None:
    part = run()
    part(epochs=1)
    before = (part.folder / "run.ckpt").read_bytes()
    with pytest.raises(ne.FileError) as raised:
        part(**{"epochs": 1, **change})
    assert re.fullmatch(rf".*run\.ckpt: belongs to a run with another ({sentence}); name another .*", str(raised.value))
    assert (part.folder / "run.ckpt").read_bytes() == before


def test_other_data_and_another_network_are_refused(run: Callable[..., Any]) -> None:
    part = run()
    part(epochs=1)
    data, spec = part.data, part.spec
    part.data = data.subset(21, 9)
    with pytest.raises(ne.FileError, match="belongs to a run with another data; "):
        part(epochs=1)
    part.data, part.spec = data, SELF
    with pytest.raises(ne.FileError, match="belongs to a run with another network; "):
        part(epochs=1)
    part.spec = spec
    part(epochs=1)


def test_a_checkpoint_that_is_there_is_not_overwritten_unasked(
    run: Callable[..., Any], same: Callable[[Any, Any], None]
) -> None:
    part = run()
    wanted = part()
    with pytest.raises(ne.FileError, match=r"run\.ckpt: exists already; go on from it \(resume=True\)"):
        part(resume=False, record=part.folder / "other.h5")
    same(part(resume=False, overwrite=True), wanted)


def test_resume_needs_a_checkpoint(run: Callable[..., Any]) -> None:
    with pytest.raises(ne.DataError, match=r"^resume: there is no checkpoint to go on from"):
        run()(checkpoint=None)
    with pytest.raises(ne.DataError, match=r"^checkpoint_every: expected seconds, at least 0, found -1"):
        run("other")(checkpoint_every=-1)


# -- Ctrl-C and kill ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["gradient", "step", "metrics"])
def test_a_signal_leaves_a_checkpoint_of_the_last_batch(
    run: Callable[..., Any],
    same: Callable[[Any, Any], None],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    where: str,
) -> None:
    owner = {"gradient": EqProp, "step": ne.Adam, "metrics": ne.Recorder}[where]
    whole, part = run("whole"), run("part")
    wanted = whole()
    original, calls = getattr(owner, where), iter(range(100))

    def signalled(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 4:
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, where, signalled)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        part(checkpoint_every=3600.0)
    assert next(calls) == 5  # nothing was begun afterwards
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same(part(), wanted)
    np.testing.assert_equal(part.trajectory(), whole.trajectory())


def test_a_second_signal_does_not_wait() -> None:
    interruption = Interruption()

    def signalled_twice() -> None:
        with interruption.held():
            signal.raise_signal(signal.SIGINT)
            assert not interruption.torn
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it waited")

    with interruption, pytest.raises(KeyboardInterrupt):
        signalled_twice()
    assert interruption.torn


def test_signals_that_somebody_has_taken_stay_theirs() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with Interruption():
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


# -- the trajectory is lost --------------------------------------------------------------------------------------------


def test_a_lost_trajectory_costs_the_past_and_not_the_future(
    run: Callable[..., Any], same: Callable[[Any, Any], None], stopper: Any, killed: Any
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole()
    with pytest.raises(killed):
        part(reporter=stopper(epoch=1))
    (part.folder / "run.h5.part").unlink()
    with pytest.warns(UserWarning, match=r"run\.h5: is not there any more, so the rest .* recorded in .*run-2\.h5$"):
        same(part(), wanted)
    with ne.open_trajectory(part.folder / "run-2.h5") as trajectory:
        assert trajectory.complete
        assert trajectory.metrics["test_accuracy"][0].tolist() == [2]
    # And so it stays: the checkpoint knows where the recording goes on.
    part(epochs=3)
    with ne.open_trajectory(part.folder / "run-2.h5") as trajectory:
        assert trajectory.metrics["test_accuracy"][0].tolist() == [2, 3]


@pytest.mark.parametrize("damage", ["zeros", "short", "noise", "another", "network"])
def test_an_unusable_trajectory_stays_as_it_is(
    run: Callable[..., Any], same: Callable[[Any, Any], None], stopper: Any, killed: Any, damage: str
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole()
    with pytest.raises(killed):
        part(reporter=stopper(epoch=1))
    file = part.folder / "run.h5.part"
    if damage in ("another", "network"):
        other = run("other", **({"spec": SELF} if damage == "network" else {}))
        with pytest.raises(killed):
            other(reporter=stopper(epoch=0 if damage == "another" else 1))
        file = (other.folder / "run.h5.part").replace(file)
    else:
        good = file.read_bytes()
        file.write_bytes({"zeros": bytes(len(good)), "short": good[:3000], "noise": os.urandom(5000)}[damage])
    before = file.read_bytes()
    with pytest.warns(UserWarning, match=r"run.*, so the rest of the run is recorded in .*run-2\.h5$"):
        same(part(), wanted)
    assert file.read_bytes() == before


# -- nothing can be written --------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_keeps_the_checkpoint_before(
    run: Callable[..., Any], same: Callable[[Any, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = run("whole"), run("part")
    wanted = whole()
    sync, calls = os.fsync, iter(range(100))

    def full(file: int) -> None:
        if next(calls) >= 5:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ne.FileError, match=r"run\.ckpt: cannot write it \(No space left on device\)$"):
        part(checkpoint_every=0.0)
    monkeypatch.undo()
    assert sorted(path.name for path in part.folder.iterdir()) == ["run.ckpt", "run.h5.part"]
    same(part(), wanted)
    np.testing.assert_equal(part.trajectory(), whole.trajectory())


def test_a_disk_that_is_full_from_the_start(python: Callable[[str], Any], tmp_path: Path) -> None:
    done = python(
        """
import resource
import neuro_eq as ne
from neuro_eq.datasets import load_data
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
net = ne.compile(ne.models.layered_hopfield([2, 4, 2]), backend="reference")
try:
    ne.train(net, load_data("xor"), checkpoint="run.ckpt", record="run.h5")
except ne.FileError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "run.ckpt: cannot write it (File too large)\n")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(run: Callable[..., Any]) -> None:
    part = run()
    with pytest.raises(ne.FileError, match=r"absent/run\.ckpt: cannot write it \(No such file or directory\)"):
        part(checkpoint=part.folder / "absent" / "run.ckpt")
    with pytest.raises(ne.FileError, match=r"absent/run\.h5: cannot write it \(there is no folder"):
        part(record=part.folder / "absent" / "run.h5")
    assert not list(part.folder.iterdir())
    part(epochs=1)
    before = (part.folder / "run.ckpt").read_bytes()
    with pytest.raises(ne.FileError, match=r"absent/run\.h5: cannot write it"):
        part(record=part.folder / "absent" / "run.h5", resume=False, overwrite=True)
    assert (part.folder / "run.ckpt").read_bytes() == before


def test_without_a_checkpoint_a_left_over_recording_is_somebody_elses(
    run: Callable[..., Any], stopper: Any, killed: Any
) -> None:
    part = run()
    with pytest.raises(killed):
        part(reporter=stopper(epoch=1), checkpoint=None, resume=False)
    before = (part.folder / "run.h5.part").read_bytes()
    with pytest.raises(ne.FileError, match=r"run\.h5\.part: is left from a run that did not finish"):
        part()
    assert [path.name for path in part.folder.iterdir()] == ["run.h5.part"]
    assert (part.folder / "run.h5.part").read_bytes() == before


# -- the budget --------------------------------------------------------------------------------------------------------


class Halves:
    """A budget that nobody keeps: whatever the parameters are, they are halved."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def project(self, spec: ne.Network, parameters: Any) -> dict[str, Any]:
        self.seen.append(dict(parameters))
        return {name: 0.5 * value for name, value in parameters.items()}


def test_the_budget_holds_before_the_first_step_and_after_every_one(run: Callable[..., Any]) -> None:
    part, budget = run(), Halves()
    weights, _ = part(budget=budget, record=None, epochs=1)
    assert len(budget.seen) == 1 + BATCHES
    for name, value in budget.seen[-1].items():
        np.testing.assert_array_equal(weights[name], 0.5 * value)
    # Going on, the parameters of the checkpoint have been projected already.
    again = Halves()
    part(budget=again, record=None, epochs=2, schedule=Constant())
    assert len(again.seen) == BATCHES
