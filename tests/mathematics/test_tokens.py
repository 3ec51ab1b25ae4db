"""Attention, memories and embeddings against sums written out, and the bounds on their responses."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.arrays import Reach
from neuro_eq.synapses import (
    Dense,
    HopfieldMemory,
    LinearAttention,
    PatchEmbedding,
    SoftmaxAttention,
    TokenDense,
    TokenEmbedding,
    TokenMemory,
)

BATCH, TOKENS, D = 3, 4, 6
SHAPES = {"p": (TOKENS, D), "q": (TOKENS, D), "mask": (TOKENS,), "flat": (1, D)}
EXACT = {"rtol": 1e-13, "atol": 1e-13}
"""Sums of fewer than 100 terms of order one, in another order."""


def random(synapse, size=0.7, seed=0):
    rng = np.random.default_rng(seed)
    theta = {name: size * rng.normal(size=shape) for name, shape in synapse.parameter_shapes(SHAPES).items()}
    return {"p": rng.normal(size=(BATCH, TOKENS, D))}, theta, rng


def may_look(m, n, causal, mask):
    return (n <= m or not causal) and mask[m] > 0 and mask[n] > 0


def softmax_attention(x, theta, heads, b, causal, mask):
    """Energy and drive of one sample, by loops: DESIGN's query term plus key term."""
    energy, drive = 0.0, np.zeros_like(x)
    for query, key in zip(np.split(theta["query"], heads), np.split(theta["key"], heads), strict=True):
        q, k = x @ query.T, x @ key.T
        for m in range(TOKENS):
            keys = [n for n in range(TOKENS) if may_look(m, n, causal, mask)]
            if not keys:
                continue
            weights = np.exp([b * q[m] @ k[n] for n in keys])
            energy -= np.log(np.sum(weights)) / b
            weights /= np.sum(weights)
            drive[m] += query.T @ sum(w * k[n] for w, n in zip(weights, keys, strict=True))
            for w, n in zip(weights, keys, strict=True):
                drive[n] += w * key.T @ q[m]
    return energy, drive


MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 1, 0]], dtype=float)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_softmax_attention_is_its_query_term_and_its_key_term(causal, padded, heads):
    attention = SoftmaxAttention(
        target="p", heads=heads, causal=causal, padding="mask" if padded else None, inverse_temperature=0.8, gamma=0.5
    )
    a, theta, _ = random(attention)
    a["mask"] = MASK
    energy, drive = attention.energy(a, theta), attention.drive(a, theta, ["p"])["p"]
    for i in range(BATCH):
        mask = MASK[i] if padded else np.ones(TOKENS)
        wanted = softmax_attention(a["p"][i], theta, heads, 0.8, causal, mask)
        np.testing.assert_allclose(energy[i], 0.5 * wanted[0], **EXACT)
        np.testing.assert_allclose(drive[i], 0.5 * wanted[1], **EXACT)


def test_attention_divides_scores_by_the_root_of_its_width():
    default = SoftmaxAttention(target="p", heads=2)
    said = SoftmaxAttention(target="p", heads=2, inverse_temperature=1 / np.sqrt(3))
    a, theta, _ = random(default)
    np.testing.assert_array_equal(default.energy(a, theta), said.energy(a, theta))


def phi(x):
    """elu + 1 and its slope."""
    return (1 + x if x > 0 else np.exp(x)), (1.0 if x > 0 else np.exp(x))


@pytest.mark.parametrize("features", ["elu", "identity"])
@pytest.mark.parametrize("padded", [False, True])
def test_linear_attention_as_the_design_writes_it(features, padded):
    """``−(1/2N) Σ ‖φ(Q)φ(K)ᵀ‖²`` and ``W_Qᵀ[φ'(q_n) ⊙ (Σφ_kφ_kᵀ)φ(q_n)] + …``, over N."""
    attention = LinearAttention(target="p", heads=2, features=features, padding="mask" if padded else None, gamma=0.5)
    a, theta, _ = random(attention)
    a["mask"] = MASK
    energy, drive = attention.energy(a, theta), attention.drive(a, theta, ["p"])["p"]
    of = np.vectorize(phi) if features == "elu" else lambda x: (x, np.ones_like(x))
    for i in range(BATCH):
        valid = np.flatnonzero(MASK[i]) if padded else np.arange(TOKENS)
        wanted, felt = 0.0, np.zeros((TOKENS, D))
        for query, key in zip(np.split(theta["query"], 2), np.split(theta["key"], 2), strict=True):
            (q, dq), (k, dk) = of(a["p"][i] @ query.T), of(a["p"][i] @ key.T)
            wanted -= np.sum((q[valid] @ k[valid].T) ** 2) / (2 * len(valid))
            for n in valid:
                outer_k, outer_q = (sum(np.outer(z[m], z[m]) for m in valid) for z in (k, q))
                felt[n] += (query.T @ (dq[n] * (outer_k @ q[n])) + key.T @ (dk[n] * (outer_q @ k[n]))) / len(valid)
        np.testing.assert_allclose(energy[i], 0.5 * wanted, **EXACT)
        np.testing.assert_allclose(drive[i], 0.5 * felt, **EXACT)


