"""Recorded chunks, without a GPU: they ask for no number, and a recording that is replayed gives what steps give.

A CUDA graph repeats operations on the same memory.  In these tests a function that does so takes its place.
"""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.relaxing import Task

SPECS = {
    "chain": lambda: ne.models.layered_hopfield([5, 8, 7, 4]),
    "readout": lambda: ne.models.layered_hopfield([5, 8, 4], cost="cross_entropy"),
    "directed": lambda: ne.models.looped_mlp(5, 8, 4, symmetric=False, cost="squared_error"),
    "memory": lambda: ne.models.modern_hopfield_mlp(5, 8, 4),
    "gated": lambda: ne.models.gated_mlp(5, 8, 4, gate="drive"),
    "transformer": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, depth=2, width=4, heads=2, patterns=5),
    "block": lambda: ne.models.looped_transformer((2, 4), 3, patch=2, width=4, heads=2, hidden=5, dropout=0.3),
    "maps": lambda: ne.models.conv_hopfield((2, 4, 4), 3, channels=(2, 2), skips=True),
}
MASKED = ne.Network(
    populations=[
        ne.Population(name="ids", shape=(4,), clamped=True),
        ne.Population(name="h", shape=(4, 6), activation="layer_norm"),
        ne.Population(name="g", shape=(4, 6), activation="layer_norm"),
    ],
    synapses=[
        ne.synapses.TokenEmbedding(source="ids", target="h", vocabulary=5),
        ne.synapses.SoftmaxAttention(target="h", heads=2, causal=True, padding="ids"),
        ne.synapses.LinearAttention(target="g", padding="ids"),
        ne.synapses.TransformerBlock(source="h", target="g", hidden=5, padding="ids", causal=True),
    ],
    cost={"kind": "token_cross_entropy", "population": "g", "classes": 2, "padding": "ids"},
)
"""Ids, which are whole numbers, and masks of both kinds."""


@pytest.fixture
def recordings(need):
    need("torch")
    from neuro_eq.backends.torch import recordings

    return recordings


class Tape:
    """Does recorded work again, on the memory that it was recorded with; counts both."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work):
        self.recorded += 1
        found = work()

        def replay():
            self.replayed += 1
            for name, value in work().items():
                found[name].copy_(value)

        for place in found.values():  # what is there before a replay is of no account
            place.zero_()
        return replay, found


@pytest.fixture(params=SPECS)
def pair(request, recordings, contracting, samples):
    """The network with recordings and without, parameters and data."""
    spec = SPECS[request.param]()
    recorded, plain = (ne.compile(spec, backend="torch") for _ in range(2))
    tape = Tape()
    recorded.recordings = recordings.Recordings(tape)
    for net in (recorded, plain):
        net.set_parameters(contracting(spec, 2))
    return recorded, plain, tape, samples(spec, 40, 3)


def equal(net, found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.steps, other.steps)
        np.testing.assert_array_equal(one.status, other.status)
        # Batches of other sizes may round otherwise.
        np.testing.assert_allclose(one.residual, other.residual, rtol=0, atol=1e-13)
        for name, value in one.states.items():
            np.testing.assert_allclose(net.to_numpy(value), net.to_numpy(other.states[name]), rtol=0, atol=1e-13)


def test_a_replay_is_the_steps(pair):
    """Other data, other weights, a free phase and a nudged pair, corrected: the memory is the same, and the numbers
    are those of now."""
    recorded, plain, tape, data = pair
    tol = np.logspace(-2, -11, 40)
    for scale in (1.0, 0.5):
        x = {name: scale * value for name, value in data.x.items()}
        ends = []
        for net in (recorded, plain):
            net.set_parameters({name: scale * net.parameters[name] for name in net.parameters})
            free = net.relax(x, tol=tol, start=data.start)
            how = {"target": data.y, "beta": (0.3, -0.3), "start": data.start, "asymmetry_at": free}
            ends.append((free, *net.relax(x, tol=tol, **how)))
        equal(plain, *ends)
    assert tape.recorded < tape.replayed


def test_a_shape_is_recorded_once(pair):
    recorded, _, tape, data = pair
    # Three chunks and half a one; the first sets a limit that the others are held to.
    how = {"tol": None, "max_steps": 28, "start": data.start}
    recorded.relax(data.x, **how)
    assert (tape.recorded, tape.replayed) == (3, 4)
    recorded.relax(data.x, **how)
    assert (tape.recorded, tape.replayed) == (3, 8)
    recorded.relax({name: value[:17] for name, value in data.x.items()}, tol=None, max_steps=24)
    assert (tape.recorded, tape.replayed) == (5, 11)


def test_another_nudge_needs_no_other_recording(pair):
    """A nudge may follow the cost's slope, and recording takes longer than many replays."""
    recorded, plain, tape, data = pair
    how = ne.Relaxation(tol=None, max_steps=24)
    kind = ne.AsymEP if recorded.spec.asymmetric else ne.EqProp
    for beta in (0.1, 0.2, 0.35):
        found, wanted = (kind(beta).gradient(net, data.x, data.y, free=how)[0] for net in (recorded, plain))
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12, err_msg=name)
        if beta == 0.1:
            made = tape.recorded
    assert tape.recorded == made > 0


def test_only_so_many_are_kept(pair, recordings):
    recorded, _, tape, data = pair
    for batch in range(1, 13):
        recorded.relax({name: value[:batch] for name, value in data.x.items()}, tol=None, max_steps=16)
    assert tape.recorded == 24
    assert len(recorded.recordings.kept) == recordings.KEPT


