"""The one shape of an experiment.

A question is answered by a table.  A row of the table is a :class:`Configuration`, run once for every seed; what a run
found is an :class:`Outcome`: numbers, which the table and the verdict are made of, and arrays, which figures may draw.
Everything here is data and pure functions; where results lie and who computes them is not an experiment's business.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from neuro_eq.compiler import compile as compile_network
from neuro_eq.engine import Engine
from neuro_eq.experiments.machinery.provenance import code_version
from neuro_eq.frozen import Frozen
from neuro_eq.spec import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuro_eq.experiments.machinery.results import Results

Scale = Literal["quick", "medium", "full"]
"""How much is run: for CI, under two minutes on two cores; at most ten minutes a run; as much as it takes."""

SCALES: tuple[Scale, ...] = get_args(Scale)


class Configuration(Frozen):
    """All that a run depends on but its seed: a row of the table.

    Args:
        backend: the engine's name.
        dtype: its precision.
        device: where the torch engine computes; the others have one.
    """

    backend: str = "reference"
    dtype: Literal["float64", "float32"] = "float64"
    device: str = "cpu"

    @property
    @abstractmethod
    def label(self) -> str:
        """A few words that tell this row from the others."""

    def compiled(self, spec: Network, seed: int) -> Engine:
        """The network on this row's engine, with one thread: rows are what runs side by side."""
        options: dict[str, Any] = {"threads": 1} if self.backend in ("numba", "torch") else {}
        if self.backend == "torch":
            options["device"] = self.device
        return compile_network(spec, self.backend, self.dtype, seed, **options)


@dataclass(frozen=True)
class Outcome:
    """What a run found.

    Attributes:
        numbers: what tables and verdicts are computed from; a number that does not exist is not a number (NaN).
        arrays: curves and the like, for figures.
        network: what was looked at, for the record.
    """

    numbers: Mapping[str, float]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    network: Network | None = None


class Standing(str, Enum):
    """What became of a claim."""

    HOLDS = "holds"
    PARTLY = "holds in part"
    FAILS = "does not hold"
    OPEN = "not decided"


@dataclass(frozen=True)
class Claim:
    """One claim, what earlier work said, and what was found.

    Attributes:
        says: the claim.
        prior: the earlier figure, or nothing.
        found: ours, with numbers.
        standing: computed from the numbers.
        why: what the records say about the reason.
    """

    says: str
    prior: str
    found: str
    standing: Standing
    why: str = ""


@dataclass(frozen=True)
class Criterion:
    """One of the programme's criteria for ending or turning; ``met`` is None where it was not looked at."""

    name: str
    met: bool | None
    found: str

    @property
    def state(self) -> str:
        """``met`` in words."""
        return {True: "met", False: "not met", None: "not looked at"}[self.met]


@dataclass(frozen=True)
class Verdict:
    """What the results say."""

    claims: tuple[Claim, ...]
    criteria: tuple[Criterion, ...] = ()

    def text(self) -> str:
        """The verdict in lines."""
        lines = []
        for claim in self.claims:
            lines.append(f"{claim.standing.value}: {claim.says}")
            if claim.prior:
                lines.append(f"    prior: {claim.prior}")
            lines.append(f"    found: {claim.found}")
            if claim.why:
                lines.append(f"    why:   {claim.why}")
        for criterion in self.criteria:
            lines.append(f"{criterion.name}: {criterion.state} ({criterion.found})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Column:
    """One number in the table: its name in the outcomes, a title, and how it is written.

    ``scale`` multiplies it, as 100 does for percent; ``form`` is a format such as ``".1f"``.
    """

    name: str
    title: str
    form: str = ".3g"
    scale: float = 1.0


@dataclass(frozen=True)
class Experiment:
    """A question and how it is answered.

    Attributes:
        name: what users write.
        number: of the question.
        question: in words.
        prior: what earlier work reported.
        bar: what counts as reached.
        configuration: the type of its rows.
        configurations: the rows at a scale.
        run: one row with one seed; the same arguments give the same numbers, times and bytes apart.
        figure: what the results look like.
        verdict: what they say; computed from the numbers and the ``curves`` alone.
        columns: of the table.
        seeds: how many seeds a scale has where the user does not say.
        alone: whether runs must not share the machine, as where time is measured.
        curves: arrays of one axis that are published with the numbers, as the verdict needs them.
        engines: that runs compute with besides the one of their configuration.
    """

    name: str
    number: int
    question: str
    prior: str
    bar: str
    configuration: type[Configuration]
    configurations: Callable[[Scale], Sequence[Any]]
    run: Callable[[Any, int], Outcome]
    figure: Callable[[Results], Figure]
    verdict: Callable[[Results], Verdict]
    columns: tuple[Column, ...]
    seeds: Mapping[Scale, int] = field(default_factory=lambda: {"quick": 1, "medium": 5, "full": 5})
    alone: bool = False
    curves: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()

    def code(self, backend: str) -> str:
        """The version of all that a run on this engine computes with."""
        return code_version(self.run, backend, *self.engines)
