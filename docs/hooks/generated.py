"""What a page shows of the program comes from the program: ``<!-- generated: NAME -->`` is replaced at build."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.exceptions import PluginError

from neuro_eq.abilities import Ability
from neuro_eq.activations import ACTIVATIONS
from neuro_eq.backend import backends
from neuro_eq.cli.main import app
from neuro_eq.datasets import DATASETS
from neuro_eq.engine import Engine
from neuro_eq.experiments.machinery import claims
from neuro_eq.methods import METHODS
from neuro_eq.specfile import read_toml
from neuro_eq.synapses import SYNAPSES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
SUMMARY = re.compile(r"^\* `(?P<name>\w+)`: .*\.\.\.$", flags=re.MULTILINE)
MARKER = re.compile(r"^<!-- generated: (?P<name>[\w-]+) -->$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls this with the text of every page."""

    def replacement(match: re.Match[str]) -> str:
        if match["name"] not in PARTS:
            raise PluginError(f"{page.file.src_uri}: nothing generates {match['name']!r}; known: {', '.join(PARTS)}")
        return PARTS[match["name"]]()

    return MARKER.sub(replacement, markdown)


def commands() -> str:
    """The command line's own help, one level of headings down."""
    program = [sys.executable, "-m", "typer", "neuro_eq.cli.main", "utils", "docs", "--name", "neuro_eq"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PluginError(f"the command line's help cannot be written: {done.stderr.strip()}")
    text = done.stdout.partition("\n")[2]  # the page has a title of its own
    text = re.sub(r"(?<=\n)(?:  \S.*\n\n?)+", block, text)
    text = re.sub(r"^Example:  (.*)$", r"Example: `\1`", text, flags=re.MULTILINE)
    return SUMMARY.sub(lambda match: f"* `{match['name']}`: {summaries()[match['name']]}", text)


def block(match: re.Match[str]) -> str:
    """Indented lines, which a terminal wants apart from each other, as one block of code."""
    lines = [line.strip() for line in match[0].splitlines() if line.strip()]
    return "\n".join(["```sh", *(re.sub(r"  +", "  # ", line) for line in lines), "```\n"])


def summaries() -> dict[str, str]:
    """What each command does, in full; a list of commands cuts it off."""
    program: Any = typer.main.get_command(app)
    groups = [program, *(command for command in program.commands.values() if hasattr(command, "commands"))]
    return {name: str(c.help).split("\n\n")[0] for group in groups for name, c in group.commands.items()}


def engine_classes() -> dict[str, type[Engine]]:
    """Every engine's class; looking at a ledger needs the Python package, not the engine's own installation."""
    found: dict[str, type[Engine]] = {}
    for name, backend in backends().items():
        module, kind = backend.engine.split(":")
        try:
            found[name] = getattr(import_module(module), kind)
        except ImportError as error:
            raise PluginError(f'the support table needs {error.name}; install ".[torch,docs]"') from None
    return found


def support() -> str:
    """What each engine can do, from its own ledger, and its reasons where it cannot."""
    engines = engine_classes()
    reasons: list[str] = []

    def refused(reason: str) -> str:
        if reason not in reasons:
            reasons.append(reason)
        return f"no ({reasons.index(reason) + 1})"

    def ability(engine: type[Engine], *needs: Ability) -> str:
        lacking = [need for need in needs if need in engine.lacks]
        return refused(f"{engine.name}: {engine.lacks[lacking[0]]}") if lacking else "yes"

    def kind(known: tuple[str, ...] | None, name: str) -> str:
        return "yes" if known is None or name in known else "no"

    rows = [("", *engines), ("---", *["---"] * len(engines))]
    rows.append(("precision", *[", ".join(engine.dtypes) for engine in engines.values()]))
    rows.append(("solvers", *[", ".join(s.__name__ for s in engine.solvers) for engine in engines.values()]))
    for need in Ability:
        rows.append((need.value, *[ability(engine, need) for engine in engines.values()]))
    for method in METHODS.values():
        rows.append((f"`{method.__name__}`", *[ability(engine, *method.needs) for engine in engines.values()]))
    for name in SYNAPSES:
        rows.append((f"synapse `{name}`", *[kind(engine.synapse_kinds, name) for engine in engines.values()]))
    for name in ACTIVATIONS:
        rows.append((f"activation `{name}`", *[kind(engine.activation_kinds, name) for engine in engines.values()]))
    own = ["yes" if engine.synapse_kinds is None else "no" for engine in engines.values()]
    rows.append(("a synapse of your own", *own))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return table + "\n\n" + "\n".join(f"{i}. {reason}" for i, reason in enumerate(reasons, start=1))


def datasets() -> str:
    """The data sets that a run can name."""
    lines = ["| name | what |", "|---|---|"]
    lines += [f"| `{name}` | {entry.description} |" for name, entry in DATASETS.items()]
    return "\n".join(lines)


def examples() -> str:
    """The files of ``examples/``, each with the remark it begins with."""
    lines = ["| file | what it shows |", "|---|---|"]
    for path in sorted((ROOT / "examples").glob("*.toml")):
        remark = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        option = "--config" if "network" in read_toml(path) else "--spec"
        lines.append(f"| `neuro_eq run {option} examples/{path.name}` | {remark} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "support": support,
    "datasets": datasets,
    "examples": examples,
    "claims": lambda: claims.claims(RESULTS),
    "experiments": lambda: claims.experiments(RESULTS),
}
"""The parts by the name that a page gives."""
