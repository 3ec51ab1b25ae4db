"""The loop takes the steps of ``ne.train``; twins differ in their gradient alone; diagnostics are true."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.experiments.tasks import attractor, memorisation, xor
from neuro_eq.experiments.training.diagnostics import Diagnostics
from neuro_eq.experiments.training.lessons import TWINS, Lessons
from neuro_eq.experiments.training.loop import learn
from neuro_eq.experiments.training.nudging import Nudging

SPEC = ne.models.looped_mlp(16, 8, 4)
DATA = memorisation(seed=3)


def trained(how: Lessons, backend: str = "reference", spec: ne.Network = SPEC) -> tuple[dict[str, np.ndarray], object]:
    net = ne.compile(spec, backend, seed=5)
    learned = learn(net, DATA, how, seed=5)
    return {name: np.asarray(net.to_numpy(value)) for name, value in net.parameters.items()}, learned


@pytest.mark.parametrize(("budget", "penalty"), [(None, None), (0.5, None), (None, 2.0)])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_with_one_nudge_it_is_the_library_s_own_training(
    budget: float | None, penalty: float | None, schedule: str
) -> None:
    """Bit for bit: parameters and every figure of every epoch but the seconds."""
    how = Lessons(epochs=3, lr=0.02, weight_decay=0.1, budget=budget, schedule=schedule, penalty=penalty)
    found, learned = trained(how)
    net = ne.compile(SPEC, "reference", seed=5)
    history = ne.train(
        net, DATA, method=ne.EqProp(how.beta), optimizer=how.optimizer, epochs=3, batch_size=how.batch_size, seed=5,
        schedule=how.rate, budget=how.norms, penalty=None if penalty is None else ne.JacobianPenalty(penalty),
        free=how.free, nudged=how.nudged,
    )  # fmt: skip
    for name, value in net.parameters.items():
        np.testing.assert_array_equal(found[name], value)
    for ours, theirs in zip(learned.epochs, history.epochs, strict=True):  # type: ignore[attr-defined]
        left, right = dataclasses.asdict(ours), dataclasses.asdict(theirs)
        left["seconds"] = right["seconds"] = 0.0
        np.testing.assert_equal(left, right)


def test_a_nudge_that_changes_goes_in_a_line() -> None:
    how = Lessons(beta=0.3, last_beta=0.2, epochs=5)
    assert [how.nudge(epoch) for epoch in range(1, 6)] == pytest.approx([0.3, 0.275, 0.25, 0.225, 0.2])
    assert how.method(SPEC, how.nudge(5)) == ne.EqProp(pytest.approx(0.2).expected)  # type: ignore[attr-defined]
    assert Lessons(beta=0.3, epochs=5).nudge(4) == 0.3


def test_a_nudge_that_follows_keeps_its_size() -> None:
    """After the first batch β times the slope of the batch before is what it was at first, up to the bound."""
    how = Lessons(beta=0.1, follow=0.15, epochs=1)
    nudging, net = Nudging(how), ne.compile(SPEC, "reference", seed=5)
    assert nudging.method(SPEC, 1) == ne.EqProp(0.1)
    sizes, nudges = [], []
    for shrunk in (1.0, 0.8, 0.1, 0.0):
        net.set_parameters({name: value + 0.3 * shrunk for name, value in net.parameters.items()})
        nudges.append(nudging.beta(1))
        _, evidence = nudging.method(SPEC, 1).gradient(net, DATA.x_test, DATA.y_test, free=how.free)
        nudging.saw(evidence)
        sizes.append(np.mean(evidence.nudge_size) / nudges[-1])
    assert nudges[0] == 0.1
    assert nudges[1:] == pytest.approx([min(0.1 * sizes[0] / size, 0.15) for size in sizes[:-1]])
    assert min(nudges[1:]) < 0.15, "the bound alone is not what is tested"
    fitted = dataclasses.replace(evidence, nudge_size=np.zeros(DATA.x_test.shape[0]))
    nudging.saw(fitted)
    assert nudging.beta(1) == 0.15
    late = Nudging(how)
    late.saw(fitted)
    assert late.beta(1) == 0.1, "there is nothing to follow yet"
    for beta, last in ((0.2, None), (0.1, 0.2), (-0.1, None)):
        with pytest.raises(ne.SpecError, match=r"follow: nudges must lie above 0 and not above 0\.15, found "):
            Lessons(beta=beta, last_beta=last, follow=0.15)


def test_training_takes_the_nudge_that_follows() -> None:
    """In the batches and in the probe."""
    plain, _ = trained(Lessons(epochs=4, lr=0.05))
    grown, _ = trained(Lessons(epochs=4, lr=0.05, follow=1.0))
    for name, value in plain.items():
        assert not np.array_equal(grown[name], value)
    how = Lessons(epochs=3, lr=0.05, follow=1.0)
    net = ne.compile(SPEC, "reference", seed=5)
    probe = Diagnostics(DATA.x_test[:8], DATA.y_test[:8], how)
    learn(net, DATA, how, seed=5, watch=probe)
    nudges = probe.curves()["diagnostics/nudge"]
    assert nudges[0] == nudges[1] == 0.1, "an epoch is one batch, which is the first one"
    assert np.all(np.diff(nudges[1:]) > 0.0), "the cost falls, so the nudge grows"


def test_rules_fit_the_network() -> None:
    directed = ne.models.looped_mlp(4, 3, 2, symmetric=False)
    assert isinstance(Lessons().method(SPEC), ne.EqProp)
    assert isinstance(Lessons().method(directed), ne.AsymEP)
    assert Lessons(rule="one-sided vector field", beta=0.2).method(SPEC) == ne.VectorField(0.2, "one-sided")


@pytest.mark.parametrize("rule", TWINS)
def test_twins_are_one_option_and_start_alike(rule: str) -> None:
    """With a small nudge all take nearly the same first steps: start, order and optimiser agree."""
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    common = {"epochs": 1, "lr": 1e-3, "beta": 1e-3, "max_steps": 300}
    ours, _ = trained(Lessons(**common), "torch")
    theirs, _ = trained(Lessons(rule=rule, **common), "torch")
    start = ne.compile(SPEC, "reference", seed=5).parameters
    for name, value in ours.items():
        # Adam's first step is lr·sign, so a step that differs would be off by its whole size.
        assert np.max(np.abs(value - theirs[name])) < 0.02 * np.max(np.abs(value - np.asarray(start[name]))), name


def test_a_run_that_diverges_ends_and_says_so() -> None:
    spec = ne.models.layered_hopfield([16, 8, 8, 4], "relu", cost="cross_entropy", gain=30.0)
    _, learned = trained(Lessons(epochs=2, alpha=1.0), spec=spec)
    assert "diverged" in learned.ended  # type: ignore[attr-defined]
    # The untrained network, and the one that training left: it did not get through its first batch.
    assert [epoch.epoch for epoch in learned.epochs] == [0, 1]  # type: ignore[attr-defined]
    assert len(learned.gradients) == 1  # type: ignore[attr-defined]


def test_the_size_of_every_gradient_is_kept() -> None:
    """Of the first batch it is that of the library's own gradient; there is one for every batch."""
    how = Lessons(epochs=2, batch_size=8, lr=0.01)
    net = ne.compile(SPEC, "reference", seed=5)
    (_, x, y), *others = DATA.batches(8, np.random.default_rng([5, 1]))
    first, _ = ne.EqProp(how.beta).gradient(net, x, y, free=how.free)
    learned = learn(net, DATA, how, seed=5)
    assert len(learned.gradients) == 2 * (1 + len(others))
    assert learned.gradients[0] == pytest.approx(np.sqrt(sum(np.sum(value**2) for value in first.values())))
    np.testing.assert_array_equal(learned.curves()["gradient/norm"], learned.gradients)
    assert learned.unevenness == max(learned.gradients) / np.median(learned.gradients) > 1.0


