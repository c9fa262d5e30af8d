"""The mean of the values nearest to a centre."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators.windows import nearest_mean


@given(st.integers(1, 12), st.data())
def test_nearest_mean_is_the_mean_of_the_values_that_sorting_by_distance_puts_first(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, n))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    ascending = torch.randn(5, n, dtype=torch.float64, generator=generator).sort(dim=1).values
    centre = torch.randn(5, dtype=torch.float64, generator=generator)
    order = (ascending - centre[:, None]).abs().argsort(dim=1)[:, :count]
    torch.testing.assert_close(nearest_mean(ascending, centre, count), ascending.gather(1, order).mean(dim=1))


def test_of_two_values_as_near_the_smaller_counts() -> None:
    assert nearest_mean(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([1.0]), 2).item() == 0.5
