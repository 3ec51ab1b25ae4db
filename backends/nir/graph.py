"""A network's free phase as a graph of the Neuromorphic Intermediate Representation (Pedersen et al., 2024).

A free population with ``ρ(u) = u`` is a leaky integrator, ``τ dv/dt = v_leak − v + R I`` with ``τ = R = 1`` and the
biases as ``v_leak``: that is ``du/dt = drive(u) − u``, whose fixed point and way there are the network's own.  A
symmetric synapse is two nodes, W and Wᵀ, as each end feels the other.  The representation has no other activation and
no product of activities, so such a network is refused rather than approximated; of nudges it knows nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neuro_eq import __version__
from neuro_eq.activations import Identity
from neuro_eq.atomic import replacing
from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.errors import SpecError
from neuro_eq.spec import Network
from neuro_eq.specfile import digest
from neuro_eq.synapses import Bias, Dense, DirectedDense, Synapse

OUTPUT = "output"
"""The answer's node, or the first part of its name where every free population is one."""


def refuse_what_has_no_node(spec: Network) -> None:
    """Raise when a part of the network is not in the representation.

    Raises:
        SpecError: names the first such part.
    """
    for population in spec.free:
        if type(population.activation) is not Identity:
            raise SpecError(
                f'NIR has no node for the activation "{population.activation.kind}"; a population is exact there with '
                'the activation "identity" alone',
                f"populations.{population.name}",
            )
    for population in spec.clamped:
        if population.drawn is not None:
            raise SpecError("NIR has no node for what is drawn anew for every batch", f"populations.{population.name}")
    for synapse in spec.synapses:
        # A subclass may drive otherwise.
        if type(synapse) not in (Dense, DirectedDense, Bias):
            known = "dense, directed_dense and bias"
            raise SpecError(f'NIR has no node for "{synapse.kind}"; exact are {known}', f"synapses.{synapse.name}")
    if spec.cost is not None and type(spec.cost) not in (SquaredError, CrossEntropy):
        raise SpecError(f'NIR has no node for what "{spec.cost.kind}" reads', "cost")


def to_graph(spec: Network, parameters: Mapping[str, Any]) -> nir.NIRGraph:
    """The network's free phase as a graph.

    Nodes are named after populations and parameters; the second node of a symmetric weight has ``.T`` behind its
    name.  Populations of several axes are one long row.  The answer of a readout is its logits.

    Args:
        parameters: by name, as an engine has them.

    Raises:
        SpecError: a part of the network is not in the representation.
    """
    refuse_what_has_no_node(spec)
    theta = {name: np.asarray(value) for name, value in parameters.items()}
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    for population in spec.populations:
        shape = np.array([population.size])
        if population.clamped:
            nodes[population.name] = nir.Input(input_type={"input": shape})
        else:
            one = np.ones(population.size)
            nodes[population.name] = nir.LI(tau=one, r=one.copy(), v_leak=_rest(spec, population.name, theta))
    for synapse in spec.synapses:
        for name, source, target, weight in _matrices(spec, synapse, theta):
            nodes[name] = nir.Linear(weight=weight)
            edges += [(source, name), (name, target)]
    _add_answer(spec, theta, nodes, edges)
    metadata = {"generator": f"neuro_eq {__version__}", "network": spec.name, "spec": digest(spec)}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def write_graph(graph: nir.NIRGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph as HDF5, as :func:`nir.read` reads it.

    Raises:
        FileError: it cannot be written; what was there before still is.
    """
    whole = io.BytesIO()  # HDF5 reads what it has written
    nir.write(whole, graph)
    with replacing(Path(path)) as file:
        file.write(whole.getvalue())


def _rest(spec: Network, population: str, theta: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where a population's potential goes when nothing arrives: the sum of its biases."""
    rest = np.zeros(spec.population(population).size)
    for synapse in spec.synapses:
        if isinstance(synapse, Bias) and synapse.target == population:
            rest += theta[f"{synapse.name}.bias"].ravel()
    return rest


def _matrices(
    spec: Network, synapse: Synapse, theta: Mapping[str, np.ndarray]
) -> list[tuple[str, str, str, np.ndarray]]:
    """Each direction in which a synapse drives a free population: name, source, target, matrix."""
    if not isinstance(synapse, (Dense, DirectedDense)):
        return []
    name, weight = f"{synapse.name}.weight", theta[f"{synapse.name}.weight"]
    found = [(name, synapse.source, synapse.target, weight)]
    if isinstance(synapse, Dense) and synapse.source != synapse.target:
        found.append((f"{name}.T", synapse.target, synapse.source, np.ascontiguousarray(weight.T)))
    return [part for part in found if not spec.population(part[2]).clamped]


def _add_answer(
    spec: Network, theta: Mapping[str, np.ndarray], nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]
) -> None:
    """The output of the cost's population, through the readout if there is one, or of every free population."""
    cost = spec.cost
    answers = {f"{OUTPUT}.{p.name}": p.name for p in spec.free} if cost is None else {OUTPUT: cost.population}
    if isinstance(cost, CrossEntropy):
        weight, bias = theta[f"{cost.name}.weight"], theta[f"{cost.name}.bias"]
        nodes[f"{cost.name}.weight"] = nir.Affine(weight=weight, bias=bias)
        edges.append((cost.population, f"{cost.name}.weight"))
        answers = {OUTPUT: f"{cost.name}.weight"}
    for name, source in answers.items():
        shape = nodes[source].output_type["output"]
        nodes[name] = nir.Output(output_type={"output": np.array(shape)})
        edges.append((source, name))
