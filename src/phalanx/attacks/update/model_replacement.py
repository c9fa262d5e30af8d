"""Model replacement: scaling so that the mean of the round is the attackers' model."""

from dataclasses import replace

from phalanx.core.families import UpdateAttack
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class ModelReplacement(UpdateAttack):
    """Each attacker sends `n / (f · server_lr) · x`, x the row that its own (usually poisoned) training gave.

    If honest updates cancel out (a model near convergence) and the server takes `w + server_lr · mean`, the new model is the
    mean of the f attackers' models. n and f are those of the round. Any bound on norms takes it away.

    Reference: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020 (arXiv 1807.00459), equation 3
    (there f = 1).

    >>> import torch
    >>> ModelReplacement()(torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]), num_byzantine=1)
    tensor([[4., 8.]])
    """

    server_lr: PositiveFloat32 = 1.0
    """The server's step, as the attackers know or guess it."""

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """The attackers' own rows and buffers, enlarged to outweigh the round; the factor is in the metrics."""
        factor = view.num_updates / (view.num_byzantine * self.server_lr)
        return replace(view.enlarged(factor, context), metrics={"factor": factor}), state