def test_diagnostics_are_what_they_are_called() -> None:
    """Each against its definition, computed once more by hand at the end of training."""
    how = Lessons(epochs=2, beta=0.05, lr=0.01)
    net = ne.compile(SPEC, "reference", seed=5)
    x, y = DATA.x_test[:8], DATA.y_test[:8]
    probe = Diagnostics(x, y, how)
    learn(net, DATA, how, seed=5, watch=probe)
    curves = {name.removeprefix("diagnostics/"): values for name, values in probe.curves().items()}
    assert curves["epoch"].tolist() == [0, 1, 2]
    rest = net.relax(x, tol=1e-12, max_steps=2000)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, x, y)
    found, evidence = ne.EqProp(0.05).gradient(net, x, y, free=how.free)
    left, right = (np.concatenate([np.ravel(g[name]) for name in exact]) for g in (found, exact))
    assert curves["cosine"][-1] == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    assert curves["energy"][-1] == pytest.approx(np.mean(net.energy(rest).total), rel=1e-3)
    assert curves["L"][-1] == pytest.approx(np.max(ne.lipschitz(net, x, state=rest).response), rel=1e-2)
    assert curves["norm of hidden_hidden.weight"][-1] == pytest.approx(
        np.linalg.norm(net.parameters["hidden_hidden.weight"])
    )
    ratio = evidence.residual / evidence.nudge_size
    assert curves["residual over nudge, median"][-1] == pytest.approx(np.median(ratio))
    assert curves["free: converged"][-1] == 1.0
    assert curves["steps, free"][-1] == pytest.approx(evidence.free.steps.mean())


