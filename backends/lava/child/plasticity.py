"""A connection of Lava's that learns, shown so many events."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from lava.magma.core.learning.constants import GradedSpikeCfg
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.magma.core.learning.random import ConnVarRandom
from lava.magma.core.model.py import connection
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense import models
from lava.proc.dense.process import LearningDense
from lava.utils.weightutils import truncate_weights

from .processes.learning import Events
from .runtime import GuardedRuntime

_FOREVER = 2**30
"""A time constant with which a trace stays as it is; with 0 Lava forgets it before the rule is evaluated."""


def _as_they_are(weights: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
    return weights


class LearningRuntime(GuardedRuntime):
    """A started connection.

    Parameters
    ----------
    rule
        "dw" and "dt" as Lava writes them.
    arrays
        "weights", "tags" (post, pre); "x" (events, pre) payloads, "y1", "y2" (events, post).
    seed
        of what traces are rounded by; variables are by a generator of the next seed.
    learned
        whether the weights are a learning connection's: then no bit of them is cut when this one is built.
    """

    def __init__(self, rule: dict[str, str], arrays: dict[str, np.ndarray], seed: int, learned: bool) -> None:
        self._events = len(arrays["x"])
        # Lava gives every connection's variables the same generator, so all its runs would round alike.
        connection.ConnVarRandom = partial(ConnVarRandom, seed_stochastic_rounding=seed + 1)
        models.truncate_weights = _as_they_are if learned else truncate_weights
        # Factors come from the postsynaptic neuron in every step, and the rule is evaluated in every step.
        how = Loihi3FLearningRule(**rule, x1_impulse=0, x1_tau=_FOREVER, t_epoch=1, rng_seed=seed)
        source = Events(x=arrays["x"], y1=arrays["y1"], y2=arrays["y2"])
        self._connection = LearningDense(
            weights=arrays["weights"], tag_1=arrays["tags"], learning_rule=how, num_message_bits=8,
            graded_spike_cfg=GradedSpikeCfg.OVERWRITE,
        )  # fmt: skip
        source.s_out.connect(self._connection.s_in)
        for name in ("bap", "y1", "y2", "y3"):
            getattr(source, f"{name}_out").connect(getattr(self._connection, f"s_in_{name}"))
        super().__init__(self._connection, Loihi2SimCfg(select_tag="fixed_pt"))

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Show all events; returns weights and tags, (post, pre)."""
        try:
            self._run(self._events)
            return np.array(self._connection.weights.get()), np.array(self._connection.tag_1.get())
        except BaseException as error:
            self._raise_for(error)
