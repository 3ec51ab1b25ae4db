r"""Backpropagation through time with checkpoints (Chen et al., 2016): states are kept, steps are taken again.

Of T steps only every s-th state is kept; on the way back the s steps from each are taken a second time.  The memory
falls from T steps to ``T/s + s``, least at ``s = √T``, for one more forward pass.  The gradient is that of
:class:`~neuro_eq.methods.bptt.BPTT`, to the last bit where the engine repeats itself.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from neuro_eq.methods.bptt import BPTT


class CheckpointedBPTT(BPTT):
    """As BPTT.

    Args:
        steps: T.
        every: s; √T, rounded up, by default.
    """

    kind: Literal["checkpointed_bptt"] = "checkpointed_bptt"  # type: ignore[assignment]
    every: int | None = Field(default=None, ge=1)

    def __init__(self, steps: int = 30, every: int | None = None, **data: Any) -> None:
        super().__init__(**{"steps": steps, "every": every, **data})

    @property
    def kept_every(self) -> int:
        return self.every or math.isqrt(self.steps - 1) + 1