def test_where_there_is_no_energy_there_is_none_recorded() -> None:
    how = Lessons(epochs=0)
    net = ne.compile(ne.models.looped_mlp(16, 8, 4, symmetric=False), "reference")
    probe = Diagnostics(DATA.x_test[:4], DATA.y_test[:4], how)
    learn(net, DATA, how, seed=0, watch=probe)
    assert math.isnan(probe.last("energy"))
    assert probe.last("cosine") > 0.999


def test_small_tasks_are_what_they_say() -> None:
    assert (np.prod(xor().x_train, axis=1) < 0).astype(int).tolist() == xor().y_train.tolist()
    heart = memorisation(samples=24, classes=4, seed=1)
    assert np.bincount(heart.y_train).tolist() == [6, 6, 6, 6]
    assert len(np.unique(heart.x_train, axis=0)) == 24
    assert not np.array_equal(heart.x_train, memorisation(samples=24, classes=4, seed=2).x_train)
    recall = attractor(patterns=4, features=20, flipped=0.1, cues=3, seed=1)
    for label in range(4):
        own = recall.x_train[recall.y_train == label]
        # Cues of one pattern differ in at most the places that two of them have wrong.
        assert max(np.sum(a != b) for a in own for b in own) <= 4


def test_fixed_steps_are_taken_and_exact_rules_settle_all_the_same() -> None:
    how = Lessons(fixed=(7, 3), beta=0.2)
    net = ne.compile(SPEC, "reference", seed=5)
    _, evidence = how.method(SPEC).gradient(net, DATA.x_test, DATA.y_test, free=how.free, nudged=how.nudged)
    assert set(evidence.free.steps.tolist()) == {7}
    assert set(evidence.nudged[0].steps.tolist()) == {3}
    exact = Lessons(fixed=(7, 3), rule="implicit")
    _, evidence = exact.method(SPEC).gradient(net, DATA.x_test, DATA.y_test, free=exact.free, nudged=exact.nudged)
    assert evidence.free.converged.all()
    assert evidence.free.steps.min() > 7
    assert Lessons(fixed=(7, 3), rule="bptt").method(SPEC) == ne.BPTT(7)


def test_torchdeq_finds_the_implicit_gradient() -> None:
    """What memory is compared with computes the same: the same fixed point, the same adjoint."""
    pytest.importorskip("torchdeq", reason="torchdeq is not installed (extra: test)")
    from neuro_eq.experiments.training.footprint import torchdeq_gradient

    net = ne.compile(ne.models.looped_mlp(16, 8, 4, symmetric=False), "torch", seed=5)
    x, y = np.asarray(DATA.x_test[:6], float), DATA.y_test[:6]
    found = torchdeq_gradient(net, x, y, 200)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, x, y)
    for name, value in exact.items():
        np.testing.assert_allclose(found[name].detach().numpy(), net.to_numpy(value), rtol=1e-8, atol=1e-10)
