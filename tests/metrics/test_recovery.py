"""A batch's reconstructions are matched to its images, and the mean image stands beside them."""

from itertools import permutations

import pytest
import torch

from phalanx.core.errors import PreconditionError
from phalanx.metrics import psnr, recovery


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_matching_is_the_best_of_all_permutations():
    images, truth = rand(5, 1, 4, 4), rand(5, 1, 4, 4, seed=1)
    found = recovery(images, truth, mean_image=torch.full((1, 4, 4), 0.5))
    best = max(float(psnr(images[list(order)], truth).sum()) for order in permutations(range(5)))
    assert float(found.psnr.sum()) == pytest.approx(best, rel=1e-5)
    assert torch.equal(found.psnr, psnr(images[found.order], truth))


def test_a_shuffled_batch_is_put_in_order():
    truth, order = rand(6, 3, 4, 4), torch.tensor([3, 1, 5, 0, 2, 4])
    found = recovery((truth[order] + 0.01).clamp(0, 1), truth, mean_image=truth.mean(0))
    assert torch.equal(order[found.order], torch.arange(6))
    assert found.best_psnr == float(found.psnr.max()) >= found.mean_psnr == pytest.approx(float(found.psnr.mean()))


def test_an_exact_image_matches_itself():
    truth = rand(3, 1, 4, 4)
    assert recovery(truth.flip(0), truth, mean_image=truth.mean(0)).order.tolist() == [2, 1, 0]


def test_the_baseline_is_the_mean_images_psnr():
    truth = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert recovery(truth, truth, mean_image=torch.full((1, 1, 1), 0.9)).baseline.tolist() == pytest.approx(
        [0.9151, 20], abs=1e-3
    )


@pytest.mark.parametrize(
    ("images", "mean_image", "message"),
    [
        (rand(2, 1, 4, 4) * 255, rand(1, 4, 4), r"Images are floats \[B, C, H, W\] in \[0, 1\]"),
        ((rand(2, 1, 4, 4) * 255).byte(), rand(1, 4, 4), "Divide bytes by 255"),
        (rand(2, 4, 4), rand(4, 4), r"got torch\.float32 of shape \[2, 4, 4\]"),
        (rand(0, 1, 4, 4), rand(1, 4, 4), "one at least"),
        (rand(2, 1, 4, 4), rand(3, 4, 4), r"mean image has an image's shape, \[1, 4, 4\]; got \[3, 4, 4\]"),
    ],
)
def test_what_is_no_image_is_one_sentence(images, mean_image, message):
    with pytest.raises(PreconditionError, match=message):
        recovery(images, images, mean_image=mean_image)


def test_batches_of_other_sizes_are_one_sentence():
    with pytest.raises(PreconditionError, match="Images are compared"):
        recovery(rand(2, 1, 4, 4), rand(3, 1, 4, 4), mean_image=rand(1, 4, 4))
