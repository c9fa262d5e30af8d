"""NormClipping: the mean of clipped rows."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import Mean, NormClipping
from phalanx.core.errors import ConfigError
from phalanx.core.types import RoundContext, Updates

ROWS = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [30.0, 40.0]])


def test_norm_clipping_by_hand() -> None:
    torch.testing.assert_close(NormClipping(max_norm=2.5)(ROWS), torch.tensor([1.5 + 0 + 0 + 1.5, 2 + 1 + 0 + 2]) / 4)


def test_a_quantile_of_the_norms_takes_the_mean_of_the_two_middles() -> None:
    # Norms 0, 1, 5, 50: the median is 3.
    assert torch.equal(NormClipping(quantile=0.5)(ROWS), NormClipping(max_norm=3.0)(ROWS))
    assert torch.equal(NormClipping(quantile=1.0)(ROWS), NormClipping(max_norm=50.0)(ROWS))
    assert NormClipping(quantile=0.0)(ROWS).tolist() == [0, 0]


def test_influence_is_weight_times_clip_factor_and_the_bound_is_reported() -> None:
    updates = dataclasses.replace(Updates.of(ROWS), weights=torch.tensor([2.0, 1, 1, 4], dtype=torch.float64))
    aggregate, _ = NormClipping(max_norm=2.5).aggregate(updates, {}, RoundContext.for_matrix(ROWS))
    assert aggregate.influence is not None
    torch.testing.assert_close(aggregate.influence, torch.tensor([2 * 0.5, 1, 1, 4 * 0.05], dtype=torch.float64) / 8)
    assert aggregate.metrics == {"clip_norm": 2.5, "clipped": 0.5}


@pytest.mark.parametrize("fields", [{}, {"max_norm": 1.0, "quantile": 0.5}])
def test_exactly_one_bound_has_to_be_given(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="NormClipping needs either max_norm or quantile"):
        NormClipping(**fields)


def test_a_row_of_1e38_is_clipped_to_the_bound_exactly() -> None:
    rows = torch.cat([torch.zeros(3, 1000), torch.full((1, 1000), 1e38)])
    assert NormClipping(max_norm=4.0)(rows).norm().item() == pytest.approx(1, rel=1e-5)


def test_a_boosted_update_breaks_the_mean_and_not_the_clipped_mean() -> None:
    rows = 1 + 0.1 * torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    rows[0] *= -1000
    assert Mean()(rows).max() < -50
    assert NormClipping(quantile=0.5)(rows).min() > 0.5
