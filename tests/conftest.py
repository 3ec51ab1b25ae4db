"""What every test shares: shapes in signatures checked while the tests run, random networks, and their data."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CHECK_SHAPES = "NEURO_EQ_CHECK_SHAPES"
"""Set to 1, this variable has every call checked against its signature; relaxations then take five times as long."""


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
            if file.name == "__init__.py" or "njit" in file.read_text(encoding="utf-8"):
                continue
            modules.append(".".join([package, *file.relative_to(root).with_suffix("").parts]))
    return modules


if os.environ.get(CHECK_SHAPES, "0") != "0":
    from jaxtyping import install_import_hook

    # The numeric tower of PEP 484, as the type checker has it: an int is a float.
    install_import_hook(checkable_modules(), "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import neuro_eq as ne
from neuro_eq.activations import ACTIVATIONS
from neuro_eq.backend import backend
from neuro_eq.synapses import Synapse

settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_configure(config: pytest.Config) -> None:
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
)


@st.composite
def _networks(draw: st.DrawFn) -> ne.Network:
    """Valid networks: 1–2 clamped and 1–4 free populations, any synapses between them, either cost."""
    clamped = [ne.Population(name=f"x{i}", shape=draw(SHAPES), clamped=True) for i in range(draw(st.integers(1, 2)))]
    free = [
        ne.Population(name=f"h{i}", shape=draw(SHAPES), activation=draw(st.sampled_from(sorted(ACTIVATIONS))))
        for i in range(draw(st.integers(1, 4)))
    ]
    synapses: list[Synapse] = []

    def connect(kind: str, source: str, target: str) -> None:
        make = ne.Dense if kind == "symmetric" else ne.DirectedDense
        synapses.append(make(name=f"s{len(synapses)}", source=source, target=target))

    for i, one in enumerate(free):
        for other in free[i:]:
            for kind in draw(st.sets(st.sampled_from(["symmetric", "directed", "reversed"]))):
                if kind == "reversed":
                    connect("directed", other.name, one.name)
                else:
                    connect(kind, one.name, other.name)
    for population in free:
        entry = draw(st.sampled_from(["none", "symmetric", "directed", "backwards"]))
        source = draw(st.sampled_from(clamped)).name
        if entry == "backwards":
            connect("symmetric", population.name, source)
        elif entry != "none":
            connect(entry, source, population.name)
        driven = any(population.name in synapse.driven for synapse in synapses)
        if not driven or draw(st.booleans()):
            synapses.append(ne.synapses.Bias(target=population.name))
    seen = draw(st.sampled_from(free)).name
    cost: Any = {"kind": "squared_error", "population": seen}
    if draw(st.booleans()):
        cost = {"kind": "cross_entropy", "population": seen, "classes": draw(st.integers(2, 4))}
    return ne.Network(populations=(*clamped, *free), synapses=tuple(synapses), cost=cost)


@pytest.fixture(scope="session")
def networks() -> st.SearchStrategy[ne.Network]:
    """A strategy that draws valid networks."""
    return _networks()


def contracting(spec: ne.Network, seed: int, norm: float = 0.6) -> dict[str, np.ndarray]:
    """Random parameters with which the network contracts, as numbers that float32 holds exactly.

    The budget is joint: with ``N_ij`` the sum of the spectral norms of the synapses from the free population j onto
    i, times ``sup‖ρ'_j‖``, the linear response has ``‖Dρ'‖₂ ≤ ‖N‖₂``, and all weights between free populations are
    scaled so that this is at most ``norm``.  What comes from data and what leaves through the readout has norm 1.
    """
    rng = np.random.default_rng([seed, 7])
    free = {p.name: i for i, p in enumerate(spec.free)}
    slopes = [p.activation.slope_bound for p in spec.free]
    drawn = {name: rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()}
    drawn = spec.project(drawn)
    budget = np.zeros((len(free), len(free)))
    inside: list[str] = []
    for synapse in spec.synapses:
        weight = f"{synapse.name}.weight"
        if weight not in drawn:
            continue
        drawn[weight] /= np.linalg.norm(drawn[weight], 2)
        if synapse.source in free and synapse.target in free:
            inside.append(weight)
            size = rng.uniform(0.2, 1.0)
            drawn[weight] *= size
            pre, post = free[synapse.source], free[synapse.target]
            budget[post, pre] += size * slopes[pre]
            if isinstance(synapse, ne.Dense) and pre != post:
                budget[pre, post] += size * slopes[post]
    total = np.linalg.norm(budget, 2)
    for weight in inside:
        drawn[weight] *= min(1.0, norm / total)
    if spec.cost is not None and f"{spec.cost.name}.weight" in drawn:
        drawn[f"{spec.cost.name}.weight"] /= np.linalg.norm(drawn[f"{spec.cost.name}.weight"], 2)
    return {name: np.float64(np.float32(value)) for name, value in drawn.items()}


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

        self.x = {p.name: numbers(batch, *p.shape) for p in spec.clamped}
        self.start = {p.name: numbers(batch, *p.shape) for p in spec.free}
        self.y = np.zeros((batch, 0))
        if spec.cost is not None:
            outputs = spec.cost.outputs(spec.shapes)
            one_hot = np.eye(outputs)[rng.integers(outputs, size=batch)]
            self.y = one_hot if spec.cost.kind == "cross_entropy" else numbers(batch, outputs)

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
