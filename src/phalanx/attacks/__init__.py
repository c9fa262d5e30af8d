"""Attacks on a federation: on the attackers' data, on their training, on what they send; and the adversary that joins them."""

from phalanx.attacks.adversary import Adversary
from phalanx.attacks.client import OwnTraining, ProjectedGradient, ProjectOntoBall
from phalanx.attacks.data import Backdoor, Distributed, LabelFlip, LabelFlipAll, Patch, Pixels, Plus, RandomLabels
from phalanx.attacks.schedules import Always, EveryRounds, FromTo, Never, Rounds, Staggered
from phalanx.attacks.selections import EveryKth, FirstClients, FixedClients, RandomClients, ShareOfRound
from phalanx.attacks.update import ALittleIsEnough, Gaussian, MinMax, ModelReplacement, Scaling, SignFlip

__all__ = [
    "ALittleIsEnough",
    "Adversary",
    "Always",
    "Backdoor",
    "Distributed",
    "EveryKth",
    "EveryRounds",
    "FirstClients",
    "FixedClients",
    "FromTo",
    "Gaussian",
    "LabelFlip",
    "LabelFlipAll",
    "MinMax",
    "ModelReplacement",
    "Never",
    "OwnTraining",
    "Patch",
    "Pixels",
    "Plus",
    "ProjectOntoBall",
    "ProjectedGradient",
    "RandomClients",
    "RandomLabels",
    "Rounds",
    "Scaling",
    "ShareOfRound",
    "SignFlip",
    "Staggered",
]
