"""DP-SGD beside Opacus: the same steps without noise, the same distribution with it, the same layers refused."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.types import Samples
from phalanx.models import CNN, MLP, LogisticRegression, ResNet18, SkyMaskCNN
from phalanx.training import DPSGD, FlatClipping, PerLayerClipping

opacus = pytest.importorskip("opacus")
pytestmark = pytest.mark.filterwarnings("ignore")

TRAINER = DPSGD(0.3, epochs=2, batch_size=8, noise_multiplier=0.0, clipping=FlatClipping(0.5), momentum=0.5)
SAMPLES = Samples(torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(3), num_classes=4)


def wide(width):
    """A model of Phalanx's for images of one channel and 12 x 12."""
    return lambda: width.build((1, 8, 8), 4, torch.Generator().manual_seed(0))


NETS = {"logistic regression": wide(LogisticRegression()), "MLP": wide(MLP(hidden=(20,))), "CNN": wide(CNN())}


def theirs(here, trainer, noise_multiplier=0.0, seed=0):
    """Opacus' hooks and optimiser on the batches that our clients have."""
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer, DPPerLayerOptimizer

    updates = []
    for i in range(len(here.cohort)):
        client = trainer.work(here.cohort, here.context).client(i)
        order, sizes = client.plan()
        flat.load(here.model, here.context.global_params)
        model = GradSampleModule(copy.deepcopy(here.model).train())
        inner = torch.optim.SGD(model.parameters(), trainer.lr, momentum=trainer.momentum)
        bound, optimizer_class = trainer.clipping.max_norm, DPOptimizer
        if isinstance(trainer.clipping, PerLayerClipping):
            count = len(list(model.parameters()))
            bound, optimizer_class = [bound / count**0.5] * count, DPPerLayerOptimizer
        optimizer = optimizer_class(
            inner,
            noise_multiplier=noise_multiplier,
            max_grad_norm=bound,
            expected_batch_size=client.expected_batch,
            generator=torch.Generator().manual_seed(seed + i),
        )
        for positions in order.split(sizes):
            assert len(positions), "Opacus' own loader hands out empty batches; these are to have samples"
            optimizer.zero_grad()
            cross_entropy(model(client.load(positions)[0]), client.load(positions)[1]).backward()
            optimizer.step()
        updates.append(flat.flatten(model._module)[0] - here.context.global_params)
    return torch.stack(updates)


@pytest.mark.parametrize("clipping", [FlatClipping(0.5), PerLayerClipping(0.5)], ids=str)
@pytest.mark.parametrize("net", NETS)
def test_without_noise_every_step_is_theirs(world, net, clipping):
    """Opacus adds 1e-6 to norms: a part in 1e5 and less of what is clipped here."""
    here, trainer = world(NETS[net], (24, 17, 40)), replace(TRAINER, clipping=clipping)
    expected = theirs(here, trainer)
    for gradients in ("auto", "vmap"):
        ours = here.train(replace(trainer, gradients=gradients, engine="auto" if gradients == "auto" else "loop")).matrix
        assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_with_noise_the_rows_have_their_distribution(world):
    here, trainer = world(NETS["MLP"], (24, 17, 40)), replace(TRAINER, epochs=None, steps=1, momentum=0.0)
    silent = here.train(trainer).matrix
    ours = (here.train(replace(trainer, noise_multiplier=1.3)).matrix - silent).flatten()
    other = (theirs(here, trainer, noise_multiplier=1.3) - silent).flatten()
    assert stats.ks_2samp(ours, other).pvalue > 0.01
    for moment in (1, 2, 3, 4):
        scale = (0.3 * 1.3 * 0.5 / 8) ** moment
        assert (ours**moment).mean() / scale == pytest.approx(
            float((other**moment).mean()) / scale, abs=5 * 10 / len(ours) ** 0.5
        )


MODELS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
    "convolution and dropout": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 4)),
    "batch norm 2d": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 4)),
    "batch norm 1d": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4)),
    "batch norm without statistics": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 4)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 4)),
    "layer norm": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 4)),
    "instance norm": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Flatten(), nn.Linear(144, 4)
    ),
    "instance norm with statistics": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.Flatten(), nn.Linear(144, 4)
    ),
    "CNN": NETS["CNN"],
    "SkyMask's CNN": lambda: SkyMaskCNN().build((1, 12, 12), 4, torch.Generator()),
    "ResNet-18": lambda: ResNet18(width=16).build((1, 8, 8), 4, torch.Generator()),
    "ResNet-18 with GroupNorm": lambda: ResNet18("group", width=16).build((1, 8, 8), 4, torch.Generator()),
}


@pytest.mark.parametrize("name", MODELS)
def test_their_validator_and_ours_refuse_the_same_models(name):
    from opacus.validators import ModuleValidator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_valid = ModuleValidator.is_valid(MODELS[name]().train())
    samples = SAMPLES if "SkyMask" not in name else replace(SAMPLES, images=torch.rand(3, 1, 12, 12))
    if is_valid:
        TRAINER.check(MODELS[name](), samples)
        return
    with pytest.raises(ConfigError, match=r"^DPSGD cannot train the layer .* (Use GroupNorm|Set track_running_stats=False)\.$"):
        TRAINER.check(MODELS[name](), samples)