@pytest.mark.parametrize("make", [SoftmaxAttention, LinearAttention])
def test_padding_neither_feels_nor_is_felt(make):
    """The last tokens hold anything, and the others settle as if they stood alone."""
    attention, alone = make(target="p", padding="mask"), make(target="p")
    a, theta, rng = random(attention)
    a["mask"] = np.array([[1, 1, 0, 0]] * BATCH, dtype=float)
    other = {**a, "p": np.concatenate([a["p"][:, :2], 50.0 * rng.normal(size=(BATCH, 2, D))], axis=1)}
    short = {"p": a["p"][:, :2]}
    for one in (a, other):
        np.testing.assert_allclose(attention.energy(one, theta), alone.energy(short, theta), **EXACT)
        drive = attention.drive(one, theta, ["p"])["p"]
        np.testing.assert_allclose(drive[:, :2], alone.drive(short, theta, ["p"])["p"], **EXACT)
        np.testing.assert_array_equal(drive[:, 2:], 0.0)
        for name, value in attention.gradient(one, theta).items():
            np.testing.assert_allclose(value, alone.gradient(short, theta)[name], **EXACT)


@pytest.mark.parametrize("make", [SoftmaxAttention, LinearAttention])
def test_attention_knows_no_order(make):
    attention = make(target="p", heads=2)
    a, theta, rng = random(attention)
    order = rng.permutation(TOKENS)
    moved = {"p": a["p"][:, order]}
    np.testing.assert_allclose(attention.energy(moved, theta), attention.energy(a, theta), **EXACT)
    drive = attention.drive(a, theta, ["p"])["p"]
    np.testing.assert_allclose(attention.drive(moved, theta, ["p"])["p"], drive[:, order], **EXACT)


def test_large_scores_do_not_overflow():
    attention = SoftmaxAttention(target="p")
    a, theta, _ = random(attention, size=100.0)
    assert np.all(np.isfinite(attention.energy(a, theta)))
    assert np.all(np.isfinite(attention.drive(a, theta, ["p"])["p"]))


def test_shared_parameters_add_up():
    both, one = SoftmaxAttention(target="p", shared=("q",)), SoftmaxAttention(target="p")
    a, theta, rng = random(both)
    a["q"] = rng.normal(size=a["p"].shape)
    other = {"p": a["q"]}
    np.testing.assert_allclose(both.energy(a, theta), one.energy(a, theta) + one.energy(other, theta), **EXACT)
    np.testing.assert_array_equal(both.drive(a, theta, ["q"])["q"], one.drive(other, theta, ["p"])["p"])
    for name, value in both.gradient(a, theta).items():
        np.testing.assert_allclose(value, one.gradient(a, theta)[name] + one.gradient(other, theta)[name], **EXACT)


# -- bounds -----------------------------------------------------------------------------------------------------------

BOUNDED = {
    "softmax": SoftmaxAttention(target="p", heads=2, gamma=0.5),
    "causal": SoftmaxAttention(target="p", causal=True, inverse_temperature=2.0),
    "linear": LinearAttention(target="p", heads=2),
    "identity": LinearAttention(target="p", features="identity"),
    "relu": TokenMemory(target="p", patterns=5),
    "softplus": TokenMemory(target="p", patterns=5, form="softplus", inverse_temperature=3.0),
    "logsumexp": TokenMemory(target="p", patterns=5, form="logsumexp", inverse_temperature=3.0),
}


def response_norm(synapse, a, theta):
    """``‖D‖₂`` of the first sample, column by column."""
    columns = []
    for unit in np.eye(TOKENS * D):
        delta = {"p": unit.reshape(1, TOKENS, D)}
        columns.append(synapse.response({"p": a[:1]}, delta, theta, ["p"])["p"].ravel())
    return float(np.linalg.norm(np.array(columns), 2))


