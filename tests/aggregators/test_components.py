"""Principal components from inner products."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from phalanx.aggregators.components import principal_points


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_the_rows_divided_by_their_rms(seed: int) -> None:
    rows = torch.randn(9, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = PCA(2).fit_transform(rows.numpy())
    expected *= np.sign((expected**3).sum(axis=0))
    points = principal_points(rows @ rows.T)
    np.testing.assert_allclose(points, expected / np.sqrt((expected**2).mean()), atol=1e-6)
    assert (points**2).mean() == pytest.approx(1, rel=1e-5)


def test_the_order_of_rows_moves_the_points_and_nothing_else() -> None:
    rows = torch.randn(9, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(8))
    points = principal_points(rows @ rows.T)
    np.testing.assert_allclose(principal_points(rows[order] @ rows[order].T), points[order.numpy()], atol=2e-6)


@pytest.mark.parametrize("seed", range(10))
def test_equal_rows_are_one_point(seed: int) -> None:
    rows = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).repeat(6, 1)
    assert not principal_points(rows @ rows.T).any()


def test_rows_on_a_line_by_hand() -> None:
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    # Along the line they lie at −5/3, −5/3, 10/3; rms of all six coordinates: √(150/9/6) = 5/3.
    assert principal_points(rows @ rows.T).tolist() == [[-1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]]
