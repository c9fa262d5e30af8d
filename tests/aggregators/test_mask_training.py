"""Learnable masks: the closed form of their gradient against autograd, in any module, in any blocks."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from phalanx.aggregators import mask_training
from phalanx.aggregators.mask_training import Candidates, MaskStep, TrainedMasks, quantile_of, train_masks
from phalanx.aggregators.root_loss import root_loss
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Root, RoundContext, Samples
from phalanx.core.workers import workers

MODULES = {
    "softmax regression": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4)),
    "convolutions": lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)),
    "BatchNorm": lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)),
    "a frozen layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 8).requires_grad_(False), nn.Tanh(), nn.Linear(8, 4)),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4)),
}


def round_with(name: str, num_samples: int = 12) -> RoundContext:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = MODULES[name]()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(num_samples, 1, 6, 6, generator=generator)
    samples = Samples(images, torch.arange(num_samples) % 4, 4, mean=torch.full((1, 1, 1), 0.2), std=torch.full((1, 1, 1), 1.5))
    params, buffers = flatten(module)
    root = Root(samples, lambda: 0.1 * torch.randn(len(params), generator=torch.Generator().manual_seed(2)))
    return RoundContext(0, 0, Layout.of(module), params, buffers, model=module, root=root)


def candidates_for(context: RoundContext, n: int = 5) -> Candidates:
    rows = 0.1 * torch.randn(n, context.layout.d, generator=torch.Generator().manual_seed(3))
    return Candidates(rows, context.root.update())


def gradient_by_autograd(context: RoundContext, candidates: Candidates, masks: Tensor) -> Tensor:
    """The naive way: the whole merge in the graph, the module called with the merged tensors, BatchNorm in training mode."""
    module = copy.deepcopy(context.model).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train()
    masks = masks.clone().requires_grad_()
    models = context.global_params + torch.cat([candidates.rows, candidates.root[None]])
    shares = masks.sigmoid()
    merged = (shares * models).sum(0) / shares.sum(0)
    samples = context.root.samples
    logits = functional_call(module, context.layout.views(merged), ((samples.images - 0.2) / 1.5,))
    return torch.autograd.grad(cross_entropy(logits, samples.labels), masks)[0]


@pytest.mark.parametrize("name", MODULES)
def test_the_closed_form_is_autograds_gradient_at_any_masks(name: str) -> None:
    context = round_with(name)
    candidates = candidates_for(context)
    masks = 2 * torch.randn(6, context.layout.d, generator=torch.Generator().manual_seed(4))
    for some in (torch.ones_like(masks), masks):
        expected, moved = gradient_by_autograd(context, candidates, some), some.clone()
        merge = candidates.merged(moved)
        with root_loss(context) as loss:
            _, gradient = loss(merge.update)
        candidates.descend(moved, gradient, MaskStep(1e4, math.inf), merge)
        largest = expected.abs().max()
        assert ((some - moved) / 1e4 - expected).abs().max() <= 3e-6 * largest + 1e-10


def test_what_masks_merge_to_after_a_step_is_their_weighted_mean() -> None:
    context = round_with("convolutions")
    candidates = candidates_for(context)
    masks = torch.ones(6, context.layout.d)
    merge = candidates.merged(masks)
    everyone = torch.cat([candidates.rows, candidates.root[None]])
    torch.testing.assert_close(merge.update, everyone.mean(dim=0))
    gradient = torch.randn(context.layout.d, generator=torch.Generator().manual_seed(5))
    candidates.descend(masks, gradient, MaskStep(50.0, 0.02), merge)
    assert (masks - 1).abs().max() == pytest.approx(1.0)
    shares = masks.sigmoid()
    torch.testing.assert_close(merge.total, shares.sum(dim=0))
    torch.testing.assert_close(merge.update, (shares * everyone).sum(dim=0) / shares.sum(dim=0))


def test_the_sizes_of_the_first_gradient_are_those_of_autograd() -> None:
    context = round_with("BatchNorm")
    candidates, masks = candidates_for(context), torch.ones(6, context.layout.d)
    expected = gradient_by_autograd(context, candidates, masks).abs()
    merge = candidates.merged(masks)
    with root_loss(context) as loss:
        _, gradient = loss(merge.update)
    sizes = candidates.first_sizes(gradient, merge, masks)
    torch.testing.assert_close(sizes.view_as(expected), expected, rtol=1e-4, atol=1e-9)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    context = round_with("convolutions")

    def trained() -> Tensor:
        with root_loss(context) as loss:
            return train_masks(candidates_for(context), loss, steps=4, choose_step=lambda sizes: MaskStep(1 / 1e-3, 1e-3)).masks

    whole = trained()
    for columns in (7, 64):
        monkeypatch.setattr(mask_training, "_BLOCK", columns)
        monkeypatch.setattr(mask_training, "_BLOCK_VALUES", 1)
        torch.testing.assert_close(trained(), whole, rtol=1e-5, atol=1e-5)


def test_any_number_of_workers_trains_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    context = round_with("convolutions")
    monkeypatch.setattr(mask_training, "_BLOCK", 7)  # 33 blocks in 8 parts
    monkeypatch.setattr(mask_training, "_BLOCK_VALUES", 1)

    def trained(count: int) -> TrainedMasks:
        with root_loss(context) as loss, workers(count):
            return train_masks(
                candidates_for(context), loss, steps=4, choose_step=lambda sizes: MaskStep(1e3, quantile_of(sizes(), 0.9))
            )

    alone, shared = trained(1), trained(3)
    assert torch.equal(alone.masks, shared.masks)
    assert alone.losses == shared.losses


def test_training_lowers_the_merged_models_loss_and_tells_what_it_saw() -> None:
    context = round_with("softmax regression")
    with root_loss(context) as loss:
        trained = train_masks(candidates_for(context), loss, steps=15, choose_step=lambda sizes: MaskStep(1e3, 1e-3))
    assert trained.steps == len(trained.losses) == 15
    assert trained.losses[-1] < trained.losses[0]


def test_training_ends_where_it_is_told_to_and_where_the_loss_is_not_finite() -> None:
    candidates = Candidates(torch.ones(2, 3), torch.zeros(3))

    def run(value: float, gradient: float, patience: int = 9) -> tuple[int, bool]:
        trained = train_masks(
            candidates,
            lambda update: (value, torch.full((3,), gradient)),
            steps=5,
            choose_step=lambda sizes: MaskStep(1.0, 1.0),
            stops=lambda losses: len(losses) > patience,
        )
        return trained.steps, trained.is_finite

    assert run(1.0, 1.0) == (5, True)
    assert run(1.0, 1.0, patience=2) == (2, True)
    assert run(math.nan, 1.0) == run(math.inf, 1.0) == run(1.0, math.nan) == (0, False)


def test_the_model_is_given_back_as_it_was() -> None:
    context = round_with("BatchNorm")
    module = context.model
    module.train()
    module[2].eval()
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with root_loss(context) as loss:
        loss(torch.zeros(context.layout.d))
    assert [part.training for part in module] == [True, True, False, True, True]
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


@pytest.mark.usefixtures("untouched_rng")
def test_batch_norm_uses_the_root_batchs_own_statistics_and_dropout_is_off() -> None:
    context = round_with("BatchNorm")
    with torch.no_grad():
        context.model[1].running_mean.fill_(1e6)  # an attacker's
    with root_loss(context) as loss:
        value, _ = loss(torch.zeros(context.layout.d))
    images = (context.root.samples.images - 0.2) / 1.5
    seen = nn.functional.batch_norm(context.model[0](images), None, None, training=True)
    expected = cross_entropy(context.model[4](seen.relu().flatten(1)), context.root.samples.labels)
    assert value == pytest.approx(expected.item(), rel=1e-5)
    dropping = round_with("dropout")
    dropping.model.train()
    with root_loss(dropping) as loss:
        assert loss(torch.zeros(dropping.layout.d))[0] == loss(torch.zeros(dropping.layout.d))[0]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0])
def test_the_quantile_is_the_smallest_value_that_so_many_do_not_exceed(share: float) -> None:
    sizes = torch.randn(257, generator=torch.Generator().manual_seed(0)).abs()
    expected = np.sort(sizes.numpy())[math.ceil(share * 257) - 1]
    assert quantile_of(sizes.clone(), share) == expected
