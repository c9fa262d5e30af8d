"""Attackers who replace what their clients send."""

from phalanx.attacks.update.a_little_is_enough import ALittleIsEnough
from phalanx.attacks.update.fang_krum import FangKrum
from phalanx.attacks.update.fang_trim import FangTrim
from phalanx.attacks.update.gaussian import Gaussian
from phalanx.attacks.update.inner_product_manipulation import InnerProductManipulation
from phalanx.attacks.update.lie_backdoor import LieBackdoor
from phalanx.attacks.update.mimic import Mimic
from phalanx.attacks.update.min_max import MinMax
from phalanx.attacks.update.min_sum import MinSum
from phalanx.attacks.update.model_replacement import ModelReplacement
from phalanx.attacks.update.scaling import Scaling
from phalanx.attacks.update.sign_flip import SignFlip
from phalanx.attacks.update.tailored import Adaptive, AGRTailored

__all__ = [
    "AGRTailored",
    "ALittleIsEnough",
    "Adaptive",
    "FangKrum",
    "FangTrim",
    "Gaussian",
    "InnerProductManipulation",
    "LieBackdoor",
    "Mimic",
    "MinMax",
    "MinSum",
    "ModelReplacement",
    "Scaling",
    "SignFlip",
]
