"""What holds for every architecture: shapes, gradients, the generator alone decides, torch's own statistics."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from phalanx.core.component import members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Architecture
from phalanx.core.params import Layout
from phalanx.models import (
    CNN,
    MLP,
    ConvNet8,
    FlipCNN,
    LogisticRegression,
    MobileNet,
    MobileNetV3,
    ResNet18,
    ResNet20,
    ResNet56,
    SigmoidCNN,
    SkyMaskCNN,
)

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
CASES = [
    (LogisticRegression(), GREY),
    (LogisticRegression(), (561,)),
    (MLP(hidden=(16, 8)), (7,)),
    (CNN(), (1, 8, 8)),
    (CNN(), COLOUR),
    (SkyMaskCNN(), GREY),
    (SigmoidCNN(), GREY),
    (FlipCNN(), GREY),
    (ConvNet8(width=8), COLOUR),
    (ResNet20(), COLOUR),
    (ResNet18(width=16), COLOUR),
    (ResNet18("group", width=16), COLOUR),
    (ResNet56(), COLOUR),
    (MobileNet(), COLOUR),
    (MobileNetV3(), COLOUR),
]
each_case = pytest.mark.parametrize("architecture, shape", CASES, ids=lambda value: str(value))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(narrow: int, wide: int, size: int, *, bias: bool = True) -> int:
    return narrow * wide * size**2 + wide * bias


def linear(narrow: int, wide: int) -> int:
    return (narrow + 1) * wide


def block(narrow: int, wide: int) -> int:
    shortcut = 0 if narrow == wide else conv(narrow, wide, 1, bias=False) + 2 * wide
    return conv(narrow, wide, 3, bias=False) + conv(wide, wide, 3, bias=False) + 4 * wide + shortcut


def resnet18(width: int) -> int:
    w = width
    stages = [(w, w), (w, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w)]
    return conv(3, w, 3, bias=False) + 2 * w + sum(block(*stage) for stage in stages) + linear(8 * w, 10)


def convnet8(w: int) -> int:
    widths = [3, w, 2 * w, 2 * w, 4 * w, 4 * w, 4 * w, 4 * w, 4 * w]
    return sum(conv(a, b, 3) + 2 * b for a, b in pairwise(widths)) + linear(4 * w * 9, 10)


def cifar_resnet(blocks: int) -> int:
    stages = [(16, 16), *[(16, 16)] * (blocks - 1), (16, 32), *[(32, 32)] * (blocks - 1), (32, 64), *[(64, 64)] * (blocks - 1)]
    return conv(3, 16, 3, bias=False) + 32 + sum(block(*stage) for stage in stages) + linear(64, 10)


def mobilenet() -> int:
    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    separable = sum(9 * a + 2 * a + conv(a, b, 1, bias=False) + 2 * b for a, b in pairwise(widths))
    return conv(3, 32, 3, bias=False) + 64 + separable + linear(1024, 10)


def mobilenet_v3() -> int:
    def inverted(narrow: int, kernel: int, expanded: int, wide: int, inner: int) -> int:
        widen = 0 if expanded == narrow else conv(narrow, expanded, 1, bias=False) + 2 * expanded
        weigh = conv(expanded, inner, 1) + conv(inner, expanded, 1) if inner else 0
        return widen + kernel**2 * expanded + 2 * expanded + weigh + conv(expanded, wide, 1, bias=False) + 2 * wide

    blocks = [
        *[(16, 3, 16, 16, 0), (16, 3, 64, 24, 0), (24, 3, 72, 24, 0), (24, 5, 72, 40, 24)],
        *[(40, 5, 120, 40, 32), (40, 5, 120, 40, 32), (40, 3, 240, 80, 0), (80, 3, 200, 80, 0), (80, 3, 184, 80, 0)],
        *[(80, 3, 184, 80, 0), (80, 3, 480, 112, 120), (112, 3, 672, 112, 168), (112, 5, 672, 160, 168)],
        *[(160, 5, 960, 160, 240), (160, 5, 960, 160, 240)],
    ]
    stem, last = conv(3, 16, 3, bias=False) + 32, conv(160, 960, 1, bias=False) + 1920
    return stem + sum(inverted(*sizes) for sizes in blocks) + last + linear(960, 1280) + linear(1280, 10)


@pytest.mark.parametrize(
    "architecture, shape, classes, by_hand, published",
    [
        (LogisticRegression(), (561,), 6, linear(561, 6), 3_372),
        (LogisticRegression(), GREY, 10, linear(784, 10), 7_850),
        (MLP(), GREY, 10, linear(784, 200) + linear(200, 10), 159_010),
        (MLP(hidden=()), GREY, 10, linear(784, 10), 7_850),
        (CNN(), GREY, 10, conv(1, 16, 5) + conv(16, 32, 5) + linear(32 * 49, 64) + linear(64, 10), 114_314),
        (SkyMaskCNN(), GREY, 10, conv(1, 30, 3) + conv(30, 50, 3) + linear(1250, 100) + linear(100, 10), 139_960),
        (SigmoidCNN(), COLOUR, 100, conv(3, 12, 5) + 2 * conv(12, 12, 5) + linear(768, 100), 85_036),
        (FlipCNN(), GREY, 10, conv(1, 20, 5) + conv(20, 50, 5) + linear(800, 500) + linear(500, 10), 431_080),
        (ConvNet8(), COLOUR, 10, convnet8(64), 2_904_970),
        (ResNet20(), COLOUR, 10, cifar_resnet(3), 272_474),
        (ResNet56(), COLOUR, 10, cifar_resnet(9), 855_770),
        (MobileNet(), COLOUR, 10, mobilenet(), 3_217_226),
        (MobileNetV3(), COLOUR, 10, mobilenet_v3(), 4_214_842),
        (ResNet18(), COLOUR, 10, resnet18(64), 11_173_962),
        (ResNet18("group"), COLOUR, 10, resnet18(64), 11_173_962),
        (ResNet18(width=32), COLOUR, 10, resnet18(32), 2_797_610),
    ],
    ids=lambda value: str(value),
)
def test_the_number_of_parameters_is_the_one_worked_out_by_hand(architecture, shape, classes, by_hand, published):
    assert trainable(architecture.build(shape, classes, seeded())) == by_hand == published


def test_every_architecture_of_the_family_is_tested_here():
    ours = {kind for kind, member in members(Architecture).items() if member.__module__.startswith("phalanx.models")}
    assert {architecture.kind for architecture, _ in CASES} == ours - {"pretrained"}  # a recipe of a run: test_pretrained


@each_case
def test_a_batch_becomes_finite_logits(architecture, shape):
    logits = architecture.build(shape, 5, seeded())(torch.rand(3, *shape, generator=seeded()))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@each_case
def test_the_gradient_reaches_every_parameter(architecture, shape):
    module = architecture.build(shape, 5, seeded())
    images = torch.rand(8, *shape, generator=seeded())
    nn.functional.cross_entropy(module(images), torch.arange(8) % 5).backward()
    unreached = [name for name, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    assert unreached == []


@each_case
def test_the_generator_alone_decides_the_weights(architecture, shape, untouched_rng):
    first, again, other = (
        torch.cat([value.detach().flatten() for value in architecture.build(shape, 5, seeded(seed)).parameters()])
        for seed in (1, 1, 2)
    )
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "architecture, shape", [case for case in CASES if not isinstance(case[0], SigmoidCNN)], ids=lambda value: str(value)
)
def test_weights_and_buffers_have_the_statistics_of_torchs_own_initialisation(architecture, shape):
    """torch's own `reset_parameters`, on its own stream, is the independent implementation."""
    ours = architecture.build(shape, 10, seeded())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = architecture.build(shape, 10, seeded(9))
        for part in theirs.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    for (name, mine), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        if mine.numel() <= 1024:
            continue
        bound = float(other.abs().max())
        assert mine.abs().max() == pytest.approx(bound, rel=0.03), name
        # Five standard errors of the mean and of the variance of a uniform variable.
        assert abs(float(mine.mean())) <= 5 * bound / math.sqrt(3 * mine.numel()), name
        assert float(mine.var()) == pytest.approx(float(other.var()), rel=10 * math.sqrt(0.8 / mine.numel())), name
    small = {name: value for name, value in ours.state_dict().items() if value.numel() <= 1024}
    for part_name, part in ours.named_modules():
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            assert small[f"{part_name}.weight"].eq(1).all()
            assert small[f"{part_name}.bias"].eq(0).all()
        if isinstance(part, nn.BatchNorm2d):
            assert small[f"{part_name}.running_mean"].eq(0).all()
            assert small[f"{part_name}.running_var"].eq(1).all()
            assert small[f"{part_name}.num_batches_tracked"] == 0


