"""ConfidenceGate: a model that may decline to answer. A module to deploy, not an architecture."""

from torch import Tensor, nn

from phalanx.core.errors import ConfigError

REFUSED = -1
"""The answer that is none."""


class ConfidenceGate(nn.Module):
    """`argmax softmax(model(x))` where its probability is at least `tau`, else REFUSED (−1): classes `[B]`.

    FLIP's second half: hardened clients make a stamped image less certain, and what is uncertain is refused. It refuses
    correct answers as well, so accuracy falls with tau; look at both over tau before choosing it
    (`[evaluation] tau`). A logit that is not finite is refused at any tau. Put the model in eval mode first.

    Args: tau in [0, 1]; 0 refuses nothing but what is not finite. Raises: ConfigError for another tau.

    Reference: Zhang et al., FLIP: A Provable Defense Framework for Backdoor Mitigation in Federated Learning, ICLR 2023
    (arXiv 2210.12873), section 3.3.

    >>> import torch
    >>> ConfidenceGate(nn.Identity(), tau=0.7)(torch.tensor([[0.0, 2.0], [0.0, 0.5]]))
    tensor([ 1, -1])
    """

    def __init__(self, model: nn.Module, tau: float) -> None:
        super().__init__()
        require_threshold(tau, "ConfidenceGate")
        self.model, self.tau = model, tau

    def forward(self, images: Tensor) -> Tensor:
        """Classes `[B]`."""
        confidence, predicted = confident_predictions(self.model(images))
        return predicted.masked_fill(confidence < self.tau, REFUSED)


def require_threshold(tau: float, who: str) -> None:
    """Raise ConfigError unless tau is a probability."""
    if not 0 <= tau <= 1:
        raise ConfigError(f"{who} needs 0 <= tau <= 1, a probability; got tau={tau}.")


def confident_predictions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest softmax, in doubles, and its class, `[B]` each; REFUSED with confidence 0 where a logit is not finite.

    >>> import torch
    >>> confident_predictions(torch.tensor([[0.0, 0.0, torch.inf]]))
    (tensor([0.], dtype=torch.float64), tensor([-1]))
    """
    # In single precision a sure answer's softmax rounds to 1; and even here the largest ones round to ties, hence the logits.
    confidence, predicted = logits.double().softmax(dim=1).amax(dim=1), logits.argmax(dim=1)
    broken = ~logits.isfinite().all(dim=1)
    return confidence.masked_fill(broken, 0), predicted.masked_fill(broken, REFUSED)
