"""Every experiment runs at its quick scale from the command to the page, and its pure parts are what they say."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.experiments.adaptive_compute import (
    READ,
    Course,
    auroc,
    careful_threshold,
    exits,
    least_threshold,
    saving,
)
from neuro_eq.experiments.beta_claims import FEWEST, with_losses
from neuro_eq.experiments.commands import app
from neuro_eq.experiments.contraction import Contraction, energy_rise, from_many_starts
from neuro_eq.experiments.contraction import run as run_contraction
from neuro_eq.experiments.contraction_claims import APART
from neuro_eq.experiments.machinery.catalogue import EXPERIMENTS, find
from neuro_eq.experiments.machinery.experiment import Standing
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.results import Cell, Results, Run
from neuro_eq.experiments.machinery.store import found_in
from neuro_eq.experiments.training.footprint import footprint, parameter_bytes
from neuro_eq.experiments.training.loop import TEST_ACCURACY, Learned


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_quick_scale_runs_from_the_command_to_the_page(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra: experiments)")
    done = CliRunner().invoke(app, ["run", name, "--workers", "0", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (results,) = found_in(tmp_path)
    experiment = find(name)
    assert len(results) == len(experiment.configurations("quick"))
    for cell in results:
        assert len(cell.runs) == experiment.seeds["quick"]
        for run in cell.runs:
            assert run.numbers, "a run finds numbers"
            assert run.provenance.spec, "and says of which network"
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for claim in experiment.verdict(results).claims:
        assert claim.found, "a claim says what was found"
    assert page.count("<tr>") > len(results)
    # A verdict is of the numbers and of the curves that are published with them: without other arrays it says the same.
    again = replace(results, cells=tuple(_as_published(cell, experiment.curves) for cell in results))
    assert experiment.verdict(again) == experiment.verdict(results)
    experiment.figure(again)
    for path in tmp_path.rglob("*.h5"):
        path.unlink()
    (bare,) = found_in(tmp_path)
    experiment.verdict(bare)
    experiment.figure(bare)


def _as_published(cell: Cell, curves: tuple[str, ...]) -> Cell:
    kept = [{name: run.arrays[name] for name in curves if name in run.arrays} for run in cell.runs]
    return replace(
        cell, runs=tuple(replace(run, read=partial(dict, k)) for run, k in zip(cell.runs, kept, strict=True))
    )


@pytest.mark.parametrize("scale", ["medium", "full"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_verdict_of_nothing_decides_nothing(name: str, scale: str) -> None:
    verdict = find(name).verdict(Results(find(name), scale, ()))
    assert {claim.standing for claim in verdict.claims} <= {Standing.OPEN}
    assert {criterion.met for criterion in verdict.criteria} <= {None}


def test_earlier_networks_that_did_not_run_are_in_the_verdict() -> None:
    experiment = find("training_mnist")
    (row,) = (r for r in experiment.configurations("full") if (r.network, r.rule) == ("softmax block, wide", "asymep"))
    cell = Cell(row, (Run(0, {"accuracy": 0.9, "not settled": 0.1}, Provenance(code="")),))
    verdict = experiment.verdict(Results(experiment, "full", (cell,)))
    earlier = [claim for claim in verdict.claims if "the one-sided vector field reaches" in claim.says]
    assert [claim.found for claim in earlier] == ["not run", "not run"]
    assert [(criterion.met, criterion.found) for criterion in verdict.criteria] == [
        (False, "best local 90.00 %"), (False, "best local 90.00 %"),
        (False, "10.0 % of the test samples, over the networks that learnt locally"),
    ]  # fmt: skip


def test_the_same_run_finds_the_same() -> None:
    config = Contraction(model="looped_mlp", task="attractor", hidden=6, epochs=2, starts=3)
    left, right = run_contraction(config, 1), run_contraction(config, 1)
    np.testing.assert_equal(dict(left.numbers), dict(right.numbers))
    other = run_contraction(config, 2)
    assert dict(other.numbers) != dict(left.numbers)


def test_starts_end_together_within_the_budget_and_apart_beyond_it() -> None:
    """A population that drives itself by w·I with tanh has one fixed point for w < 1, and ±a for w > 1."""
    for weight, several in ((0.5, False), (2.0, True)):
        spec = ne.models.looped_mlp(2, 3, 2, bias=False)
        net = ne.compile(spec, "reference")
        net.set_parameters({"hidden_hidden.weight": weight * np.eye(3), "input_hidden.weight": np.zeros((3, 2))})
        apart, converged = from_many_starts(net, np.zeros((2, 2)), 12, seed=0)
        assert (apart > APART) == several
        assert converged == 1.0
        if several:
            # Twelve starts of three units: at least one sign differs, and each differing unit is 2a apart in u.
            a = 1.9150080481545  # u = 2 tanh(u)
            sizes = [2 * a * math.sqrt(k / 3) for k in range(1, 4)]
            assert min(abs(apart - size) for size in sizes) < 1e-5


def test_the_energy_rises_where_a_step_is_too_long() -> None:
    """``G = ½u² − ½wu²`` of one identity unit: steps of 0.1 descend for w = −5, and overshoot for w = −50."""
    for weight, rises in ((-5.0, False), (-50.0, True)):
        spec = ne.models.looped_mlp(1, 1, 2, bias=False, activation="identity")
        net = ne.compile(spec, "reference")
        net.set_parameters({"hidden_hidden.weight": [[weight]], "input_hidden.weight": [[1.0]]})
        assert (energy_rise(net, np.ones((1, 1)), steps=5) > 1e-9) == rises


def course(margin: list[list[float]], right: list[list[bool]]) -> Course:
    """Samples whose answers lead by this much at each reading; later readings are as the last one given."""
    samples = len(margin[0])
    full = [*margin, *[margin[-1]] * (len(READ) - len(margin))]
    correct = [*right, *[right[-1]] * (len(READ) - len(right))]
    nothing = np.zeros(samples)
    return Course(
        np.full(samples, READ[-1]), np.ones(samples, bool), nothing, np.array(correct), np.array(full), nothing
    )


def test_a_sample_leaves_when_it_leads_by_enough() -> None:
    one = course([[0.9, 0.1], [0.9, 0.6]], [[True, False], [True, True]])
    steps, right = exits(one, 0.5)
    assert steps.tolist() == [READ[0], READ[1]]
    assert right.all()
    steps, right = exits(one, 0.0)
    assert steps.tolist() == [READ[0], READ[0]]
    assert right.tolist() == [True, False]
    assert 0.1 < least_threshold(one) <= 0.12
    never, _ = exits(one, 0.95)
    assert never.tolist() == [READ[-1]] * 2


def test_a_careful_exit_is_the_latest_that_saves_enough() -> None:
    """One answer leads by 0.9 after the first reading, another after the sixtieth step of two hundred."""
    late = READ.index(60)
    one = course([*[[0.9, 0.1]] * late, [0.9, 0.9]], [*[[True, False]] * late, [True, True]])
    # Below 0.1 both leave at the first reading, up to 0.9 at steps 1 and 60, and never beyond it.
    assert saving(one, 0.05) == (1.0 - READ[0] / READ[-1], 0.5)
    assert saving(one, 0.5) == (pytest.approx(1.0 - (READ[0] + 60) / 2 / READ[-1]), 0.0)
    assert saving(one, 0.95) == (0.0, 0.0)
    assert careful_threshold(one, 0.5) == pytest.approx(0.9)
    assert careful_threshold(one, 0.9) == pytest.approx(0.1)


def test_the_area_under_the_curve_counts_pairs() -> None:
    score = np.array([0.1, 0.4, 0.35, 0.8])
    assert auroc(score, np.array([False, False, True, True])) == 0.75
    assert auroc(np.ones(4), np.array([False, False, True, True])) == 0.5
    assert math.isnan(auroc(score, np.zeros(4, bool)))


@pytest.mark.slow
def test_backpropagation_keeps_every_step_and_local_learning_none() -> None:
    """At least one state for every step of BPTT, and no more for more steps of local learning."""
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    spec = ne.models.looped_mlp(10, 64, 3)
    found = {
        (way, steps): footprint(spec, way=way, steps=steps, batch=50, dtype="float32", rounds=1)
        for way, steps in (("local", 5), ("local", 45), ("bptt", 45))
    }
    state = 50 * 64 * 4
    assert found["bptt", 45]["allocated"] >= 45 * state
    assert found["local", 45]["allocated"] == pytest.approx(found["local", 5]["allocated"], rel=0.02)
    assert found["local", 45]["allocated"] >= state
    assert parameter_bytes(spec) == 4 * (10 * 64 + 64 * 64 + 64 + 3 * 64 + 3)


def test_a_footprint_is_taken_with_the_memory_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with what a cluster sets for its workers, which would be part of what is measured."""
    seen: dict[str, str] = {}

    def run(command: object, env: dict[str, str], **how: object) -> subprocess.CompletedProcess[str]:
        seen.update(env)
        return subprocess.CompletedProcess([], 0, stdout='{"allocated": 1.0}', stderr="")

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr("neuro_eq.experiments.training.footprint.subprocess.run", run)
    footprint(ne.models.looped_mlp(3, 4, 2), way="local")
    assert "PATH" in seen
    assert not [name for name in seen if name.startswith("MALLOC_")]


