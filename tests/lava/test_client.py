"""The Lava child: its steps equal plain NumPy, and nothing of it outlives a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.client import LavaClient
from neuro_eq.errors import BackendError

CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = 0, 1, 2, 3

RHO = {
    "identity": lambda u: u,
    "relu": lambda u: np.where(u > 0, u, 0.0),
    "hard_sigmoid": lambda u: np.minimum(np.maximum(u, 0.0), 1.0),
    "sigmoid": lambda u: 0.5 * (1.0 + np.tanh(0.5 * u)),
    "tanh": np.tanh,
    "softmax": lambda u: np.exp(u) / np.exp(u).sum(axis=1, keepdims=True),
}


@pytest.fixture(scope="module")
def python() -> Path:
    status = environment.status()
    if status.python is None or not status.available:
        if "lava" in os.environ.get("NEURO_EQ_REQUIRE", ""):
            pytest.fail(status.detail)
        pytest.skip(status.detail)
    return status.python


@pytest.fixture(scope="module")
def shared(python: Path) -> Iterator[LavaClient]:
    """One client for the tests that do not break it."""
    with LavaClient(python) as client:
        yield client


@pytest.fixture
def client(python: Path) -> Iterator[LavaClient]:
    with LavaClient(python) as client:
        yield client


class Oracle:
    """The network written unit block by unit block: J is one matrix over all units, clamped ones included."""

    def __init__(self, structure: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.cost = structure["cost"]
        self.arrays = arrays
        self.populations = structure["populations"]
        starts = np.cumsum([0, *(p["size"] for p in self.populations)])
        at = {p["name"]: slice(a, b) for p, a, b in zip(self.populations, starts, starts[1:], strict=False)}
        self.at = at
        n = starts[-1]
        self.forward, self.skew, self.bias = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
        self.clamped = np.concatenate([np.full(p["size"], p["clamped"]) for p in self.populations])
        for synapse in structure["synapses"]:
            if synapse["kind"] == "bias":
                self.bias[at[synapse["target"]]] += arrays[synapse["bias"]]
                continue
            post, pre, weight = at[synapse["target"]], at[synapse["source"]], arrays[synapse["weight"]]
            self.forward[post, pre] += weight
            if not synapse["symmetric"]:
                self.skew[post, pre] += weight
            elif post != pre:
                self.forward[pre, post] += weight.T
        self.skew[self.clamped, :] = self.skew[:, self.clamped] = 0.0

    def activity(self, u: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Of all units of one row (units,)."""
        everything = np.zeros(self.clamped.size)
        everything[self.clamped], everything[~self.clamped] = x, u
        for population in self.populations:
            if not population["clamped"]:
                block = self.at[population["name"]]
                everything[block] = RHO[population["activation"]](everything[None, block])[0]
        return everything

    def drive(self, u: np.ndarray, x: np.ndarray, y: np.ndarray, beta: float, anchor: np.ndarray | None) -> np.ndarray:
        a = self.activity(u, x)
        drive = self.forward @ a + self.bias
        if anchor is not None:
            delta = np.zeros_like(a)
            delta[~self.clamped] = a[~self.clamped] - anchor
            drive += (self.skew.T - self.skew) @ delta
        if self.cost is not None:
            block = self.at[self.cost["population"]]
            if self.cost["kind"] == "squared_error":
                drive[block] -= beta * (a[block] - y)
            else:
                weight = self.arrays[self.cost["weight"]]
                logits = weight @ a[block] + self.arrays[self.cost["bias"]]
                drive[block] -= beta * weight.T @ (RHO["softmax"](logits[None])[0] - y)
        return drive[~self.clamped]


