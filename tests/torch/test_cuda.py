"""What only a GPU can show: real CUDA graphs, the same numbers again, and memory that is not enough.

The conformance suite runs on a GPU too: ``NEURO_EQ_TEST_DEVICE=cuda pytest tests/conformance -k torch``.
"""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne


@pytest.fixture(autouse=True)
def _gpu(need):
    need("torch")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU here")


SPECS = {
    "chain": lambda: ne.models.layered_hopfield([5, 8, 7, 4]),
    "directed": lambda: ne.models.looped_mlp(5, 8, 4, symmetric=False, cost="squared_error"),
    "transformer": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, depth=2, width=4, heads=2, patterns=5),
    "block": lambda: ne.models.looped_transformer((2, 4), 3, patch=2, width=4, heads=2, hidden=5, dropout=0.3),
    "words": lambda: ne.models.energy_transformer((4,), 3, vocabulary=50, width=4, heads=2, patterns=5),
    "maps": lambda: ne.models.conv_hopfield((2, 4, 4), 3, channels=(2, 2), skips=True),
}


@pytest.fixture(params=SPECS)
def spec(request) -> ne.Network:
    return SPECS[request.param]()


def compiled(spec, parameters, **options):
    net = ne.compile(spec, backend="torch", device="cuda", **options)
    net.set_parameters(parameters)
    return net


def phases(net, data, **how):
    """A free phase and a pair of nudged ones, corrected where there is no energy."""
    free = net.relax(data.x, start=data.start, **how)
    anchor = free if net.spec.asymmetric else None
    pair = net.relax(data.x, target=data.y, beta=(0.3, -0.3), start=free.states, asymmetry_at=anchor, **how)
    return (free, *pair)


@pytest.mark.parametrize("how", [{"tol": 1e-9}, {"tol": None, "max_steps": 28}], ids=["tolerance", "fixed"])
def test_a_graph_is_the_steps(spec, contracting, samples, how):
    """Twice, with other data and other weights, so that graphs are replayed."""
    parameters = contracting(spec, 2)
    recorded, plain = compiled(spec, parameters), compiled(spec, parameters)
    plain.recordings = None
    for seed in (3, 4):
        data = samples(spec, 40, seed)
        for net in (recorded, plain):
            net.set_parameters({name: 0.9 * net.parameters[name] for name in net.parameters})
        for one, other in zip(phases(recorded, data, **how), phases(plain, data, **how), strict=True):
            np.testing.assert_array_equal(one.steps, other.steps)
            np.testing.assert_array_equal(one.status, other.status)
            for name, value in one.states.items():
                # Batches of other sizes may round otherwise.
                np.testing.assert_allclose(value.cpu(), other.states[name].cpu(), rtol=0, atol=1e-13)
    assert len(recorded.recordings.kept) >= 2


@pytest.mark.parametrize("rule", ["local", "bptt"])
def test_a_graph_learns_what_the_steps_learn(spec, contracting, samples, rule):
    parameters = contracting(spec, 2)
    recorded, plain = compiled(spec, parameters), compiled(spec, parameters)
    plain.recordings = None
    local = ne.AsymEP(0.2) if spec.asymmetric else ne.EqProp(0.2)
    method = local if rule == "local" else ne.BPTT(9)
    for seed in (3, 4):
        data = samples(spec, 40, seed)
        one, other = (method.gradient(net, data.x, data.y)[0] for net in (recorded, plain))
        for name, value in other.items():
            np.testing.assert_allclose(one[name].cpu(), value.cpu(), rtol=0, atol=1e-12, err_msg=name)


def gradient_of(spec, data, device, **how):
    method = ne.AsymEP(0.1) if spec.asymmetric else ne.EqProp(0.1)
    net = ne.compile(spec, backend="torch", device=device, **how)
    return {name: net.to_numpy(value) for name, value in method.gradient(net, data.x, data.y)[0].items()}


def test_the_same_numbers_again(spec, samples):
    """Bit for bit, as a run that goes on from its checkpoint has to be."""
    data = samples(spec, 96, 5)
    one, other = (gradient_of(spec, data, "cuda", dtype="float32", seed=1) for _ in range(2))
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_every_gpu_records_for_itself(spec, contracting, samples):
    """Engines on two GPUs in one process, in alternation."""
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    data, parameters = samples(spec, 40, 5), contracting(spec, 2)
    nets = [ne.compile(spec, backend="torch", device=f"cuda:{i}") for i in (0, 1)]
    for _ in range(2):
        found = []
        for net in nets:
            net.set_parameters(parameters)
            found.append(phases(net, data, tol=None, max_steps=28))
        for one, other in zip(*found, strict=True):
            for name, value in one.states.items():
                np.testing.assert_allclose(value.cpu(), other.states[name].cpu(), rtol=0, atol=1e-13)


def test_float32_is_not_rounded_to_ten_bits(samples):
    """TF32 would be wrong by 1e-3; at this size a float32 sum is right to 1e-5."""
    spec = ne.models.layered_hopfield([784, 512, 10])
    data, ends = samples(spec, 64, 6), []
    for device, dtype in (("cuda", "float32"), ("cpu", "float64")):
        net = ne.compile(spec, backend="torch", device=device, dtype=dtype, seed=1)
        ends.append(net.to_numpy(net.relax(data.x, tol=None, max_steps=1).states["hidden1"]))
    scale = np.sqrt(np.mean(ends[1] ** 2))
    assert np.abs(ends[0] - ends[1]).max() < 3e-5 * scale


def test_too_large_a_batch_is_a_sentence():
    spec = ne.models.energy_transformer((28, 28), 10, patch=1, width=1024, heads=16)
    net = ne.compile(spec, backend="torch", device="cuda", dtype="float32")
    with pytest.raises(ne.BackendError, match=r"not enough memory for .*; take a smaller batch_size"):
        net.relax(np.zeros((4_000, 784), np.float32), tol=None, max_steps=2)


def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    """On a GPU as elsewhere: the same weights, bit for bit."""
    data = ne.datasets.load_data("digits").subset(300, 50)
    spec = ne.models.energy_transformer((8, 8), 10, patch=4, width=8, heads=2)
    how = {"batch_size": 32, "free": ne.Relaxation(max_steps=20), "method": ne.EqProp(0.5)}

    def trained(epochs, **files):
        net = ne.compile(spec, backend="torch", device="cuda", dtype="float32", seed=2)
        ne.train(net, data, epochs=epochs, **how, **files)
        return {name: net.to_numpy(value) for name, value in net.parameters.items()}

    whole = trained(4)
    trained(2, checkpoint=tmp_path / "run.ckpt")
    for name, value in trained(4, checkpoint=tmp_path / "run.ckpt", resume=True).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