def test_weights_of_the_sigmoid_cnn_are_uniform_up_to_a_half():
    for name, value in SigmoidCNN().build(COLOUR, 10, seeded()).state_dict().items():
        if value.numel() > 256:
            assert float(value.abs().max()) == pytest.approx(0.5, rel=0.03), name
            assert float(value.var()) == pytest.approx(1 / 12, rel=10 * math.sqrt(0.8 / value.numel())), name


@each_case
def test_a_build_is_in_training_mode_on_the_cpu_in_float32(architecture, shape):
    module = architecture.build(shape, 5, seeded())
    assert module.training
    assert {(value.device.type, value.dtype) for value in module.parameters()} == {("cpu", torch.float32)}
    assert Layout.of(module).d == trainable(module)


@pytest.mark.parametrize(
    "architecture, shape",
    [
        (CNN(), (561,)),
        (CNN(), (1, 3, 8)),
        (SkyMaskCNN(), (1, 8, 8)),
        (SkyMaskCNN(), (1, 9, 28)),
        (SigmoidCNN(), (784,)),
        (FlipCNN(), (1, 15, 28)),
        (ConvNet8(), (3, 8, 32)),
        (ResNet20(), (28, 28)),
        (ResNet18(), (3, 7, 7)),
    ],
    ids=lambda value: str(value),
)
def test_a_shape_that_does_not_fit_is_a_config_error(architecture, shape):
    with pytest.raises(ConfigError, match=rf"{type(architecture).__name__} needs images .* got samples of shape"):
        architecture.build(shape, 10, seeded())


