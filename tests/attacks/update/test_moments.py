"""Mean and standard deviation in blocks."""

import pytest
import torch

from phalanx.attacks.update.moments import moments


def test_by_hand() -> None:
    mean, std = moments(torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]))
    assert mean.tolist() == [2, 1]
    assert std.tolist() == pytest.approx([(8 / 3) ** 0.5, 0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (7, 4096), (5, 4097), (3, 10_000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_agrees_with_torch_on_every_size_of_block(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) + 3
    before = rows.clone()
    mean, std = moments(rows)
    torch.testing.assert_close(mean, rows.mean(0))
    torch.testing.assert_close(std, rows.std(0, correction=0))
    assert rows.equal(before)


def test_rows_that_share_a_large_common_part_keep_their_spread() -> None:
    rows = 1000 + 1e-2 * torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))
    exact = rows.double().std(0, correction=0)
    torch.testing.assert_close(moments(rows)[1].double(), exact, rtol=1e-2, atol=0)


@pytest.mark.parametrize("scale", [2.0**66, 2.0**-83])
def test_squares_that_leave_float32_do_not_spoil_the_deviation(scale: float) -> None:
    rows = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    mean, std = moments(rows)
    assert all(torch.equal(big, one * scale) for big, one in zip(moments(rows * scale), (mean, std)))
