"""A device that is not there, and memory that ends: one sentence each."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

SPEC = ne.models.layered_hopfield([3, 4, 2])


@pytest.fixture
def torch(need):
    need("torch")
    import torch

    return torch


def refusal(call):
    with pytest.raises(ne.BackendError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", 'device: torch knows no device "gpu"; use "cpu" or "cuda"'),
        ("", 'device: torch knows no device ""; use "cpu" or "cuda"'),
        ("cuda:x", 'device: torch knows no device "cuda:x"; use "cpu" or "cuda"'),
        ("meta", 'device: "meta" has not been tested; use "cpu" or "cuda"'),
        ("mps", 'device: "mps" has not been tested; use "cpu" or "cuda"'),
    ],
)
def test_a_device_that_is_none(torch, device, message):
    assert refusal(lambda: ne.compile(SPEC, backend="torch", device=device)) == message


def test_no_gpu_is_here(torch):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    message = refusal(lambda: ne.compile(SPEC, backend="torch", device="cuda"))
    assert message == 'device: torch finds no CUDA GPU here; use "cpu", or install a CUDA build of torch'


def test_fewer_gpus_than_that(torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = refusal(lambda: ne.compile(SPEC, backend="torch", device="cuda:2"))
    assert message == 'device: "cuda:2" does not exist; there are 2 GPUs'


def test_the_memory_of_a_cpu_ends(torch):
    """The allocator is really asked, for more than an address space holds."""
    from neuro_eq.backends.torch.memory import batch_of, enough_memory

    def much():
        with enough_memory(batch_of(512, 2), instead="CheckpointedBPTT"):
            torch.empty(2**58)

    assert refusal(much) == (
        'backend "torch" has not enough memory for a batch of 512 samples in 2 phases; take a smaller batch_size, '
        'CheckpointedBPTT, dtype="float32" if it is float64, or a device with more memory'
    )


def test_other_errors_stay_what_they_are(torch):
    from neuro_eq.backends.torch.memory import enough_memory

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), enough_memory("nothing"):
        torch.ones(2, 3) @ torch.ones(2, 3)


@pytest.mark.parametrize("where", ["drive", "learning"])
def test_the_memory_of_a_gpu_ends(torch, monkeypatch, where):
    from neuro_eq.backends.torch import engine
    from neuro_eq.backends.torch.drives import TensorDrives

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation.")

    net = ne.compile(SPEC, backend="torch")
    x, y = np.ones((6, 3)), np.zeros((6, 2))
    if where == "drive":
        monkeypatch.setattr(TensorDrives, "bare", full)
    else:
        monkeypatch.setattr(engine, "contrasts", full)
    message = refusal(lambda: ne.EqProp(0.1).gradient(net, x, y))
    batch = "a batch of 6 samples" if where == "drive" else "a batch of 6 samples in 2 phases"
    assert message.startswith(f'backend "torch" has not enough memory for {batch}; take a smaller batch_size, ')