def network(
    rng: np.random.Generator, cost: str | None, activations: tuple[str, ...] = ("tanh", "sigmoid", "softmax")
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Two clamped and three free populations with every kind of synapse, also a free to a clamped one."""
    sizes = {"in": 5, "a": 6, "b": 4, "context": 2, "c": 3}
    clamped = ("in", "context")
    rho = iter(activations)
    populations = [
        {
            "name": n,
            "size": s,
            "activation": "identity" if n in clamped else next(rho),
            "clamped": n in clamped,
        }
        for n, s in sizes.items()
    ]
    ends = [
        ("in", "a", True),
        ("a", "b", True),
        ("b", "c", False),
        ("c", "a", False),
        ("a", "a", True),
        ("b", "b", False),
        ("c", "context", True),
        ("c", "context", False),
        ("context", "b", False),
    ]
    arrays: dict[str, np.ndarray] = {}
    synapses: list[dict[str, Any]] = []
    for i, (source, target, symmetric) in enumerate(ends):
        weight = 0.3 * rng.normal(size=(sizes[target], sizes[source]))
        arrays[f"w{i}"] = weight + weight.T if symmetric and source == target else weight
        synapses.append(
            {"kind": "dense", "source": source, "target": target, "symmetric": symmetric, "weight": f"w{i}"}
        )
    for target in ("a", "c", "context"):
        arrays[f"bias.{target}"] = rng.normal(size=sizes[target])
        synapses.append({"kind": "bias", "target": target, "bias": f"bias.{target}"})
    structure: dict[str, Any] = {"populations": populations, "synapses": synapses, "cost": None}
    if cost == "squared_error":
        structure["cost"] = {"kind": cost, "population": "c"}
    elif cost == "cross_entropy":
        arrays["readout"], arrays["readout.bias"] = rng.normal(size=(4, 6)), rng.normal(size=4)
        structure["cost"] = {"kind": cost, "population": "a", "weight": "readout", "bias": "readout.bias"}
    return structure, arrays


FREE, CLAMPED = 13, 7


def linear(size: int, weight: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """u ← weight · u without input; its residual is |1 − weight| times the RMS of u."""
    structure = {
        "populations": [{"name": "p", "size": size, "activation": "identity", "clamped": False}],
        "synapses": [{"kind": "dense", "source": "p", "target": "p", "symmetric": True, "weight": "w"}],
        "cost": None,
    }
    return structure, {"w": weight * np.eye(size)}


@pytest.mark.parametrize("cost", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize(
    "activations", [("tanh", "sigmoid", "softmax"), ("relu", "hard_sigmoid", "identity")], ids="+".join
)
def test_every_step_equals_plain_numpy(
    shared: LavaClient, cost: str, anchored: bool, activations: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(1)
    structure, arrays = network(rng, cost, activations)
    oracle = Oracle(structure, arrays)
    samples, betas, alpha, max_steps = 3, np.array([0.2, -0.2]), 0.4, 6
    u, x = rng.normal(size=(6, FREE)), rng.normal(size=(samples, CLAMPED))
    y = rng.random((samples, 3 if cost == "squared_error" else 4))
    anchor = rng.random((samples, FREE)) if anchored else None
    shared.network(structure, arrays)
    shared.begin(u=u, x=x, betas=betas, target=y, anchor=anchor, alpha=alpha, max_steps=max_steps)

    state = shared.snapshot()
    np.testing.assert_array_equal(state.u, u)
    assert np.isnan(state.residual).all()
    assert state.status.tolist() == [MAX_STEPS] * samples
    assert state.steps.tolist() == [0] * samples

    def change(row: int) -> np.ndarray:
        s = row % samples
        given = None if anchor is None else anchor[s]
        return oracle.drive(u[row], x[s], y[s], betas[row // samples], given) - u[row]

    for step in range(1, max_steps + 1):
        u = u + alpha * np.stack([change(row) for row in range(6)])
        finished = shared.advance(1)
        state = shared.snapshot()
        np.testing.assert_allclose(state.u, u, rtol=0, atol=1e-12)
        free = [oracle.activity(u[r], x[r % samples])[~oracle.clamped] for r in range(6)]
        np.testing.assert_allclose(state.a, free, rtol=0, atol=1e-12)
        assert state.steps.tolist() == [step] * samples
        assert finished == (step == max_steps)
    residual = [np.sqrt(np.mean(change(row) ** 2)) for row in range(6)]
    np.testing.assert_allclose(state.residual, residual, rtol=1e-10)


def test_steps_in_one_go_are_the_same_bits(shared: LavaClient) -> None:
    rng = np.random.default_rng(2)
    structure, arrays = network(rng, None)
    shared.network(structure, arrays)
    start = {"u": rng.normal(size=(2, FREE)), "x": rng.normal(size=(2, CLAMPED)), "betas": np.zeros(1)}
    shared.begin(**start, alpha=0.5, max_steps=70)
    assert shared.advance(1000)
    at_once = shared.snapshot()
    shared.begin(**start, alpha=0.5, max_steps=70)
    assert [shared.advance(7) for _ in range(10)] == [False] * 9 + [True]
    np.testing.assert_array_equal(shared.snapshot().u, at_once.u)


def test_each_sample_stops_by_itself(shared: LavaClient) -> None:
    structure, arrays = linear(4, 0.5)
    shared.network(structure, arrays)
    # From size s the residual is s/2 at first and halves with each step: 2^-k ≤ tol is met after k − 1 steps.
    u = np.ones((3, 4))
    tol = np.array([2.0**-1, 2.0**-5, 0.0])
    shared.begin(u=u, x=np.zeros((3, 0)), betas=np.zeros(1), tol=tol, alpha=1.0, max_steps=9)
    assert shared.advance(9)
    state = shared.snapshot()
    assert state.status.tolist() == [CONVERGED, CONVERGED, MAX_STEPS]
    assert state.steps.tolist() == [0, 4, 9]
    np.testing.assert_array_equal(state.u[:, 0], [1.0, 2.0**-4, 2.0**-9])
    np.testing.assert_array_equal(state.residual, [2.0**-1, 2.0**-5, 2.0**-10])


def test_the_largest_residual_of_the_phases_governs(shared: LavaClient) -> None:
    structure, arrays = linear(1, 0.5)
    shared.network(structure, arrays)
    # Rows: phase 0 of samples 0 and 1, then phase 1 of both.
    u = np.array([[1.0], [1.0], [8.0], [1.0]])
    shared.begin(u=u, x=np.zeros((2, 0)), betas=np.zeros(2), tol=np.full(2, 0.5), alpha=1.0, max_steps=20)
    assert shared.advance(20)
    assert shared.snapshot().steps.tolist() == [3, 0]


def test_divergence_and_overflow_have_their_own_status(shared: LavaClient) -> None:
    structure, arrays = linear(2, 11.0)
    shared.network(structure, arrays)
    u = np.array([[1.0, 1.0], [1e308, 1e308], [np.nan, 0.0]])
    shared.begin(u=u, x=np.zeros((3, 0)), betas=np.zeros(1), alpha=1.0, max_steps=50)
    assert shared.advance(50)
    state = shared.snapshot()
    assert state.status.tolist() == [DIVERGED, NONFINITE, NONFINITE]
    # The residual 10 · 11^k exceeds 1e6 times its first value, 10, for the first time at k = 6.
    assert state.steps.tolist() == [6, 0, 0]


def test_no_steps_is_one_evaluation(shared: LavaClient) -> None:
    structure, arrays = linear(2, 0.5)
    shared.network(structure, arrays)
    shared.begin(u=np.ones((1, 2)), x=np.zeros((1, 0)), betas=np.zeros(1), alpha=1.0, max_steps=0)
    assert shared.advance(0)
    state = shared.snapshot()
    assert (state.status[0], state.steps[0], state.residual[0]) == (MAX_STEPS, 0, 0.5)


def test_parameters_and_batch_sizes_may_change_between_relaxations(shared: LavaClient) -> None:
    for samples, weight in ((4, 0.5), (2, 0.25), (7, -0.5)):
        shared.network(*linear(3, weight))
        start = np.arange(samples * 3.0).reshape(samples, 3)
        shared.begin(u=start, x=np.zeros((samples, 0)), betas=np.zeros(1), alpha=1.0, max_steps=1)
        shared.advance(1)
        state = shared.snapshot()
        np.testing.assert_array_equal(state.u, weight * start)
        assert state.steps.shape == (samples,)


def begin_long(client: LavaClient, max_steps: int = 10**9) -> None:
    client.network(*linear(8, 0.5))
    client.begin(u=np.ones((1, 8)), x=np.zeros((1, 0)), betas=np.zeros(1), alpha=0.5, max_steps=max_steps)


def group_of(client: LavaClient) -> int:
    return client._child._process.pid


def members(group: int) -> list[int]:
    """Processes of the group that are not zombies, the server first; by `ps`, not by the client's own way."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listing.stdout.splitlines()]
    return sorted(int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z"))


def segments(client: LavaClient) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{client._child._prefix}*"))


def assert_nothing_left(client: LavaClient) -> None:
    assert members(group_of(client)) == []
    assert segments(client) == []
    assert not Path(client._child._folder).exists()
    assert client.closed


def cpu_ticks(client: LavaClient) -> dict[int, int]:
    """Processor time of every process of the group but the server."""
    used = {}
    for pid in members(group_of(client)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[pid] = int(fields[11]) + int(fields[12])
    used.pop(group_of(client), None)
    return used


def actor_of(client: LavaClient) -> int:
    """A process that works for the relaxation: the one that takes the most time for some steps."""
    before = cpu_ticks(client)
    client.advance(2000)
    after = cpu_ticks(client)
    return max(after, key=lambda pid: after[pid] - before.get(pid, 0))


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
@pytest.mark.parametrize("victim", ["server", "actor", "all"])
def test_a_kill_in_the_middle_is_told_within_ten_seconds(client: LavaClient, victim: str) -> None:
    begin_long(client)
    assert segments(client)
    group = group_of(client)
    target = {"server": group, "actor": actor_of(client), "all": -group}[victim]
    kill = f"import os, time; time.sleep(1); os.kill({target}, 9)"
    started = time.monotonic()
    with (
        subprocess.Popen([sys.executable, "-c", kill]),
        pytest.raises(BackendError, match="ended") as raised,
    ):
        client.advance(10**8)
    assert time.monotonic() - started < 10
    assert "SIGKILL" in str(raised.value) or "signal 9" in str(raised.value)
    assert_nothing_left(client)
    with pytest.raises(BackendError, match="has ended"):
        client.snapshot()


@needs_proc
def test_an_actor_that_hangs_is_ended_at_the_timeout(client: LavaClient) -> None:
    begin_long(client)
    os.kill(actor_of(client), signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(BackendError, match=r"'advance' within 1\.5 s"):
        client.advance(100, timeout=1.5)
    assert time.monotonic() - started < 10
    assert_nothing_left(client)


def test_a_model_that_raises_gives_its_own_traceback(client: LavaClient) -> None:
    client.network(*linear(2, 0.5))
    started = time.monotonic()
    with pytest.raises(BackendError, match="alpha is 7") as raised:
        client.begin(u=np.ones((1, 2)), x=np.zeros((1, 0)), betas=np.zeros(1), alpha=7.0, max_steps=1)
    assert time.monotonic() - started < 10
    assert "ValueError" in str(raised.value)
    assert "in run_spk" in str(raised.value)
    assert_nothing_left(client)


def test_a_model_that_cannot_be_built_gives_its_own_traceback(client: LavaClient) -> None:
    structure, arrays = linear(2, 0.5)
    structure["populations"][0]["activation"] = "swish"
    client.network(structure, arrays)
    with pytest.raises(BackendError, match="'swish' is not one of") as raised:
        client.begin(u=np.ones((1, 2)), x=np.zeros((1, 0)), betas=np.zeros(1), alpha=0.5, max_steps=1)
    assert "in activation" in str(raised.value)
    assert_nothing_left(client)


def test_a_request_that_does_not_fit_is_refused_in_one_sentence(client: LavaClient) -> None:
    structure, _ = linear(2, 0.5)
    with pytest.raises(BackendError) as raised:
        client.network(structure, {"w": np.eye(3)})
    assert str(raised.value) == "array 'w' has shape (3, 3), (2, 2) is needed"
    assert_nothing_left(client)


def test_ctrl_c_leaves_nothing(client: LavaClient) -> None:
    begin_long(client)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            client.advance(10**8)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert_nothing_left(client)


def test_close_leaves_nothing(client: LavaClient) -> None:
    begin_long(client)
    client.advance(3)
    assert members(group_of(client))
    client.close()
    assert_nothing_left(client)
    client.close()


PARENT = """
import sys, time
from pathlib import Path
import numpy as np
from neuro_eq.backends.lava.client import LavaClient
client = LavaClient(Path(sys.argv[1]))
weights = {"w": 0.5 * np.eye(8)}
population = {"name": "p", "size": 8, "activation": "identity", "clamped": False}
synapse = {"kind": "dense", "source": "p", "target": "p", "symmetric": True, "weight": "w"}
client.network({"populations": [population], "synapses": [synapse], "cost": None}, weights)
client.begin(u=np.ones((1, 8)), x=np.zeros((1, 0)), betas=np.zeros(1), alpha=0.5, max_steps=10**9)
print(client._child._process.pid, client._child._prefix, client._child._folder, flush=True)
"""


@pytest.mark.parametrize("ending", ["normal", "idle", "busy"])
def test_nothing_outlives_the_parent(python: Path, ending: str) -> None:
    """A parent that ends normally, or is killed while the child waits for it or is in the middle of a run."""
    last = {"normal": "", "idle": "time.sleep(60)", "busy": "client.advance(10**8)"}[ending]
    parent = subprocess.Popen([sys.executable, "-c", PARENT + last, str(python)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, prefix, folder = parent.stdout.readline().split()
    if ending != "normal":
        assert members(int(pid))
        time.sleep(0.5)
        parent.kill()
    parent.wait(10)
    parent.stdout.close()
    deadline = time.monotonic() + 8
    while members(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(int(pid)) == []
    assert list(Path("/dev/shm").glob(f"{prefix}*")) == []
    assert not Path(folder).exists()
