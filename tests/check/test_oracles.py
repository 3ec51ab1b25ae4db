"""The yardsticks of a check, each against a closed form: they have to be right before anything is held to them."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.abilities import Agreement
from neuro_eq.checking.convergence import descent, safe_alpha
from neuro_eq.checking.differences import derivative
from neuro_eq.checking.methods import order
from neuro_eq.checking.report import Curve
from neuro_eq.checking.subject import PROBE, Subject, random_samples, single
from neuro_eq.comparison import Discrepancy, cosine, gradient_discrepancies, joined, relative

UNITS, BATCH = 5, 3


def linear(norm: float, *, lowest: float | None = None, seed: int = 0) -> tuple[Subject, dict[str, np.ndarray]]:
    """``u = S u + W x + b`` with ``‖S‖₂ = norm``, whose fixed point is ``(I − S)⁻¹(W x + b)``."""
    spec = ne.Network(
        populations=[
            ne.Population(name="x", shape=3, clamped=True),
            ne.Population(name="h", shape=UNITS, activation="identity"),
        ],
        synapses=[ne.Dense(source="x", target="h"), ne.Dense(source="h", target="h"), ne.Bias(target="h")],
        cost={"kind": "squared_error", "population": "h"},
    )
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(UNITS, UNITS))
    values, vectors = np.linalg.eigh(s + s.T)
    values *= norm / np.max(np.abs(values))
    if lowest is not None:
        values[0] = lowest
    theta = {
        "x_h.weight": single(rng.normal(size=(UNITS, 3))),
        "h_h.weight": single(vectors @ np.diag(values) @ vectors.T),
        "h_bias.bias": single(rng.normal(size=UNITS)),
    }
    theta = {name: np.asarray(value) for name, value in spec.project(theta).items()}
    x, y = {"x": single(rng.normal(size=(BATCH, 3)))}, single(rng.normal(size=(BATCH, UNITS)))
    return Subject(spec, theta, x, y, ne.Relaxation(), 0.1, seed), theta


def closed(subject: Subject, theta: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The fixed points, and the gradient of the mean cost: ``λ = (I − S)⁻¹(u − y)``."""
    inverse = np.linalg.inv(np.eye(UNITS) - theta["h_h.weight"])
    x = subject.x["x"]
    u = (x @ theta["x_h.weight"].T + theta["h_bias.bias"]) @ inverse
    lam = (u - subject.y) @ inverse
    recurrent = lam.T @ u / BATCH
    gradient = {
        "x_h.weight": lam.T @ x / BATCH,
        "h_h.weight": 0.5 * (recurrent + recurrent.T),
        "h_bias.bias": lam.mean(axis=0),
    }
    return u, gradient


def test_the_free_fixed_point_is_settled_to_rounding():
    subject, theta = linear(0.7)
    # A residual of 64 roundings of about one, over 1 − ‖S‖₂.
    np.testing.assert_allclose(subject.rest.states["h"], closed(subject, theta)[0], rtol=0, atol=64 * 2**-52 * 5 / 0.3)


@pytest.mark.parametrize("name", ["x_h.weight", "h_h.weight", "h_bias.bias"])
def test_differences_of_the_cost_are_the_derivative(name):
    subject, theta = linear(0.7)
    exact = closed(subject, theta)[1]
    # What is handed in as the gradient only chooses a direction; half of it must not pull the differences along.
    wrong = {key: 0.5 * value for key, value in exact.items()}
    right, half = derivative(subject, exact, name, 0), derivative(subject, wrong, name, 0)
    assert right.doubt <= 1e-7
    # The check allows ten times the doubt: it is an estimate.
    assert right.error <= 10 * right.doubt
    assert abs(right.by_differences - half.by_differences) <= 10 * right.doubt * right.scale
    assert half.by_gradient == pytest.approx(0.5 * right.by_gradient, rel=1e-12)
    # What has no part along the gradient is seen as well.
    aside = np.roll(np.arange(exact[name].size, dtype=float), 1).reshape(exact[name].shape)
    aside = np.asarray(subject.spec.project({**theta, name: aside})[name])
    aside -= exact[name] * np.sum(aside * exact[name]) / np.sum(exact[name] ** 2)
    aside *= 1e-2 * np.linalg.norm(exact[name]) / np.linalg.norm(aside)
    assert derivative(subject, {**exact, name: exact[name] + aside}, name, 0).error > 1e-4
    np.testing.assert_array_equal(subject.oracle.parameters[name], theta[name])


def test_the_safe_step_follows_from_the_most_negative_eigenvalue():
    # e = −½aᵀSa has ∂²e = −S: κ = 3, and ρ' = 1.
    subject, _ = linear(0.9, lowest=-3.0)
    safe = safe_alpha(subject)
    assert 0.25 * (1 - 1e-3) <= safe <= 0.25 * (1 + 1e-6)
    concave, _ = linear(0.9, lowest=0.0)
    values = np.linalg.eigvalsh(-concave.parameters["h_h.weight"])
    assert safe_alpha(concave) == pytest.approx(1 / (1 + max(0.0, values[-1])), rel=1e-3)


def test_the_energy_falls_below_the_safe_step_and_rises_above():
    # Along the eigenvector of −3, u shrinks by 1 − 4α: beyond α = ½ it grows, and so does G = 2u².
    subject, _ = linear(0.9, lowest=-3.0)
    rise, scale = descent(subject, safe_alpha(subject))
    assert rise <= 64 * 2**-52 * scale
    assert descent(subject, 0.6)[0] > 1e-3


