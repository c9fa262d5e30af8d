"""A real client's row of the update matrix, from the trainers themselves: what a server reads in it, with ATS and without."""

import pytest
import torch

from phalanx.core.params import Layout, flatten
from phalanx.core.types import Cohort, RoundContext, Rows, Samples
from phalanx.data import ATS
from phalanx.inversion import InvertingGradients, Leak, LinearRecovery, LocalSteps
from phalanx.metrics import psnr, recovery
from phalanx.models import MLP, SigmoidCNN
from phalanx.training import SGD


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sent(model, images, labels, trainer):
    """The row of one client that holds these bytes."""
    layout = Layout.of(model)
    samples = Samples(images, labels, 4, mean=torch.full((1, 1, 1), 0.4), std=torch.full((1, 1, 1), 0.3))
    rows, context = Rows.empty(1, layout), RoundContext(0, 7, layout, *flatten(model), model=model)
    trainer.train(Cohort((0,), (0,), samples, (torch.arange(len(images)),)), {}, context, rows)
    return rows.matrix[0], samples


@pytest.mark.parametrize("engine", ["loop", "linear"])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("is_inverted", [False, True])
def test_one_image_is_read_off_a_row_exactly_and_ats_leaves_the_transformed_one(engine, epochs, is_inverted):
    image = torch.randint(256, (1, 1, 6, 6), generator=seeded(), dtype=torch.uint8)
    model = MLP(hidden=()).build((1, 6, 6), 4, seeded())
    trainer = SGD(0.1, epochs=epochs, engine=engine, augment=(ATS(((0,),)),) if is_inverted else ())
    row, samples = sent(model, image, torch.tensor([2]), trainer)
    leak = Leak.of_update(row, (1, 1, 6, 6), local=LocalSteps(0.1, epochs=epochs), mean=samples.mean, std=samples.std)
    found = LinearRecovery().reconstruct(leak, model, seeded())
    assert found.labels.tolist() == [2]
    seen = 255 - image if is_inverted else image
    assert psnr(found.images, seen / 255) > 60


def test_a_search_finds_the_images_of_a_row_of_several_steps():
    small = torch.rand(2, 1, 2, 2, generator=seeded(1))
    images = (torch.nn.functional.interpolate(small, size=(8, 8), mode="bilinear") * 255).round().to(torch.uint8)
    model, labels = SigmoidCNN().build((1, 8, 8), 4, seeded()), torch.tensor([0, 3])
    row, samples = sent(model, images, labels, SGD(0.05, epochs=2, batch_size=2))
    leak = Leak.of_update(row, (2, 1, 8, 8), labels, local=LocalSteps(0.05, 2, 2), mean=samples.mean, std=samples.std)
    found = InvertingGradients(1e-3, steps=300).reconstruct(leak, model, seeded(2))
    scores = recovery(found.images, images / 255, mean_image=(images / 255).mean(0))
    assert scores.mean_psnr > scores.baseline.mean() + 5
