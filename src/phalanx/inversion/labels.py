"""Which classes a batch holds, read off the gradient of the last layer."""

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.leak import Leak
from phalanx.core.params import Layout
from phalanx.inversion.client import Client


def infer_labels(leak: Leak, model: nn.Module) -> Tensor:
    """The labels `[B]` behind a leak, ascending.

    ```
    g_c = ∂loss/∂b[c] = mean(p_c) − count_c / B;  without a bias Σ_f ∂loss/∂W[c, f], which is that times the sum of the features
    B times: take the smallest g_c and add 1 / B to it
    ```
    One image's label is exact (without a bias for three classes at least): p_c − 1 is the only negative value, and the largest.
    More are a guess that is right while the model gives all classes nearly equal probability, and worse the further it is
    trained, the more steps are seen at once, and the further from 1 the sum of the features is where there is no bias.

    Reference: Zhao et al., iDLG: Improved Deep Leakage from Gradients, 2020 (arXiv 2001.02610), for one image; for more,
    Wainakh et al., User-Level Label Leakage from Gradients in Federated Learning, PoPETs 2022 (arXiv 2105.09369).

    Raises: ConfigError if the model's last linear layer is not trained, or does not give its logits; as `Client`.
    """
    classes = Client(model, leak).num_classes
    leaves = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    slots = {slot.name: slot for slot in Layout.of(model).parameters}
    prefix = f"{leaves[-1][0]}." if leaves and leaves[-1][0] else ""
    if not leaves or f"{prefix}weight" not in slots or leaves[-1][1].out_features != classes:
        raise ConfigError(
            f"Labels are read off a last nn.Linear that gives the logits; {type(model).__name__} has none that is trained. "
            "Give them."
        )
    bias = slots.get(f"{prefix}bias")
    per_class = slots[f"{prefix}weight"].view(leak.gradient).sum(1) if bias is None else bias.view(leak.gradient)
    if leak.shape[0] == 1:  # the sum of the features may be negative
        per_class = per_class * -per_class[per_class.abs().argmax()].sign()
    steps = -(-leak.shape[0] // (leak.local.batch_size or leak.shape[0])) * leak.local.epochs
    left, found = per_class / steps, []
    for _ in range(leak.shape[0]):
        found.append(int(left.argmin()))
        left = left + torch.zeros_like(left).index_fill_(0, left.argmin(), 1 / leak.shape[0])
    return torch.tensor(sorted(found))
