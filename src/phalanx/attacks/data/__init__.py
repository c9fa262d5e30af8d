"""Poison in the attackers' data: triggers, backdoors, label flips."""

from phalanx.attacks.data.backdoor import Backdoor
from phalanx.attacks.data.blended import Blended
from phalanx.attacks.data.clean_label import CleanLabel
from phalanx.attacks.data.distributed import Distributed
from phalanx.attacks.data.edge_case import EdgeCase
from phalanx.attacks.data.label_flip import LabelFlip
from phalanx.attacks.data.label_flip_all import LabelFlipAll
from phalanx.attacks.data.optimized_backdoor import OptimizedBackdoor
from phalanx.attacks.data.patch import Patch
from phalanx.attacks.data.picture import Picture
from phalanx.attacks.data.pixels import Pixels
from phalanx.attacks.data.plus import Plus
from phalanx.attacks.data.random_labels import RandomLabels
from phalanx.attacks.data.sinusoidal import Sinusoidal
from phalanx.attacks.data.warp import Warp

__all__ = [
    "Backdoor",
    "Blended",
    "CleanLabel",
    "Distributed",
    "EdgeCase",
    "LabelFlip",
    "LabelFlipAll",
    "OptimizedBackdoor",
    "Patch",
    "Picture",
    "Pixels",
    "Plus",
    "RandomLabels",
    "Sinusoidal",
    "Warp",
]
