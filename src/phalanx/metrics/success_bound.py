"""What the defence did to the attacker's class, on his own images: attack success beside a bound that every model keeps."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from phalanx.core.errors import PreconditionError
from phalanx.models.confidence_gate import confident_predictions, require_threshold

EXPLANATION = (
    "The bound takes attack success apart on these stamped images, with the logits of both models: a check of the code, "
    "not a certificate for other triggers."
)


@dataclass(frozen=True)
class SuccessBound:
    """Attack success at tau of the undefended and of the defended model, and what the second cannot exceed."""

    tau: float
    undefended: float
    defended: float
    bound: float


def success_bound(undefended: Tensor, defended: Tensor, *, target: int, tau: float) -> SuccessBound:
    """What attack success cannot exceed, by the logits z, z' `[E, C]` of two models on E stamped images.

    ```
    bound = mean(L_i(target) + min_j D_ij − D_i,target <= −ln max(tau, 1 / C))
    D = z' − z, the defended less the undefended model's logits; L, L' their cross-entropies
    min_j D_j − D_y <= L'(y) − L(y) <= max_j D_j − D_y           for every class y
    success at tau: y is predicted with softmax >= tau, so L'(y) <= −ln max(tau, 1 / C)
    ```
    A decomposition on *these* images with the logits of both models, which nothing can violate: a violation is an error in the
    code. **Not a certificate** for other triggers. And weak: min_j D_j − D_y is never positive, so the bound is never below the
    share of images on which the undefended model's own L is small; it does not show that a defence works.

    An image for which a model's logits are not finite is bounded by 1; the defended one predicts nothing on it if they are its.

    Reference: in the spirit of Zhang et al., FLIP: A Provable Defense Framework for Backdoor Mitigation in Federated Learning,
    ICLR 2023 (arXiv 2210.12873), section 4. Differs from the paper: computed for the whole network's logits on given images.

    Raises: ConfigError for a tau outside [0, 1]; PreconditionError for logits of two shapes, no images, or a target that is no
    class; AssertionError if an inequality is violated.

    >>> before, after = torch.tensor([[0.0, 4.0], [4.0, 0.0]]), torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    >>> success_bound(before, after, target=1, tau=0.0)
    SuccessBound(tau=0.0, undefended=0.5, defended=0.0, bound=0.5)
    """
    require_threshold(tau, "success_bound")
    if undefended.dim() != 2 or undefended.shape != defended.shape or not len(undefended):
        shapes = f"{list(undefended.shape)} and {list(defended.shape)}"
        raise PreconditionError(f"success_bound needs the logits [E, C] of both models on E >= 1 images; got {shapes}.")
    if not 0 <= target < undefended.shape[1]:
        raise PreconditionError(f"success_bound needs a target among {undefended.shape[1]} classes; got {target}.")
    old, new = undefended.double(), defended.double()
    finite = old.isfinite().all(dim=1) & new.isfinite().all(dim=1)
    z, moved = old[finite], (new - old)[finite]
    labels = torch.full_like(finite[finite], target, dtype=torch.int64)
    loss, change = cross_entropy(z, labels, reduction="none"), cross_entropy(new[finite], labels, reduction="none")
    change = change - loss
    least, most = moved.amin(dim=1) - moved[:, target], moved.amax(dim=1) - moved[:, target]
    room = 1e-9 * (1 + z.abs().amax(dim=1) + moved.abs().amax(dim=1))  # sums lose digits of their largest part
    is_possible = loss + least <= -log(max(tau, 1 / old.shape[1])) + room
    success = [float(_is_success(logits, target, tau).double().mean()) for logits in (old, new)]
    bound = (int(is_possible.sum()) + int((~finite).sum())) / len(finite)
    holds = (least - room <= change) & (change <= most + room)
    if not (holds.all() and success[1] <= bound + 1e-12):
        raise AssertionError("Attack success or the change of the loss leaves its bounds: an error in the code.")
    return SuccessBound(tau, success[0], success[1], bound)


def _is_success(logits: Tensor, target: int, tau: float) -> Tensor:
    confidence, predicted = confident_predictions(logits)
    return (predicted == target) & (confidence >= tau)