@pytest.mark.parametrize(
    "architecture, side",
    [(CNN(), 4), (SigmoidCNN(), 1), (SkyMaskCNN(), 10), (FlipCNN(), 16), (ConvNet8(width=2), 9), (ResNet20(), 8)],
)
def test_the_smallest_allowed_image_works(architecture, side):
    assert architecture.build((1, side, side), 3, seeded())(torch.zeros(2, 1, side, side)).shape == (2, 3)


def test_group_norm_wants_a_width_it_can_divide():
    with pytest.raises(ConfigError, match="multiple of 16; got 24"):
        ResNet18("group", width=24)


def test_group_norm_has_no_statistics_to_average_and_batch_norm_has():
    assert Layout.of(ResNet18("group", width=16).build(COLOUR, 10, seeded())).b == 0
    assert Layout.of(ResNet18(width=16).build(COLOUR, 10, seeded())).b > 0


@pytest.mark.parametrize("architecture, shape", [(CNN(), GREY), (SkyMaskCNN(), GREY), (FlipCNN(), GREY)])
def test_pooling_before_relu_gives_the_papers_values(architecture, shape):
    module = architecture.build(shape, 10, seeded()).eval()
    papers = list(module)
    for place in [place for place, part in enumerate(papers) if isinstance(part, nn.MaxPool2d)]:
        papers[place : place + 2] = papers[place + 1], papers[place]
    images = torch.randn(4, *shape, generator=seeded())
    assert torch.equal(module(images), nn.Sequential(*papers)(images))


@pytest.mark.parametrize("architecture", [CNN(), MLP(hidden=(32,))], ids=lambda value: value.kind)
def test_a_model_learns_a_toy_task(architecture):
    """Which half of the image is brighter; 30 plain SGD steps."""
    images = torch.rand(64, 1, 8, 8, generator=seeded())
    labels = torch.arange(64) % 2
    images[labels == 1, :, :4] += 1
    images[labels == 0, :, 4:] += 1
    module = architecture.build((1, 8, 8), 2, seeded())
    for _ in range(30):
        loss = nn.functional.cross_entropy(module(images), labels)
        for parameter, gradient in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters()))):
            parameter.data -= 0.2 * gradient
    assert (module(images).argmax(1) == labels).float().mean() > 0.95


@pytest.mark.parametrize("hidden", [(10**10,), (2**62,)])
def test_a_model_beyond_memory_is_one_sentence(hidden):
    with pytest.raises(ConfigError, match=r"does not fit into memory .*\. Make it smaller\.$"):
        MLP(hidden=hidden).build((1000,), 2, seeded())


@pytest.mark.parametrize("architecture", [ConvNet8, ResNet18])
def test_a_width_that_no_integer_holds_eight_times_is_refused(architecture):
    with pytest.raises(ConfigError, match="width"):
        architecture(width=2**62)
