"""Whatever the solver: one fixed point, one meaning of the tolerance, samples that do not know of one another."""

from __future__ import annotations

import numpy as np
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.solvers import SOLVERS
from neuro_eq.specfile import to_toml

BETA = 0.1
TOL = 1e-10
OTHERS = [ne.BlockGaussSeidel(), ne.BlockGaussSeidel(alpha=1.0), ne.Anderson(), ne.Anderson(m=3, alpha=0.5)]

# A joint norm of 0.6 and a nudge of 0.1 leave L = 0.7, so ‖u − u*‖ ≤ ‖residual‖/(1 − L), and a residual is an RMS.
DISTANCE = TOL / (1.0 - 0.7)


def close(spec, found, wanted, slack=1.0):
    """Two states that both have a residual of at most TOL."""
    within = slack * 2 * DISTANCE * np.sqrt(spec.free_units)
    for name, value in wanted.states.items():
        np.testing.assert_allclose(found.states[name], value, rtol=0, atol=within)


@pytest.mark.parametrize("solver", OTHERS, ids=repr)
def test_the_fixed_points_of_picard(solver, contractible, contracting, samples):
    """Free, as a nudged pair, and as a pair with the asymmetric correction, on networks that nobody chose."""

    @given(contractible, st.integers(0, 2**16))
    def holds(spec, seed):
        net = ne.compile(spec, backend="reference")
        net.set_parameters(contracting(spec, seed))
        data = samples(spec, 3, seed)
        how = {"tol": TOL, "max_steps": 400}
        free = net.relax(data.x, start=data.start, solver=ne.Picard(alpha=1.0), **how)
        found = net.relax(data.x, start=data.start, solver=solver, **how)
        assert np.all(free.converged)
        assert np.all(found.converged)
        assert np.all(found.residual <= TOL)
        close(spec, found, free)
        for anchor in (None, free):
            nudge = {**how, "target": data.y, "beta": (BETA, -BETA), "start": free, "asymmetry_at": anchor}
            pair = net.relax(data.x, solver=solver, **nudge)
            wanted = net.relax(data.x, solver=ne.Picard(alpha=0.9), **nudge)
            for one, other in zip(pair, wanted, strict=True):
                assert np.all(one.converged)
                np.testing.assert_array_equal(one.steps, pair[0].steps)
                # With D transposed the map contracts in a norm that weighs populations by their slopes' bounds, ¼ to 1;
                # of a gated synapse D moves on the way from a*, by as little as a nudge of 0.1 does.
                close(spec, one, other, slack=4.0)

    holds()


@pytest.mark.parametrize("solver", [*OTHERS, ne.Picard()], ids=repr)
def test_a_linear_network_by_elimination(solver, contracting, samples):
    """``u = J u + W₁x + b − βSᵀ(Su − y)``."""
    spec = ne.models.layered_hopfield([3, 4, 5, 2], activation="identity")
    parameters = contracting(spec, 0)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(parameters)
    data = samples(spec, 6, 0)
    J = np.zeros((11, 11))
    J[4:9, :4], J[9:, 4:9] = parameters["hidden1_hidden2.weight"], parameters["hidden2_output.weight"]
    drive = np.concatenate([parameters[f"{name}_bias.bias"] for name in ("hidden1", "hidden2", "output")])
    drive = np.tile(drive, (6, 1))
    drive[:, :4] += data.x["input"] @ parameters["input_hidden1.weight"].T
    S = np.eye(11)[9:]
    for beta in (0.0, 0.1, -0.1):
        u = np.linalg.solve(np.eye(11) - J - J.T + beta * S.T @ S, (drive + beta * data.y @ S).T).T
        found = net.relax(data.x, target=data.y, beta=beta, solver=solver, tol=TOL, max_steps=400)
        joined = np.concatenate([found.states[name] for name in ("hidden1", "hidden2", "output")], axis=1)
        np.testing.assert_allclose(joined, u, rtol=0, atol=DISTANCE * np.sqrt(11))


@pytest.mark.parametrize("solver", OTHERS, ids=repr)
def test_gradients(solver, contracting, samples):
    """A method settles by any solver: AsymEP on a directed network, against implicit differentiation."""
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error")
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 3))
    data = samples(spec, 4, 0)
    how = ne.Relaxation(solver=solver, eta=1e-7)
    found, evidence = ne.AsymEP(1e-3).gradient(net, data.x, data.y, free=how)
    wanted, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y)
    assert evidence.unsettled == 0
    size = max(np.linalg.norm(value) for value in wanted.values())
    for name, value in wanted.items():
        # What is left is O(β²), with a constant of order one for tanh, and η over 1 − L.
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * size, err_msg=name)


