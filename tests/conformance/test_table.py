"""The docs' table model × engine × method: written on request, and held to be current.

pytest tests/conformance --write-table docs/conformance.md
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import numpy as np

import neuro_eq as ne

COMMAND = "pytest tests/conformance --write-table docs/conformance.md"
COMMITTED = "docs/conformance.md"
BETA = 0.1
SEEDS = range(3)
BATCH = 8
SETTLED = ne.Relaxation(solver=ne.Picard(alpha=0.9), tol=None, max_steps=150)

MODELS = {
    "`layered_hopfield`, squared error": lambda: ne.models.layered_hopfield([8, 10, 6, 4]),
    "`layered_hopfield`, cross-entropy": lambda: ne.models.layered_hopfield([8, 10, 6, 4], cost="cross_entropy"),
    "`looped_mlp`, symmetric": lambda: ne.models.looped_mlp(8, 12, 4),
    "`looped_mlp`, not symmetric": lambda: ne.models.looped_mlp(8, 12, 4, symmetric=False),
    "`toroidal_mlp`, symmetric": lambda: ne.models.toroidal_mlp(8, 12, 4, coupling=0.08),
    "`toroidal_mlp`, not symmetric": lambda: ne.models.toroidal_mlp(8, 12, 4, symmetric=False, coupling=0.08),
    "`modern_hopfield_mlp`": lambda: ne.models.modern_hopfield_mlp(8, 12, 4),
    "`gated_mlp`, gate on the step": lambda: ne.models.gated_mlp(8, 12, 4),
    "`gated_mlp`, gate on the drive": lambda: ne.models.gated_mlp(8, 12, 4, gate="drive"),
    "`energy_transformer`": lambda: ne.models.energy_transformer(
        (2, 4), 3, patch=2, width=3, heads=3, patterns=5, memory="softplus"
    ),
    "`looped_transformer`, softmax, not symmetric": lambda: ne.models.looped_transformer(
        (2, 4), 2, patch=2, width=4, heads=2, hidden=3, attention="softmax", feed_forward="gelu"
    ),
    "`looped_transformer`, softmax, symmetric": lambda: ne.models.looped_transformer(
        (2, 4), 3, patch=2, depth=2, width=3, heads=1, hidden=3, attention="softmax", symmetric=True
    ),
    "`conv_hopfield`": lambda: ne.models.conv_hopfield(
        (4, 4), 3, channels=(2, 3), pool="average", activation="tanh", cost="cross_entropy"
    ),
}
METHODS = {
    "EqProp, one-sided": ne.EqProp(BETA, "one-sided"),
    "EqProp, centered": ne.EqProp(BETA),
    "AsymEP": ne.AsymEP(BETA),
    "VectorField": ne.VectorField(BETA),
    "DyadicEP": ne.DyadicEP(),
    "HolomorphicEP, 4 points": ne.HolomorphicEP(BETA, 4),
    "ContinualEP": ne.ContinualEP(BETA),
    "ImplicitDifferentiation": ne.ImplicitDifferentiation(),
    "JFB": ne.JFB(),
    "Phantom, 5 steps": ne.Phantom(5, 0.5),
}
ROUNDINGS = {"EqProp, one-sided": 2, "ContinualEP": SETTLED.max_steps}
"""How often a gradient carries the rounding of a contrast over 2β: phases β apart twice, a sum as often as it adds."""

EXACT = {"DyadicEP": 1e-9, "ImplicitDifferentiation": 0.0}
"""Methods without an error of their own, and what solving to a tolerance leaves of them."""

MEASURED = re.compile(r"(?<=\| )(?:0|\d\.\de[+-]\d+)(?= \|)")
"""A measured cell; declared numbers stand in backticks."""

HEADER = f"""# Conformance of the engines

Written by `{COMMAND}`; edit the engines, not this file.

