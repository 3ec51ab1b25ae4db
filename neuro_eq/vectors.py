"""The free populations as one float64 row per sample: how iterations of linear algebra see a network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from neuro_eq.arrays import Activities, Array
from neuro_eq.engine import Engine


class Vectors:
    """Between populations in an engine's arrays and rows ``(batch, free_units)``, in the spec's order."""

    def __init__(self, net: Engine) -> None:
        self.net = net
        self.shapes = {p.name: p.shape for p in net.spec.free}
        self.ends = np.cumsum([p.size for p in net.spec.free])[:-1]

    def join(self, values: Activities) -> Float64[np.ndarray, "batch units"]:
        """Populations to rows."""
        parts = [np.asarray(self.net.to_numpy(values[name]), dtype=np.float64) for name in self.shapes]
        return np.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=1)

    def split(self, rows: Float64[np.ndarray, "batch units"]) -> dict[str, Array]:
        """Rows to populations."""
        parts = np.split(rows, self.ends, axis=1)
        return {
            name: self.net.asarray(part.reshape(part.shape[0], *shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
