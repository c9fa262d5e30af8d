"""MSE, PSNR and SSIM by hand and against a slow loop over windows."""

import math

import pytest
import torch

from phalanx.core.errors import PreconditionError
from phalanx.metrics import mse, psnr, ssim


def pair(*shape):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(*shape, generator=generator)
    return (truth + 0.2 * torch.randn(*shape, generator=generator)).clamp(0, 1), truth


def slow_ssim(x, y, side):
    weights = [math.exp(-((i - side // 2) ** 2) / 4.5) for i in range(side)]
    window = torch.tensor([[a * b for b in weights] for a in weights], dtype=torch.float64)
    window /= window.sum()
    values = []
    for a, b in zip(x.double(), y.double()):
        for i in range(a.shape[0] - side + 1):
            for j in range(a.shape[1] - side + 1):
                p, q = a[i : i + side, j : j + side], b[i : i + side, j : j + side]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(torch.stack(values).mean())


def test_mse_and_psnr_are_worked_by_hand():
    truth = torch.zeros(2, 1, 1, 2)
    images = torch.tensor([[0.1, 0.1], [0.0, 1.0]]).view(2, 1, 1, 2)
    assert mse(images, truth).tolist() == pytest.approx([0.01, 0.5])
    assert psnr(images, truth).tolist() == pytest.approx([20, 10 * math.log10(2)])


def test_equal_images_have_infinite_psnr_and_ssim_one():
    _, truth = pair(2, 3, 12, 12)
    assert psnr(truth, truth).tolist() == [math.inf, math.inf]
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("shape, side", [((2, 3, 13, 12), 11), ((1, 1, 8, 9), 7), ((1, 2, 1, 5), 1)])
def test_ssim_is_that_of_a_loop_over_all_windows(shape, side):
    images, truth = pair(*shape)
    expected = [slow_ssim(x, y, side) for x, y in zip(images, truth)]
    assert ssim(images, truth).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("score", [mse, psnr, ssim])
def test_shapes_that_differ_are_one_sentence(score):
    with pytest.raises(PreconditionError, match=r"got \[1, 1, 2, 2\] and \[1, 1, 2, 3\]"):
        score(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