Every engine is held to the reference engine (NumPy, float64) by `tests/conformance`. The cells below are the worst
error over {len(SEEDS)} random sets of parameters and {BATCH} samples, with β = {BETA:g} and equal schedules of
{SETTLED.max_steps} steps: of a gradient, the norm of its difference to the oracle's gradient *by the same method*,
relative to the oracle's; of the fixed points, free and nudged, the largest difference of a potential. The column
*exact* is the error of the method itself: the oracle's gradient against implicit differentiation in float64.
"""


class Table:
    """The table's text; ``measure=False`` leaves the measured cells open and takes no time."""

    def __init__(self, cases, open_backend, oracle, contracting, samples, compare, measure):
        self.backends = [open_backend(*case) for case in cases]
        self.oracle, self.contracting, self.samples, self.compare = oracle, contracting, samples, compare
        self.measure = measure

    def text(self) -> str:
        parts = [HEADER]
        for title, make in MODELS.items():
            parts.append(f"## {title}\n\n{self.model(make())}")
        parts.append(f"## What the engines promise\n\n{self.promises()}")
        parts.append(f"## What is refused, and why\n\n{self.ledger()}")
        return "\n".join(parts)

    def model(self, spec) -> str:
        lines = [self.row("method", "exact", *[f"{b.name} {b.dtype}" for b in self.backends])]
        lines.append(self.row("---", *["---:"] * (1 + len(self.backends))))
        ends = ["refused" if b.refusal(spec) else self.cell(self.fixed_points, spec, b) for b in self.backends]
        lines.append(self.row("fixed points", "", *ends))
        for name, method in METHODS.items():
            if self.refusal(spec, method):
                lines.append(self.row(name, *["refused"] * (1 + len(self.backends))))
                continue
            cells = [self.cell(self.exactness, spec, method)]
            for backend in self.backends:
                if backend.refusal(spec) or not backend.can(*method.needs):
                    cells.append("refused")
                else:
                    cells.append(self.cell(self.error, spec, backend, method))
            lines.append(self.row(name, *cells))
        return "\n".join(lines) + "\n"

    def cell(self, measure, *arguments) -> str:
        value = measure(*arguments) if self.measure else 0.0
        return "0" if value == 0.0 else f"{value:.1e}"

    @staticmethod
    def row(*cells: str) -> str:
        return f"| {' | '.join(cells)} |"

    @staticmethod
    def refusal(spec, method) -> str:
        try:
            method.refuse(spec)
        except ne.SpecError as error:
            return str(error)
        return ""

    def fixed_points(self, spec, backend) -> float:
        worst = 0.0
        for seed in SEEDS:
            parameters, data = self.contracting(spec, seed), self.samples(spec, BATCH, seed)
            net, reference = backend.compile(spec, parameters), self.oracle(spec, parameters)
            how = {"solver": SETTLED.solver, "tol": None, "max_steps": SETTLED.max_steps}
            for beta in (0.0, BETA, -BETA):
                found = net.relax(data.x, target=data.y, beta=beta, **how)
                wanted = reference.relax(data.x, target=data.y, beta=beta, **how)
                for name, value in wanted.states.items():
                    worst = max(worst, float(np.max(np.abs(net.to_numpy(found.states[name]) - value))))
        return worst

    def error(self, spec, backend, method) -> float:
        worst = 0.0
        for seed in SEEDS:
            parameters, data = self.contracting(spec, seed), self.samples(spec, BATCH, seed)
            net, reference = backend.compile(spec, parameters), self.oracle(spec, parameters)
            found, _ = method.gradient(net, data.x, data.y, free=SETTLED)
            wanted, _ = method.gradient(reference, data.x, data.y, free=SETTLED)
            worst = max(worst, self.compare.relative(self.compare.numbers(net, found), wanted))
        return worst

    def exactness(self, spec, method) -> float:
        worst = 0.0
        for seed in SEEDS:
            net = self.oracle(spec, self.contracting(spec, seed))
            data = self.samples(spec, BATCH, seed)
            found, _ = method.gradient(net, data.x, data.y, free=SETTLED)
            exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
            worst = max(worst, self.compare.relative(found, exact))
        return worst

    def promises(self) -> str:
        lines = [self.row("engine", "fixed points (absolute)", "gradients (relative)", "because"), "|---|---|---|---|"]
        for backend in self.backends:
            promise = backend.agreement
            gradient = f"`{promise.gradient:.1e}`"
            if promise.noise:
                gradient = f"max({gradient}, `{promise.noise:.1e}`/β)"
            lines.append(
                self.row(f"{backend.name} {backend.dtype}", f"`{promise.fixed_point:.1e}`", gradient, promise.because)
            )
        return "\n".join(lines) + "\n"

    def ledger(self) -> str:
        lines = ["| what | where | reason |", "|---|---|---|"]
        for title, make in MODELS.items():
            for name, method in METHODS.items():
                reason = self.refusal(make(), method)
                if reason:
                    lines.append(self.row(name, title, reason))
            refusals = {backend.name: backend.refusal(make()) for backend in self.backends}
            lines += [self.row("every method", title, reason) for reason in refusals.values() if reason]
        for engine in {backend.name: backend.engine for backend in self.backends}.values():
            for ability, reason in engine.lacks.items():
                methods = [name for name, method in METHODS.items() if ability in method.needs]
                what = ability.value + (f" ({', '.join(methods)})" if methods else "")
                lines.append(self.row(what, engine.name, reason))
            if "float32" not in engine.dtypes:
                lines.append(self.row("float32", engine.name, f"it computes in {' or '.join(engine.dtypes)}"))
            for what, kinds in (("synapse", engine.synapse_kinds), ("activation", engine.activation_kinds)):
                if kinds is not None:
                    lines.append(self.row(f"any other {what}", engine.name, f"it runs {', '.join(kinds)}"))
        return "\n".join(lines) + "\n"

    def close(self) -> None:
        for backend in self.backends:
            backend.close()


