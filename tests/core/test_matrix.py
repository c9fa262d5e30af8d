"""Rows that are scaled and mixed as they are read answer as if they had been made, and nobody makes them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.core import rng
from phalanx.core.matrix import Matrix, Mixed, Scaled
from phalanx.core.updates import Updates


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_squared_distances(matrix: Tensor) -> Tensor:
    rows = matrix.double()
    return torch.stack([(rows - row).square().sum(dim=1) for row in rows])


@given(st.integers(1, 6), st.integers(0, 1000))
def test_mixed_rows_are_the_product_they_stand_for(n, seed):
    generator = rng.generator(seed, "test")
    matrix, weights = torch.randn(n, 5, generator=generator), torch.rand(n, generator=generator, dtype=torch.float64)
    mixing = torch.rand(n, n, generator=generator, dtype=torch.float64)
    mixing /= mixing.sum(dim=1, keepdim=True)
    mixed, plain = Updates.of(matrix).mixed(mixing), Updates.of(mixing.float() @ matrix)
    torch.testing.assert_close(mixed.matrix, plain.matrix)
    torch.testing.assert_close(mixed.columns(slice(1, 3)), plain.matrix[:, 1:3])
    torch.testing.assert_close(mixed.weighted_sum(weights), plain.weighted_sum(weights), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mixed.squared_distances, plain.squared_distances, rtol=1e-4, atol=1e-5)
    assert len(mixed) == n


def test_mixed_updates_answer_as_if_their_rows_had_been_made() -> None:
    parent = Updates.of(normal(6, 40))
    mixing = torch.eye(6, dtype=torch.float64) / 2 + 1 / 12
    mixed, made = parent.mixed(mixing), Updates.of((mixing @ parent.matrix.double()).float())
    weights = torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(mixed.squared_distances, made.squared_distances, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(mixed.weighted_sum(weights), made.weighted_sum(weights))
    assert torch.equal(mixed.content_rank, made.content_rank)
    assert "whole" not in vars(mixed.rows), "the rows were made although nobody asked for them"
    torch.testing.assert_close(mixed.matrix, made.matrix)
    assert len(mixed) == 6


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_scaled_updates_answer_as_if_their_rows_had_been_made(scale: float) -> None:
    parent = Updates.of((normal(1, 9_000) + 0.1 * normal(6, 9_000, seed=1)) * scale)
    factors = torch.tensor([1.0, 0.5, 0.25, 0.0, 1e-3, 1.0], dtype=torch.float64)
    scaled, made = parent.scaled(factors), Updates.of((factors[:, None] * parent.matrix.double()).float())
    weights = torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(scaled.norms, made.norms, rtol=1e-6, atol=0)
    torch.testing.assert_close(scaled.squared_distances, made.squared_distances, rtol=1e-5, atol=0)
    torch.testing.assert_close(scaled.gram_about(made.row(1)), made.gram_about(made.row(1)), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.weighted_sum(weights), made.weighted_sum(weights), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.row(2), made.row(2))
    assert torch.equal(scaled.content_rank, made.content_rank)
    assert "whole" not in vars(scaled.rows), "the rows were made although nobody asked for them"
    torch.testing.assert_close(scaled.matrix, made.matrix)


def test_rows_that_are_clipped_to_nearly_one_point_keep_their_small_distances() -> None:
    boosted = (normal(1, 9_000) + 1e-3 * normal(8, 9_000, seed=1)) * torch.logspace(0, 6, 8)[:, None]
    parent = Updates.of(boosted)
    scaled = parent.scaled(1 / parent.norms)
    exact = slow_squared_distances(scaled.matrix)
    torch.testing.assert_close(scaled.squared_distances, exact, rtol=1e-4, atol=0)
    assert (exact[0, 1:] < 1e-4).all()


def test_rows_mixed_after_scaling_are_made_from_the_first_matrix() -> None:
    parent = Updates.of(normal(6, 40))
    factors = torch.linspace(0.1, 1, 6, dtype=torch.float64)
    mixing = torch.eye(6, dtype=torch.float64) / 2 + 1 / 12
    scaled = parent.scaled(factors)
    mixed = scaled.mixed(mixing)
    exact = mixing @ (factors[:, None] * parent.matrix.double())
    torch.testing.assert_close(mixed.squared_distances, slow_squared_distances(exact), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(mixed.matrix, exact.float())
    torch.testing.assert_close(mixed.row(3), exact[3].float())
    assert "whole" not in vars(scaled.rows), "the scaled rows were made although nobody asked for them"


def test_factors_beyond_float32_still_scale_rows_that_are_mixed() -> None:
    scaled = Updates.of(torch.tensor([[3e38, 1e38], [1.0, 1.0]])).scaled(torch.tensor([1e-41, 1.0], dtype=torch.float64))
    mixed = scaled.mixed(torch.full((2, 2), 0.5, dtype=torch.float64))
    torch.testing.assert_close(mixed.matrix, torch.tensor([[0.5015, 0.5005]] * 2), rtol=1e-6, atol=0)


def parts(updates: Updates) -> list[Matrix]:
    """Everything that these rows are made from, they themselves first."""
    rows = [updates.rows]
    while isinstance(rows[-1], Scaled | Mixed):
        rows.append(rows[-1].parent)
    return rows[:-1]


def test_rows_that_are_scaled_again_and_again_are_made_from_the_first_ones() -> None:
    parent = Updates.of(normal(6, 40))
    mixing = torch.eye(6, dtype=torch.float64) / 2 + 1 / 12
    once, again = torch.linspace(0.1, 1, 6, dtype=torch.float64), torch.linspace(2, 0, 6, dtype=torch.float64)
    exact = parent.matrix.double()
    chains = {
        "scaled twice": (parent.scaled(once).scaled(again), (once * again)[:, None] * exact),
        "mixed and scaled": (parent.mixed(mixing).scaled(again), again[:, None] * (mixing @ exact)),
        "mixed, scaled and mixed": (
            parent.mixed(mixing).scaled(once).mixed(mixing),
            mixing @ (once[:, None] * (mixing @ exact)),
        ),
    }
    weights = torch.arange(6, dtype=torch.float64)
    for name, (updates, made) in chains.items():
        torch.testing.assert_close(updates.norms, made.norm(dim=1), rtol=1e-5, atol=1e-7, msg=name)
        torch.testing.assert_close(updates.squared_distances, slow_squared_distances(made), rtol=1e-5, atol=1e-9, msg=name)
        torch.testing.assert_close(updates.weighted_sum(weights).double(), weights @ made, rtol=1e-5, atol=1e-6, msg=name)
        torch.testing.assert_close(updates.row(2).double(), made[2], rtol=1e-5, atol=1e-6, msg=name)
        centred = made - made[1]
        torch.testing.assert_close(updates.gram_about(made[1].float()), centred @ centred.T, rtol=1e-4, atol=1e-5, msg=name)
        assert not any("whole" in vars(rows) for rows in parts(updates)), f"{name}: a second matrix was made"
        torch.testing.assert_close(updates.matrix.double(), made, rtol=1e-5, atol=1e-6, msg=name)
    assert len(parts(chains["scaled twice"][0])) == 1, "the factors are multiplied"


def test_whole_rows_are_made_in_blocks_wider_than_one() -> None:
    parent, factors = Updates.of(normal(3, 70_000)), torch.tensor([0.5, 1e-41, 2.0], dtype=torch.float64)
    made = parent.scaled(factors).matrix
    torch.testing.assert_close(made, (factors[:, None] * parent.matrix.double()).float())
