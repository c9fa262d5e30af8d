"""Scaling by a given factor: an attacker that speaks louder than it may."""

from phalanx.core.families import UpdateAttack
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class Scaling(UpdateAttack):
    """Each attacker sends `factor · x`, x the row that its own (usually poisoned) training gave.

    BatchNorm statistics are as much farther from the global ones: without them, the model that a mean replaces is not the
    attackers'. For a factor that someone published, such as x10 or x100; for the one that replaces the model exactly, use
    ModelReplacement. Any bound on norms takes it away.

    Reference: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020 (arXiv 1807.00459), "train-and-scale".

    >>> import torch
    >>> Scaling(10.0)(torch.tensor([[1.0, -3.0]]), num_byzantine=1)
    tensor([[ 10., -30.]])
    """

    factor: PositiveFloat32

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """The attackers' own rows and buffers, enlarged."""
        return view.enlarged(self.factor, context), state
