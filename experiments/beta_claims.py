"""What the results of question 3 say: of the nudge's size, of settling, of the gradient's angle, and of the rules."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.experiments.machinery.experiment import Claim, Criterion, Verdict
from neuro_eq.experiments.machinery.judging import (
    all_of,
    gap,
    judged,
    judged_by_gaps,
    judged_each,
    judged_sides,
)
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.machinery.statistics import Correlation, spearman
from neuro_eq.experiments.training.lessons import TWINS
from neuro_eq.experiments.training.loop import TEST_ACCURACY

COLLAPSED = 0.1
"""A loss of accuracy from its best that counts as a collapse."""

OF_A_LAYER = (
    "the cost is felt at the output alone, so a layer's own β can only divide its contrast, which is a learning rate "
    "of its own; Adam takes that out"
)
"""Why no experiment has a nudge of each layer's own."""

UNSETTLED = "diagnostics/unsettled"
"""The curve of the share of the probe whose residual is above a hundredth of the nudge."""

FEWEST = 8
"""Runs that a rank correlation wants."""

GOES_WITH = {
    "diagnostics/L": (1.0, "the Lipschitz constant is large"),
    "diagnostics/residual over nudge, median": (1.0, "the phases are not settled"),
    "diagnostics/cosine": (-1.0, "the gradient is far from the true one"),
}
"""What an epoch's loss of accuracy is held against: a curve, on which side it is bad, and that side in words."""


Loss = tuple[str, Correlation | None, Correlation | None]
"""What a loss of accuracy is held against, in words, and how it goes with it by the earlier rule and corrected."""


def verdict(results: Results) -> Verdict:
    """The earlier claims on the earlier rule, then what the diagnostics say, then ours."""
    prior = _prior(results.where(rule="one-sided vector field", damping=0.8, lr=2e-3))
    corrected = _prior(results.where(rule="asymep"))
    if results.scale == "quick":
        prior, corrected = results.where(rule="one-sided vector field"), results.where(rule="asymep")
    losses = [
        (words, with_losses(prior, name, sign), with_losses(corrected, name, sign))
        for name, (sign, words) in GOES_WITH.items()
    ]
    claims = [
        _best(prior),
        _collapses(prior),
        _stable(prior, losses),
        _worse_below(prior),
        _worse_below(corrected, ours=True),
    ]
    claims += [_losses(*each) for each in losses]
    claims += [_why(prior), _corrected(prior, corrected), _settled(results), _noise(prior), _follows(results)]
    claims += _twins(results)
    claims.append(judged("a nudge of each layer's own does better", None, f"not run: {OF_A_LAYER}"))
    return Verdict(tuple(claims), (_criterion(results),))


def _prior(results: Results) -> Results:
    cells = tuple(c for c in results if str(c.configuration.network).startswith("prior"))
    return Results(results.experiment, results.scale, cells)


def _place(results: Results) -> str:
    """Of a claim about the earlier network on MNIST, where else it was put to the test."""
    there = list(dict.fromkeys((c.configuration.network, c.configuration.data) for c in results))
    if there == [("prior", "mnist")]:
        return ""
    return "".join(f" ({network}, on {data})" for network, data in there)


def fixed(results: Results) -> list[Cell]:
    """The rows whose nudge stays as it is, the smallest first."""
    return sorted(results.where(last_beta=None, follow=None), key=lambda cell: cell.configuration.beta)


def _all_of(cells: list[Cell], name: str = "accuracy", form: str = ".1f", scale: float = 100.0) -> str:
    return "; ".join(f"β = {c.configuration.beta:g}: {c.said(name, form, scale)}{_diverged([c])}" for c in cells)


def _diverged(cells: list[Cell]) -> str:
    """How many runs ended before their time, where there are such: their accuracy is of the network that they left."""
    count = int(sum(np.sum(cell.values("ended early") > 0.0) for cell in cells))
    return f", {count} diverged" if count else ""


