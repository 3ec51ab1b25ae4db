"""A right network passes, and each thing that is made wrong on purpose is caught, in the place where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.abilities import Ability, Agreement
from neuro_eq.backend import Backend, BackendStatus, backend
from neuro_eq.checking import Row, Section, Skipped, Verdict
from neuro_eq.checking.engines import candidates, check_engines
from neuro_eq.checking.subject import Subject, random_samples, single

REFERENCE: Any = backend("reference").load()
SPEC = ne.models.layered_hopfield([4, 6, 3], "tanh", gain=0.6)


def what_is_missed(report: ne.Report) -> str:
    return "\n".join(
        f"{row.group}: {row.what}: {row.value} beyond {row.tolerance}: {row.says}" for row in report.missed
    )


# -- what is right --------------------------------------------------------------------------------------------------

RIGHT: dict[str, Callable[[], ne.Network]] = {
    "tanh": lambda: SPEC,
    "kinked": lambda: ne.models.layered_hopfield([4, 8, 6, 3], "hard_sigmoid", gain=0.5),
    "readout": lambda: ne.models.layered_hopfield([4, 6, 3], "sigmoid", cost="cross_entropy"),
    "looped": lambda: ne.models.looped_mlp(4, 6, 3),
    "directed": lambda: ne.models.looped_mlp(4, 6, 3, symmetric=False),
    "directed, output": lambda: ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_network_passes(name):
    # Every engine on two of them; the reference alone is enough to judge the others.
    report = ne.check(RIGHT[name](), samples=3, backends=None if name in ("kinked", "directed") else [])
    assert report.ok, what_is_missed(report)
    assert any(row.section is Section.METHODS for row in report.rows)
    for row in report.rows:
        assert row.verdict is not Verdict.NOTE or row.says
        assert row.verdict is not Verdict.OK or not row.says


@pytest.mark.parametrize("seed", range(4))
def test_a_parameter_of_one_entry_is_moved_too(seed):
    report = ne.check(ne.models.layered_hopfield([4, 1, 1], "tanh", gain=0.6), backends=[], samples=2, seed=seed)
    assert report.ok, what_is_missed(report)
    assert sum(row.what.endswith("against differences") for row in report.rows) == 4


def test_orders_in_beta_are_those_of_theory():
    report = ne.check(SPEC, backends=[])
    orders = {row.group: row.value for row in report.rows if row.what == "order in β"}
    # error = Aβ^p(1 + O(β²)) at the three smallest β above the floor, the holomorphic one's among them up to 0.3.
    assert orders["EqProp, centered"] == pytest.approx(2, abs=0.02)
    assert orders["EqProp, one-sided"] == pytest.approx(1, abs=0.05)
    assert orders["AsymEP"] == pytest.approx(2, abs=0.02)
    assert orders["VectorField"] == pytest.approx(2, abs=0.02)
    assert orders["HolomorphicEP"] == pytest.approx(4, abs=0.4)


def test_the_vector_field_is_noted_as_biased_where_the_network_is_not_symmetric():
    report = ne.check(ne.models.looped_mlp(4, 20, 3, symmetric=False, gain=0.9), backends=[])
    assert report.ok, what_is_missed(report)
    (row,) = [row for row in report.notes if row.group == "VectorField"]
    assert row.value is not None
    assert row.value < 0.99
    assert "AsymEP" in row.says
    assert {skipped.what for skipped in report.skipped} == {"EqProp, centered", "EqProp, one-sided", "HolomorphicEP"}


def test_without_a_cost_there_is_settling_and_contraction():
    spec = SPEC.model_copy(update={"cost": None})
    report = ne.check(spec, backends=["numba"], samples=3)
    assert report.ok, what_is_missed(report)
    assert {row.section for row in report.rows} == {Section.FIXED_POINTS, Section.CONVERGENCE, Section.CONTRACTION}
    assert report.curves == ()
    assert [trace.phase for trace in report.traces] == ["free"]


@pytest.mark.parametrize("solver", [ne.BlockGaussSeidel(), ne.Anderson()], ids=["sweeps", "anderson"])
def test_every_solver_is_judged_alike(solver):
    report = ne.check(RIGHT["looped"](), backends=[], samples=2, settling=ne.Relaxation(solver=solver))
    assert report.ok, what_is_missed(report)
    assert any(row.what == "order in β" for row in report.rows)


def test_random_networks_that_contract_pass(contractible, contracting):
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @settings(max_examples=4)
    @given(contractible, st.integers(0, 10**6))
    def passes(spec, seed):
        report = ne.check(spec, parameters=contracting(spec, seed), backends=[], samples=2, seed=seed)
        assert report.ok, what_is_missed(report)
        assert ne.Report.from_json(report.to_json()) == report

    passes()


# -- a wrong engine -------------------------------------------------------------------------------------------------


class Exact(REFERENCE):
    """The reference engine under another name, with float64's usual promise."""

    name: ClassVar[str] = "exact"
    agreement: ClassVar[dict[str, Agreement]] = {"float64": Agreement(1e-10, 1e-10, 1e-13, "it is the oracle")}


