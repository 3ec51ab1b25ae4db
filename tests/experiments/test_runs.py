"""Nothing is run twice, a run that goes wrong is the only one that is lost, and what is written is whole."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neuro_eq.errors import FileError, SpecError
from neuro_eq.experiments.commands import app
from neuro_eq.experiments.machinery import scheduling
from neuro_eq.experiments.machinery.catalogue import EXPERIMENTS, find
from neuro_eq.experiments.machinery.execution import execute, plan
from neuro_eq.experiments.machinery.experiment import SCALES, Configuration
from neuro_eq.experiments.machinery.provenance import Provenance, code_version
from neuro_eq.experiments.machinery.results import Run
from neuro_eq.experiments.machinery.scheduling import Tally, run_all
from neuro_eq.experiments.machinery.store import Store, found_in, key, table

NAME = "squares:EXPERIMENT"


class Silent:
    """Progress that nobody watches."""

    def begin(self, total: int, known: int) -> None: ...
    def finished(self, job: object, seconds: float) -> None: ...
    def failed(self, job: object, why: str) -> None: ...


def all_of(folder: Path, **how: object) -> Tally:
    return run_all(plan(NAME, "quick"), Store(folder), Silent(), **how)  # type: ignore[arg-type]


def test_a_finished_run_is_never_run_twice(square: Path, tmp_path: Path) -> None:
    assert len(all_of(tmp_path / "out").done) == 4
    again = all_of(tmp_path / "out")
    assert (len(again.done), len(again.known)) == (0, 4)
    assert sorted(square.read_text().splitlines()) == ["1 0", "1 1", "2 0", "2 1"]


def test_a_larger_scale_adds_only_what_is_new(square: Path, tmp_path: Path) -> None:
    """Keys hold no scale, so that in one folder the rows of a smaller scale are there already."""
    store = Store(tmp_path / "out")
    run_all(plan(NAME, "quick"), store, Silent())
    assert len(run_all(plan(NAME, "medium"), store, Silent()).done) == 2


@pytest.mark.usefixtures("square")
def test_what_is_read_is_what_was_found(tmp_path: Path) -> None:
    job = plan(NAME, "quick")[1]
    finished = execute(job)
    store = Store(tmp_path / "out")
    store.write(finished.record, finished.arrays)
    (record,) = store.records()
    assert record.numbers["square"] == 4.0
    assert math.isnan(record.numbers["nothing"])
    np.testing.assert_array_equal(store.arrays(job.key)["curve/powers"], [1, 2, 4, 8])
    made = record.provenance
    assert made.code == job.code
    assert {"numpy", "python", "neuro_eq"} <= set(made.packages)
    assert made.backend == "reference"
    assert made.seconds >= 0
    assert made.date
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.usefixtures("square")
def test_every_part_of_a_key_counts() -> None:
    row, other = find(NAME).configurations("quick")
    known = key("square", row, 0, "code")
    assert known == key("square", type(row)(**dict(row)), 0, "code")
    others = [key("cube", row, 0, "code"), key("square", other, 0, "code"), key("square", row, 1, "code")]
    others.append(key("square", row, 0, "other"))
    assert len({known, *others}) == 5


def test_a_run_that_raises_takes_nothing_with_it(square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUBLES", "raises")
    tally = all_of(tmp_path / "out")
    assert [job.entries["x"] for job in tally.done] == [2.0, 2.0]
    for job, why in tally.failed:
        trace = tmp_path / "out" / f"{job.key}.failed.txt"
        assert why == f"ValueError: no square today (all of it: {trace})"
        assert "in run\n    raise ValueError" in trace.read_text(), "where it was raised is kept"
    assert len(tally.failed) == 2
    monkeypatch.setenv("TROUBLES", "")
    assert len(all_of(tmp_path / "out").done) == 2
    (job, _), _ = tally.failed
    store, done = Store(tmp_path / "out"), execute(plan(NAME, "quick")[0])
    store.write(done.record.model_copy(update={"key": job.key}), {})
    assert not (tmp_path / "out" / f"{job.key}.failed.txt").exists(), "what succeeded after all has not failed"
    assert square.exists()


def test_an_interruption_loses_only_the_run_it_meets(
    square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLES", ",interrupted")
    with pytest.raises(KeyboardInterrupt):
        all_of(tmp_path / "out")
    assert len(Store(tmp_path / "out").records()) == 1
    # The same command goes on; the row that was interrupted is another one without its trouble.
    monkeypatch.setenv("TROUBLES", "")
    tally = all_of(tmp_path / "out")
    assert (len(tally.known), len(tally.done)) == (1, 3)
    assert square.read_text().splitlines().count("1 0") == 1


@pytest.mark.slow
def test_a_lost_worker_loses_only_the_run_it_was_in(
    square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, one of which is killed in the middle: its run is done again, the others are not."""
    pytest.importorskip("distributed", reason="distributed is not installed (extra: experiments)")
    monkeypatch.setenv("TROUBLES", "killed once")
    tally = all_of(tmp_path / "out", workers=1)
    assert len(tally.done) == 4
    assert not tally.failed
    calls = square.read_text().splitlines()
    assert calls.count("1 0") == 2
    assert calls.count("2 0") == 1
    assert len(Store(tmp_path / "out").records()) == 4


