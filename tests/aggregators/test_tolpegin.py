"""Tolpegin's defence: the larger of two clusters of the output layer's updates."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from phalanx.aggregators import Mean, Tolpegin
from phalanx.aggregators.tolpegin import last_layer
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext, Updates


def kept(rows: Tensor, rule: Tolpegin | None = None, layout: Layout | None = None) -> list[int]:
    context = RoundContext.for_matrix(rows)
    context = dataclasses.replace(context, layout=layout or context.layout)
    return (rule or Tolpegin()).aggregate(Updates.of(rows), {}, context)[0].influence.nonzero().flatten().tolist()


def two_groups(seed: int, n: int = 15, d: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=generator) * torch.rand(d, generator=generator)
    rows[: n // 3] += 2 * torch.rand(d, generator=generator)
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_it_agrees_with_scikit_learns_steps(seed: int) -> None:
    rows = two_groups(seed)
    points = PCA(2).fit_transform(StandardScaler().fit_transform(rows.double().numpy()))
    labels = KMeans(2, n_init=10, random_state=0).fit_predict(points)
    assert kept(rows) == np.flatnonzero(labels == np.bincount(labels).argmax()).tolist()


def test_by_hand() -> None:
    rows = torch.tensor([[0.0, 1.0], [0.0, 1.2], [0.1, 1.0], [5.0, -3.0], [5.0, -3.1]])
    assert kept(rows) == [0, 1, 2]
    torch.testing.assert_close(Tolpegin()(rows), rows[:3].mean(dim=0))


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_rows_does_not_matter_where_there_are_two_groups(seed: int) -> None:
    rows = two_groups(seed)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    assert sorted(int(order[place]) for place in kept(rows[order])) == kept(rows)


def scene(model: nn.Module | None, layout: Layout) -> RoundContext:
    zeros = torch.zeros(layout.d)
    return RoundContext(0, 0, layout, zeros, zeros[:0], model=model)


def test_the_last_layer_is_the_last_modules_weight_and_bias() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert last_layer(scene(None, Layout.of(module))) == slice(16, 26)
    assert last_layer(scene(module, Layout.of(module))) == slice(16, 26)
    assert last_layer(scene(None, Layout.flat(7))) == slice(0, 7)
    rows = two_groups(0, d=26)
    rows[:, :16] = 0
    rows[3:, :16] = 50  # a split that only `all` sees
    assert kept(rows, layout=Layout.of(module)) == list(range(5, 15))
    assert kept(rows, Tolpegin("all"), Layout.of(module)) != list(range(5, 15))


def test_the_last_layer_of_a_model_is_its_last_linear_one_whatever_comes_behind() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False), nn.LayerNorm(2))
    assert last_layer(scene(module, Layout.of(module))) == slice(16, 24)
    assert last_layer(scene(None, Layout.of(module))) == slice(24, 28), "the layout alone knows no kinds of layers"


def test_a_model_without_a_linear_layer_is_refused_unless_all_layers_are_looked_at() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ConfigError, match=r"Tolpegin looks at the output layer, the last nn\.Linear"):
        Tolpegin().check(model)
    Tolpegin("all").check(model)


def test_equal_rows_and_a_tie_have_an_answer() -> None:
    assert kept(torch.ones(5, 3)) == [0, 1, 2, 3, 4]
    rows = torch.tensor([[1.0], [9.0], [1.0], [9.0]])
    assert kept(rows) == [0, 2]  # of two clusters of one size the smaller content
    assert kept(rows.flip(0)) == [1, 3]


def test_two_rows_have_no_majority() -> None:
    with pytest.raises(PreconditionError, match=r"Tolpegin needs n >= 3 .* n=2"):
        Tolpegin()(torch.ones(2, 3))


def test_it_holds_where_flipped_labels_move_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(60, generator=generator)
    rows = truth + 0.3 * torch.randn(20, 60, generator=generator)
    rows[:6] -= 2 * truth
    assert kept(rows) == list(range(6, 20))
    assert (Tolpegin()(rows) - truth).norm() < 0.3 * (Mean()(rows) - truth).norm()
