"""What every test shares: shapes in signatures checked while the tests run, random networks, and their data."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CHECK_SHAPES = "NEURO_EQ_CHECK_SHAPES"
"""Set to 1, this variable has every call checked against its signature; relaxations then take five times as long."""


def _compiles(source: str) -> bool:
    return any(word in source for word in ("njit", "numba.extending", "numba.compilation import"))


def checkable_modules() -> list[str]:
    """The modules whose signatures are checked: all but those with functions that Numba compiles.

    The check wraps functions, and Numba cannot compile a wrapper.
    """
    found = find_spec("neuro_eq")
    if found is None or found.origin is None:
        raise pytest.UsageError("neuro_eq is not installed; run: pip install '.[test]'")
    home = Path(found.origin).parent
    roots = {"neuro_eq": home}
    if not (home / "backends").is_dir():
        # In a checkout the outer folders lie beside the package.
        roots.update({f"neuro_eq.{name}": home.parent / name for name in ("backends", "hardware", "experiments")})
    modules: list[str] = []
    for package, root in roots.items():
        for file in sorted(root.rglob("*.py")):
            # A package's name would stand for everything below it.
            if file.name == "__init__.py" or _compiles(file.read_text(encoding="utf-8")):
                continue
            modules.append(".".join([package, *file.relative_to(root).with_suffix("").parts]))
    return modules


if os.environ.get(CHECK_SHAPES, "0") != "0":
    from jaxtyping import install_import_hook

    # The numeric tower of PEP 484, as the type checker has it: an int is a float.
    install_import_hook(checkable_modules(), "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import neuro_eq as ne
from neuro_eq.activations import ACTIVATIONS
from neuro_eq.arrays import Reach
from neuro_eq.backend import backend
from neuro_eq.costs import Readout
from neuro_eq.synapses import SYNAPSES, Synapse

settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has the programs that it starts in the background ignore Ctrl-C, and theirs as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get(CHECK_SHAPES, "0") != "0":
        # The check of a container looks at a random item of it, also where a strategy builds a network.
        config.addinivalue_line("filterwarnings", "ignore:Do not use the .random. module inside strategies")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-table", metavar="FILE", help="measure every engine and write the conformance table to FILE"
    )


@pytest.fixture(scope="session")
def need() -> Callable[[str], None]:
    """``need("torch")`` skips with the reason where a backend cannot run, or fails where NEURO_EQ_REQUIRE names it."""

    def check(name: str) -> None:
        status = backend(name).probe()
        if status.available:
            return
        if name in [part.strip() for part in os.environ.get("NEURO_EQ_REQUIRE", "").split(",")]:
            pytest.fail(f'NEURO_EQ_REQUIRE names "{name}", which cannot run here: {status.detail}', pytrace=False)
        pytest.skip(status.detail)

    return check


# -- random networks: one strategy for the engines and for the files ------------------------------------------------

SHAPES = st.one_of(
    st.integers(1, 5).map(lambda n: (n,)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 2)),
)


BOUNDED = ("hard_sigmoid", "sigmoid", "tanh", "softmax")
"""Activations between −1 and 1."""


@st.composite
def _networks(draw: st.DrawFn, synapse_kinds: Collection[str], activation_kinds: Collection[str]) -> ne.Network:
    """Valid networks: 1–2 clamped and 1–4 free populations, any synapses between them, either cost.

    What a gate listens to is bounded, as the response of a gated synapse grows with the activity that it multiplies.
    """
    clamped = [ne.Population(name=f"x{i}", shape=draw(SHAPES), clamped=True) for i in range(draw(st.integers(1, 2)))]
    free = [
        ne.Population(name=f"h{i}", shape=draw(SHAPES), activation=draw(st.sampled_from(sorted(activation_kinds))))
        for i in range(draw(st.integers(1, 4)))
    ]
    audible = [*clamped, *(p for p in free if p.activation.kind in BOUNDED)]
    synapses: list[Synapse] = []

    def connect(kind: str, source: ne.Population, target: ne.Population) -> None:
        make = {"symmetric": ne.Dense, "gated": ne.synapses.GatedDense}.get(kind, ne.DirectedDense)
        synapses.append(make(name=f"s{len(synapses)}", source=source.name, target=target.name))

    gated = ["gated"] if "gated_dense" in synapse_kinds else []
    for i, one in enumerate(free):
        for other in free[i:]:
            kinds = ["symmetric", "directed", "reversed", *(gated if one in audible else [])]
            for kind in draw(st.sets(st.sampled_from(kinds))):
                if kind == "reversed":
                    connect("directed", other, one)
                else:
                    connect(kind, one, other)
    for population in free:
        entry = draw(st.sampled_from(["none", "symmetric", "directed", "backwards", *gated]))
        source = draw(st.sampled_from(clamped))
        if entry == "backwards":
            connect("symmetric", population, source)
        elif entry != "none":
            connect(entry, source, population)
        driven = any(population.name in synapse.driven for synapse in synapses)
        if not driven or draw(st.booleans()):
            synapses.append(ne.synapses.Bias(target=population.name))
        synapses += _extras(draw, population, audible, clamped, synapse_kinds)
        if "convolution" in synapse_kinds:
            synapses += _maps(draw, population, [*clamped, *free])
    top = draw(st.sampled_from(free))
    cost: Any = {"kind": "squared_error", "population": top.name}
    if draw(st.booleans()):
        tokens = len(top.shape) == 2 and "softmax_attention" in synapse_kinds and draw(st.booleans())
        kind = "token_cross_entropy" if tokens else "cross_entropy"
        cost = {"kind": kind, "population": top.name, "classes": draw(st.integers(2, 4))}
    return ne.Network(populations=(*clamped, *free), synapses=tuple(synapses), cost=cost)


def _extras(
    draw: st.DrawFn,
    population: ne.Population,
    audible: Sequence[ne.Population],
    clamped: Sequence[ne.Population],
    synapse_kinds: Collection[str],
) -> list[Synapse]:
    """Any of the synapses that a population has beside its drive by others."""
    made: list[Synapse] = []
    for kind in draw(st.sets(st.sampled_from(["hopfield_memory", "history", "step_gate"]))):
        if kind in synapse_kinds:
            made.append(_extra(draw, kind, population.name, audible))
    if len(population.shape) == 2:
        for kind in draw(st.sets(st.sampled_from(TOKEN_KINDS))):
            if kind in synapse_kinds:
                made += _on_tokens(draw, kind, population, clamped)
    return made


def _extra(draw: st.DrawFn, kind: str, target: str, audible: Sequence[ne.Population]) -> Synapse:
    """A memory, a weak history or a gate of a population that has its drive already."""
    if kind == "hopfield_memory":
        return ne.synapses.HopfieldMemory(target=target, patterns=draw(st.integers(1, 4)))
    if kind == "history":
        coupling = draw(st.sampled_from([-0.05, 0.05]))
        return ne.synapses.History(target=target, coupling=coupling, buffer_size=draw(st.integers(1, 6)))
    return ne.synapses.StepGate(name=f"{target}_gate", source=draw(st.sampled_from(audible)).name, target=target)


TOKEN_KINDS = [
    "softmax_attention", "linear_attention", "token_memory", "token_dense", "token_embedding", "patch_embedding",
    "transformer_block",
]  # fmt: skip


def _on_tokens(
    draw: st.DrawFn, kind: str, population: ne.Population, clamped: Sequence[ne.Population]
) -> list[Synapse]:
    """A synapse of one population of tokens, or none where it or the data do not fit."""
    tokens, source = population.name, draw(st.sampled_from(clamped))
    # On activities without a bound the response of attention has none either.
    bounded = population.activation.kind in (*BOUNDED, "layer_norm")
    fields: dict[str, Any] = {"name": f"{tokens}_{kind}", "target": tokens}
    if kind == "linear_attention":
        fields.update(width=2, features=draw(st.sampled_from(["elu", "identity"])))
    elif kind == "softmax_attention":
        fields.update(heads=2, width=2, causal=draw(st.booleans()))
    elif kind == "token_memory":
        forms = st.sampled_from(["relu", "softplus", "logsumexp"])
        fields.update(patterns=3, form=draw(forms), bias=draw(st.booleans()))
    elif kind == "token_dense":
        fields.update(source=tokens)
    elif kind == "transformer_block":
        attention, phi = draw(st.sampled_from(["softmax", "linear"])), draw(st.sampled_from(["relu", "gelu"]))
        fields.update(source=tokens, hidden=2, attention=attention, feed_forward=phi)
    else:
        fields.update(source=source.name)
        fields.update(
            {"vocabulary": source.shape[-1]} if kind == "token_embedding" else {"patch": (1, source.shape[-1])}
        )
    fitting = len(source.shape) == 2 and source.shape[0] == population.shape[0]
    if (kind.endswith(("attention", "block")) and not bounded) or (kind.endswith("embedding") and not fitting):
        return []
    return [SYNAPSES[kind](**fields)]


def _maps(draw: st.DrawFn, population: ne.Population, others: Sequence[ne.Population]) -> list[Synapse]:
    """A convolution from another population of maps, or none where there is none."""
    sources = [p for p in others if p.name != population.name and len(p.shape) == 3]
    if len(population.shape) != 3 or not sources or draw(st.booleans()):
        return []
    source, pool = draw(st.sampled_from(sources)), draw(st.sampled_from([None, "average", "max"]))
    # The kernel is as large as makes the maps fit, and so is the edge where they would be too small.
    wanted = [side * (1 if pool is None else 2) for side in population.shape[1:]]
    edge = max(0, *(-(-(side - have) // 2) for side, have in zip(wanted, source.shape[1:], strict=True)))
    tall, wide = (have + 2 * edge - side + 1 for side, have in zip(wanted, source.shape[1:], strict=True))
    return [
        ne.synapses.Convolution(
            name=f"{population.name}_maps",
            source=source.name,
            target=population.name,
            kernel=(tall, wide),
            padding=edge,
            pool=pool,
        )
    ]


@pytest.fixture(scope="session")
def networks() -> st.SearchStrategy[ne.Network]:
    """A strategy that draws valid networks."""
    return _networks(SYNAPSES, ACTIVATIONS)


def _continuous(spec: ne.Network) -> ne.Network:
    """Averages instead of maxima over free populations: those drive what they are taken of by jumps, which no norm
    bounds."""
    free = {p.name for p in spec.free}

    def continuous(synapse: Synapse) -> Synapse:
        jumps = getattr(synapse, "pool", None) == "max" and not free.isdisjoint(synapse.sources)
        return synapse.model_copy(update={"pool": "average"}) if jumps else synapse

    return spec.model_copy(update={"synapses": tuple(continuous(synapse) for synapse in spec.synapses)})


@pytest.fixture(scope="session")
def contractible(networks: st.SearchStrategy[ne.Network]) -> st.SearchStrategy[ne.Network]:
    """A strategy that draws valid networks that have one fixed point with the parameters of :func:`contracting`."""
    return networks.map(_continuous)


@pytest.fixture(scope="session")
def networks_of() -> Callable[..., st.SearchStrategy[ne.Network]]:
    """``networks_of(synapse_kinds, activation_kinds)``: a strategy that keeps to these; None allows all."""

    def strategy(
        synapse_kinds: Collection[str] | None, activation_kinds: Collection[str] | None
    ) -> st.SearchStrategy[ne.Network]:
        return _networks(synapse_kinds or SYNAPSES, activation_kinds or ACTIVATIONS)

    return strategy


RATE = 0.64
"""What a step may leave of an error at α = 0.9 and the joint norm 0.6, with which many tests count steps."""


def norms(
    synapse: Synapse, theta: dict[str, np.ndarray], spec: ne.Network, reach: dict[str, Reach]
) -> dict[tuple[str, str], float]:
    """``{(post, pre): bound}`` of ``‖∂drive_post/∂a_pre‖₂`` over the activities that a free population can have."""
    if synapse.kind in (*TOKEN_KINDS, "convolution"):
        # Bounds that the mathematics' own tests hold to dense matrices.
        return synapse.response_bound_within(theta, reach)
    if isinstance(synapse, (ne.Dense, ne.DirectedDense)):
        size = float(np.linalg.norm(theta["weight"], 2))
        onto = {(synapse.target, synapse.source): size}
        return onto if isinstance(synapse, ne.DirectedDense) else {**onto, (synapse.source, synapse.target): size}
    if isinstance(synapse, ne.synapses.GatedDense):
        # D = diag(g) W + diag((W a) g (1 − g)) W_g with g < 1, g (1 − g) ≤ ¼ and |W a| ≤ ‖W‖₂ √n for |a| ≤ 1.
        size, gate = (float(np.linalg.norm(theta[name], 2)) for name in ("weight", "gate_weight"))
        reach = np.sqrt(spec.population(synapse.source).size)
        return {(synapse.target, synapse.source): size * (1.0 + 0.25 * reach * gate)}
    if isinstance(synapse, ne.synapses.HopfieldMemory):
        xi = theta["patterns"]
        furthest = max(float(np.sum((one - other) ** 2)) for one in xi for other in xi)
        return {(synapse.target, synapse.target): 0.25 * synapse.gamma * synapse.inverse_temperature * furthest}
    if isinstance(synapse, ne.synapses.History):
        # What is k steps old was larger by RATE^−k: a delay costs as much as a larger coupling.
        late = sum(w * RATE**-k for k, w in enumerate(synapse.weights))
        return {(synapse.target, synapse.target): abs(synapse.coupling) * late}
    return {}


def reaches(spec: ne.Network, parameters: dict[str, np.ndarray]) -> dict[str, Reach]:
    """How far activities can go: of the free populations and of those that are drawn."""
    found = {}
    for p in spec.free:
        own = {name: parameters[f"{p.name}.{name}"] for name in p.activation.parameter_shapes(p.shape)}
        found[p.name] = Reach(p.size // p.shape[-1], p.activation.row_sup(own, p.shape))
    for p in spec.clamped:
        if p.drawn is not None:
            found[p.name] = Reach(p.size // p.shape[-1], p.drawn.largest * float(np.sqrt(p.shape[-1])))
    return found


def scalable(synapse: Synapse, own: dict[str, str], drawn: dict[str, np.ndarray]) -> list[str]:
    """The parameters to which a synapse's norm is at most proportional; all of its matrices are given norm one."""
    matrices = [own[name] for name in ("patterns", "weight", "query", "key", "gate_weight") if name in own]
    scaled = [name for name in matrices if name != own.get("gate_weight")]
    if isinstance(synapse, ne.synapses.TransformerBlock):
        matrices = [own[name] for name in ("query", "key", "value", "output", "up", "down")]
        scaled = [own["gamma"]]
    for name in matrices:
        drawn[name] /= np.linalg.norm(drawn[name].reshape(len(drawn[name]), -1), 2)
    return scaled


