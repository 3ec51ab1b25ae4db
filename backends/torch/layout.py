"""All free populations as one matrix, a row for each sample in each phase: what is elementwise is one operation."""

from __future__ import annotations

import torch
from jaxtyping import Inexact
from torch import Tensor

from neuro_eq.arrays import Activities
from neuro_eq.spec import Network

States = Inexact[Tensor, "rows units"]


class Layout:
    """Between populations by name and a matrix of all their units, in the spec's order."""

    def __init__(self, spec: Network) -> None:
        self.names = [p.name for p in spec.free]
        self.sizes = [p.size for p in spec.free]
        self.shapes = {p.name: p.shape for p in spec.free if len(p.shape) > 1}

    def join(self, x: Activities) -> States:
        """Populations to a matrix; a copy where there is more than one."""
        parts = [x[name].flatten(1) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def part(self, x: States) -> dict[str, Tensor]:
        """A matrix to populations, which are views of it."""
        parts = [x] if len(self.sizes) == 1 else torch.split_with_sizes(x, self.sizes, dim=1)
        found = dict(zip(self.names, parts, strict=True))
        for name, shape in self.shapes.items():
            found[name] = found[name].view(-1, *shape)
        return found
