"""The engines under test.  No test imports a simulator: a fixture hands it one, so every engine runs one suite."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq import comparison
from neuro_eq.abilities import Ability, Agreement
from neuro_eq.backend import backend as announced
from neuro_eq.engine import Engine
from neuro_eq.relaxing import Settling, Task

CASES = (
    ("reference", "float64"),
    ("numba", "float64"),
    ("numba", "float32"),
    ("torch", "float64"),
    ("torch", "float32"),
    ("lava", "float64"),
)
"""Every engine in every precision it has; a test holds this list to what the engines say."""

DEVICE = os.environ.get("NEURO_EQ_TEST_DEVICE", "cpu")
"""Where torch's tensors live while the suite runs: on a GPU, ``NEURO_EQ_TEST_DEVICE=cuda pytest tests -k torch``."""

STARTED = 3
"""Engines that hold a child process and are kept for the next test; starting one takes half a second."""


class Backend:
    """One engine in one precision, and how closely it has to agree with the oracle."""

    def __init__(self, name: str, dtype: str) -> None:
        self.name, self.dtype = name, dtype
        self.engine: type[Engine] = announced(name).load()
        self.agreement: Agreement = self.engine.agreement[dtype]
        self.epsilon = float(np.finfo(dtype).eps)
        self._kept: OrderedDict[ne.Network, Engine] = OrderedDict()

    def __repr__(self) -> str:
        return f"{self.name}-{self.dtype}"

    def can(self, *needs: Ability) -> bool:
        """Whether the engine's own ledger says that it has these abilities."""
        return not any(need in self.engine.lacks for need in needs)

    def supports(self, spec: ne.Network) -> bool:
        """Whether the engine's own ledger says that it runs this network."""
        return not self.refusal(spec)

    def refusal(self, spec: ne.Network) -> str:
        """What the engine's own ledger says against this network; nothing where it runs it."""
        try:
            self.engine.refuse_what_it_cannot_run(spec, self.dtype)
        except ne.BackendError as error:
            return str(error)
        return ""

    def compile(self, spec: ne.Network, parameters: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> Engine:
        """The network on this engine; tests share an engine, so parameters are set each time.

        A network that the engine's ledger refuses is skipped, with the ledger's sentence.
        """
        if not self.supports(spec):
            pytest.skip(self.refusal(spec))
        net = self._kept.pop(spec, None)
        if net is None:
            options = {"device": DEVICE} if self.name == "torch" else {}
            net = ne.compile(spec, backend=self.name, dtype=self.dtype, seed=seed, **options)
        self._kept[spec] = net
        while len(self._kept) > STARTED:
            self._kept.popitem(last=False)[1].close()
        net.set_parameters(spec.initial_parameters(seed) if parameters is None else parameters)
        return net

    def close(self) -> None:
        """End what the kept engines hold."""
        while self._kept:
            self._kept.popitem()[1].close()


@pytest.fixture(scope="session", params=CASES, ids=["-".join(case) for case in CASES])
def backend(request: pytest.FixtureRequest, need: Callable[[str], None]) -> Iterator[Backend]:
    """Every engine in every precision; one that cannot run here is skipped with the reason."""
    name, dtype = request.param
    need(name)
    with closing(Backend(name, dtype)) as case:
        yield case


@pytest.fixture(scope="session")
def cases() -> tuple[tuple[str, str], ...]:
    """Every engine in every precision, by name."""
    return CASES


@pytest.fixture(scope="session")
def open_backend() -> type[Backend]:
    """``open_backend(name, dtype)``: one engine in one precision; close it."""
    return Backend


@pytest.fixture(scope="session")
def oracle() -> Callable[..., Engine]:
    """``oracle(spec, parameters)``: the reference engine."""

    def compile_reference(spec: ne.Network, parameters: Mapping[str, np.ndarray] | None = None) -> Engine:
        net = ne.compile(spec, backend="reference")
        if parameters is not None:
            net.set_parameters(parameters)
        return net

    return compile_reference


# -- named networks -------------------------------------------------------------------------------------------------


def _mixed(*, symmetric: bool) -> ne.Network:
    """Every activation, every synapse, two inputs, populations of two axes, biases on some."""
    populations = [
        ne.Population(name="image", shape=(2, 3), clamped=True),
        ne.Population(name="context", shape=2, clamped=True),
        ne.Population(name="map", shape=(2, 3), activation="softmax"),
        ne.Population(name="smooth", shape=4, activation="sigmoid"),
        ne.Population(name="kinked", shape=3, activation="hard_sigmoid"),
        ne.Population(name="half", shape=(3, 1), activation="relu"),
        ne.Population(name="recurrent", shape=4, activation="tanh"),
        ne.Population(name="answer", shape=(2, 1)),
    ]
    synapses = [
        ne.Dense(source="image", target="map"),
        ne.Dense(source="smooth", target="context"),
        ne.Dense(source="image", target="recurrent"),
        ne.Dense(source="map", target="smooth"),
        ne.Dense(source="kinked", target="smooth"),
        ne.Dense(source="half", target="kinked"),
        ne.Dense(source="recurrent", target="recurrent"),
        ne.Dense(source="map", target="map"),
        ne.Dense(source="recurrent", target="answer"),
        ne.Dense(source="map", target="answer", name="skip"),
        ne.synapses.Bias(target="map"),
        ne.synapses.Bias(target="half"),
        ne.synapses.Bias(target="kinked"),
    ]
    if not symmetric:
        synapses += [
            ne.DirectedDense(source="context", target="half", name="entry"),
            ne.DirectedDense(source="answer", target="map", name="feedback"),
            ne.DirectedDense(source="recurrent", target="recurrent", name="loop"),
            ne.DirectedDense(source="smooth", target="recurrent", name="one_way"),
            ne.DirectedDense(source="half", target="map", name="onto_tokens"),
        ]
    return ne.Network(
        populations=populations, synapses=synapses, cost={"kind": "squared_error", "population": "answer"}
    )


def _paced(*, symmetric: bool) -> ne.Network:
    """Layer norm on two tokens, a memory, histories and gates, beside what they may meet."""
    make = ne.synapses
    populations = [
        ne.Population(name="image", shape=(2, 3), clamped=True),
        ne.Population(name="tokens", shape=(2, 4), activation=ne.activations.LayerNorm(epsilon=0.25)),
        ne.Population(name="narrow", shape=3, activation="layer_norm"),
        ne.Population(name="loop", shape=4, activation="tanh"),
        ne.Population(name="answer", shape=2),
    ]
    synapses: list[make.Synapse] = [
        ne.Dense(source="image", target="tokens"),
        ne.Dense(source="image", target="loop"),
        ne.Dense(source="tokens", target="narrow"),
        ne.Dense(source="narrow", target="loop"),
        ne.Dense(source="loop", target="answer"),
        ne.Dense(source="tokens", target="answer", name="skip"),
        make.HopfieldMemory(target="tokens", patterns=5, inverse_temperature=2.0),
        make.HopfieldMemory(target="loop", patterns=3),
        make.History(target="loop", coupling=0.06, buffer_size=4, decay=0.7),
        make.History(target="tokens", coupling=-0.04, buffer_size=3),
        make.StepGate(source="loop", target="answer"),
        make.StepGate(source="image", target="tokens"),
        ne.synapses.Bias(target="narrow"),
    ]
    if not symmetric:
        synapses += [
            make.GatedDense(source="loop", target="tokens", name="onto_tokens"),
            make.GatedDense(source="loop", target="loop", name="onto_itself"),
            make.GatedDense(source="image", target="narrow", name="entry"),
            ne.DirectedDense(source="tokens", target="answer", name="one_way"),
        ]
    return ne.Network(
        populations=populations, synapses=synapses, cost={"kind": "squared_error", "population": "answer"}
    )


NETWORKS: dict[str, Callable[[], ne.Network]] = {
    "hopfield": lambda: ne.models.layered_hopfield([5, 6, 4, 3], activation="tanh"),
    "hopfield-readout": lambda: ne.models.layered_hopfield([5, 6, 4, 3], "sigmoid", cost="cross_entropy", bias=False),
    "looped": lambda: ne.models.looped_mlp(4, 6, 3),
    "looped-directed": lambda: ne.models.looped_mlp(4, 6, 3, symmetric=False),
    "looped-directed-output": lambda: ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error", bias=False),
    "mixed": lambda: _mixed(symmetric=True),
    "mixed-directed": lambda: _mixed(symmetric=False),
    "toroidal": lambda: ne.models.toroidal_mlp(4, 6, 3, coupling=0.08),
    "toroidal-directed": lambda: ne.models.toroidal_mlp(4, 6, 3, symmetric=False, coupling=-0.08, buffer_size=3),
    "modern-hopfield": lambda: ne.models.modern_hopfield_mlp(4, 6, 3),
    "gated-step": lambda: ne.models.gated_mlp(4, 6, 3),
    "gated-drive": lambda: ne.models.gated_mlp(4, 6, 3, gate="drive"),
    "energy-transformer": lambda: ne.models.energy_transformer(
        (2, 4), 3, patch=2, width=3, heads=3, patterns=5, memory="softplus"
    ),
    "energy-transformer-words": lambda: ne.models.energy_transformer(
        (2,), 3, vocabulary=5, depth=2, width=2, heads=2, patterns=3, attention="linear", tied_pairs=True
    ),
    "looped-transformer": lambda: ne.models.looped_transformer(
        (2, 4), 2, patch=2, width=4, heads=2, hidden=3, attention="softmax", feed_forward="gelu"
    ),
    "looped-transformer-words": lambda: ne.models.looped_transformer(
        (3,), 2, vocabulary=5, depth=2, width=4, heads=2, hidden=3, dropout=0.5
    ),
    "looped-transformer-symmetric": lambda: ne.models.looped_transformer(
        (2, 4), 3, patch=2, depth=2, width=3, heads=1, hidden=3, attention="softmax", symmetric=True
    ),
    "conv-hopfield": lambda: ne.models.conv_hopfield(
        (4, 4), 3, channels=(2, 3), pool="average", activation="tanh", cost="cross_entropy"
    ),
    "conv-hopfield-max": lambda: ne.models.conv_hopfield(
        (2, 4, 4), 2, channels=(2, 2, 3), skips=True, cost="cross_entropy"
    ),
    "paced": lambda: _paced(symmetric=True),
    "paced-directed": lambda: _paced(symmetric=False),
}
SYMMETRIC = [name for name, make in NETWORKS.items() if not make().asymmetric]
DIRECTED = [name for name in NETWORKS if name not in SYMMETRIC]


@pytest.fixture(scope="session")
def named() -> Callable[[str], ne.Network]:
    """``named("hopfield")``: one of the named networks."""
    return lambda name: NETWORKS[name]()


@pytest.fixture(scope="session", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> ne.Network:
    """Every named network."""
    return NETWORKS[request.param]()


@pytest.fixture(scope="session", params=SYMMETRIC)
def symmetric_network(request: pytest.FixtureRequest) -> ne.Network:
    """The named networks that have an energy."""
    return NETWORKS[request.param]()


@pytest.fixture(scope="session", params=DIRECTED)
def directed_network(request: pytest.FixtureRequest) -> ne.Network:
    """The named networks with directed synapses."""
    return NETWORKS[request.param]()


# -- comparing ------------------------------------------------------------------------------------------------------


class Compare:
    """Comparisons of what engines answer, all in float64, by the rules that ``neuro_eq check`` uses."""

    numbers = staticmethod(comparison.numbers)
    joined = staticmethod(comparison.joined)
    cosine = staticmethod(comparison.cosine)
    relative = staticmethod(comparison.relative)

    def states(self, found: Any, net: Engine, wanted: Any, oracle: Engine, within: float) -> None:
        """Potentials and activities of two equilibria agree absolutely; residuals too, as they are sums of the same."""
        for field in ("states", "activities"):
            left, right = self.numbers(net, getattr(found, field)), self.numbers(oracle, getattr(wanted, field))
            assert left.keys() == right.keys()
            for name in right:
                np.testing.assert_allclose(left[name], right[name], rtol=0, atol=within, err_msg=f"{field} of {name}")
        # A residual is a difference of a drive and a potential, each known to `within`.
        np.testing.assert_allclose(found.residual, wanted.residual, rtol=0, atol=2 * within + 2 * within)

    def gradients(
        self,
        found: Mapping[str, Any],
        net: Engine,
        wanted: Mapping[str, Any],
        oracle: Engine,
        agreement: Agreement,
        beta: float | None = None,
    ) -> None:
        """Gradients agree, as a whole and in every parameter, and come in the spec's order and shapes."""
        left, right = self.numbers(net, found), self.numbers(oracle, wanted)
        assert list(left) == list(right) == list(net.spec.parameter_shapes)
        assert {name: value.shape for name, value in left.items()} == net.spec.parameter_shapes
        parts = comparison.gradient_discrepancies(left, right, agreement, beta)
        assert {part.place for part in parts} == {"", *right}
        beyond = [part for part in parts if not part.within]
        assert not beyond, beyond


@pytest.fixture(scope="session")
def compare() -> Compare:
    """Comparisons of what engines answer."""
    return Compare()


class Watch:
    """An observer that keeps a snapshot before the first step and after every step."""

    def __init__(self) -> None:
        self.snapshots: list[Any] = []
        self.settled_with: list[tuple[Any, ...]] = []

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: Any) -> None:
        self.snapshots.append(self._copy(net, settling.snapshot()))
        while True:
            finished = settling.advance(1)
            self.snapshots.append(self._copy(net, settling.snapshot()))
            if finished:
                return

    def settled(self, net: Engine, task: Task, found: tuple[Any, ...]) -> None:
        self.settled_with.append(found)

    @staticmethod
    def _copy(net: Engine, snapshot: Any) -> list[dict[str, np.ndarray]]:
        return [
            {name: np.array(net.to_numpy(value), dtype=np.float64) for name, value in states.items()}
            for states in snapshot.states
        ]


@pytest.fixture
def watch() -> Watch:
    """An observer that keeps every step's states."""
    return Watch()
