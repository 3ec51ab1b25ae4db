"""A chip's network in Lava that fails: the cause in one message within ten seconds, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.chip import LavaChip
from neuro_eq.hardware.chip import ChipNetwork, ChipPopulation
from neuro_eq.hardware.learning import Product, Rule

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
layouts = pytest.mark.parametrize("hierarchical", [False, True], ids=["one", "parts"])

ENDLESS = [(10**8, False)]


@pytest.fixture
def lava() -> Iterator[LavaChip]:
    status = environment.status()
    if not status.available:
        if "lava" in os.environ.get("NEURO_EQ_REQUIRE", ""):
            pytest.fail(status.detail)
        pytest.skip(status.detail)
    with LavaChip(timeout=60) as chip:
        yield chip


@pytest.fixture
def chip(make_chip: Callable[..., ChipNetwork]) -> ChipNetwork:
    return make_chip(3)


def data(chip: ChipNetwork) -> dict[str, np.ndarray]:
    return {"data": np.zeros((1, chip.population("data").size), dtype=int)}


def group_of(lava: LavaChip) -> int:
    return lava.client._child._process.pid


def members(group: int) -> list[int]:
    """Processes of the group that are not zombies, by `ps`."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listing.stdout.splitlines()]
    return sorted(int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z"))


def assert_nothing_left(lava: LavaChip) -> None:
    assert members(group_of(lava)) == []
    assert list(Path("/dev/shm").glob(f"{lava.client._child._prefix}*")) == []
    assert not Path(lava.client._child._folder).exists()
    assert lava.client.closed


def busiest(group: int) -> int:
    """A model's process: of those that are no server, one that uses the processor."""

    def used() -> dict[int, int]:
        ticks = {}
        for pid in members(group):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks[pid] = int(fields[11]) + int(fields[12])
        ticks.pop(group, None)
        return ticks

    before = used()
    time.sleep(0.7)
    after = used()
    return max(after, key=lambda pid: after[pid] - before.get(pid, 0))


@needs_proc
@layouts
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["kill", "crash"])
def test_a_killed_actor_is_told_within_ten_seconds(
    lava: LavaChip, chip: ChipNetwork, hierarchical: bool, number: int
) -> None:
    killed: list[float] = []

    def kill() -> None:
        time.sleep(2.5)
        victim = busiest(group_of(lava))
        killed.append(time.monotonic())
        os.kill(victim, number)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ne.BackendError, match="ended in the middle of a run"):
        lava.run(chip, data(chip), ENDLESS, hierarchical=hierarchical, trace=False)
    thread.join()
    assert time.monotonic() - killed[0] < 10
    assert_nothing_left(lava)


@layouts
def test_a_model_that_raises_while_it_runs_says_what(lava: LavaChip, chip: ChipNetwork, hierarchical: bool) -> None:
    """A table that is too short for its reach: the lookup fails in the first step."""
    p = chip.population("p")
    broken = object.__new__(ChipPopulation)
    broken.__dict__.update({**p.__dict__, "table": np.zeros(1, np.int32), "reach_bits": 4})
    network = object.__new__(ChipNetwork)
    network.__dict__.update({**chip.__dict__, "populations": tuple(broken if q is p else q for q in chip.populations)})
    network.__dict__.pop("_by_name", None)
    started = time.monotonic()
    with pytest.raises(ne.BackendError, match="IndexError") as raised:
        lava.run(network, data(chip), [(5, False)], hierarchical=hierarchical)
    assert time.monotonic() - started < 10
    assert "_activity" in str(raised.value)
    assert_nothing_left(lava)


def test_a_rule_that_lava_cannot_read_is_told(lava: LavaChip) -> None:
    arrays = {name: np.ones((2, 2), dtype=np.int64) for name in ("weights", "tags", "x", "y1", "y2")}
    started = time.monotonic()
    with pytest.raises(ne.BackendError) as raised:
        lava.client.request("learn", {"rule": {"dw": "2^-2*x0*q1"}, "seed": 1, "learned": False}, arrays)
    assert time.monotonic() - started < 10
    assert "learning_rule" in raised.value.report
    assert_nothing_left(lava)