def _best(prior: Results) -> Claim:
    says = f"β = 0.22 is the best fixed nudge for the one-sided vector field{_place(prior)}"
    cells = fixed(prior)
    if len(cells) < 3:
        return judged(says, None, f"only {len(cells)} nudges: {_all_of(cells)}", "β 0.22 best")
    at = next((c for c in cells if c.configuration.beta == 0.22), None)
    if at is None:
        return judged(says, None, _all_of(cells), "β 0.22 best")
    rival = max((c for c in cells if c is not at), key=lambda cell: cell.mean("accuracy"))
    found = gap(at, rival)
    why = (
        f"{number(100 * found.ahead, '.2f')} points ahead of β = {rival.configuration.beta:g}, standard deviations "
        f"{number(100 * found.noise, '.2f')}"
    )
    return judged(says, found.decided, _all_of(cells), "β 0.22 best", why)


def _falls(cells: list[Cell]) -> np.ndarray:
    """``(runs,)`` the largest loss of accuracy from the best epoch so far to a later one."""
    falls = []
    for run in (run for cell in cells for run in cell.runs):
        course = run.arrays.get(TEST_ACCURACY, np.zeros(0))
        on_the_way = float(np.max(np.maximum.accumulate(course) - course)) if len(course) else 0.0
        falls.append(max(on_the_way, run.numbers["fall from best"]))
    return np.array(falls)


def _fallen(cells: list[Cell]) -> np.ndarray:
    """``(runs,)`` whether a run fell far below its best epoch, or diverged."""
    return (_falls(cells) > COLLAPSED) | np.concatenate([cell.values("ended early") > 0.0 for cell in cells])


def _collapses(prior: Results) -> Claim:
    says = f"a nudge that falls from 0.3 to 0.2 makes training collapse{_place(prior)}"
    cell = prior.first(beta=0.3, last_beta=0.2)
    if cell is None:
        return judged(says, None, "not run", "collapses at 0.2 after epoch 13")
    fallen = _fallen([cell])
    found = (
        f"runs fall more than {100 * COLLAPSED:.0f} points below their best epoch; largest fall "
        f"{100 * _falls([cell]).max():.1f} points, at the end {cell.said('fall from best', '.1f', 100)}; accuracy "
        f"{cell.said('accuracy', '.1f', 100, ' %')}{_diverged([cell])}"
    )
    return judged_each(says, int(fallen.sum()), len(fallen), found, "collapses at 0.2 after epoch 13")


def _stable(prior: Results, losses: list[Loss]) -> Claim:
    says = f"fixed nudges from 0.20 to 0.26 are stable{_place(prior)}"
    cells = [c for c in fixed(prior) if 0.195 <= c.configuration.beta <= 0.265]
    if not cells:
        return judged(says, None, "not run", "all stable")
    falls, ends = _falls(cells), np.concatenate([c.values("fall from best") for c in cells])
    steady = int(np.sum(~_fallen(cells)))
    found = (
        f"runs never fall more than {100 * COLLAPSED:.0f} points below their best epoch; largest fall "
        f"{100 * falls.max():.1f} points, at the end {100 * ends.max():.1f}{_diverged(cells)}"
    )
    return judged_each(says, steady, len(falls), found, "all stable", _reason(losses) if steady < len(falls) else "")


def _reason(losses: list[Loss]) -> str:
    """What an epoch's loss of accuracy goes with most, of what was recorded when it began."""
    decided = [(found, words) for words, found, _ in losses if found is not None and found.rises]
    if not decided:
        return ""
    found, words = max(decided, key=lambda each: each[0].rho)
    return f"an epoch loses more where at its beginning {words}: {found}"


def _worse_below(results: Results, ours: bool = False) -> Claim:
    rule = "AsymEP" if ours else "the one-sided vector field"
    says = f"by {rule} a smaller nudge than 0.1 trains worse{_place(results)}"
    cells = fixed(results)
    low = [c for c in cells if c.configuration.beta < 0.1]
    high = [c for c in cells if 0.1 <= c.configuration.beta <= 0.3]
    prior = "β → 0 is worse in practice"
    if not low or not high:
        return judged(says, None, "not run", prior)
    best_low, best_high = (max(part, key=lambda cell: cell.mean("accuracy")) for part in (low, high))
    found = gap(best_high, best_low)
    return judged(
        says,
        found.decided,
        f"the best of them {number(100 * found.ahead, '.2f')} points behind, standard deviations "
        f"{number(100 * found.noise, '.2f')}: {_all_of(cells)}",
        prior,
    )


