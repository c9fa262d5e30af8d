"""What clients do with their data: trainers, the hooks inside their steps, and who does the work."""

from phalanx.training.adam import Adam
from phalanx.training.clean_hardening import CleanHardening
from phalanx.training.dpsgd import DPSGD
from phalanx.training.example_clipping import AutomaticClipping, FlatClipping, PerLayerClipping
from phalanx.training.flip import Flip
from phalanx.training.hooks import ClampGradient, ClipGradientNorm, FedProx
from phalanx.training.in_process import InProcess
from phalanx.training.local import LocalTrainer
from phalanx.training.noisy_update import NoisyUpdate
from phalanx.training.partial_deployment import PartialDeployment
from phalanx.training.pool import WorkerPool
from phalanx.training.pruned_update import PrunedUpdate
from phalanx.training.quantized_update import QuantizedUpdate
from phalanx.training.schedules import Constant, Cosine, Exponential, StepDecay
from phalanx.training.sgd import SGD
from phalanx.training.trigger_inversion import TriggerInversion, Triggers
from phalanx.training.universal_flip import UniversalFlip
from phalanx.training.worker_momentum import WorkerMomentum

__all__ = [
    "DPSGD",
    "SGD",
    "Adam",
    "AutomaticClipping",
    "ClampGradient",
    "CleanHardening",
    "ClipGradientNorm",
    "Constant",
    "Cosine",
    "Exponential",
    "FedProx",
    "FlatClipping",
    "Flip",
    "InProcess",
    "LocalTrainer",
    "NoisyUpdate",
    "PartialDeployment",
    "PerLayerClipping",
    "PrunedUpdate",
    "QuantizedUpdate",
    "StepDecay",
    "TriggerInversion",
    "Triggers",
    "UniversalFlip",
    "WorkerMomentum",
    "WorkerPool",
]