@needs_proc
def test_a_connection_that_dies_while_it_learns_is_told(lava: LavaChip) -> None:
    """As many events as take it a minute; its process is killed after some seconds."""
    events = 200_000
    weights = np.zeros((30, 30), dtype=np.int64)
    x, y = np.ones((events, 30), dtype=np.int64), np.ones((events, 30), dtype=np.int64)
    killed: list[float] = []

    def kill() -> None:
        deadline = time.monotonic() + 30
        while len(members(group_of(lava))) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.5)
        victim = busiest(group_of(lava))
        killed.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ne.BackendError, match="ended in the middle of a run"):
        lava.learn(Rule(dw=(Product(1, 0, ("x1", "y1")),)), weights, weights, x, y, 0 * y)
    thread.join()
    assert time.monotonic() - killed[0] < 10
    assert_nothing_left(lava)


@layouts
def test_a_run_that_takes_too_long_is_ended(chip: ChipNetwork, lava: LavaChip, hierarchical: bool) -> None:
    lava.client.timeout = 2.0
    started = time.monotonic()
    with pytest.raises(ne.BackendError, match=r"'present' within 2 s"):
        lava.run(chip, data(chip), ENDLESS, hierarchical=hierarchical, trace=False)
    assert time.monotonic() - started < 10
    assert_nothing_left(lava)


@needs_proc
@layouts
def test_an_interrupt_ends_everything(chip: ChipNetwork, lava: LavaChip, hierarchical: bool) -> None:
    """Ctrl-C reaches this process alone; what runs in Lava is ended by it."""
    timer = threading.Timer(2.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        lava.run(chip, data(chip), ENDLESS, hierarchical=hierarchical, trace=False)
    assert time.monotonic() - started < 12
    assert_nothing_left(lava)


@needs_proc
def test_a_parent_that_is_killed_leaves_no_process(chip: ChipNetwork, lava: LavaChip, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import numpy as np, neuro_eq as ne\n"
        "from neuro_eq.backends.lava.chip import LavaChip\n"
        "from neuro_eq.hardware.quantisation import quantise\n"
        "spec = ne.models.layered_hopfield([3, 4, 2])\n"
        "ranges = {p.name: 1.0 for p in spec.populations}\n"
        "chip, _ = quantise(spec, spec.initial_parameters(0), ranges)\n"
        "lava = LavaChip()\n"
        "print(lava.client._child._process.pid, lava.client._child._prefix, lava.client._child._folder, flush=True)\n"
        "lava.run(chip, {'input': np.zeros((1, 3), int)}, [(10**8, False)], hierarchical=True, trace=False)\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group, prefix, folder = parent.stdout.readline().split()
        deadline = time.monotonic() + 20
        while len(members(int(group))) < 8 and time.monotonic() < deadline:
            time.sleep(0.1)
        parent.kill()
    deadline = time.monotonic() + 10
    while members(int(group)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert members(int(group)) == []
    assert list(Path("/dev/shm").glob(f"{prefix}*")) == []
    assert not Path(folder).exists()


def test_without_lava_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURO_EQ_LAVA_PYTHON", str(tmp_path / "none"))
    with pytest.raises(ne.BackendError, match="cannot be run as a Python"):
        LavaChip()
    monkeypatch.delenv("NEURO_EQ_LAVA_PYTHON")
    monkeypatch.setattr(environment, "environment_folder", lambda: tmp_path / "empty")
    monkeypatch.setattr(environment, "_importable_here", lambda: False)
    with pytest.raises(ne.BackendError, match="neuro_eq backends install lava"):
        LavaChip()


def test_a_network_is_checked_before_lava_sees_it(chip: ChipNetwork) -> None:
    with pytest.raises(ne.SpecError, match="exponent"):
        replace(chip, connections=(replace(chip.connections[0], exponent=8),))