def test_a_disturbance_is_as_large_as_it_says():
    subject, theta = linear(0.7)
    wanted, _ = closed(subject, theta)
    net = subject.disturbed(0)
    moved = net.relax(subject.x, solver=ne.Picard(0.5), tol=None, max_steps=300).states["h"] - wanted
    inverse = np.abs(np.linalg.inv(np.eye(UNITS) - theta["h_h.weight"]))
    # The drive is off by at most PROBE times the largest potential, everywhere at once in the worst case.
    worst = PROBE * np.max(np.abs(wanted)) * np.max(inverse.sum(axis=1))
    assert 0.05 * worst <= np.max(np.abs(moved)) <= worst * (1 + 1e-6)


BETAS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3)


def curve(error, floor=0.0) -> Curve:
    count = len(BETAS)
    return Curve("m", 2, BETAS, tuple(map(error, BETAS)), (1.0,) * count, (floor,) * count, (0.0,) * count)


def test_the_order_is_the_power_of_beta():
    assert order(curve(lambda beta: 7 * beta**2)) == pytest.approx(2)
    assert order(curve(lambda beta: 0.1 * beta)) == pytest.approx(1)
    assert order(curve(lambda beta: 0.02)) == pytest.approx(0, abs=1e-9)
    # Large β do not count where there are small ones, and neither does what the floor hides.
    assert order(curve(lambda beta: beta**2 * (1 + 1e3 * beta**3))) == pytest.approx(2, abs=0.01)
    assert order(curve(lambda beta: max(beta**2, 1e-5), floor=1e-6)) == pytest.approx(2)
    assert order(curve(lambda beta: 1e-9, floor=1e-9)) is None


def test_discrepancies_follow_their_rule():
    promise = Agreement(fixed_point=1e-10, gradient=1e-3, noise=1e-4, because="")
    wanted = {"a": np.array([3.0, 0.0]), "b": np.array([0.0])}
    found = {"a": np.array([3.0, 0.01]), "b": np.array([0.002])}
    whole, a, b = gradient_discrepancies(found, wanted, promise, beta=0.1)
    assert whole == Discrepancy("", pytest.approx(np.hypot(0.01, 0.002) / 3), 1e-3)
    assert a == Discrepancy("a", pytest.approx(0.01), pytest.approx(1e-3 * 3 + 1e-4 / 0.1))
    assert b == Discrepancy("b", pytest.approx(0.002), pytest.approx(1e-4 / 0.1))
    assert [part.within for part in (whole, a, b)] == [False, False, False]
    # Where nothing is nudged a zero parameter is known relative to the whole gradient.
    assert gradient_discrepancies(found, wanted, promise)[2].tolerance == pytest.approx(3e-3)
    floor = {"a": np.array([0.0, 0.03]), "b": np.array([0.0])}
    whole, a, b = gradient_discrepancies(found, wanted, promise, 0.1, floor)
    assert whole.tolerance == pytest.approx(0.01)
    assert a.tolerance == pytest.approx(3e-3 + 0.03)
    assert b.tolerance == pytest.approx(1e-3)
    assert [part.within for part in (whole, a, b)] == [True, True, False]


def test_what_is_not_a_number_is_not_within():
    one = Discrepancy("", float("nan"), 1.0)
    assert not one.within
    assert one.share == np.inf
    assert Discrepancy("", 0.0, 0.0).share == 0.0
    assert Discrepancy("", 1.0, 0.0).share == np.inf


def test_angles_and_norms():
    left, right = {"a": np.array([1.0, 0.0]), "b": np.array([1.0])}, {"a": np.array([0.0, 0.0]), "b": np.array([2.0])}
    np.testing.assert_array_equal(joined(left), [1, 0, 1])
    assert cosine(left, right) == pytest.approx(np.sqrt(0.5))
    assert np.isnan(cosine(left, {"a": np.zeros(2), "b": np.zeros(1)}))
    assert relative(left, right) == pytest.approx(np.sqrt(2) / 2)
    assert relative(left, {"a": np.zeros(2), "b": np.zeros(1)}) == pytest.approx(np.sqrt(2))


def test_random_samples_are_what_the_network_is_defined_for():
    """Ids, masks of which no sample is empty, and draws; all of which relaxing would refuse otherwise."""
    spec = ne.Network(
        populations=[
            ne.Population(name="ids", shape=6, clamped=True),
            ne.Population(name="present", shape=6, clamped=True),
            ne.Population(name="masks", shape=(2, 6, 4), clamped=True, drawn={"kind": "dropout", "rate": 0.5}),
            ne.Population(name="h", shape=(6, 4), activation="layer_norm"),
        ],
        synapses=[
            ne.synapses.TokenEmbedding(source="ids", target="h", vocabulary=5),
            ne.synapses.TransformerBlock(source="h", target="h", hidden=3, padding="present", masks="masks"),
            ne.synapses.TokenMemory(target="h", patterns=3, padding="ids"),
        ],
        cost={"kind": "token_cross_entropy", "population": "h", "classes": 3, "padding": "ids"},
    )
    for seed in range(5):
        x, y = random_samples(spec, 40, seed)
        assert {name: value.shape[1:] for name, value in x.items()} == {p.name: p.shape for p in spec.clamped}
        assert set(np.unique(x["ids"])) == {0.0, 1.0, 2.0, 3.0, 4.0}
        assert set(np.unique(x["present"])) == {0.0, 1.0}
        assert set(np.unique(x["masks"])) == {0.0, 2.0}
        assert y is not None
        ne.compile(spec, backend="reference").relax(x, max_steps=0)
