"""Pages of the docs, from the published summaries: which earlier claims hold, and every table with its figure.

Nothing on them is typed.  What did not run is there, and says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from neuro_eq.experiments.machinery.catalogue import EXPERIMENTS, OPEN, find
from neuro_eq.experiments.machinery.experiment import SCALES, Experiment, Verdict
from neuro_eq.experiments.machinery.publication import Summary, load, size
from neuro_eq.experiments.machinery.report import columns_in
from neuro_eq.experiments.machinery.results import Results

NOT_RUN = "not run"
LATER = "later"
"""The section of the questions that have no experiment yet."""
AT_ONCE = 24
"""Rows of a table that are shown without being asked for."""
BRIEF = 130
"""Characters of what was found that the table of claims shows of several parts."""


def claims(folder: Path, experiments: Sequence[Experiment] | None = None) -> str:
    """One table: every claim that earlier work made, what it said, what was found, and whether it holds."""
    lines = [row("", "claim", "earlier", "found", "runs"), row(*["---"] * 5)]
    for experiment in _all(experiments):
        found = load(experiment, folder)
        if found is None:
            where = f"[{experiment.number}](experiments.md#{experiment.name})"
            lines.append(row(NOT_RUN, experiment.question, experiment.prior, "–", where))
            continue
        results, _ = found
        earlier = [claim for claim in experiment.verdict(results).claims if claim.prior]
        where = f"[{experiment.number}](experiments.md#{experiment.name}), {results.scale}, n = {results.seeds}"
        for claim in earlier:
            if claim.found != NOT_RUN:
                what = brief(claim.found) + (f" ({brief(claim.why)})" if claim.why else "")
                lines.append(row(f"**{claim.standing.value}**", claim.says, claim.prior, what, where))
        missing: dict[str, list[str]] = {}
        for claim in earlier:
            if claim.found == NOT_RUN:
                missing.setdefault(claim.prior, []).append(claim.says)
        lines += [row(NOT_RUN, "; ".join(says), prior, "–", where) for prior, says in missing.items()]
    if experiments is None:
        numbers = ", ".join(str(number) for number in OPEN)
        lines.append(row(NOT_RUN, f"[{len(OPEN)} more questions](experiments.md#{LATER})", "–", "–", numbers))
    return "\n".join(lines)


def brief(text: str) -> str:
    """As many of its parts as go into a line or so: a page of claims is one to look at, and the rest is on the next."""
    parts = text.split("; ")
    kept = 1
    while kept < len(parts) and len("; ".join(parts[: kept + 1])) <= BRIEF:
        kept += 1
    return "; ".join(parts[:kept]) + ("; …" if kept < len(parts) else "")


def experiments(folder: Path, known: Sequence[Experiment] | None = None, pictures: str = "results") -> str:
    """A section for each experiment: question, verdict, figure, table, and where the numbers come from."""
    sections = [_section(experiment, folder, pictures) for experiment in _all(known)]
    if known is None:
        questions = "\n".join(f"- {number}. {question}" for number, question in OPEN.items())
        sections.append(f"## Later {{#{LATER}}}\n\nNot run, and not yet written:\n\n{questions}")
    return "\n\n".join(sections)


def _all(known: Sequence[Experiment] | None) -> list[Experiment]:
    found = [find(name) for name in EXPERIMENTS] if known is None else list(known)
    return sorted(found, key=lambda experiment: experiment.number)


def _section(experiment: Experiment, folder: Path, pictures: str) -> str:
    head = [
        f"## {experiment.name} {{#{experiment.name}}}",
        f"**Question {experiment.number}.** {experiment.question}",
        f"*Earlier:* {cell(experiment.prior)}. *Asked for:* {cell(experiment.bar)}.",
    ]
    found = load(experiment, folder)
    if found is None:
        return "\n\n".join([*head, f"{NOT_RUN.capitalize()}."])
    results, kept = found
    return "\n\n".join(
        [
            *head,
            _verdict(experiment.verdict(results)),
            f"![The figure of {experiment.name}]({pictures}/{experiment.name}.png)",
            _folded(_table(results), len(list(results))),
            *_missing(results),
            _settings(results),
            _made(kept),
        ]
    )


def _verdict(verdict: Verdict) -> str:
    lines = [row("claim", "", "found"), row(*["---"] * 3)]
    for claim in verdict.claims:
        found = claim.found + (f" ({claim.why})" if claim.why else "")
        lines.append(row(claim.says, f"**{claim.standing.value}**", found))
    for criterion in verdict.criteria:
        lines.append(row(criterion.name, criterion.state, criterion.found))
    return "\n".join(lines)


def _table(results: Results) -> str:
    columns = columns_in(results)
    lines = [row("configuration", "n", *(column.title for column in columns))]
    lines.append(row("---", *["---:"] * (1 + len(columns))))
    for one in results:
        numbers = [one.shown(column) for column in columns]
        lines.append(row(one.configuration.label, str(len(one.runs)), *numbers))
    return "\n".join(lines)


def _folded(table: str, rows: int) -> str:
    """A long table behind a line that opens it."""
    if rows <= AT_ONCE:
        return table
    return f'??? note "All {rows} configurations"\n\n' + textwrap.indent(table, "    ")


def _missing(results: Results) -> list[str]:
    """What did not run is there, and says so: rows of this scale, and how many a larger one has besides."""
    parts = [f"{NOT_RUN.capitalize()}: {cell('; '.join(results.not_run))}."] if results.not_run else []
    ours = {each.model_dump_json() for each in results.planned}
    for scale in SCALES[size(results.scale) + 1 :]:
        more = [each for each in results.experiment.configurations(scale) if each.model_dump_json() not in ours]
        if more:
            words = f"{len(more)} configuration{'' if len(more) == 1 else 's'} of the scale {scale}"
            parts.append(f"{NOT_RUN.capitalize()}: {words}, as {cell(more[0].label)}.")
    return parts


def _settings(results: Results) -> str:
    shared, differ = results.settings()
    common = ", ".join(f"{name} = {value}" for name, value in shared.items())
    return f"Scale {results.scale}, {results.extent}: {cell(common)}. They differ in {', '.join(differ) or 'nothing'}."


def _made(kept: Summary) -> str:
    lines = []
    for made in kept.made:
        packages = ", ".join(f"{name} {version}" for name, version in made.packages.items())
        lines.append(
            f"Code `{made.code}`, {made.backend} {made.dtype} on {made.device} ({made.machine}), {packages}; "
            f"{made.seconds / 3600:.2f} hours of runs, the last on {made.date[:10]}."
        )
    return "\n\n".join(lines)


def row(*cells: str) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cell(text) for text in cells)} |"


def cell(text: str) -> str:
    """A text that does not end its cell, and is not taken for markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
