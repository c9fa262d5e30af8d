"""Attackers who only differ in how they train: another learning rate, more epochs."""

from phalanx.core.families import ClientAttack, Trainer


class OwnTraining(ClientAttack):
    """The attackers train with a trainer of their own, usually longer than the honest so that their poison sinks in.

    Harmless alone: it goes with a data attack.

    Reference: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020 (arXiv 1807.00459).
    """

    trainer: Trainer

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' own trainer."""
        return self.trainer
