"""Blocks that share their parameters are the blocks by themselves, with one set of numbers for all."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.arrays import Reach
from neuro_eq.synapses import TransformerBlock

SHAPE, FIELDS = (3, 4), {"heads": 2, "hidden": 5, "padding": "mask"}
SHAPES = {"p": SHAPE, "q": SHAPE, "r": SHAPE, "mask": (3,), "m": (2, *SHAPE), "n": (2, *SHAPE)}
EVERY = ["p", "q", "r"]
LINKS = {
    "a pair in a ring": ([("p", "q", "m"), ("q", "r", "n")]),
    "a loop and another": ([("p", "p", "m"), ("r", "q", "n")]),
    "two onto one": ([("p", "q", "m"), ("r", "q", "n")]),
    "round": ([("p", "q", "m"), ("q", "p", "n")]),
}


def case(links, attention):
    (source, target, masks), (other, onto, more) = links
    fields = {**FIELDS, "attention": attention}
    tied = TransformerBlock(
        source=source, target=target, masks=masks, shared=((other, onto),), shared_masks=(more,), name="t", **fields
    )
    alone = [TransformerBlock(source=s, target=t, masks=m, name="t", **fields) for s, t, m in links]
    rng = np.random.default_rng(0)
    a = {name: rng.normal(size=(2, *shape)) for name, shape in SHAPES.items()}
    a["mask"] = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    theta = {name: 0.5 * rng.normal(size=shape) for name, shape in tied.parameter_shapes(SHAPES).items()}
    other_values = {name: rng.normal(size=value.shape) for name, value in a.items()}
    return tied, alone, a, theta, other_values


def summed(parts):
    total = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


def equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("attention", ["softmax", "linear"])
@pytest.mark.parametrize("links", LINKS.values(), ids=LINKS)
def test_they_are_the_blocks_one_by_one(links, attention):
    tied, alone, a, theta, v = case(links, attention)
    assert tied.shape_problem(SHAPES) is None
    equal(tied.drive(a, theta, EVERY), summed(block.drive(a, theta, EVERY) for block in alone))
    equal(tied.response(a, v, theta, EVERY), summed(block.response(a, v, theta, EVERY) for block in alone))
    equal(tied.transposed(a, v, theta, EVERY), summed(block.transposed(a, v, theta, EVERY) for block in alone))
    back, along = tied.transposed(a, v, theta, EVERY), tied.response(a, v, theta, EVERY)
    turned = summed([back, {name: -value for name, value in along.items()}])
    equal(tied.asymmetry(a, v, theta, EVERY), turned)
    for onto in EVERY:
        equal(tied.asymmetry(a, v, theta, [onto]), {n: value for n, value in turned.items() if n == onto})
    equal(tied.drive_vjp(a, v, theta), summed(block.drive_vjp(a, v, theta) for block in alone))
    reach = {name: Reach(3, 2.0) for name in SHAPES}
    bounds = summed(block.response_bound_within(theta, reach) for block in alone)
    assert tied.response_bound_within(theta, reach) == pytest.approx(bounds)
    for onto in EVERY:
        assert set(tied.drive(a, theta, [onto])) <= {onto}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"shared": (("q", "r"),), "masks": "m"}, "its shared pairs need one population of masks for each of 1, found"),
        ({"shared": (("q", "r"),), "shared_masks": ("n",)}, "its shared pairs need no masks, found 1"),
        ({"shared": (("q", "small"),)}, '"q" and "small" must have one shape'),
        ({"shared": (("q", "r"),), "masks": "m", "shared_masks": ("mask",)}, '"mask" must hold two masks of tokens'),
    ],
)
def test_what_does_not_fit_is_said(fields, sentence):
    block = TransformerBlock(source="p", target="q", heads=2, hidden=5, name="t", **fields)
    assert block.shape_problem({**SHAPES, "small": (2, 4)}).startswith(sentence)


def test_a_wrong_name_is_found_in_its_place():
    spec = ne.models.looped_transformer((4, 4), 3, patch=2, width=4, heads=2, hidden=5, depth=4, tied_pairs=True)
    table = spec.model_dump(mode="json")
    table["synapses"][1]["shared"][0][1] = "blok3"
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]\.shared\[0\]\[1\]: no population "blok3"; did you mean'):
        ne.Network(**table)


RING = {"shape": (4, 4), "classes": 3, "patch": 2, "width": 4, "heads": 2, "hidden": 5, "depth": 4}
FREE = ne.Relaxation(solver=ne.Picard(0.9), tol=1e-14, max_steps=3000)


@pytest.mark.parametrize(
    "more",
    [
        {"attention": "softmax", "feed_forward": "gelu", "dropout": 0.3},
        {"attention": "linear", "symmetric": True},
    ],
    ids=["directed", "symmetric"],
)
def test_a_tied_ring_has_the_summed_gradient_of_the_untied_one(more, samples):
    tied, untied = (ne.models.looped_transformer(**RING, **more, tied_pairs=pairs) for pairs in (True, False))
    assert sum(np.prod(s) for s in tied.parameter_shapes.values()) < sum(
        np.prod(s) for s in untied.parameter_shapes.values()
    )
    one, other = ne.compile(tied, backend="reference"), ne.compile(untied, backend="reference")

    def of_pair(name):
        """The tied parameter that an untied one stands for."""
        if name in tied.parameter_shapes:
            return name
        block = int(name[len("block")])
        return f"block{block - 1}{name[len('block1') :]}"

    shared = one.parameters
    other.set_parameters({name: shared[of_pair(name)] for name in untied.parameter_shapes})
    data = samples(tied, 3, 1)
    found, evidence = ne.ImplicitDifferentiation().gradient(one, data.x, data.y, free=FREE)
    assert evidence.free.converged.all()
    whole, _ = ne.ImplicitDifferentiation().gradient(other, data.x, data.y, free=FREE)
    equal_to = summed({of_pair(name): value} for name, value in whole.items())
    equal(found, equal_to)
    if not more.get("symmetric"):
        local, _ = ne.AsymEP(1e-3).gradient(one, data.x, data.y, free=FREE)
        for name, value in found.items():
            np.testing.assert_allclose(local[name], value, rtol=0, atol=1e-5 * np.linalg.norm(value) + 1e-9)


def test_pairs_need_an_even_number():
    with pytest.raises(ne.SpecError, match=r"^tied_pairs: pairs need an even number of blocks, found 3$"):
        ne.models.looped_transformer((4,), 2, vocabulary=5, depth=3, width=4, heads=2, tied_pairs=True)
