"""DnC: rows that stick out along the top singular direction of random coordinates are dropped."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import DnC, Mean
from phalanx.attacks import MinMax
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 999))
def test_dnc_agrees_with_a_singular_value_decomposition(f: int, extra: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    centred = rows - rows.mean(dim=0)
    top = torch.linalg.svd(centred).Vh[0]
    kept = (centred @ top).square().argsort()[: n - f]
    torch.testing.assert_close(DnC(num_byzantine=f)(rows), rows[kept].mean(dim=0), rtol=1e-6, atol=1e-7)


def test_rows_must_survive_every_sample_and_if_none_does_the_model_is_kept() -> None:
    rows = torch.zeros(4, 4)
    rows.fill_diagonal_(1.0)  # each row sticks out in a coordinate of its own
    updates, context = Updates.of(10 * rows), RoundContext.for_matrix(rows)
    aggregate, _ = DnC(num_byzantine=1, num_iterations=200, max_coordinates=1).aggregate(updates, {}, context)
    assert aggregate.update is None
    assert not aggregate.influence.any()


def test_a_larger_filter_factor_drops_more_and_needs_more() -> None:
    rows = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
    aggregate, _ = DnC(num_byzantine=2, filter_factor=1.5).aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    assert int((aggregate.influence == 0).sum()) == 3
    with pytest.raises(PreconditionError, match=r"DnC needs n > \(1 \+ c\) f updates; got n=4, f=2, c=1"):
        DnC(num_byzantine=2)(torch.ones(4, 2))


def test_dnc_sees_min_max_which_hides_from_distances() -> None:
    honest = torch.randn(16, 2000, generator=torch.Generator().manual_seed(1))
    attack = MinMax()(honest, num_byzantine=4)
    rows = torch.cat([attack, honest])
    update, _ = DnC(num_byzantine=4).aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    assert not update.influence[:4].any()
    centre = honest.mean(dim=0)
    assert (DnC(num_byzantine=4)(rows) - centre).norm() < 0.1 * (Mean()(rows) - centre).norm()
