r"""What a dense synapse learns from two phases, as one product.

    contrast    −(a_post⁺ ⊗ a_pre⁺ − a_post⁻ ⊗ a_pre⁻) / width

The two terms stand beside each other as one longer batch.  Where an end is data, which is the same in both phases, the
difference of the other end is taken first: that halves the work, and loses less to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_eq.arrays import Activities
from neuro_eq.spec import Network
from neuro_eq.synapses import Dense


def contrasts(spec: Network, above: Activities, below: Activities, width: float) -> dict[str, Tensor]:
    """``[∂e/∂W(above) − ∂e/∂W(below)]/width`` by dense synapse, mean over the batch."""
    clamped = {p.name for p in spec.clamped}
    found: dict[str, Tensor] = {}
    for synapse in spec.synapses:
        if type(synapse) is not Dense:  # a subclass may have another energy
            continue
        post, pre = synapse.target, synapse.source
        upper, lower = above[post].flatten(1), below[post].flatten(1)
        ahead, behind = above[pre].flatten(1), below[pre].flatten(1)
        scale = (0.5 if synapse.on_itself else 1.0) / (width * upper.shape[0])
        if pre in clamped:
            weight = ((lower - upper) * scale).T @ ahead
        elif post in clamped:
            weight = upper.T @ ((behind - ahead) * scale)
        else:
            weight = torch.cat([upper * -scale, lower * scale]).T @ torch.cat([ahead, behind])
        found[synapse.name] = weight
    return found