def contracting(spec: ne.Network, seed: int, norm: float = 0.6) -> dict[str, np.ndarray]:
    """Random parameters with which the network contracts, as numbers that float32 holds exactly.

    The budget is joint: with ``N_ij`` the sum of the norms of the synapses from the free population j onto i, times
    ``sup‖ρ'_j‖``, the linear response has ``‖Dρ'‖₂ ≤ ‖N‖₂``, and all weights between free populations are scaled so
    that this is at most ``norm``.  What comes from data and what leaves through the readout has norm 1.  The gains
    of layer norms are between ½ and 1, and gates on steps are open to 98 % or more.
    """
    rng = np.random.default_rng([seed, 7])
    free = {p.name: i for i, p in enumerate(spec.free)}
    drawn = spec.project({name: rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
    for p in spec.free:
        if p.activation.kind == "layer_norm":
            drawn[f"{p.name}.gamma"] = np.array(rng.uniform(0.5, 1.0))
    slopes = [
        p.activation.slope_sup({name: drawn[f"{p.name}.{name}"] for name in p.activation.parameter_shapes(p.shape)})
        for p in spec.free
    ]
    reach = reaches(spec, drawn)
    fixed, scaled = np.zeros((len(free), len(free))), np.zeros((len(free), len(free)))
    inside: list[str] = []
    for synapse in spec.synapses:
        own = {name: f"{synapse.name}.{name}" for name in synapse.parameter_shapes(spec.shapes)}
        matrices = scalable(synapse, own, drawn)
        moving = {*synapse.sources} - {*synapse.data}
        between = bool(moving) and free.keys() >= moving and not free.keys().isdisjoint(synapse.driven)
        if isinstance(synapse, ne.synapses.StepGate):
            # |b + W a| ≥ 6 − ½ − ½·√12, as what gates listen to has at most 12 units of order one.
            drawn[own["weight"]] *= 0.5
            drawn[own["bias"]] = 6.0 + rng.uniform(-0.5, 0.5, drawn[own["bias"]].shape)
        elif between:
            inside += matrices
            for name in matrices:
                drawn[name] *= rng.uniform(0.2, 1.0)
        for (post, pre), size in norms(synapse, {name: drawn[key] for name, key in own.items()}, spec, reach).items():
            if post in free and pre in free:
                budget = scaled if inside[-len(matrices) :] == matrices and matrices else fixed
                budget[free[post], free[pre]] += size * slopes[free[pre]]
    # Each norm is at most proportional to the matrices that are scaled: linear for most, quadratic for a memory.
    factor = min(1.0, (norm - np.linalg.norm(fixed, 2)) / max(float(np.linalg.norm(scaled, 2)), 1e-300))
    assert factor > 0, "what cannot be scaled exceeds the budget"
    for matrix in inside:
        drawn[matrix] *= factor
    if spec.cost is not None and f"{spec.cost.name}.weight" in drawn:
        drawn[f"{spec.cost.name}.weight"] /= np.linalg.norm(drawn[f"{spec.cost.name}.weight"], 2)
        if spec.cost.kind == "token_cross_entropy":
            # A mean of n tokens has the norm 1/√n.
            drawn[f"{spec.cost.name}.weight"] *= np.sqrt(spec.shapes[spec.cost.population][0])
    return {name: np.float64(np.float32(value)) for name, value in drawn.items()}


@pytest.fixture(scope="session", name="reaches")
def _reaches() -> Callable[..., dict[str, Reach]]:
    """``reaches(spec, parameters)``: how far activities can go."""
    return reaches


@pytest.fixture(scope="session", name="contracting")
def _contracting() -> Callable[..., dict[str, np.ndarray]]:
    """``contracting(spec, seed, norm)``: parameters with which the network contracts."""
    return contracting


class Samples:
    """Data for a network: inputs, targets and start states that float32 holds exactly."""

    def __init__(self, spec: ne.Network, batch: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 11])

        def numbers(*shape: int) -> np.ndarray:
            return np.float64(np.float32(rng.normal(size=shape)))

        self.x = {p.name: numbers(batch, *p.shape) for p in spec.given}
        drawn = [(p.name, p.shape, p.drawn) for p in spec.clamped if p.drawn is not None]
        self.x.update({name: draw.sample((batch, *shape), rng) for name, shape, draw in drawn})
        for synapse in spec.synapses:
            if isinstance(synapse, ne.synapses.TokenEmbedding) and len(spec.shapes[synapse.source]) == 1:
                ids = rng.integers(0, synapse.vocabulary, size=(batch, *spec.shapes[synapse.source]))
                ids[:, 0] = np.maximum(ids[:, 0], 1)  # 0 may be padding, and a sample without any token is refused
                self.x[synapse.source] = ids.astype(float)
        self.start = {p.name: numbers(batch, *p.shape) for p in spec.free}
        self.y = np.zeros((batch, 0))
        if spec.cost is not None:
            outputs = spec.cost.outputs(spec.shapes)
            one_hot = np.eye(outputs)[rng.integers(outputs, size=batch)]
            self.y = one_hot if isinstance(spec.cost, Readout) else numbers(batch, outputs)

    def take(self, rows: Any) -> Samples:
        """Some of the samples."""
        part = object.__new__(Samples)
        part.x = {name: value[rows] for name, value in self.x.items()}
        part.start = {name: value[rows] for name, value in self.start.items()}
        part.y = self.y[rows]
        return part


@pytest.fixture(scope="session")
def samples() -> type[Samples]:
    """``samples(spec, batch, seed)``: data for a network."""
    return Samples
