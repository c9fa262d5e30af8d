"""ATS's transformations are pillow's, bit for bit, at every level; policies choose and combine them."""

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.data import ATS, ATS_POLICIES, TRANSFORMATIONS
from phalanx.data.augmentations.transformations import OPERATIONS, Transformation


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pillow(image, operation, level, sign):
    """The operation as AutoAugment's own code calls pillow, with ATS's magnitudes."""
    grey = (128,) * len(image.getbands())

    def at(first, last):
        return float(np.linspace(first, last, 10)[level])

    def affine(matrix, *resampling):
        return image.transform(image.size, Image.Transform.AFFINE, matrix, *resampling, fillcolor=grey)

    def rotated():
        turned = image.convert("RGBA").rotate(at(0, 30))
        return Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert(image.mode)

    cubic, factor = Image.Resampling.BICUBIC, 1 + sign * at(0, 0.5)
    return {
        "invert": lambda: ImageOps.invert(image),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "shear_x": lambda: affine((1, sign * at(0, 0.3), 0, 0, 1, 0), cubic),
        "shear_y": lambda: affine((1, 0, 0, sign * at(0, 0.3), 1, 0), cubic),
        "translate_x": lambda: affine((1, 0, sign * at(0, 150 / 331) * image.size[0], 0, 1, 0)),
        "translate_y": lambda: affine((1, 0, 0, 0, 1, sign * at(0, 150 / 331) * image.size[1])),
        "rotate": rotated,
        "solarize": lambda: ImageOps.solarize(image, at(256, 0)),
        "posterize": lambda: ImageOps.posterize(image, (8, 8, 7, 7, 6, 6, 5, 5, 4, 4)[level]),
        "color": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
    }[operation]()


