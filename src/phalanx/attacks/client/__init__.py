"""Changes of the attackers' local training."""

from phalanx.attacks.client.own_training import OwnTraining
from phalanx.attacks.client.projected_gradient import ProjectedGradient, ProjectOntoBall

__all__ = ["OwnTraining", "ProjectOntoBall", "ProjectedGradient"]