@pytest.mark.parametrize("name", BOUNDED)
def test_no_response_exceeds_its_bound(name):
    """On tokens of norm r, the worst ones looked for by turning all of them towards one another."""
    synapse = BOUNDED[name]
    largest = 0.0
    for seed in range(30):
        a, theta, rng = random(synapse, size=rng_size(seed), seed=seed)
        r = (0.3, 1.0, 3.0)[seed % 3]
        tokens = a["p"] + (seed % 2) * 5.0 * rng.normal(size=(BATCH, 1, D))
        tokens *= r / np.linalg.norm(tokens, axis=-1, keepdims=True)
        bound = synapse.response_bound_within(theta, {"p": Reach(TOKENS, r)})["p", "p"]
        share = response_norm(synapse, tokens, theta) / bound
        assert share <= 1 + 1e-12
        largest = max(largest, share)
        scaled = synapse.scaled(theta, 0.3)
        assert synapse.response_bound_within(scaled, {"p": Reach(TOKENS, r)})["p", "p"] <= 0.3 * bound * (1 + 1e-12)
    assert largest > 0.02, "a bound that is never approached bounds nothing of interest"


def rng_size(seed):
    return (0.05, 0.3, 1.0)[seed // 3 % 3]


def test_a_memory_of_which_all_patterns_answer_reaches_its_bound():
    memory = TokenMemory(target="p", patterns=5, gamma=0.6)
    _, theta, rng = random(memory)
    theta = {"patterns": np.abs(theta["patterns"])}
    tokens = np.abs(rng.normal(size=(1, TOKENS, D)))
    np.testing.assert_allclose(response_norm(memory, tokens, theta), memory.response_bound(theta)["p", "p"], rtol=1e-12)


@pytest.mark.parametrize("make", [SoftmaxAttention, LinearAttention])
def test_attention_on_unbounded_activities_has_no_bound(make):
    spec = ne.Network(
        populations=[ne.Population(name="x", shape=(2, 2), clamped=True), ne.Population(name="h", shape=(2, 2))],
        synapses=[TokenDense(source="x", target="h"), make(target="h")],
    )
    with pytest.raises(ne.SpecError) as error:
        ne.NormBudget(0.9).value(spec, spec.initial_parameters(0))
    assert str(error.value).startswith('synapses[1]: "h_attention" of kind "')
    assert 'as the activities of "h" have none' in str(error.value)


@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_an_energy_transformer_within_its_budget_is_a_contraction(samples, attention):
    """Large parameters, projected: every start settles at once, at α = 1."""
    spec = ne.models.energy_transformer((4, 4), 3, patch=2, width=6, heads=2, depth=3, attention=attention)
    net = ne.compile(spec, backend="reference")
    rng = np.random.default_rng(1)
    net.set_parameters({name: rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
    budget = ne.NormBudget(0.7)
    net.set_parameters(budget.project(spec, net.parameters))
    assert budget.value(spec, net.parameters) <= 0.7
    data = samples(spec, 4, 3)
    at = net.relax(data.x, start=data.start, solver=ne.Picard(1.0), tol=1e-10, max_steps=90)
    assert at.converged.all()
    assert np.all(ne.lipschitz(net, data.x, state=at).response <= 0.7)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "hard_sigmoid", "softmax", "layer_norm", "relu", "identity"])
def test_rows_of_activities_stay_within_their_reach(kind):
    population = ne.Population(name="p", shape=(3, 5), activation=kind)
    rho = population.activation
    rng = np.random.default_rng(2)
    theta = {name: np.abs(rng.normal(size=shape)) for name, shape in rho.parameter_shapes((3, 5)).items()}
    reach = rho.row_sup(theta, (3, 5))
    norms = np.linalg.norm(rho.activity(rng.normal(scale=100.0, size=(50, 3, 5)), theta), axis=-1)
    assert np.all(norms <= reach * (1 + 1e-12))
    # The offset of a layer norm and what it is added to need not point the same way.
    assert np.max(norms) > 0.5 * reach or not np.isfinite(reach)
    assert np.isfinite(reach) == (kind not in ("relu", "identity"))


# -- memories ---------------------------------------------------------------------------------------------------------


def test_a_token_alone_has_a_modern_hopfield_memory():
    """The same numbers as the memory of a flat population."""
    mine = TokenMemory(target="flat", patterns=5, form="logsumexp", gamma=0.7, inverse_temperature=1.5)
    other = HopfieldMemory(target="flat", patterns=5, gamma=0.7, inverse_temperature=1.5)
    rng = np.random.default_rng(0)
    a, lam = ({"flat": rng.normal(size=(BATCH, 1, D))} for _ in range(2))
    theta = {"patterns": rng.normal(size=(5, D))}
    np.testing.assert_allclose(mine.energy(a, theta), other.energy(a, theta), **EXACT)
    for one, two in (
        (mine.drive(a, theta, ["flat"]), other.drive(a, theta, ["flat"])),
        (mine.response(a, lam, theta, ["flat"]), other.response(a, lam, theta, ["flat"])),
        (mine.gradient(a, theta), other.gradient(a, theta)),
        (mine.drive_vjp(a, lam, theta), other.drive_vjp(a, lam, theta)),
    ):
        for name, value in two.items():
            np.testing.assert_allclose(one[name], value, **EXACT)
    np.testing.assert_allclose(
        mine.response_bound(theta)["flat", "flat"], other.response_bound(theta)["flat", "flat"], rtol=1e-15
    )


def test_a_relu_memory_is_a_feed_forward_layer_with_one_matrix():
    memory = TokenMemory(target="p", patterns=5, bias=True)
    a, theta, _ = random(memory)
    hidden = np.maximum(a["p"] @ theta["patterns"].T + theta["bias"], 0.0)
    np.testing.assert_allclose(memory.drive(a, theta, ["p"])["p"], hidden @ theta["patterns"], **EXACT)
    np.testing.assert_allclose(memory.energy(a, theta), -0.5 * np.sum(hidden**2, axis=(1, 2)), **EXACT)


def test_a_sharp_softplus_memory_is_a_relu_memory():
    """``0 ≤ softplus(bs)/b − max(s, 0) ≤ ln 2/b``, and of the drive's inside ``softplus σ`` the same order."""
    sharp = TokenMemory(target="p", patterns=5, form="softplus", inverse_temperature=1e6)
    relu = TokenMemory(target="p", patterns=5)
    a, theta, _ = random(relu)
    found, wanted = sharp.drive(a, theta, ["p"])["p"], relu.drive(a, theta, ["p"])["p"]
    assert np.max(np.abs(found - wanted)) <= 1e-6 * np.sum(np.abs(theta["patterns"]))


# -- embeddings and couplings -----------------------------------------------------------------------------------------


def test_a_coupling_of_tokens_is_a_dense_synapse_with_equal_blocks():
    shapes = {"p": (2, 3), "q": (2, 4)}
    mine, dense = TokenDense(source="p", target="q"), Dense(source="p", target="q")
    rng = np.random.default_rng(0)
    a = {name: rng.normal(size=(BATCH, *shape)) for name, shape in shapes.items()}
    weight = rng.normal(size=(4, 3))
    theta, blocks = {"weight": weight}, {"weight": np.kron(np.eye(2), weight)}
    np.testing.assert_allclose(mine.energy(a, theta), dense.energy(a, blocks), **EXACT)
    for name, value in dense.drive(a, blocks, ["p", "q"]).items():
        np.testing.assert_allclose(mine.drive(a, theta, ["p", "q"])[name], value, **EXACT)
    whole = dense.gradient(a, blocks)["weight"]
    np.testing.assert_allclose(mine.gradient(a, theta)["weight"], whole[:4, :3] + whole[4:, 3:], **EXACT)
    np.testing.assert_allclose(mine.response_bound(theta)["q", "p"], np.linalg.norm(weight, 2), rtol=1e-12)


def test_a_coupling_starts_with_its_residual():
    weight = TokenDense(source="p", target="p", gain=0.0, diagonal=0.5).initial(SHAPES, np.random.default_rng(0))
    np.testing.assert_array_equal(weight["weight"], 0.5 * np.eye(D))


def test_patches_by_hand():
    embedding = PatchEmbedding(source="image", target="tokens", patch=(1, 2))
    image = np.arange(16.0).reshape(1, 2, 2, 4)
    found = embedding.patches(image)[0]
    # Row by row; of each patch the first channel, then the second.
    np.testing.assert_array_equal(found, [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]])
    grey = PatchEmbedding(source="image", target="tokens", patch=2).patches(image[:, 0])[0]
    np.testing.assert_array_equal(grey, [[0, 1, 4, 5], [2, 3, 6, 7]])


