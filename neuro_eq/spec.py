"""The network as pure data: populations, synapses, a cost.  Frozen, validated, and the same for every engine."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field, SerializeAsAny, field_serializer, field_validator, model_validator

from neuro_eq.activations import ACTIVATIONS, Activation, Identity
from neuro_eq.arrays import Shape
from neuro_eq.costs import COSTS, Cost
from neuro_eq.drawn import DRAWS, Draw
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.frozen import Frozen, parse_kind
from neuro_eq.synapses import SYNAPSES, SymmetricSynapse, Synapse

LARGEST = 2**31
"""Units of a population beyond which a number is a slip, not a network."""

MOST_AXES = 16
"""Axes of a population; NumPy has 32 for arrays of states, which have others besides."""

MOST_NUMBERS = 2**36
"""Numbers of one parameter, half a terabyte; NumPy does not count much further."""

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Population(Frozen):
    """Units with a membrane potential ``u`` and an activity ``a = ρ(u)``; a clamped one has ``a = data``.

    Args:
        name: letters, digits and underscores.
        shape: of one sample's state; a number stands for one axis.
        activation: ρ, or its name; a clamped population has none.
        clamped: whether its activity is data and does not settle.
    """

    name: str = Field(pattern=NAME)
    shape: tuple[int, ...]
    activation: SerializeAsAny[Activation] = Identity()
    clamped: bool = False
    drawn: SerializeAsAny[Draw] | None = None
    """Of a clamped population whose data nobody hands in: the distribution that they are drawn from."""

    @field_validator("shape", mode="before")
    @classmethod
    def _one_axis_may_be_a_number(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("shape")
    @classmethod
    def _shape_is_positive(cls, value: Shape) -> Shape:
        if not value or any(axis < 1 for axis in value):
            raise ValueError(f"every axis must be at least 1, found {list(value)}")
        if len(value) > MOST_AXES:
            raise ValueError(f"a population has at most {MOST_AXES} axes, found {len(value)}")
        if math.prod(value) > LARGEST:
            raise ValueError(f"a population has at most {LARGEST} units, found {list(value)}")
        return value

    @field_validator("activation", mode="before")
    @classmethod
    def _activation_by_name(cls, value: Any) -> Activation:
        try:
            return parse_kind(value, ACTIVATIONS, Activation, "activation")
        except SpecError as error:
            if error.place == "kind":  # the whole value may be the kind's name
                error = SpecError(error.problem)
            raise error.inside("activation") from None

    @field_validator("drawn", mode="before")
    @classmethod
    def _draw_by_name(cls, value: Any) -> Draw | None:
        if value is None:
            return None
        try:
            return parse_kind(value, DRAWS, Draw, "distribution")
        except SpecError as error:
            raise (SpecError(error.problem) if error.place == "kind" else error).inside("drawn") from None

    @field_serializer("activation", "drawn")
    def _to_name(self, value: Activation | Draw | None) -> str | dict[str, Any] | None:
        if value is None:
            return None
        fields = value.model_dump(exclude_none=True)
        return value.kind if set(fields) == {"kind"} else fields

    @model_validator(mode="after")
    def _data_has_no_activation(self) -> Population:
        if self.clamped and not isinstance(self.activation, Identity):
            raise SpecError(
                f"a clamped population takes its activity from the data, but found {self.activation.kind!r}",
                "activation",
            )
        if self.drawn is not None and not self.clamped:
            raise SpecError("only data are drawn; clamp the population", "drawn")
        return self

    @property
    def size(self) -> int:
        """Number of units."""
        return math.prod(self.shape)


class Network(Frozen):
    """A network: populations, the synapses between them, and the cost that training lowers.

    Args:
        format: version of the file format.
        name: what the network is called in tables and files.
        populations: at least one clamped and one free; a table may stand for each.
        synapses: at least one onto every free population; a table may stand for each.
        cost: what training lowers; None where nothing is trained.

    Raises:
        SpecError: one sentence with the place, as in
            ``synapses[2].target: no population "hiden1"; did you mean "hidden1"?``
    """

    format: Literal[1] = 1
    name: str = ""
    populations: tuple[Population, ...]
    synapses: tuple[SerializeAsAny[Synapse], ...]
    cost: SerializeAsAny[Cost] | None = None

    @field_validator("populations", mode="before")
    @classmethod
    def _parse_populations(cls, value: Any) -> tuple[Population, ...]:
        parsed: list[Population] = []
        for place, item in _items(value, "populations"):
            if isinstance(item, Population):
                parsed.append(item)
                continue
            if not isinstance(item, Mapping):
                raise SpecError(f"expected a table, found {type(item).__name__}", place)
            try:
                parsed.append(Population(**{str(key): entry for key, entry in item.items()}))
            except SpecError as error:
                raise error.inside(place) from None
        return tuple(parsed)

    @field_validator("synapses", mode="before")
    @classmethod
    def _parse_synapses(cls, value: Any) -> tuple[Synapse, ...]:
        parsed: list[Synapse] = []
        for place, item in _items(value, "synapses"):
            try:
                synapse = parse_kind(item, SYNAPSES, Synapse, "synapse")
            except SpecError as error:
                raise error.inside(place) from None
            parsed.append(synapse if synapse.name else synapse.model_copy(update={"name": synapse.default_name}))
        return tuple(parsed)

    @field_validator("cost", mode="before")
    @classmethod
    def _parse_cost(cls, value: Any) -> Cost | None:
        if value is None:
            return None
        try:
            cost = parse_kind(value, COSTS, Cost, "cost")
        except SpecError as error:
            raise error.inside("cost") from None
        return cost if cost.name else cost.model_copy(update={"name": cost.default_name})

    @model_validator(mode="after")
    def _everything_fits(self) -> Network:
        self._check_names()
        known = [population.name for population in self.populations]
        for i, synapse in enumerate(self.synapses):
            self._check_synapse(synapse, f"synapses[{i}]", known)
        for i, population in enumerate(self.populations):
            if not population.clamped and not any(population.name in synapse.driven for synapse in self.synapses):
                raise SpecError(f'no synapse drives "{population.name}"; connect it or clamp it', f"populations[{i}]")
        if not self.given:
            found = "every clamped population is drawn" if self.clamped else "no population is clamped"
            raise SpecError(f"{found}, so no data can enter; clamp one", "populations")
        if not self.free:
            raise SpecError("every population is clamped; at least one must be free to settle", "populations")
        if self.cost is not None:
            if self.cost.population not in known:
                raise _unknown_population(self.cost.population, known, "cost.population")
            if self.population(self.cost.population).clamped:
                raise SpecError(
                    f'"{self.cost.population}" is clamped, so no nudge can move it; name a free population',
                    "cost.population",
                )
            self._check_cost(self.cost, known)
        self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        places = {synapse.name: f"synapses[{i}]" for i, synapse in enumerate(self.synapses)}
        places |= {population.name: f"populations[{i}]" for i, population in enumerate(self.populations)}
        for name, shape in self.parameter_shapes.items():
            owner, _, own = name.partition(".")
            if math.prod(shape) > MOST_NUMBERS:
                problem = f"its {own} would have {math.prod(shape)} numbers, and at most {MOST_NUMBERS} are possible"
                raise SpecError(problem, places.get(owner, "cost"))

    def _check_cost(self, cost: Cost, known: list[str]) -> None:
        for field, population in cost.data_fields().items():
            if population not in known:
                raise _unknown_population(population, known, f"cost.{field}")
        self._check_data(cost.data, cost.data_fields(), "cost")
        problem = cost.shape_problem(self.shapes)
        if problem is not None:
            raise SpecError(problem, "cost")

    def _check_names(self) -> None:
        taken: dict[str, str] = {}
        named = [(f"populations[{i}].name", population.name) for i, population in enumerate(self.populations)]
        named += [(f"synapses[{i}].name", synapse.name) for i, synapse in enumerate(self.synapses)]
        if self.cost is not None:
            named.append(("cost.name", self.cost.name))
        for place, name in named:
            if name in taken:
                raise SpecError(f'the name "{name}" is taken by {taken[name]}; give it another', place)
            taken[name] = place

    def _check_synapse(self, synapse: Synapse, place: str, known: list[str]) -> None:
        for field, population in synapse.population_fields().items():
            if population not in known:
                raise _unknown_population(population, known, f"{place}.{field}")
        for population in synapse.populations:
            if population not in known:
                raise _unknown_population(population, known, place)
        self._check_data(synapse.data, synapse.population_fields(), place)
        if all(self.population(name).clamped for name in synapse.moved):
            raise SpecError(f'"{synapse.name}" drives only clamped populations, so it does nothing', place)
        problem = synapse.shape_problem(self.shapes)
        if problem is not None:
            raise SpecError(problem, place)

    def _check_data(self, data: tuple[str, ...], fields: Mapping[str, str], place: str) -> None:
        for field, population in fields.items():
            if population in data and not self.population(population).clamped:
                raise SpecError(f'"{population}" is free, but is read as data here; clamp it', f"{place}.{field}")

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    def population(self, name: str) -> Population:
        """The population of that name."""
        return self._by_name[name]

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Population name to shape."""
        return {population.name: population.shape for population in self.populations}

    @cached_property
    def free(self) -> tuple[Population, ...]:
        """The populations that settle, in the spec's order."""
        return tuple(population for population in self.populations if not population.clamped)

    @cached_property
    def clamped(self) -> tuple[Population, ...]:
        """The populations whose activity is data, in the spec's order."""
        return tuple(population for population in self.populations if population.clamped)

    @cached_property
    def given(self) -> tuple[Population, ...]:
        """The clamped populations whose data are handed in, in the spec's order; the others are drawn."""
        return tuple(population for population in self.clamped if population.drawn is None)

    @cached_property
    def free_units(self) -> int:
        """Number of units over all free populations: what a residual is averaged over."""
        return sum(population.size for population in self.free)

    @property
    def asymmetric(self) -> tuple[Synapse, ...]:
        """The synapses without an energy that read a free population: they make ``D ≠ Dᵀ``."""
        return tuple(
            synapse
            for synapse in self.without_energy
            if any(not self.population(name).clamped for name in synapse.sources)
        )

    @cached_property
    def without_energy(self) -> tuple[Synapse, ...]:
        """The directed synapses, also those that read data alone."""
        return tuple(synapse for synapse in self.synapses if not isinstance(synapse, SymmetricSynapse))

    @property
    def has_energy(self) -> bool:
        """Whether ``G`` exists: every synapse is symmetric."""
        return not self.without_energy

    @cached_property
    def parameter_shapes(self) -> dict[str, Shape]:
        """``"synapse.weight"`` to shape, in the spec's order, the cost's own parameters last."""
        shapes: dict[str, Shape] = {}
        for synapse in self.synapses:
            for name, shape in synapse.parameter_shapes(self.shapes).items():
                shapes[f"{synapse.name}.{name}"] = shape
        for population in self.free:
            for name, shape in population.activation.parameter_shapes(population.shape).items():
                shapes[f"{population.name}.{name}"] = shape
        if self.cost is not None:
            for name, shape in self.cost.parameter_shapes(self.shapes).items():
                shapes[f"{self.cost.name}.{name}"] = shape
        return shapes

    def initial_parameters(self, seed: int) -> dict[str, np.ndarray]:
        """Start values in float64, the same on every engine.

        Each owner draws from a stream of its own, keyed by the seed and its name: adding a synapse leaves the
        start values of the others as they were.
        """
        values: dict[str, np.ndarray] = {}

        def stream(owner: str) -> np.random.Generator:
            return np.random.default_rng([seed, zlib.crc32(owner.encode())])

        for synapse in self.synapses:
            for name, value in synapse.initial(self.shapes, stream(synapse.name)).items():
                values[f"{synapse.name}.{name}"] = value
        for population in self.free:
            for name, value in population.activation.initial(population.shape, stream(population.name)).items():
                values[f"{population.name}.{name}"] = value
        if self.cost is not None:
            for name, value in self.cost.initial(self.shapes, stream(self.cost.name)).items():
                values[f"{self.cost.name}.{name}"] = value
        return values

    def project(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The nearest admissible parameters: each synapse's and each activation's own projection."""
        projected = dict(parameters)
        for full, owner, names in self._owners:
            own = owner.project({name: parameters[f"{full}.{name}"] for name in names})
            projected.update({f"{full}.{name}": value for name, value in own.items()})
        return projected

    @cached_property
    def _owners(self) -> tuple[tuple[str, Synapse | Activation, tuple[str, ...]], ...]:
        """The names of synapses and of populations that have parameters, what owns them, and its own names of them."""
        owners: list[tuple[str, Synapse | Activation, tuple[str, ...]]] = [
            *((s.name, s, tuple(s.parameter_shapes(self.shapes))) for s in self.synapses),
            *((p.name, p.activation, tuple(p.activation.parameter_shapes(p.shape))) for p in self.free),
        ]
        return tuple(one for one in owners if one[2])


def _items(value: Any, field: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise SpecError(f"expected a list, found {type(value).__name__}", field)
    return [(f"{field}[{i}]", item) for i, item in enumerate(value)]


def _unknown_population(found: str, known: list[str], place: str) -> SpecError:
    return SpecError(f'no population "{found}"' + did_you_mean(found, known), place)
