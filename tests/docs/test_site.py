"""The site builds without a warning, and what it says of the program is complete."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuro_eq as ne
from neuro_eq.backend import backends
from neuro_eq.datasets import DATASETS
from neuro_eq.methods import METHODS
from neuro_eq.models import MODELS
from neuro_eq.solvers import SOLVERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site.  A broken link, a missing page and an entry that is not there are warnings, and so errors."""
    for needed in ("mkdocs", "material", "mkdocstrings", "latex2mathml", "nbformat", "torch"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (extras: docs, torch)")
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_public_name_has_an_entry(site: Path) -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    entries = {anchor.rpartition(".")[2] for anchor in re.findall(r'id="(neuro_eq\.[\w.]+)"', reference)}
    missing = [name for name in ne.__all__ if name not in entries and not name.startswith("_")]
    assert not missing, f"the API reference lacks {missing}"


def test_the_reference_says_what_is_given_and_returned(site: Path) -> None:
    """Types, shapes and defaults: of functions, of frozen models, whose fields are their arguments, and of results."""

    def entry(page: str, name: str) -> str:
        text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
        assert f'id="{name}"' in text, f"{page}: {name} has no entry"
        text = re.split(r'id="neuro_eq\.[\w.]+"', text.partition(f'id="{name}"')[2])[0]
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", text)))

    for name, model in MODELS.items():
        assert "-> Network" in entry("models", f"{model.__module__}.{name}")
    assert re.search(
        r"Relaxation\( \*, solver: Solver = Picard\(\), tol: float \|", entry("engines", "neuro_eq.solvers.Relaxation")
    )
    assert "steps (Int[ndarray, ' batch'])" in entry("engines", "neuro_eq.equilibrium.Equilibrium")
    assert "EqProp( beta: float = 0.1, phases:" in entry("methods", "neuro_eq.methods.EqProp")
    assert "source: the population before it" not in entry("synapses", "neuro_eq.synapses.Dense")  # a list, not raw
    assert "source (str) – the population before it" in entry("synapses", "neuro_eq.synapses.Dense")


def test_every_kind_is_spoken_of(site: Path) -> None:
    def page(name: str) -> str:
        return (site / name).read_text(encoding="utf-8")

    for name in MODELS:
        assert name in page("models.html"), f"which model when: {name}"
    for solver in SOLVERS.values():
        assert solver.__name__ in page("solvers.html"), f"solvers: {solver.__name__}"
    for engine in backends():
        assert engine in page("engines.html"), f"which engine when: {engine}"
    for method in METHODS.values():
        assert method.__name__ in page("engines.html"), f"support table: {method.__name__}"
    for data in DATASETS:
        assert data in page("quickstart.html"), f"data sets: {data}"
    for path in (ROOT / "examples").glob("*.toml"):
        assert path.name in page("examples.html"), f"examples: {path.name}"


def test_formulas_are_set_without_a_script(site: Path) -> None:
    theory = (site / "theory.html").read_text(encoding="utf-8")
    assert theory.count("<math") > 100
    assert not re.search(r"\\\(|\\\[|\$\$", re.sub(r"<(pre|code|script).*?</\1>", "", theory, flags=re.DOTALL))


def test_no_page_shows_its_markdown(site: Path) -> None:
    """Bold, links and snippets have become HTML, and every picture says what is on it."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        prose = re.sub(r"<(pre|code|script|style).*?</\1>", "", text, flags=re.DOTALL)
        raw = re.findall(r".{0,40}(?:\*\*|\]\(|--8<--|<!-- generated).{0,40}", re.sub(r"<[^>]+>", "", prose))
        assert not raw, f"{page.name} shows {raw}"
        assert not re.findall(r"<img(?![^>]*alt=\"[^\"]{10,}\")[^>]*>", text), page.name


def test_the_search_needs_no_server(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="assets/iframe-worker.js"' in home
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = {")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """No font, script or style of another host is asked for when a page is opened."""
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img)[^>]*src="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        loaded += re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        assert not loaded, f"{page.name} fetches {loaded}"