def test_ids_are_one_hot_rows():
    ids, hot = (TokenEmbedding(source="x", target="p", vocabulary=7) for _ in range(2))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, size=(BATCH, TOKENS))  # so that id 6 is never seen
    theta = {"weight": rng.normal(size=(7, D)), "position": rng.normal(size=(TOKENS, D))}
    a = {"x": x.astype(float), "p": rng.normal(size=(BATCH, TOKENS, D))}
    b = {"x": np.eye(7)[x], "p": a["p"]}
    np.testing.assert_allclose(ids.energy(a, theta), hot.energy(b, theta), **EXACT)
    np.testing.assert_allclose(ids.drive(a, theta, ["p"])["p"], hot.drive(b, theta, ["p"])["p"], **EXACT)
    gradient = ids.gradient(a, theta)["weight"]
    np.testing.assert_allclose(gradient, hot.gradient(b, theta)["weight"], **EXACT)
    np.testing.assert_array_equal(gradient[6], 0.0)


# -- what does not fit ------------------------------------------------------------------------------------------------


def tokens_network(**change):
    populations = [
        ne.Population(name="x", shape=(4,), clamped=True),
        ne.Population(name="h", shape=(4, 6), activation="layer_norm"),
        ne.Population(name="narrow", shape=(2, 6), activation="layer_norm"),
    ]
    synapses = [
        {"kind": "token_embedding", "source": "x", "target": "h", "vocabulary": 5, "name": "words"},
        {"kind": "token_memory", "target": "narrow", "patterns": 3},
        {"kind": "softmax_attention", "target": "h", "padding": "x", **change},
    ]
    cost = {"kind": "token_cross_entropy", "population": "h", "classes": 2, "padding": "x"}
    return {"populations": populations, "synapses": synapses, "cost": cost}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 4}, "synapses[2]: 6 numbers a token do not divide into 4 heads; give a width"),
        ({"padding": "narrow"}, 'synapses[2].padding: "narrow" is free, but is read as data here; clamp it'),
        ({"padding": "mask"}, 'synapses[2].padding: no population "mask"; known: x, h, narrow'),
        ({"target": "narrow"}, 'synapses[2]: "x" must have one number for each token, [2], found [4]'),
        (
            {"shared": ["narrow"]},
            'synapses[2]: "narrow" shares the parameters of "h", so its shape must be [4, 6], found [2, 6]',
        ),
        ({"shared": ["h"]}, "synapses[2]: every population can be named once, found h, h, x"),
        ({"shared": ["g"]}, 'synapses[2].shared[0]: no population "g"; known: x, h, narrow'),
        ({"heads": 0}, "synapses[2].heads: input should be greater than or equal to 1 (found 0)"),
        ({"causal": "perhaps"}, "synapses[2].causal: input should be a valid boolean, unable to interpret input "
                                "(found 'perhaps')"),
    ],
)  # fmt: skip
def test_errors_name_the_place(change, message):
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**tokens_network(**change))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1, 2, 0, 5]], 'x: "x" must hold whole numbers in 0…4, found 0…5'),
        ([[1, 2, 0.5, 0]], 'x: "x" must hold whole numbers in 0…4, found 0…2'),
        ([[0, 0, 0, 0]], 'x: "x" says of a sample that none of its tokens takes part'),
    ],
)
def test_data_that_are_no_tokens(x, message):
    net = ne.compile(ne.Network(**tokens_network()), backend="reference")
    with pytest.raises(ne.DataError) as error:
        net.relax(np.array(x))
    assert str(error.value) == message


def test_the_mean_token_is_that_of_those_that_take_part():
    net = ne.compile(ne.Network(**tokens_network()), backend="reference")
    a = {"x": np.array([[1.0, 3.0, 0.0, 0.0]]), "h": np.random.default_rng(0).normal(size=(1, 4, 6))}
    theta = net.dynamics.own(net.parameters, "readout")
    found = net.spec.cost.logits(a, theta)
    np.testing.assert_allclose(found, a["h"][:, :2].mean(axis=1) @ theta["weight"].T + theta["bias"], **EXACT)
    slope = net.spec.cost.activity_gradient(a, np.array([[1.0, 0.0]]), theta)
    np.testing.assert_array_equal(slope[:, 2:], 0.0)
    np.testing.assert_array_equal(slope[:, 0], slope[:, 1])


def test_files_name_them(tmp_path):
    spec = ne.Network(**tokens_network(shared=(), heads=2))
    ne.save(spec, tmp_path / "net.toml")
    assert ne.load(tmp_path / "net.toml") == spec
