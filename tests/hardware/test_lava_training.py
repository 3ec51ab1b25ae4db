"""A chip that learns in Lava, and the same in Numba: an epoch with the same draws ends at the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.backends.deployment.lava_training import LavaTrainer
from neuro_eq.backends.lava.chip import LavaChip, draws
from neuro_eq.backends.numba.chip_training import ChipTrainer
from neuro_eq.cli.main import app as program
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.quantisation import Precision, quantise
from neuro_eq.hardware.schedules import SCHEDULES, LearningSchedule


def network(hidden: int = 8) -> ChipNetwork:
    spec = ne.models.layered_hopfield([7, hidden, 4], "hard_sigmoid", bias=False)
    ranges = {"input": 1.0, "hidden1": 8.0, "output": 8.0}
    scales = {"input_hidden1": -8, "hidden1_output": -8}
    return quantise(spec, spec.initial_parameters(0), ranges, Precision(activity_bits=8), scales)[0]


def same_draws(trainer: ChipTrainer, schedule: LearningSchedule, seeds: list[int]) -> Callable[[int], np.ndarray]:
    """What Lava drew, where the kernel looks for it: a call of Lava's learning engine rounds by a seed of its own."""
    ways, many = len(trainer.chip.connections), schedule.consolidate or 1

    def drawn(samples: int) -> np.ndarray:
        found = np.zeros((samples, schedule.events + 1, ways, 2, 3))
        for block in range(-(-samples // many)):
            rows = range(block * many, min(samples, (block + 1) * many))
            whole = schedule.consolidate and len(rows) == many
            for k in range(ways):
                theirs = draws(schedule.events * len(rows) + 1, seeds[block * ways + k])
                numbers = np.stack([theirs.variables, theirs.pre, theirs.post], axis=1)
                for i, s in enumerate(rows):
                    found[s, : schedule.events, k] = numbers[i * schedule.events : (i + 1) * schedule.events, None]
                if whole:
                    found[rows[-1], -1, k] = numbers[schedule.events * many]
        return found

    return drawn


@pytest.mark.parametrize("name", ["tags", "contrast", "differences"])
def test_an_epoch_in_lava_has_the_bits_of_an_epoch_in_numba(
    lava: LavaChip, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip, schedule = network(), SCHEDULES[name]
    rng = np.random.default_rng(3)
    samples = 19 if schedule.consolidate else 4  # two consolidations, and three samples more
    x, labels = rng.random((samples, 7)), rng.integers(0, 4, samples)
    trainer, seeds = LavaTrainer(chip, schedule, beta=1.0, seed=5, lava=lava), list[int]()
    draw = trainer.draw
    monkeypatch.setattr(trainer, "draw", lambda: seeds.append(draw()) or seeds[-1])
    found = trainer.epoch(x, labels)
    with_numba = ChipTrainer(chip, schedule, beta=1.0, seed=5)
    monkeypatch.setattr(with_numba, "draws", same_draws(with_numba, schedule, seeds))
    wanted = with_numba.epoch(x, labels)
    assert asdict(found) == asdict(wanted)
    for connection, weights in with_numba.weights().items():
        np.testing.assert_array_equal(trainer.weights[connection], weights, err_msg=connection)
        assert np.any(weights != next(c.weights for c in chip.connections if c.name == connection))


@pytest.mark.parametrize("name", ["paired"])
def test_what_lava_does_not_do_is_refused(name: str) -> None:
    with pytest.raises(ne.SpecError, match="take contrast, whole, tags or differences"):
        LavaTrainer(network(), SCHEDULES[name])


def test_a_run_by_the_chips_rule(lava: LavaChip, tmp_path: Path) -> None:
    """``run --backend lava --rule chip`` leaves what ``learn --engine lava`` leaves."""
    del lava  # it is needed, and of its own
    options = ["--train-samples", "8", "--test-samples", "10", "--epochs", "1", "--seed", "3", "--hidden", "6"]
    by_run, by_learn = tmp_path / "run", tmp_path / "learn"
    done = CliRunner().invoke(program, ["run", "--backend", "lava", "--rule", "chip", *options, "--out", str(by_run)])
    assert done.exit_code == 0, done.output
    assert "epoch   1  test" in done.output
    done = CliRunner().invoke(program, ["learn", "--engine", "lava", *options, "--out", str(by_learn)])
    assert done.exit_code == 0, done.output
    one, other = (json.loads((folder / "learning.json").read_text()) for folder in (by_run, by_learn))
    assert one == other
    assert one["engine"] == "lava"
    assert (by_run / "learning.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rule", "chip"], "backend \"numba\" has no learning rule 'chip' of its own"),
        (
            ["--backend", "lava", "--rule", "hebb"],
            "backend \"lava\" has no learning rule 'hebb' of its own; it has 'chip'",
        ),
        (["--backend", "lava", "--rule", "chip", "--lr", "1"], "brings it along, so --lr cannot be given"),
        (["--backend", "lava", "--rule", "chip", "--spec", "n.toml"], "brings it along, so --spec cannot be given"),
        (["--backend", "lava", "--rule", "chip", "--hidden", "4,4"], "trains one hidden population, found 2"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(lava: LavaChip, arguments: list[str], sentence: str) -> None:
    del lava
    with pytest.raises(ne.NeuroEqError) as error:
        CliRunner().invoke(program, ["run", *arguments], catch_exceptions=False)
    assert sentence in str(error.value)


def test_an_engine_that_cannot_learn_is_refused() -> None:
    with pytest.raises(ne.SpecError, match=r"^engine: no engine \"torch\""):
        CliRunner().invoke(program, ["learn", "--engine", "torch"], catch_exceptions=False)