def _why(prior: Results) -> Claim:
    says = "accuracy follows the gradient's cosine with the true one"
    pairs = np.array([prior.values("cosine, last"), prior.values("accuracy")])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < FEWEST:
        return judged(says, None, f"only {pairs.shape[1]} runs")
    rho = spearman(pairs[0], pairs[1])
    found = f"{rho} over {pairs.shape[1]} runs; cosines "
    return judged(says, rho.rises, found + _all_of(fixed(prior), "cosine, last", ".3f", 1.0))


def _losses(words: str, found: Correlation | None, corrected: Correlation | None) -> Claim:
    says = f"an epoch of the one-sided vector field loses accuracy where at its beginning {words}"
    if found is None:
        return judged(says, None, f"fewer than {FEWEST} runs")
    parts = [f"one-sided vector field {found}", *([] if corrected is None else [f"AsymEP {corrected}"])]
    what = "with what an epoch loses, over the last two thirds of training"
    return judged(says, found.rises, f"{what}: {'; '.join(parts)}")


def with_losses(results: Results, name: str, sign: float) -> Correlation | None:
    """Of a curve with what accuracy loses in the epoch that follows; the epochs of a run are drawn together."""
    losses, values, runs = [], [], []
    for i, run in enumerate(run for cell in results for run in cell.runs):
        accuracy, curve = (run.arrays.get(each, np.zeros(0)) for each in (TEST_ACCURACY, name))
        # One that diverged was not looked at any more when it ended; one without curves tells nothing.
        if not len(curve) <= len(accuracy) <= len(curve) + 1:
            continue
        for epoch in range(1 + len(curve) // 3, len(accuracy)):
            if np.isfinite(curve[epoch - 1]):
                losses.append(accuracy[epoch - 1] - accuracy[epoch])
                values.append(sign * curve[epoch - 1])
                runs.append(i)
    if len(set(runs)) < FEWEST:
        return None
    return spearman(np.array(losses), np.array(values), groups=np.array(runs))


def _corrected(prior: Results, corrected: Results) -> Claim:
    says = "corrected for asymmetry (AsymEP) the same network trains better at the same nudge"
    gaps, rows = [], []
    for cell in fixed(prior):
        other = corrected.first(beta=cell.configuration.beta, last_beta=None, follow=None)
        if other is not None:
            gaps.append(gap(other, cell))
            parts = [
                f"{what} {number(scale * cell.mean(name), form)} to {number(scale * other.mean(name), form)}"
                for what, name, form, scale in (
                    ("cosine", "cosine, last", ".3f", 1.0),
                    ("unsettled (%)", "unsettled, last", ".0f", 100.0),
                )
            ]
            rows.append(
                f"β = {cell.configuration.beta:g}: {cell.said('accuracy', '.1f', 100)} to "
                f"{other.said('accuracy', '.1f', 100)}, {', '.join(parts)}"
            )
    return judged_by_gaps(says, gaps, "nudges, by more than the standard deviations; " + "; ".join(rows))


def _rules(results: Results) -> list[tuple[str, list[Cell]]]:
    """The rows of every rule that nudges, with its name; those that follow the cost's slope apart."""
    found: dict[str, list[Cell]] = {}
    for cell in (each for each in results if each.configuration.rule not in TWINS):
        word = cell.configuration.rule + ("" if cell.configuration.follow is None else ", following the slope")
        found.setdefault(word, []).append(cell)
    return list(found.items())


def _settled(results: Results) -> Claim:
    says = "phases are settled to a hundredth of the nudge, so what is measured is the rule and not the solver"
    sides: list[bool | None] = []
    parts = []
    for word, cells in _rules(results):
        courses = [run.arrays.get(UNSETTLED, np.zeros(0)) for cell in cells for run in cell.runs]
        worst = np.array([course.max(initial=-1.0) for course in courses])
        last = np.array([course[-1] if course.size else math.nan for course in courses])
        known = bool(np.all(np.isfinite(worst) & (worst >= 0.0)))
        sides.append(bool(np.all(worst <= 0.5)) if known else None)
        shares = [number(100.0 * float(np.median(each)), ".0f") if known else "–" for each in (worst, last)]
        parts.append(f"{word} {' and '.join(shares)} %")
    found = (
        "rules, for half of the probe at every look; of the probe are not settled, and have a nudge above rounding, at "
        "the worst look and at the last, medians over runs: "
    )
    return judged_sides(says, sides, found + "; ".join(parts))


def _noise(prior: Results) -> Claim:
    says = f"there is a best nudge between bias and noise{_place(prior)}"
    cells = fixed(prior)
    if len(cells) < 5:
        return judged(says, None, f"only {len(cells)} nudges")
    best = max(cells[1:-1], key=lambda cell: cell.mean("accuracy"))
    sides = [gap(best, edge).decided for edge in (cells[0], cells[-1])]
    # Both ends must be worse than what lies between them; one that is better refutes it.
    return judged(says, all_of(sides), f"best between the ends at β = {best.configuration.beta:g}: {_all_of(cells)}")


def _follows(results: Results) -> Claim:
    says = "a nudge that follows the cost's slope trains better than the fixed one that it begins with"
    gaps, rows = [], []
    for cell in results:
        begun = cell.configuration.model_copy(update={"follow": None})
        other = next((c for c in results if c.configuration == begun), None)
        if cell.configuration.follow is None or other is None:
            continue
        gaps.append(gap(cell, other))
        rows.append(
            f"{begun.label}: {other.said('accuracy', '.1f', 100)} to {cell.said('accuracy', '.1f', 100)}, "
            f"β at the end {cell.said('nudge, last', '.2f')}"
        )
    return judged_by_gaps(says, gaps, "pairs, by more than their standard deviations: " + "; ".join(rows))


def _twins(results: Results) -> list[Claim]:
    """Every rule at the nudge at which it does best, beside the twins of its network."""
    claims = []
    for network in results.choices("network"):
        rows = results.where(network=network)
        twins = [cell for cell in rows if cell.configuration.rule in TWINS]
        for rule in (each for each in rows.choices("rule") if each not in TWINS):
            says = f"{network}: by {rule} it learns within a point of its twins"
            how = {(twin.configuration.damping, twin.configuration.lr) for twin in twins}
            cells = [c for c in fixed(rows.where(rule=rule)) if (c.configuration.damping, c.configuration.lr) in how]
            if not cells:
                claims.append(judged(says, None, "not run"))
                continue
            best = max(cells, key=lambda cell: cell.mean("accuracy"))
            sides = [gap(best, twin).within(0.01) for twin in twins]
            parts = [
                f"{twin.configuration.rule} {twin.said('accuracy', '.1f', 100, ' %')}{_diverged([twin])}"
                for twin in twins
            ]
            found = (
                f"twins; {best.said('accuracy', '.1f', 100, ' %')}{_diverged([best])} at "
                f"β = {best.configuration.beta:g}, the best of "
            )
            claims.append(judged_sides(says, sides, f"{found}{len(cells)}; {'; '.join(parts)}"))
    return claims


PROGRAMME = 200
"""Steps in which the programme's criterion wants samples to converge."""


def _criterion(results: Results) -> Criterion:
    name = f"TERMINATE: more than half of the samples not converged in {PROGRAMME} steps"
    parts = []
    for word, cells in _rules(results):
        share = np.concatenate([c.values("not converged, last") for c in cells])
        parts.append(f"{word} {100 * float(share.mean()):.0f} %")
    if not parts:
        return Criterion(name, None, "not run")
    limits = sorted({c.configuration.steps for c in results})
    patient = limits[0] >= PROGRAMME
    share = np.concatenate([c.values("not converged, last") for _, cells in _rules(results) for c in cells])
    found = f"of the probe at the end, within {limits[-1]} steps at the nudge's tolerance: {', '.join(parts)}"
    known = patient and bool(np.isfinite(share).all())
    return Criterion(name, bool(share.mean() > 0.5) if known else None, found)