class WrongSign(Exact):
    """One weight pulls where it should push."""

    def set_parameters(self, values):
        first = "hidden1_output.weight"
        super().set_parameters({name: -np.asarray(v) if name == first else v for name, v in values.items()})


class WrongRule(Exact):
    """It settles right and learns with the wrong sign."""

    def energy_gradient(self, state):
        return {name: -value for name, value in super().energy_gradient(state).items()}


class Hasty(Exact):
    """It stops a thousand times too early."""

    def relax(self, x, **how):
        tol = how.get("tol", 1e-6)
        return super().relax(x, **{**how, "tol": None if tol is None else 1e9 * np.asarray(tol)})


class Coarse(Exact):
    """It rounds to float32 and promises float64."""

    def asarray(self, values):
        array = np.asarray(values)
        return super().asarray(array if np.iscomplexobj(array) else array.astype(np.float32))

    def energy_gradient(self, state):
        exact = super().energy_gradient(state)
        return {name: v if np.iscomplexobj(v) else single(v) for name, v in exact.items()}


class Broken(Exact):
    """It fails in use."""

    def relax(self, x, **how):
        raise ne.BackendError("the chip is on fire")


class Limited(Exact):
    """It lacks abilities, and says so."""

    lacks: ClassVar[dict[Ability, str]] = {
        Ability.PAIR: "it has one phase",
        Ability.LINEAR_RESPONSE: "it cannot be asked",
        Ability.COMPLEX_NUDGE: "it is real",
        Ability.ASYMMETRY: "it is symmetric",
    }


@dataclass(frozen=True)
class Injected(Backend):
    """An announcement that brings its engine along."""

    kind: Any = None

    def load(self):
        return self.kind


def injected(kind: Any) -> Backend:
    return Injected(kind.name, "under test", "", lambda: BackendStatus(True, "here"), None, kind)


def held(kind: Any) -> tuple[list[Row], list[Skipped]]:
    """The rows of one engine, without the rest of a check."""
    x, y = random_samples(SPEC, 3, 0)
    subject = Subject(SPEC, SPEC.initial_parameters(0), x, y, ne.Relaxation(), 0.1, 0)
    subject = replace(subject, parameters={name: single(value) for name, value in subject.parameters.items()})
    chosen, skipped = candidates(subject, [injected(kind)])
    rows, left_out = check_engines(subject, chosen, lambda _: None)
    return rows, skipped + left_out


def test_an_engine_that_is_right_passes():
    report = ne.check(SPEC, backends=[injected(Exact)], samples=3)
    assert report.ok, what_is_missed(report)
    assert {row.group for row in report.rows if row.section is Section.FIXED_POINTS} == {"exact float64"}


@pytest.mark.parametrize(
    ("kind", "sections", "says"),
    [
        (WrongSign, {Section.FIXED_POINTS, Section.ENGINES}, "the engine computes another network"),
        (WrongRule, {Section.ENGINES}, "differs by"),
        (Hasty, {Section.FIXED_POINTS}, "a stop too early"),
        (Coarse, {Section.FIXED_POINTS, Section.ENGINES}, "more than rounding explains"),
        (Broken, {Section.FIXED_POINTS, Section.ENGINES}, "the chip is on fire"),
    ],
)
def test_a_wrong_engine_is_caught(kind, sections, says):
    wrong = [row for row in held(kind)[0] if row.verdict is Verdict.MISSED]
    assert {row.section for row in wrong} == sections, wrong
    assert all(row.says for row in wrong)
    assert any(says in row.says for row in wrong)


