"""ATS: transformations of the training images that are to hide them from gradient inversion."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.data.augmentations.shape import require_images
from phalanx.data.augmentations.transformations import TRANSFORMATIONS

Policy = Annotated[tuple[Annotated[int, Field(ge=0, lt=50)], ...], Field(min_length=1)]


class ATS(Augmentation, kind="ats"):
    """Automatic transformation search's data transform: every image goes through one of the `policies`, chosen at random.

    ```
    policy = uniform of policies, for each image
    for index in policy:  image = transformation[index](image)      # with a random sign where it has a direction
    ```
    A policy is a list of indices 0 to 49 (`TRANSFORMATIONS`); several policies are ATS's hybrid. As in pillow, bit for bit:
    float images are rounded to bytes first. `ATS_POLICIES` has the published ones by data set and model. O(B C H W) a
    transformation; a shear (6, 10) goes through pillow image by image.

    No privacy is promised, and little may be given: a server that knows the policy and searches the translation along with the
    image undoes most of it (9.4 to 10.3 dB where no defence gives 9.94), and two replications found no correlation between the
    score that policies are searched by and what an attack recovers. `policy_aware` knows the policy, and undoes all of it that
    can be undone. Whoever needs a guarantee takes `dpsgd`. Policies that move or invert images cost accuracy, too.

    Reference: Gao et al., Privacy-preserving Collaborative Learning with Automatic Transformation Search, CVPR 2021
    (arXiv 2011.12505).

    >>> ATS(((0,),)).apply(torch.tensor([[[[0.0, 1.0]]]]), torch.Generator())
    tensor([[[[1., 0.]]]])
    """

    policies: Annotated[tuple[Policy, ...], Field(min_length=1)]

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        require_images(images, "ATS")
        if images.shape[1] not in (1, 3):
            raise ConfigError(f"ATS needs grey or colour images, 1 or 3 channels; got {images.shape[1]}. Take it out.")
        if not images.dtype.is_floating_point or not ((images >= 0) & (images <= 1)).all():
            raise ConfigError(
                f"ATS works on bytes, so it needs float pixels in [0, 1]; got {images.dtype} from {images.min():.3g} to "
                f"{images.max():.3g}. Standardise by the data's mean and std, which come later."
            )
        count, longest = len(images), max(map(len, self.policies))
        chosen = torch.randint(len(self.policies), (count,), generator=generator).to(images.device)
        signs = (2 * torch.randint(2, (count, longest), generator=generator) - 1).to(images.device)
        # What `Samples.pixels` made of bytes comes back as those very bytes.
        pixels = (images * 255).round().clamp(0, 255).to(torch.uint8)
        for number in sorted(set(chosen.tolist())):  # of no images pillow cannot make a shear
            rows = (chosen == number).nonzero().flatten()
            for place, index in enumerate(self.policies[number]):
                pixels[rows] = TRANSFORMATIONS[index](pixels[rows], signs[rows, place])
        return pixels.to(images.dtype) / 255


ATS_POLICIES: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {
        "cifar10_convnet": ((3, 3, 0), (3, 17, 15), (3, 21, 19)),
        "cifar100_resnet20": ((3, 1, 7), (43, 18, 18)),
        "cifar100_convnet": ((3, 1, 3), (21, 13, 3)),
        "mnist_rgb_convnet": ((41, 11, 31), (34, 11, 36), (11, 41, 28), (11, 28, 49), (11, 39, 8)),
        "fashion_mnist_resnet20": ((19, 15, 45), (2, 43, 21)),
        "fashion_mnist_convnet": ((42, 28, 42), (14, 48, 48)),
    }
)
"""The published policies by data set and model, best first; all of a line together are its hybrid."""