def test_every_model_stands_in_the_table():
    # The earlier work's network is a looped transformer of one size.
    assert {make().name for make in MODELS.values()} == set(ne.models.MODELS) - {"toreqprop_prior"}


def test_the_table(request, cases, need, open_backend, oracle, contracting, samples, compare):
    """Writes the table when asked to; otherwise the committed one has the same rows, refusals and promises."""
    for name, _ in cases:
        need(name)
    target = request.config.getoption("--write-table")
    table = Table(cases, open_backend, oracle, contracting, samples, compare, measure=target is not None)
    with closing(table):
        text = table.text()
    if target is not None:
        (request.config.rootpath / target).write_text(text, encoding="utf-8")
        return
    committed = request.config.rootpath / COMMITTED
    assert committed.is_file(), f"{committed} is missing; run: {COMMAND}"
    found, wanted = (MEASURED.sub("#", one) for one in (committed.read_text(encoding="utf-8"), text))
    assert found == wanted, f"{COMMITTED} is not current; run: {COMMAND}"
    for title, row, column, value in measured_cells(committed.read_text(encoding="utf-8")):
        assert value <= allowed(table.backends, row, column), f"{COMMITTED}: {title}: {row}, {column}: {value:g}"


def measured_cells(text):
    """Every number that was measured: its model, its row, its column."""
    title, columns = "", []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            title = line[3:]
        elif cells[0] == "method":
            columns = cells
        elif MEASURED.search(line):
            for column, cell in zip(columns[1:], cells[1:], strict=True):
                if cell not in ("", "refused"):
                    yield title, cells[0], column, float(cell)


def allowed(backends, row, column):
    """What the engine promises, or what the method does."""
    if column == "exact":
        return EXACT.get(row, np.inf)
    promise = next(b.agreement for b in backends if f"{b.name} {b.dtype}" == column)
    if row == "fixed points":
        return promise.fixed_point
    return promise.gradient_at(BETA / ROUNDINGS.get(row, 1))


def test_cells_are_found_and_held_to_a_promise(cases, need, open_backend):
    """A cell of the committed table made a thousand times larger is seen."""
    text = (Path(__file__).parents[2] / COMMITTED).read_text(encoding="utf-8")
    cells = list(measured_cells(text))
    rows = {row for _, row, _, _ in cells}
    assert rows == {"fixed points", *METHODS}
    assert {title for title, *_ in cells} == set(MODELS)
    for name, _ in cases:
        need(name)
    backends = [open_backend(*case) for case in cases]
    for row in ("fixed points", *METHODS):
        worst = max(value for _, found, column, value in cells if found == row and column == "torch float32")
        assert worst <= allowed(backends, row, "torch float32") < 1000 * worst
