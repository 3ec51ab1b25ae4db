"""One HTML page with everything in it, to be sent and opened anywhere: nothing is fetched."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from neuro_eq.errors import BackendError
from neuro_eq.experiments.machinery.experiment import Column
from neuro_eq.experiments.machinery.publication import drawn, summary
from neuro_eq.experiments.machinery.results import Results, spread

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { --ink: #222; --muted: #6b6b6b; --line: #ddd; --tint: #f6f7f8; --good: #00704f; --bad: #b23c00; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 80rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
section + section { border-top: 3px solid var(--line); margin-top: 3rem; padding-top: 2rem; }
.question { font-size: 1.15rem; margin: .2rem 0 1rem; } .muted, caption { color: var(--muted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; background: var(--tint); }
td:first-child { min-width: 12rem; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.n { text-align: right; } caption { text-align: left; padding: .2rem 0 .5rem; }
.holds { color: var(--good); font-weight: 600; } .fails { color: var(--bad); font-weight: 600; }
.open { color: var(--muted); font-weight: 600; } .partly { color: #8a6100; font-weight: 600; }
img { max-width: 100%; height: auto; } details { margin-top: 1rem; } summary { cursor: pointer; }
@media print { details { display: none; } }
</style>
</head>
<body>
{% for part in parts %}
<section>
<h1>{{ part.name }}</h1>
<p class="muted">Question {{ part.number }} · scale {{ part.scale }} · {{ part.seeds }} ·
{{ part.extent }}</p>
<p class="question">{{ part.question }}</p>
<dl>
<dt>Prior</dt><dd>{{ part.prior }}</dd>
<dt>Ours</dt><dd>{{ part.bar }}</dd>
</dl>

<h2>Verdict</h2>
{% if part.scale == "quick" %}<p class="muted">A quick run shows that the experiment works.
Its networks are tiny and its runs short: what it says of the claims is no evidence.</p>{% endif %}
<div class="scroll"><table>
<tr><th>claim</th><th></th><th>prior</th><th>found</th></tr>
{% for claim in part.claims %}
<tr><td>{{ claim.says }}</td><td class="{{ claim.mark }}">{{ claim.standing }}</td><td>{{ claim.prior }}</td>
<td>{{ claim.found }}{% if claim.why %}<br><span class="muted">{{ claim.why }}</span>{% endif %}</td></tr>
{% endfor %}
</table></div>
{% if part.criteria %}
<div class="scroll"><table>
<tr><th>criterion</th><th></th><th>found</th></tr>
{% for one in part.criteria %}<tr><td>{{ one.name }}</td><td>{{ one.state }}</td><td>{{ one.found }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Figure</h2>
<img alt="figure of {{ part.name }}" src="data:image/png;base64,{{ part.figure }}">

<h2>Results</h2>
<div class="scroll"><table>
<caption>Mean ± standard deviation over n seeds; none is left out.</caption>
<tr><th>configuration</th><th class="n">n</th>
{% for column in part.columns %}<th class="n">{{ column }}</th>{% endfor %}</tr>
{% for row in part.rows %}
<tr><td>{{ row.label }}</td><td class="n">{{ row.n }}</td>
{% for cell in row.cells %}<td class="n">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% if part.not_run %}<p class="muted">Not run: {{ part.not_run }}.</p>{% endif %}

<h2>Configuration</h2>
<dl>{% for name, value in part.shared %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% if part.differ %}<p class="muted">The rows differ in {{ part.differ }}.</p>{% endif %}

<h2>Where it comes from</h2>
{% for made in part.made %}
<dl>{% for name, value in made %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% endfor %}
<details><summary>All numbers of all rows</summary>
{% for row in part.rows %}
<h3>{{ row.label }}</h3>
<dl>{% for name, value in row.all %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% endfor %}
</details>
</section>
{% endfor %}
</body>
</html>
"""

MARKS = {"holds": "holds", "holds in part": "partly", "does not hold": "fails", "not decided": "open"}


def page(tables: Sequence[Results]) -> str:
    """The page of all these results.

    Raises:
        BackendError: Jinja is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError:
        raise BackendError('a report needs Jinja: pip install "neuro_eq[experiments]"') from None
    parts = [_part(results) for results in tables]
    title = "neuro_eq: " + ", ".join(dict.fromkeys(part["name"] for part in parts))
    return Environment(autoescape=True).from_string(TEMPLATE).render(title=title, parts=parts)


def columns_in(results: Results) -> list[Column]:
    """The experiment's columns that some run has a number for."""
    return [column for column in results.experiment.columns if any(column.name in cell for cell in results)]


def _part(results: Results) -> dict[str, Any]:
    experiment, columns = results.experiment, columns_in(results)
    verdict = experiment.verdict(results)
    shared, differ = results.settings()
    rows = []
    for cell in results:
        names = dict.fromkeys(name for run in cell.runs for name in run.numbers)
        rows.append(
            {
                "label": cell.configuration.label,
                "n": len(cell.runs),
                "cells": [cell.shown(column) for column in columns],
                "all": [(name, spread(cell.values(name), ".4g")) for name in names],
            }
        )
    return {
        "name": experiment.name, "number": experiment.number, "scale": results.scale,
        "seeds": "1 seed" if results.seeds == "1" else f"{results.seeds} seeds",
        "extent": results.extent, "question": experiment.question, "prior": experiment.prior, "bar": experiment.bar,
        "claims": [{**vars(c), "standing": c.standing.value, "mark": MARKS[c.standing.value]} for c in verdict.claims],
        "criteria": [{"name": c.name, "state": c.state, "found": c.found} for c in verdict.criteria],
        "figure": base64.b64encode(drawn(results)).decode(),
        "columns": [column.title for column in columns],
        "rows": rows,
        "not_run": "; ".join(results.not_run),
        "shared": [(name, _plain(value)) for name, value in shared.items()],
        "differ": ", ".join(differ),
        "made": [_provenance(made.model_dump()) for made in summary(results).made],
    }  # fmt: skip


def _provenance(made: dict[str, Any]) -> list[tuple[str, str]]:
    packages = ", ".join(f"{name} {version}" for name, version in made.pop("packages").items())
    made["seconds"] = f"{made['seconds']:.0f} of all runs together"
    named = [(name, str(value)) for name, value in made.items() if value not in ("", None)]
    return [*named, ("packages", packages)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