def pictures(channels, side=(28, 32)):
    """Noise, a narrow band of values, one value, a slope, few values, and a picture with a flat half."""
    noise = torch.randint(256, (6, channels, *side), generator=seeded(), dtype=torch.uint8)
    noise[1] = noise[1] // 8 + 100
    noise[2] = 77
    noise[3] = torch.arange(side[1], dtype=torch.uint8) * 7
    noise[4] = noise[4] // 100 * 100
    noise[5, :, : side[0] // 2] = 200
    return noise


def as_pillow(image):
    return Image.fromarray((image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy())


def as_tensor(picture):
    array = torch.from_numpy(np.array(picture))
    return array[None] if array.dim() == 2 else array.permute(2, 0, 1)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [(28, 32), (9, 7), (1, 2)])
def test_an_operation_is_pillows_at_every_level_and_sign(operation, channels, side):
    images = pictures(channels, side)
    for level in range(10):
        signs = torch.tensor([1, -1] * 6)
        ours = Transformation(operation, level)(images.repeat_interleave(2, 0), signs)
        theirs = torch.stack(
            [as_tensor(pillow(as_pillow(image), operation, level, sign)) for image in images for sign in (1, -1)]
        )
        assert torch.equal(ours, theirs), (operation, level)


def test_the_indices_are_the_published_ones():
    published = """invert contrast6 rotate2 translateX9 sharpness1 sharpness3 shearY2 translateY2 autocontrast equalize shearY5
        posterize5 color3 brightness5 sharpness9 brightness9 equalize equalize contrast7 sharpness5 color5 translateX5 equalize
        autocontrast translateY3 sharpness6 brightness6 color8 solarize0 invert equalize autocontrast equalize equalize color5
        equalize autocontrast solarize4 brightness3 color0 solarize1 autocontrast translateY3 translateY3 autocontrast solarize1
        equalize invert translateY3 autocontrast"""
    plain = ("invert", "equalize", "autocontrast")
    ours = [
        one.operation.replace("_x", "X").replace("_y", "Y") + ("" if one.operation in plain else str(one.level))
        for one in TRANSFORMATIONS
    ]
    assert ours == published.split()


def test_a_policy_is_its_transformations_one_after_the_other():
    images = pictures(3)
    found = ATS(((0, 11, 9),)).apply(images / 255, seeded())
    expected = [ImageOps.equalize(ImageOps.posterize(ImageOps.invert(as_pillow(image)), 6)) for image in images]
    assert torch.equal((found * 255).round().to(torch.uint8), torch.stack([as_tensor(picture) for picture in expected]))


def test_a_hybrid_gives_each_image_one_of_its_policies_and_all_get_their_share():
    images = torch.zeros(3000, 1, 2, 2)
    found = ATS(((0,), (39,), (0, 0))).apply(images, seeded()).flatten(1)  # invert; colour at level 0; twice inverted
    assert set(found.flatten().tolist()) == {0.0, 1.0}
    assert found.mean(0).tolist() == pytest.approx([1 / 3] * 4, abs=0.05)
    assert torch.equal(found.amin(1), found.amax(1))


def test_signs_are_drawn_for_each_image_and_place():
    images = torch.zeros(2000, 1, 1, 8)
    images[..., 4] = 1
    moved = ATS(((21, 21),)).apply(images, seeded())  # translateX5 twice: ±2 pixels each
    middle = moved[..., 4] == 1
    assert float(middle.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_the_generator_alone_decides_and_the_input_stays(untouched_rng):
    images = pictures(3) / 255
    before = images.clone()
    policies = ATS(ATS_POLICIES["cifar100_resnet20"])
    first, again, other = (policies.apply(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)
    assert 0 <= first.min() <= first.max() <= 1


@pytest.mark.parametrize("name", ATS_POLICIES)
def test_every_published_policy_can_be_named_in_a_config_and_runs(name):
    table = {"kind": "ats", "policies": [list(policy) for policy in ATS_POLICIES[name]]}
    policies = Augmentation.from_table(table)
    assert policies == ATS(ATS_POLICIES[name])
    assert policies.to_table() == table
    assert policies.apply(pictures(3) / 255, seeded()).shape == (6, 3, 28, 32)


def test_random_policies_of_all_transformations_agree_with_pillow_where_no_sign_is_drawn():
    steady = [index for index, one in enumerate(TRANSFORMATIONS) if one.operation not in SIGNED]
    draw, images = random.Random(0), pictures(3)
    for _ in range(10):
        policy = tuple(draw.choices(steady, k=3))
        expected = [as_pillow(image) for image in images]
        for index in policy:
            one = TRANSFORMATIONS[index]
            expected = [pillow(picture, one.operation, one.level, 1) for picture in expected]
        found = (ATS((policy,)).apply(images / 255, seeded()) * 255).round().to(torch.uint8)
        assert torch.equal(found, torch.stack([as_tensor(picture) for picture in expected])), policy


SIGNED = {"shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "sharpness", "brightness"}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ATS(((0, 50),)), r"policies\.0\.1.*less than 50"),
        (lambda: ATS(((-1,),)), r"policies\.0\.0.*greater than or equal to 0"),
        (lambda: ATS(()), "at least 1 item"),
        (lambda: ATS(((),)), "at least 1 item"),
        (lambda: ATS(((0,),)).apply(torch.zeros(2, 4, 8, 8), seeded()), "1 or 3 channels; got 4"),
        (
            lambda: ATS(((0,),)).apply(torch.full((1, 1, 8, 8), 1.5), seeded()),
            r"float pixels in \[0, 1\]; .* from 1\.5 to 1\.5",
        ),
        (lambda: ATS(((0,),)).apply(torch.full((1, 1, 8, 8), torch.nan), seeded()), r"got torch\.float32 from nan to nan"),
        (lambda: ATS(((0,),)).apply(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), seeded()), r"got torch\.uint8"),
        (lambda: ATS(((0,),)).apply(torch.zeros(2, 561), seeded()), r"ATS needs images \[C, H, W\]"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_policy_that_no_image_goes_through_is_left_out():
    """6 is a shear, which goes through pillow image by image."""
    changed = ATS(policies=((6,), (6, 40))).apply(torch.rand(1, 3, 8, 8), torch.Generator().manual_seed(0))
    assert changed.shape == (1, 3, 8, 8)