def test_the_batch_has_few_sizes(pair, monkeypatch):
    recorded, _, _, data = pair
    sizes = set()
    run = recorded.recordings.run
    monkeypatch.setattr(
        recorded.recordings, "run", lambda chunk, moving, n: sizes.add(len(moving.active)) or run(chunk, moving, n)
    )
    recorded.relax(data.x, tol=np.logspace(-2, -12, 40), start=data.start)
    assert {40, 20} <= sizes <= {40, 20, 10, 5, 3, 2, 1}


def test_a_recorded_limit_is_that_of_the_samples_of_now(pair):
    """Who starts further away may go further; the recording is that of other samples."""
    recorded, plain, _, data = pair
    ends = []
    for net in (recorded, plain):
        net.relax(data.x, tol=None, max_steps=8, start=data.start)
        far = {name: 1e6 * value for name, value in data.start.items()}
        ends.append((net.relax(data.x, tol=None, max_steps=8, start=far),))
    for (one,), (other,) in [ends]:
        np.testing.assert_array_equal(one.status, other.status)
        np.testing.assert_allclose(one.residual, other.residual, rtol=1e-12)


@pytest.mark.parametrize("rule", ["local", "bptt"])
def test_a_recorded_gradient_is_the_gradient(pair, rule):
    """What is learned of other data and other weights, by contrast and through the steps."""
    recorded, plain, tape, data = pair
    local = ne.AsymEP(0.2) if plain.spec.asymmetric else ne.EqProp(0.2)
    method = local if rule == "local" else ne.BPTT(9)
    for scale in (1.0, 0.5):
        x = {name: scale * value for name, value in data.x.items()}
        ends = []
        for net in (recorded, plain):
            net.set_parameters({name: scale * net.parameters[name] for name in net.parameters})
            ends.append(method.gradient(net, x, data.y)[0])
        for name, value in ends[1].items():
            np.testing.assert_allclose(ends[0][name], value, rtol=0, atol=1e-12, err_msg=name)
    assert 0 < tape.recorded < tape.replayed


def test_a_checkpointed_gradient_is_not_recorded(pair):
    recorded, plain, tape, data = pair
    one, other = (ne.CheckpointedBPTT(9).gradient(net, data.x, data.y)[0] for net in (recorded, plain))
    for name, value in other.items():
        np.testing.assert_array_equal(one[name], value, err_msg=name)
    assert tape.recorded == 0


@pytest.mark.parametrize("solver", [ne.BlockGaussSeidel(), ne.Anderson()])
def test_solvers_with_a_memory_are_not_recorded(pair, solver):
    recorded, plain, tape, data = pair
    equal(plain, *[(net.relax(data.x, solver=solver, tol=1e-9),) for net in (recorded, plain)])
    assert tape.recorded == 0


def test_histories_are_not_recorded(recordings, contracting, samples):
    spec = ne.models.toroidal_mlp(5, 8, 4, coupling=0.08)
    net, tape, data = ne.compile(spec, backend="torch"), Tape(), samples(spec, 9, 3)
    net.recordings = recordings.Recordings(tape)
    net.set_parameters(contracting(spec, 2))
    assert net.relax(data.x, tol=1e-9).converged.all()
    assert tape.recorded == 0


@pytest.mark.parametrize("name", [*SPECS, "masked"])
@pytest.mark.parametrize("betas", [(0.0,), (0.1, -0.1)], ids=["free", "pair"])
def test_a_chunk_asks_for_no_number(recordings, samples, name, betas):
    """Tensors on torch's ``meta`` device have none, and raise: so would a recording, where a GPU had to be asked."""
    import torch

    from neuro_eq.backends.torch.chunks import Chunk, Moving
    from neuro_eq.backends.torch.drives import TensorDrives
    from neuro_eq.backends.torch.layout import Layout
    from neuro_eq.dynamics import Dynamics
    from neuro_eq.settling.picard import PicardStepper

    def bare(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device="meta")

    spec, batch, phases = MASKED if name == "masked" else SPECS[name](), 6, len(betas)
    data = samples(spec, batch, 0)
    inputs, start = ({n: bare(*v.shape) for n, v in values.items()} for values in (data.x, data.start))
    anchor = {**inputs, **start} if spec.asymmetric else None
    target = bare(*data.y.shape) if phases > 1 else None
    task = Task(inputs, target, betas, (start,) * phases, anchor, ne.Picard(), None, 8)
    theta = {n: bare(*shape) for n, shape in spec.parameter_shapes.items()}
    drives = TensorDrives(Dynamics(spec), theta, task, bare(batch * phases), start)
    chunk = Chunk(Layout(spec), drives, PicardStepper(drives, ne.Picard()), 0.5, bare(batch))
    moving = Moving(
        bare(batch * phases, spec.free_units), bare(batch, dtype=torch.bool), bare(batch, dtype=torch.int64),
        bare(batch * phases),
    )  # fmt: skip
    moving = chunk(chunk(moving, 3), 4)
    assert all(value.device.type == "meta" for value in moving.tensors)
    assert [tuple(value.shape) for value in moving.tensors] == [
        (batch * phases, spec.free_units), (batch,), (batch,), (batch * phases,),
    ]  # fmt: skip
    with pytest.raises(RuntimeError):
        bool(moving.active.any())