@pytest.mark.slow
def test_a_worker_that_is_lost_again_and_again_fails_its_run_alone(
    square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed (extra: experiments)")
    monkeypatch.setenv("TROUBLES", "killed")
    jobs = plan(NAME, "quick", seeds=1)
    tally = run_all(jobs, Store(tmp_path / "out"), Silent(), workers=1)
    assert [job.entries["x"] for job in tally.done] == [2.0]
    ((job, why),) = tally.failed
    assert job.entries["x"] == 1.0
    assert "KilledWorker" in why
    assert square.read_text().splitlines().count("2 0") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("square")
def test_the_same_command_runs_on_a_scheduler_that_is_there(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed (extra: experiments)")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=None
    ) as cluster:
        arguments = ["run", NAME, "--scheduler", cluster.scheduler_address, "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert len(Store(tmp_path / "out" / "square" / "quick").records()) == 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of the GNU C library")
def test_a_worker_keeps_the_memory_that_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Dask's own setting every large array is handed back to the system, and each of its pages is fetched again."""
    pytest.importorskip("distributed", reason="distributed is not installed (extra: experiments)")
    size = 2**21
    # As any other cluster of this process leaves it behind.
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def faults(attempt: int) -> int:
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(50):
            np.ones(size // 8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with scheduling._client(1, None) as client:
        _, again = (client.submit(faults, attempt, pure=False).result() for attempt in range(2))
        threads = client.submit(os.environ.get, "OMP_NUM_THREADS", pure=False).result()
    assert again < 0.1 * 50 * size / 4096
    assert threads == "1", "the other settings of Dask's workers stay"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_a_program_that_is_killed_keeps_what_was_finished(
    square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of the second of four runs; the same command then does the three that are left."""
    monkeypatch.setenv("TROUBLES", ",killed")
    program = "from neuro_eq.experiments.commands import app; app()"
    command = [sys.executable, "-c", program, "run", NAME, "--workers", "0", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path / "out" / "square" / "quick")
    assert [record.numbers["square"] for record in store.records()] == [1.0]
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setenv("TROUBLES", "")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 runs done, 1 were there" in done.stdout
    assert square.read_text().splitlines().count("1 0") == 1


def test_other_code_on_a_worker_is_refused(square: Path) -> None:
    with pytest.raises(RuntimeError, match="other code"):
        execute(replace(plan(NAME, "quick")[0], code="0123456789abcdef"))
    assert not square.exists()


def test_the_code_version_is_of_what_a_run_reaches(square: Path) -> None:
    """A comment, a docstring, the figure, the verdict and what they import are not; what ``run`` refers to is."""
    import importlib
    import sys

    source = (square.parent / "modules" / "squares.py").read_text()
    changes = {
        "as it is": (source, True),
        "a comment": (source + "\n# more\n", True),
        "a docstring": (source.replace("A number to square.", "A number."), True),
        "the figure": (source.replace("blank(4.0, 3.0)", "blank(8.0, 3.0)"), True),
        "the verdict": (source.replace("all of them", "each of them"), True),
        "an import of the verdict": (source.replace("import judged\n", "import judged, judged_each\n"), True),
        "an import of the run": (source.replace("import numpy as np", "import numpy.ma as np"), False),
        "another import of the same": (
            source.replace("import numpy as np", "import numpy as np\nimport numpy.ma as np"),
            False,
        ),
        "what is set at the end": (source + "\nif True:\n    run.__dict__['x'] = Outcome\n", False),
        "what is computed": (source.replace("config.x**2 + seed", "config.x**2 - seed"), False),
    }
    found = {}
    for i, (what, (text, _)) in enumerate(changes.items()):
        (square.parent / "modules" / f"changed{i}.py").write_text(text)
        module = importlib.import_module(f"changed{i}")
        found[what] = code_version(module.run, "reference")
        del sys.modules[f"changed{i}"]
    same = {what: version == found["as it is"] for what, version in found.items()}
    assert same == {what: expected for what, (_, expected) in changes.items()}


def test_a_damaged_result_is_named(square: Path, tmp_path: Path) -> None:
    all_of(tmp_path / "out")
    path = next((tmp_path / "out").glob("*.json"))
    path.write_text('{"format": 1}')
    with pytest.raises(FileError, match=path.name):
        found_in(tmp_path / "out")
    assert square.exists()


def test_of_two_code_versions_the_newest_counts(square: Path, tmp_path: Path) -> None:
    all_of(tmp_path / "out")
    for path in (tmp_path / "out").glob("*.json"):
        old = json.loads(path.read_text())
        old["key"], old["numbers"]["square"], old["provenance"]["date"] = "0" + old["key"], 99.0, "2001-01-01"
        path.with_name("0" + path.name).write_text(json.dumps(old))
    (results,) = found_in(tmp_path / "out")
    assert sorted(results.values("square")) == [1.0, 2.0, 4.0, 5.0]
    assert square.exists()


def test_two_code_versions_are_not_averaged(square: Path, tmp_path: Path) -> None:
    """One seed again by newer code: the older code's other seed is left out, of that configuration alone."""
    all_of(tmp_path / "out")
    assert square.exists()
    path = next(p for p in (tmp_path / "out").glob("*.json") if json.loads(p.read_text())["numbers"]["square"] == 1.0)
    new = json.loads(path.read_text())
    new["key"], new["numbers"]["square"] = "0" + new["key"], 7.0
    new["provenance"] |= {"date": "2999-01-01", "code": "0123456789abcdef"}
    path.with_name("0" + path.name).write_text(json.dumps(new))
    (results,) = found_in(tmp_path / "out")
    assert sorted(results.values("square")) == [4.0, 5.0, 7.0]


def test_runs_of_before_an_entry_was_added_are_of_older_code(square: Path, tmp_path: Path) -> None:
    """They lack the entry, which has its default; all the same they are not averaged with those of newer code."""
    all_of(tmp_path / "out")
    assert square.exists()
    for path in sorted((tmp_path / "out").glob("*.json")):
        old = json.loads(path.read_text())
        del old["configuration"]["trouble"]
        old["key"], old["numbers"]["square"] = "0" + old["key"], 99.0
        old["provenance"] |= {"date": "2001-01-01", "code": "0123456789abcdef"}
        path.with_name("0" + path.name).write_text(json.dumps(old))
    (results,) = found_in(tmp_path / "out")
    assert sorted(results.values("square")) == [1.0, 2.0, 4.0, 5.0]


def test_an_entry_may_be_a_list() -> None:
    """What tells rows apart is how they are written: not every entry has a hash."""

    class Several(Configuration):
        several: list[int]

        @property
        def label(self) -> str:
            return str(self.several)

    experiment = replace(
        find("contraction"), configuration=Several, configurations=lambda scale: [Several(several=[1])]
    )
    runs = [({"several": row}, Run(seed, {}, Provenance(code=""))) for row in ([2], [1]) for seed in range(2)]
    found = table(experiment, "quick", runs)
    assert [(cell.configuration.several, len(cell.runs)) for cell in found] == [([1], 2), ([2], 2)]


def test_scales_in_one_folder_have_tables_of_their_own(square: Path, tmp_path: Path) -> None:
    """The larger one has the rows of the smaller one, too, which it would not run again."""
    for scale in ("quick", "medium"):
        run_all(plan(NAME, scale, seeds=1), Store(tmp_path / "out"), Silent())  # type: ignore[arg-type]
    assert square.exists()
    assert {results.scale: len(results) for results in found_in(tmp_path / "out")} == {"quick": 2, "medium": 3}


def test_further_engines_are_part_of_the_code() -> None:
    run = find("gradient_equivalence").run
    assert code_version(run, "numba") != code_version(run, "numba", "reference")
    assert code_version(run, "reference") == code_version(run, "reference", "reference")
    assert code_version(run, "an engine of nobody") != code_version(run, "reference")


def test_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(SpecError, match='did you mean "contraction"'):
        find("contracton")
    with pytest.raises(SpecError, match="cannot load"):
        find("no_such_module:X")
    with pytest.raises(SpecError, match="not an Experiment"):
        find("neuro_eq.spec:Network")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_declared_in_full(name: str) -> None:
    experiment = find(name)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    for scale in SCALES:
        rows = experiment.configurations(scale)
        labels = [row.label for row in rows]
        assert len(set(labels)) == len(labels) > 0, "labels tell rows apart"
        assert all(isinstance(row, experiment.configuration) for row in rows)
        for row in rows:
            assert type(row)(**row.model_dump(mode="json")) == row, "a row survives being written"
    assert experiment.seeds["medium"] >= 5 or name == "training_mnist"


@pytest.mark.usefixtures("square")
def test_the_command_says_what_became_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    monkeypatch.setenv("TROUBLES", "raises")
    arguments = ["run", NAME, "--workers", "0", "--seeds", "1", "--out", str(tmp_path / "out")]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 1
    assert "1 runs done, 0 were there, 1 failed" in done.output
    assert "no square today" in done.output
    monkeypatch.setenv("TROUBLES", "")
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0
    assert "1 of 2 runs are there already" in done.output
    assert (tmp_path / "out" / "square" / "quick").is_dir()


@pytest.mark.usefixtures("square")
def test_a_scheduler_brings_its_workers() -> None:
    done = CliRunner().invoke(app, ["run", NAME, "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"])
    assert isinstance(done.exception, SpecError)
    done = CliRunner().invoke(app, ["run", NAME, "--scale", "mediun"])
    assert isinstance(done.exception, SpecError)
    assert "medium" in str(done.exception)


def test_some_rows_on_another_device() -> None:
    """A device is torch's: rows of another engine stay what they are, and so do their keys."""
    everywhere, there = plan("training_mnist", "quick"), plan("training_mnist", "quick", device="cuda")
    assert {job.configuration.device for job in there} == {"cuda"}
    assert not {job.key for job in there} & {job.key for job in everywhere}
    assert plan("contraction", "quick", device="cuda") == plan("contraction", "quick")
    some = plan("training_mnist", "quick", only=["asymep", "bptt"])
    assert 0 < len(some) < len(everywhere)
    assert all("asymep" in job.configuration.label or "bptt" in job.configuration.label for job in some)


def test_rows_that_are_not_there_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^--only: no row's label has 'resnet' in it; they are \["):
        plan("training_mnist", "quick", only=["resnet"])