def test_losses_of_accuracy_are_held_against_the_epoch_before() -> None:
    """Runs that lose what a curve says one epoch earlier, and runs that do not listen to it."""
    configuration = find("beta").configurations("quick")[0]

    def results(listens: bool) -> Results:
        runs = []
        for seed in range(FEWEST):
            rng = np.random.default_rng(seed)
            curve, noise = rng.random(16), rng.random(16)
            lost = np.concatenate([[0.0], (curve if listens else noise)[:-1]])
            arrays = {TEST_ACCURACY: 1.0 - 0.01 * np.cumsum(lost), "diagnostics/L": curve}
            runs.append(Run(seed, {}, Provenance(code=""), partial(dict, arrays)))
        return Results(find("beta"), "quick", (Cell(configuration, tuple(runs)),))

    found, lost = with_losses(results(True), "diagnostics/L", 1.0), with_losses(results(False), "diagnostics/L", 1.0)
    assert found is not None
    assert lost is not None
    assert found.low > 0.8
    assert lost.low < 0.0 < lost.high
    # A run that diverged has one more accuracy than it was looked at.
    cell = results(True).cells[0]
    longer = tuple(
        replace(run, read=partial(dict, {**run.arrays, TEST_ACCURACY: np.append(run.arrays[TEST_ACCURACY], 0.1)}))
        for run in cell.runs
    )
    fell = with_losses(replace(results(True), cells=(replace(cell, runs=longer),)), "diagnostics/L", 1.0)
    assert fell is not None
    assert fell.rho != found.rho, "and its fall counts"
    turned = with_losses(results(True), "diagnostics/L", -1.0)
    assert turned is not None
    assert turned.rho == pytest.approx(-found.rho)
    few = Results(find("beta"), "quick", (Cell(configuration, results(True).cells[0].runs[1:]),))
    assert with_losses(few, "diagnostics/L", 1.0) is None


def test_curves_have_an_entry_for_every_epoch() -> None:
    from neuro_eq.training import Epoch

    epochs = tuple(Epoch(i, *[float(i)] * 11) for i in range(3))
    curves = Learned(epochs).curves()
    assert curves[TEST_ACCURACY].tolist() == [0.0, 1.0, 2.0]
    assert json.dumps({name: values.tolist() for name, values in curves.items()})