@pytest.mark.parametrize("solver", OTHERS, ids=repr)
def test_complex_nudges(solver, contracting, samples):
    """The states of a complex nudge are Picard's, and the conjugate nudge has the conjugate states."""
    spec = ne.models.layered_hopfield([3, 4, 5, 2], output_activation="identity")
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 2))
    data = samples(spec, 3, 0)
    betas = (0.1j, -0.1j, 0.06 + 0.08j)
    how = {"target": data.y, "beta": betas, "start": data.start, "tol": TOL, "max_steps": 400}
    found, wanted = net.relax(data.x, solver=solver, **how), net.relax(data.x, solver=ne.Picard(), **how)
    for one, other in zip(found, wanted, strict=True):
        assert np.all(one.converged)
        close(spec, one, other)
    for name, value in found[0].states.items():
        assert np.iscomplexobj(value)
        assert np.max(np.abs(value.imag)) > 1e-3
        np.testing.assert_allclose(
            found[1].states[name], np.conj(value), rtol=0, atol=2 * DISTANCE * np.sqrt(spec.free_units)
        )


@pytest.mark.parametrize("solver", [*OTHERS, ne.Picard()], ids=repr)
def test_steps_in_pieces_are_the_steps_in_one(solver, contracting, samples):
    """A settling that is advanced a few steps at a time, as a recorder does, ends at the same numbers."""
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 2))
    data = samples(spec, 5, 0)
    how = {"target": data.y, "beta": (BETA, -BETA), "start": data.start, "solver": solver}

    class InPieces:
        def __init__(self, pieces):
            self.pieces = pieces

        def relaxation(self, net, task, settling, resumed):
            for steps in self.pieces:
                if settling.advance(steps):
                    return
            raise AssertionError("the pieces were too few")

        def settled(self, net, task, found):
            pass

    for end in ({"tol": None, "max_steps": 11}, {"tol": 1e-4, "max_steps": 200}):
        whole = net.relax(data.x, **how, **end)
        pieces = net.relax(data.x, **how, **end, record=InPieces([1, 2, 1, 5, 3, *[7] * 60]))
        for one, other in zip(pieces, whole, strict=True):
            np.testing.assert_array_equal(one.steps, other.steps)
            np.testing.assert_array_equal(one.residual, other.residual)
            np.testing.assert_array_equal(one.status, other.status)
            for name, value in other.states.items():
                np.testing.assert_array_equal(one.states[name], value)


@pytest.mark.parametrize("solver", [*OTHERS, ne.Picard()], ids=repr)
def test_a_sample_stops_at_its_first_crossing(solver, contracting, samples):
    """``steps`` is the first number of steps after which the residual is at most the tolerance."""
    spec = ne.models.looped_mlp(4, 6, 3, cost="squared_error")
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 2))
    data = samples(spec, 5, 0)
    tol = 1e-3
    residual = np.array(
        [net.relax(data.x, start=data.start, solver=solver, tol=None, max_steps=n).residual for n in range(60)]
    )
    found = net.relax(data.x, start=data.start, solver=solver, tol=tol, max_steps=100)
    np.testing.assert_array_equal(found.steps, np.argmax(residual <= tol, axis=0))
    np.testing.assert_array_equal(found.residual, residual[found.steps, np.arange(5)])


@pytest.mark.parametrize("solver", [*OTHERS, ne.Picard()], ids=repr)
def test_solvers_come_back_from_files(solver):
    how = ne.Relaxation(solver=solver, tol=1e-3, max_steps=7)
    text = to_toml(how)
    again = ne.Relaxation(**tomlkit.parse(text).unwrap())
    assert again == how
    assert to_toml(again) == text


def test_solvers_by_name():
    for kind, solver in SOLVERS.items():
        assert ne.Relaxation(solver=kind).solver == solver()
    assert ne.Relaxation(solver={"kind": "anderson", "m": 8}).solver == ne.Anderson(8)
    with pytest.raises(ne.SpecError, match=r'^solver.kind: no solver \'andersen\'; did you mean "anderson"\?$'):
        ne.Relaxation(solver="andersen")


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: ne.Anderson(m=0), "m"),
        (lambda: ne.Anderson(m=101), "m"),
        (lambda: ne.Anderson(alpha=0.0), "alpha"),
        (lambda: ne.BlockGaussSeidel(alpha=1.1), "alpha"),
        (lambda: ne.BlockGaussSeidel(beta=1.0), "beta"),
    ],
)
def test_a_wrong_solver_is_refused(make, place):
    with pytest.raises(ne.SpecError) as error:
        make()
    assert error.value.place == place