def test_a_wrong_rule_spares_the_methods_that_do_not_use_it():
    wrong = {row.what for row in held(WrongRule)[0] if row.verdict is Verdict.MISSED}
    assert wrong == {"EqProp, centered", "EqProp, one-sided", "HolomorphicEP"}


def test_what_an_engine_cannot_do_is_skipped_with_its_reason():
    rows, left_out = held(Limited)
    assert all(row.verdict is Verdict.OK for row in rows), rows
    reasons = {skipped.what: skipped.reason for skipped in left_out}
    assert "it has one phase" in reasons["EqProp, centered on exact"]
    assert "it cannot be asked" in reasons["ImplicitDifferentiation on exact"]
    assert {row.what for row in rows if row.section is Section.FIXED_POINTS} == {
        "20 steps, free",
        "free fixed point",
    }


def test_an_engine_that_cannot_run_the_network_is_skipped_with_its_reason():
    report = ne.check(odd(lambda a, theta, own: own), backends=["numba"], samples=2)
    assert all("cannot run" in skipped.reason for skipped in report.skipped if "numba" in skipped.what)
    assert any("numba" in skipped.what for skipped in report.skipped)
    assert not any(row.section is Section.FIXED_POINTS for row in report.rows)


# -- a wrong synapse ------------------------------------------------------------------------------------------------


class Odd(ne.Dense):
    """A dense synapse in which one of its formulas is off by one per cent."""

    kind: Any = "odd"
    wrong: str = ""

    def _off(self, name: str, values: Any) -> Any:
        factor = 1.01 if name == self.wrong else 1.0
        return {key: factor * v for key, v in values.items()} if isinstance(values, dict) else factor * values

    def energy(self, a, theta):
        return self._off("energy", super().energy(a, theta))

    def gradient(self, a, theta):
        return self._off("gradient", super().gradient(a, theta))

    def drive(self, a, theta, onto):
        return self._off("drive", super().drive(a, theta, onto))

    def response(self, a, delta, theta, onto):
        return self._off("response", ne.Dense.drive(self.model_copy(update={"wrong": ""}), delta, theta, onto))

    def drive_vjp(self, a, lam, theta):
        return self._off("drive_vjp", super().drive_vjp(a, lam, theta))


def odd(_: Any = None, wrong: str = "") -> ne.Network:
    synapses = [
        Odd(source=s.source, target=s.target, gain=0.6, wrong=wrong) if s.name == "hidden1_output" else s
        for s in SPEC.synapses
    ]
    return ne.Network(populations=SPEC.populations, synapses=synapses, cost=SPEC.cost)


def test_a_synapse_of_ones_own_passes():
    report = ne.check(odd(), backends=["torch"], samples=3)
    assert report.ok, what_is_missed(report)
    assert any(row.group == "torch float32" for row in report.rows)


@pytest.mark.parametrize(
    ("wrong", "group", "what"),
    [
        ("gradient", "EqProp, centered", "order in β"),
        ("drive_vjp", "ImplicitDifferentiation", "hidden1_output.weight against differences"),
        ("response", "ImplicitDifferentiation", "input_hidden1.weight against differences"),
        ("energy", "", "slope of the energy against the drive"),
        ("drive", "", "slope of the energy against the drive"),
    ],
)
def test_a_synapse_that_is_one_per_cent_wrong_is_caught(wrong, group, what):
    report = ne.check(odd(wrong=wrong), backends=[], samples=3)
    assert (group, what) in {(row.group, row.what) for row in report.missed}, what_is_missed(report)


def test_nothing_is_blamed_by_a_yardstick_that_is_wrong_itself():
    report = ne.check(odd(wrong="response"), backends=[], samples=3)
    judged = [row for row in report.missed if row.group != "ImplicitDifferentiation" and row.section is Section.METHODS]
    assert judged, what_is_missed(report)
    assert all("which is wrong itself" in row.says for row in judged)


