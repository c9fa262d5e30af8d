"""Changes of the attackers' local training."""

from phalanx.attacks.client.constrain_and_scale import AnomalyTerm, ConstrainAndScale
from phalanx.attacks.client.layer_replacement import LayerReplacement
from phalanx.attacks.client.lie_backdoor_training import DistanceToMean, LieBackdoorTraining
from phalanx.attacks.client.neurotoxin import KeepOffTopCoordinates, Neurotoxin
from phalanx.attacks.client.own_training import OwnTraining
from phalanx.attacks.client.projected_gradient import ProjectedGradient, ProjectOntoBall

__all__ = [
    "AnomalyTerm",
    "ConstrainAndScale",
    "DistanceToMean",
    "KeepOffTopCoordinates",
    "LayerReplacement",
    "LieBackdoorTraining",
    "Neurotoxin",
    "OwnTraining",
    "ProjectOntoBall",
    "ProjectedGradient",
]
