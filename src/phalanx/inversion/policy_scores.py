"""What policies are searched by: how much a gradient tells of an image, and whether a network can tell images apart."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from phalanx.core.errors import PreconditionError
from phalanx.core.leak import Leak, LocalSteps
from phalanx.core.params import Layout
from phalanx.core.pixels import require_pixels
from phalanx.inversion.client import Client, pure

PATH_STEPS = 20
"""K, between noise and an image."""
_RIDGE = 1e-5


@torch.no_grad()
def privacy_score(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    together: int = 1,
) -> Tensor:
    """S_pri `[B]` of transformed images `[B, C, H, W]`, pixels in [0, 1]; lower is more private. `model` is a trained one.

    ```
    x(k) = k/K · T(x) + (1 − k/K) · x0,  x0 uniform noise,  K = 20
    y(k) = cos(∇ loss(x(k)), ∇ loss(T(x)))        # over all parameters at once
    S_pri = (y(0)/2 + y(1) + … + y(K−1) + y(K)/2) / K
    ```
    It stands for how soon a search that comes from noise sees where the image lies. Two replications found that it says
    nothing about what an attack recovers. `together` images are one batch of 21 gradients each; they need that much memory.
    BatchNorm works in the mode that the model is in.

    Reference: Gao et al., Privacy-preserving Collaborative Learning with Automatic Transformation Search, CVPR 2021
    (arXiv 2011.12505), equations 6 and 7.
    Differs from the paper's code: one cosine over all parameters, not a mean of one for each tensor.

    Raises: PreconditionError if images, labels and model do not fit each other; ConfigError if the gradient is random.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    >>> privacy_score(model, torch.ones(1, 1, 1, 1), torch.tensor([0]), torch.Generator()) > 0.5
    tensor([True])
    """
    alone = LocalSteps(batch_size=1)
    leak = Leak(images.new_zeros(Layout.of(model).d), _shape(images), labels, mean=mean, std=std, local=alone)
    client = Client(model, leak)
    targets = client.one_hot(labels)[:, None, None].expand(-1, PATH_STEPS + 1, -1, -1)
    noise = torch.rand(images.shape, generator=generator).to(images)
    shares = torch.arange(PATH_STEPS + 1).to(images)[:, None, None, None] / PATH_STEPS
    scores = []
    for block in torch.split(torch.arange(len(images)), together):
        path = noise[block, None].lerp(images[block, None], shares)
        gradients = client(leak.standardise(path).flatten(0, 1)[:, None], targets[block].flatten(0, 1))
        gradients = gradients.view(len(block), PATH_STEPS + 1, -1)
        alike = cosine_similarity(gradients, gradients[:, -1:], dim=2)
        scores.append(torch.trapezoid(alike, dim=1) / PATH_STEPS)
    return torch.cat(scores)


def accuracy_score(model: nn.Module, images: Tensor, *, mean: Tensor | None = None, std: Tensor | None = None) -> float:
    """S_acc of a batch of transformed images `[B, C, H, W]`, pixels in [0, 1], on an untrained model; higher is better.

    ```
    J [B, C·H·W] = ∂ Σ logits / ∂ x
    S_acc = −Σ (log(v + 1e-5) + 1 / (v + 1e-5)) over the eigenvalues v of J's correlations [B, B]
    ```
    At most −B, reached where no two images' gradients resemble each other: compare scores of equally large batches only. An
    image without any gradient resembles all. BatchNorm works in the mode that the model is in; O(B² P + B³).

    Reference: Mellor et al., Neural Architecture Search without Training, 2020 (arXiv 2006.04647), version 1, as used by Gao
    et al., CVPR 2021 (arXiv 2011.12505), equation 9.

    Raises: PreconditionError for less than two images, or if they and the model do not fit each other; ConfigError if the
        gradient is random.
    """
    leak = Leak(images.new_zeros(Layout.of(model).d), _shape(images), mean=mean, std=std)
    if len(images) < 2:
        raise PreconditionError(f"accuracy_score compares images; got {len(images)}.")
    Client(model, leak)  # checks that they fit each other
    inputs = leak.standardise(images).detach().requires_grad_()
    rows = torch.autograd.grad(pure(model)(inputs).sum(), inputs)[0].flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    rows = nn.functional.normalize(rows, eps=1e-300)
    # Rounding may leave an eigenvalue of 0 a little below it.
    values = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0) + _RIDGE
    return float(-(values.log() + values.reciprocal()).sum())


def _shape(images: Tensor) -> tuple[int, int, int, int]:
    require_pixels(images)
    b, c, h, w = images.shape
    return b, c, h, w
