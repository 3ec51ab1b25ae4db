"""The conventional block against one that is written out, its bound, and what dropout draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.arrays import Reach
from neuro_eq.drawn import DRAWS, Dropout, Normal
from neuro_eq.synapses import TransformerBlock
from neuro_eq.synapses.features import elu_plus_one
from neuro_eq.training.drawing import with_draws

BATCH, TOKENS, D, HIDDEN = 3, 4, 6, 5
SHAPES = {"p": (TOKENS, D), "q": (TOKENS, D), "mask": (TOKENS,), "masks": (2, TOKENS, D)}
EXACT = {"rtol": 1e-13, "atol": 1e-13}
"""Sums of fewer than 100 terms of order one, in another order."""


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def written_out(block, x, theta, mask, masks):
    """One sample's drive: attention of every head, the residual, the norm, the feed-forward layer, the residual."""
    attended = np.zeros((TOKENS, D))
    heads = zip(*(np.split(theta[name], block.heads) for name in ("query", "key", "value")), strict=True)
    for h, (query, key, value) in enumerate(heads):
        part = slice(h * D // block.heads, (h + 1) * D // block.heads)
        for m in range(TOKENS):
            keys = [n for n in range(TOKENS) if (n <= m or not block.causal) and mask[m] > 0 and mask[n] > 0]
            if not keys:
                continue
            if block.attention == "softmax":
                weights = [np.exp((query @ x[m]) @ (key @ x[n]) / np.sqrt(D // block.heads)) for n in keys]
            else:
                phi = lambda z: np.where(z > 0, 1 + z, np.exp(np.minimum(z, 0)))  # noqa: E731
                weights = [phi(query @ x[m]) @ phi(key @ x[n]) for n in keys]
            attended[m, part] = sum(w * (value @ x[n]) for w, n in zip(weights, keys, strict=True)) / sum(weights)
    h = x + masks[0] * (attended @ theta["output"].T)
    centered = h - h.mean(axis=1, keepdims=True)
    z = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + block.epsilon)
    inside = (theta["norm_gain"] * z + theta["norm_offset"]) @ theta["up"].T + theta["up_bias"]
    answered = gelu(inside) if block.feed_forward == "gelu" else np.maximum(inside, 0)
    return theta["gamma"] * (h + masks[1] * (answered @ theta["down"].T + theta["down_bias"]))


def test_the_features_of_linear_attention_rise_as_they_say_at_every_number():
    """Also by autograd, and where the exponential ends and the line begins: both sides rise by one there."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    x = np.array([-800.0, -2.0, -0.0, 0.0, 1e-300, 3.0, 1e30])
    value, slope = elu_plus_one(x)
    np.testing.assert_array_equal(value, np.where(x > 0, 1 + x, np.exp(np.minimum(x, 0))))
    np.testing.assert_array_equal(slope, np.exp(np.minimum(x, 0)))
    for each in (value, slope):
        np.testing.assert_allclose(elu_plus_one(x + 0j)[0 if each is value else 1], each, rtol=1e-15)
    at = torch.tensor(x, requires_grad=True)
    (risen,) = torch.autograd.grad(elu_plus_one(at)[0].sum(), at)
    np.testing.assert_allclose(risen.numpy(), slope, rtol=1e-15)


BLOCKS = {
    "softmax": {"heads": 2},
    "causal": {"heads": 3, "causal": True, "feed_forward": "gelu"},
    "linear": {"heads": 2, "attention": "linear"},
    "linear-causal": {"attention": "linear", "causal": True, "epsilon": 0.3},
    "masked": {"heads": 2, "padding": "mask", "masks": "masks"},
    "linear-masked": {"heads": 2, "padding": "mask", "masks": "masks", "attention": "linear"},
}


def random(block, seed=0, size=0.7):
    rng = np.random.default_rng(seed)
    theta = {name: size * rng.normal(size=shape) for name, shape in block.parameter_shapes(SHAPES).items()}
    a = {"p": rng.normal(size=(BATCH, TOKENS, D)), "q": np.zeros((BATCH, TOKENS, D))}
    a["mask"] = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 1, 0]], dtype=float)
    a["masks"] = Dropout(0.4).sample((BATCH, 2, TOKENS, D), rng)
    return a, theta, rng


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_by_hand(name):
    block = TransformerBlock(source="p", target="q", hidden=HIDDEN, **BLOCKS[name])
    a, theta, _ = random(block)
    found = block.drive(a, theta, ["q"])["q"]
    for i in range(BATCH):
        mask = a["mask"][i] if block.padding else np.ones(TOKENS)
        masks = a["masks"][i] if block.masks else np.ones((2, 1, 1))
        np.testing.assert_allclose(found[i], written_out(block, a["p"][i], theta, mask, masks), **EXACT)


@pytest.mark.parametrize("name", BLOCKS)
def test_no_block_responds_by_more_than_its_bound(name):
    block = TransformerBlock(source="p", target="q", hidden=HIDDEN, **BLOCKS[name])
    largest = 0.0
    for seed in range(18):
        a, theta, _ = random(block, seed, (0.05, 0.3, 1.0)[seed % 3])
        r = (0.3, 3.0)[seed % 2]
        a["p"] *= r / np.linalg.norm(a["p"], axis=-1, keepdims=True)
        columns = []
        for unit in np.eye(TOKENS * D):
            delta = {"p": np.broadcast_to(unit.reshape(1, TOKENS, D), a["p"].shape)}
            columns.append(block.response(a, delta, theta, ["q"])["q"].reshape(BATCH, -1))
        norm = np.max(np.linalg.norm(np.array(columns).transpose(1, 0, 2), 2, axis=(1, 2)))
        reach = {"p": Reach(TOKENS, r), "masks": Reach(2 * TOKENS, Dropout(0.4).largest * np.sqrt(D))}
        bound = block.response_bound_within(theta, reach)["q", "p"]
        assert norm <= bound * (1 + 1e-12)
        largest = max(largest, norm / bound)
        scaled = block.response_bound_within(block.scaled(theta, 0.3), reach)["q", "p"]
        np.testing.assert_allclose(scaled, 0.3 * bound, rtol=1e-14)
    assert largest > 0.3, "a bound that is never approached bounds nothing of interest"


def test_a_block_on_unbounded_activities_has_no_bound():
    block = TransformerBlock(name="b", source="p", target="q", hidden=HIDDEN)
    with pytest.raises(ne.SpecError, match=r'^"b" of kind "transformer_block" has no bound .* activities of "p"'):
        block.response_bound(random(block)[1])


def test_blocks_within_their_budget_settle(samples):
    spec = ne.models.looped_transformer((4, 4), 3, patch=2, width=6, heads=2, depth=3, hidden=7, dropout=0.2)
    net = ne.compile(spec, backend="reference")
    rng = np.random.default_rng(1)
    net.set_parameters({name: rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
    budget = ne.NormBudget(0.7)
    net.set_parameters(budget.project(spec, net.parameters))
    data = samples(spec, 4, 3)
    at = net.relax(data.x, start=data.start, solver=ne.Picard(1.0), tol=1e-10, max_steps=90)
    assert at.converged.all()
    assert np.all(ne.lipschitz(net, data.x, state=at).response <= 0.7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 4}, "6 numbers a token do not divide into 4 heads"),
        ({"target": "mask"}, '"p" and "mask" must have one shape (tokens, d), found [4, 6] and [4]'),
        ({"masks": "p"}, '"p" must hold two masks of tokens, [2, 4, 6], found [4, 6]'),
        ({"padding": "masks"}, '"masks" must have one number for each token, [4], found [2, 4, 6]'),
    ],
)
def test_what_does_not_fit(fields, message):
    block = TransformerBlock(**{"source": "p", "target": "q", "hidden": HIDDEN, **fields})
    assert block.shape_problem(SHAPES) == message


# -- what is drawn ----------------------------------------------------------------------------------------------------


def with_dropout():
    return ne.models.looped_transformer((4, 4), 3, patch=2, width=4, heads=2, hidden=5, depth=2, dropout=0.5)


@pytest.mark.parametrize("kind", DRAWS)
def test_draws_have_their_mean(kind):
    draw = DRAWS[kind]()
    values = draw.sample((200, 200), np.random.default_rng(0))
    # The mean of 40000 numbers of variance one at most is off by 0.005 (one standard deviation).
    np.testing.assert_allclose(values.mean(), draw.mean, atol=0.025)
    assert np.max(np.abs(values)) <= draw.largest


def test_a_mask_of_dropout_has_two_values():
    values = Dropout(0.25).sample((100, 100), np.random.default_rng(0))
    assert set(np.unique(values)) == {0.0, 4 / 3}
    np.testing.assert_allclose(np.mean(values == 0), 0.25, atol=0.02)
    np.testing.assert_array_equal(Dropout(0.0).sample((5, 5), np.random.default_rng(0)), 1.0)


def test_data_that_nobody_hands_in_have_their_mean():
    spec = with_dropout()
    net = ne.compile(spec, backend="reference")
    x = np.random.default_rng(0).normal(size=(2, 4, 4))
    ones = {name: np.ones((2, *spec.shapes[name])) for name in ("block1_dropout", "block2_dropout")}
    here, there = net.relax(x), net.relax({"input": x, **ones})
    np.testing.assert_array_equal(here.states["block2"], there.states["block2"])
    assert [p.name for p in spec.given] == ["input"]


def test_all_phases_of_a_batch_have_one_draw():
    """The nudged phases start where the free one ended, and nothing moves but what the nudge moves."""
    spec = with_dropout()
    net = ne.compile(spec, backend="reference")
    x = with_draws(spec, np.random.default_rng(0).normal(size=(3, 4, 4)), [0, 1, 1])
    how = ne.Relaxation(solver=ne.Picard(1.0), tol=1e-12, max_steps=500)
    _, evidence = ne.AsymEP(1e-6).gradient(net, x, np.array([0, 1, 2]), free=how)
    for phase in evidence.nudged:
        for name in ("block1_dropout", "block2_dropout"):
            np.testing.assert_array_equal(phase.activities[name], x[name])
        assert np.max(np.abs(phase.states["block1"] - evidence.free.states["block1"])) < 1e-5


def test_draws_depend_on_the_seed_and_the_name_only():
    spec, x = with_dropout(), np.zeros((3, 4, 4))
    one, again, other = (with_draws(spec, x, seed) for seed in ([0, 1, 1], [0, 1, 1], [0, 1, 2]))
    np.testing.assert_array_equal(one["block1_dropout"], again["block1_dropout"])
    assert np.any(one["block1_dropout"] != other["block1_dropout"])
    assert np.any(one["block1_dropout"] != one["block2_dropout"])
    plain = ne.models.looped_transformer((4, 4), 3, patch=2, width=4, heads=2, hidden=5)
    assert with_draws(plain, x, [0]) is x


def test_training_draws_for_every_batch_and_resumes_with_the_same(tmp_path):
    """At once, in two runs of an epoch each, or stopped within one: the same numbers, bit for bit.

    And not those without dropout, nor those of one mask for all batches.
    """
    data = ne.datasets.load_data("digits", 0).subset(48, 16)
    spec = ne.models.looped_transformer((8, 8), 10, patch=4, width=4, heads=2, hidden=5, dropout=0.5)
    seen = []

    class Watched(ne.AsymEP):
        def gradient(self, net, x, y, **how):
            seen.append(x["block1_dropout"])
            return super().gradient(net, x, y, **how)

    def trained(**options):
        how = {"free": ne.Relaxation(max_steps=30), "batch_size": 16, "method": Watched(0.5), **options}
        net = ne.compile(spec, backend="reference")
        ne.train(net, data, **how)
        return {name: value.copy() for name, value in net.parameters.items()}

    whole, masks = trained(epochs=2), list(seen)
    assert len(masks) == 6
    assert all(np.any(one != other) for one, other in itertools.combinations(masks, 2))
    assert all(set(np.unique(mask)) == {0.0, 2.0} for mask in masks)

    trained(epochs=1, checkpoint=tmp_path / "epochs.ckpt")
    resumed = trained(epochs=2, checkpoint=tmp_path / "epochs.ckpt", resume=True)

    class Stop:
        def batch(self, epoch, batch, batches, tally):
            if (epoch, batch) == (2, 1):
                raise KeyboardInterrupt

        def epoch(self, result):
            pass

    with pytest.raises(KeyboardInterrupt):
        trained(epochs=2, checkpoint=tmp_path / "batches.ckpt", reporter=Stop())
    seen.clear()
    within = trained(epochs=2, checkpoint=tmp_path / "batches.ckpt", resume=True)
    assert len(seen) == 2
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value)
        np.testing.assert_array_equal(within[name], value)
    for mask, before in zip(seen, masks[4:], strict=True):
        np.testing.assert_array_equal(mask, before)


def test_a_drawn_population_is_data():
    with pytest.raises(ne.SpecError) as error:
        ne.Population(name="h", shape=3, drawn="normal")
    assert str(error.value) == "drawn: only data are drawn; clamp the population"
    with pytest.raises(ne.SpecError) as error:
        ne.Population(name="h", shape=3, clamped=True, drawn="dropot")
    assert str(error.value) == "drawn: no distribution 'dropot'; did you mean \"dropout\"?"
    with pytest.raises(ne.SpecError) as error:
        ne.Population(name="h", shape=3, clamped=True, drawn={"kind": "dropout", "rate": 1.0})
    assert error.value.place == "drawn.rate"
    assert ne.Population(name="h", shape=3, clamped=True, drawn="normal").drawn == Normal()


def test_files_keep_what_is_drawn(tmp_path):
    spec = with_dropout()
    ne.save(spec, tmp_path / "net.toml")
    assert ne.load(tmp_path / "net.toml") == spec
