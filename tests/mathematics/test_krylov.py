"""Arnoldi's largest eigenvalues against dense ones."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.krylov import largest_modulus


def outermost(matrices, **options):
    """The largest moduli of a stack of matrices, of which only products are told."""
    how = {"symmetric": False, "rtol": 1e-10, "max_iterations": 200, **options}
    return largest_modulus(lambda v: np.einsum("bij,bj->bi", matrices, v), len(matrices), matrices.shape[-1], **how)


def test_random_matrices_have_complex_pairs_outermost():
    matrices = np.random.default_rng(0).normal(size=(12, 30, 30)) / np.sqrt(30)
    eigenvalues = np.linalg.eigvals(matrices)
    wanted = np.max(np.abs(eigenvalues), axis=1)
    top = eigenvalues[np.arange(12), np.argmax(np.abs(eigenvalues), axis=1)]
    assert np.sum(np.abs(top.imag) > 0.1) >= 4, "the case is not tested"
    found = outermost(matrices)
    assert found.converged.all()
    # Condition numbers of these eigenvalues are below 100.
    np.testing.assert_allclose(found.modulus, wanted, rtol=1e-8)
    assert np.all(found.iterations <= 30)


def test_a_rotation_has_no_real_direction_to_grow_along():
    """A power iteration turns for ever; the pair 0.7·e^{±iφ} is in the space after two products."""
    c, s = np.cos(1.0), np.sin(1.0)
    found = outermost(0.7 * np.array([[[c, -s], [s, c]]]))
    np.testing.assert_allclose(found.modulus, 0.7, rtol=1e-14)
    assert found.converged.all()


def test_large_matrices_are_done_long_before_their_size():
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(2, 300, 300)) / np.sqrt(300)
    symmetric = raw @ raw.transpose(0, 2, 1)
    found = outermost(symmetric, symmetric=True)
    wanted = np.linalg.eigvalsh(symmetric)[:, -1]
    assert found.converged.all()
    # The error of a symmetric eigenvalue is at most the residual, and from below.
    np.testing.assert_allclose(found.modulus, wanted, rtol=1e-10)
    assert np.all(found.modulus <= wanted * (1 + 1e-13))
    assert np.all(found.iterations <= 150)


def test_too_few_iterations_are_said_and_are_bounds_from_below():
    raw = np.random.default_rng(2).normal(size=(3, 200, 200))
    symmetric = raw @ raw.transpose(0, 2, 1)
    found = outermost(symmetric, symmetric=True, max_iterations=8)
    assert not found.converged.any()
    np.testing.assert_array_equal(found.iterations, 8)
    assert np.all(found.modulus < np.linalg.eigvalsh(symmetric)[:, -1])


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        (np.zeros((4, 4)), 0.0),
        (np.eye(4), 1.0),
        (-3.0 * np.eye(4), 3.0),
        (np.diag([2.0, 2.0, -2.0, 1.0]), 2.0),
        (np.array([[0.5]]), 0.5),
        (np.outer([1.0, 2.0, 3.0], [1.0, 0.0, 1.0]), 4.0),
    ],
    ids=["nought", "identity", "negative", "repeated", "one unit", "rank one"],
)
def test_spaces_that_close_early(matrix, wanted):
    found = outermost(matrix[None], scale=np.array([wanted]))
    np.testing.assert_allclose(found.modulus, [wanted], rtol=1e-13)
    assert found.converged.all()


def test_a_nilpotent_matrix_has_radius_nought_up_to_the_root_of_rounding():
    """A chain of n directed links: rounding ε moves the eigenvalues of its Jordan block by ε^{1/n}."""
    found = outermost(np.diag(np.ones(3), -1)[None], scale=np.ones(1))
    assert found.converged.all()
    assert found.modulus[0] <= 4 * (2.0**-52) ** 0.25


def test_a_product_that_is_not_finite_is_not_a_number_and_leaves_the_others_alone():
    matrices = np.stack([np.diag([1.0, 2.0, 3.0]), np.full((3, 3), np.inf), np.diag([4.0, 1.0, 1.0])])
    with np.errstate(invalid="ignore"):
        found = outermost(matrices)
    np.testing.assert_allclose(found.modulus, [3.0, np.nan, 4.0], rtol=1e-13)
    np.testing.assert_array_equal(found.converged, [True, False, True])


def test_a_sample_does_not_depend_on_its_batch():
    matrices = np.random.default_rng(3).normal(size=(5, 20, 20))
    together, alone = outermost(matrices), outermost(matrices[2:3])
    np.testing.assert_allclose(together.modulus[2], alone.modulus[0], rtol=1e-12)
    assert together.iterations[2] == alone.iterations[0]
