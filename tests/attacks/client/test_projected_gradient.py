"""ProjectedGradient: the projection by hand, its laws, and training that obeys it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.attacks.client import ProjectedGradient, ProjectOntoBall
from phalanx.core.errors import ConfigError
from phalanx.core.families import ClientAttack, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, State


class _OwnTrainer(Trainer):
    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        raise NotImplementedError


class _HonestTrainer(_OwnTrainer):
    pass


def context_at(center: Tensor) -> RoundContext:
    return RoundContext(0, 0, Layout.flat(len(center)), center, center.new_zeros(0))


def project(params: Tensor, center: Tensor, radius: float) -> Tensor:
    ProjectOntoBall(radius).after_step(params, context_at(center))
    return params


def test_a_client_outside_is_brought_to_the_surface_and_one_inside_stays() -> None:
    center = torch.tensor([1.0, 1.0])
    params = torch.tensor([[1.0 + 6, 1.0 + 8], [1.5, 1.0], [1.0, 1.0]])
    projected = project(params, center, radius=5)
    torch.testing.assert_close(projected, torch.tensor([[4.0, 5.0], [1.5, 1.0], [1.0, 1.0]]))
    assert projected is params, "the engine's own weights are changed in place"


@given(k=st.integers(1, 6), d=st.integers(1, 50), radius=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_nobody_ends_outside_directions_stay_and_once_is_enough(k: int, d: int, radius: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(d, generator=generator, dtype=torch.float64)
    params = center + 3 * torch.randn(k, d, generator=generator, dtype=torch.float64)
    drift = params - center
    projected = project(params.clone(), center, radius)
    moved = projected - center
    assert (moved.norm(dim=1) <= radius * (1 + 1e-9)).all()
    torch.testing.assert_close(torch.cosine_similarity(moved, drift), torch.ones(k, dtype=torch.float64))
    inside = drift.norm(dim=1) <= radius
    assert projected[inside].equal(params[inside]), "those inside stay bit for bit"
    torch.testing.assert_close(project(projected.clone(), center, radius), projected)


def test_the_attack_is_its_hook_and_leaves_the_honest_trainer_unless_it_has_one() -> None:
    honest, own = _HonestTrainer(), _OwnTrainer()
    assert ProjectedGradient(2.0).hooks() == (ProjectOntoBall(2.0),)
    assert ProjectedGradient(2.0).training(honest) is honest
    assert ProjectedGradient(2.0, trainer=own).training(honest) is own


def test_it_comes_from_a_table_and_needs_a_radius() -> None:
    attack = ClientAttack.from_table({"kind": "projected_gradient", "epsilon": 2.0})
    assert attack == ProjectedGradient(2.0)
    with pytest.raises(ConfigError, match="epsilon"):
        ProjectedGradient(0.0)


def test_training_inside_the_ball_keeps_more_of_its_goal_than_clipping_at_the_end() -> None:
    def loss(params: Tensor) -> Tensor:
        return (steepness * (params - goal) ** 2).sum()

    # The first coordinate is learnt early and the second late: only who knows the bound while training can trade them.
    goal, steepness = torch.tensor([3.0, 1.0]), torch.tensor([0.1, 10.0])
    center, radius = torch.zeros(2), 1.0
    context, hook = context_at(center), ProjectOntoBall(radius)
    free, bounded = torch.zeros(1, 2), torch.zeros(1, 2)
    for _ in range(300):
        free -= 0.02 * 2 * steepness * (free - goal)
        bounded -= 0.02 * 2 * steepness * (bounded - goal)
        hook.after_step(bounded, context)
    clipped = free * (radius / free.norm())
    assert bounded.norm() <= radius * (1 + 1e-6)
    assert loss(bounded) < 0.5 * loss(clipped)
