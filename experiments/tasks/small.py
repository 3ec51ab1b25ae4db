"""Three small tasks: one that is not linear, one to be learned by heart, one to be recalled from a damaged cue."""

from __future__ import annotations

import numpy as np

from neuro_eq.datasets import Data


def xor() -> Data:
    """The exclusive or of two signs: four samples, for training and test alike."""
    x = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0], np.int64)
    return Data("xor", x, y, x.copy(), y.copy(), classes=2)


def memorisation(samples: int = 32, features: int = 16, classes: int = 4, seed: int = 0) -> Data:
    """Random signs with random labels: there is nothing to be learned but the samples themselves.

    Training and test samples are the same ones.
    """
    rng = np.random.default_rng([seed, 101])
    x = _signs(rng, samples, features)
    y = (rng.permutation(samples) % classes).astype(np.int64)
    return Data("memorisation", x, y, x.copy(), y.copy(), classes=classes)


def attractor(
    patterns: int = 8, features: int = 32, flipped: float = 0.15, cues: int = 32, tests: int = 16, seed: int = 0
) -> Data:
    """Which of some random patterns is this a damaged copy of?  The cue stays clamped.

    Args:
        patterns: how many are stored; their numbers are the labels.
        features: signs of each.
        flipped: fraction of signs that a cue has wrong, the same number in each.
        cues, tests: damaged copies of each pattern for training, and others for the test.
    """
    rng = np.random.default_rng([seed, 102])
    stored = _signs(rng, patterns, features)
    wrong = round(flipped * features)

    def damaged(copies: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.repeat(np.arange(patterns, dtype=np.int64), copies)
        x = stored[y].copy()
        for row in x:
            row[rng.permutation(features)[:wrong]] *= -1.0
        return x, y

    x_train, y_train = damaged(cues)
    x_test, y_test = damaged(tests)
    # The first few are often looked at, and should be of several patterns.
    order = rng.permutation(len(y_test))
    x_test, y_test = x_test[order], y_test[order]
    return Data("attractor", x_train, y_train, x_test, y_test, classes=patterns)


def _signs(rng: np.random.Generator, rows: int, features: int) -> np.ndarray:
    """Rows of signs that differ from each other."""
    while True:
        drawn = rng.choice(np.array([-1.0, 1.0], np.float32), size=(rows, features))
        if len(np.unique(drawn, axis=0)) == rows:
            return drawn