def test_what_does_not_settle_is_named_beside_a_wrong_yardstick():
    """It is not judged by that."""
    report = ne.check(odd(wrong="response"), backends=[], samples=3, settling=ne.Relaxation(max_steps=3))
    (row,) = [row for row in report.missed if row.what == "residual / nudge, ≤ 3 steps"]
    assert "raise max_steps" in row.says


def test_a_wrong_gradient_is_named():
    report = ne.check(odd(wrong="gradient"), backends=[], samples=3)
    groups = {row.group for row in report.missed}
    assert groups == {"EqProp, centered", "EqProp, one-sided", "HolomorphicEP"}, what_is_missed(report)
    assert all('mostly in "hidden1_output.weight" (off by ' in row.says for row in report.missed)


# -- a network or a settling that will not do -----------------------------------------------------------------------


def test_a_network_that_blows_up_is_caught():
    spec = ne.models.layered_hopfield([4, 6, 3], "identity", gain=4.0)
    report = ne.check(spec, backends=["numba"], samples=3)
    (row,) = [row for row in report.missed if "do not settle" in row.what]
    assert row.value == 12
    assert "12 diverged" in row.says
    assert not any(row.section is Section.METHODS and row.verdict is not Verdict.NOTE for row in report.rows)
    assert ne.Report.from_json(report.to_json()) == report


def test_several_fixed_points_are_caught():
    report = ne.check(ne.models.looped_mlp(4, 20, 3, gain=2.5), backends=[], samples=4)
    (row,) = [row for row in report.missed if "several starts" in row.what]
    assert "several fixed points" in row.says
    (norm,) = [row for row in report.notes if row.what.startswith("‖Dρ'‖₂")] or [None]
    assert norm is None or "norm budget" in norm.says


def test_a_lipschitz_constant_above_one_is_noted():
    spec = ne.models.looped_mlp(4, 10, 3, symmetric=False, activation="identity", cost="squared_error", gain=0.3)
    weight = np.zeros((10, 10))
    weight[0, 1] = 1.8  # nilpotent: the spectral radius is 0, but a step may first stretch
    net = ne.compile(spec, backend="reference")
    own = {name: 0.01 * np.asarray(value) for name, value in net.parameters.items()}
    report = ne.check(spec, parameters={**own, "hidden_hidden.weight": weight}, backends=[], samples=2)
    assert report.ok, what_is_missed(report)
    (row,) = [row for row in report.notes if row.what.startswith("‖Dρ'‖₂")]
    assert row.value == pytest.approx(1.8, abs=0.01)
    assert row.says.startswith("1.8 > 1: several fixed points are possible")
    assert report.constants is not None
    assert max(report.constants.radius) < 0.3


def test_a_schedule_that_does_not_settle_is_caught():
    report = ne.check(SPEC, backends=[], samples=3, settling=ne.Relaxation(max_steps=4))
    whats = {row.what for row in report.missed}
    assert whats == {"runs that do not settle, of 12", "residual / nudge, ≤ 4 steps"}, what_is_missed(report)
    for row in report.missed:
        assert "raise max_steps" in row.says
    assert "% of the nudge" in what_is_missed(report)


def test_float32_says_nothing_about_a_network_that_amplifies_it():
    """Near a singular ``I − S`` an engine's rounding may move the fixed point: no engine is blamed for that."""
    spec = ne.models.looped_mlp(3, 6, 2, activation="identity", cost="squared_error", bias=False)
    net = ne.compile(spec, backend="reference", seed=1)
    theta = {name: np.asarray(value) for name, value in net.parameters.items()}
    s = theta["hidden_hidden.weight"]
    theta["hidden_hidden.weight"] = s * (0.99 / np.max(np.linalg.eigvalsh(s)))
    theta["hidden_output.weight"] = 0.01 * theta["hidden_output.weight"]
    report = ne.check(spec, parameters=theta, samples=3, backends=["numba"], settling=ne.Relaxation(max_steps=4000))
    assert report.ok, what_is_missed(report)
    single = [row for row in report.rows if row.group == "numba float32" and row.section is Section.FIXED_POINTS]
    assert single[1].tolerance is None or single[1].tolerance > 1e-5
