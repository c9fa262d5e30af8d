"""What clients do with their data: trainers, the hooks inside their steps, and who does the work."""

from phalanx.training.adam import Adam
from phalanx.training.hooks import ClampGradient, ClipGradientNorm, FedProx
from phalanx.training.in_process import InProcess
from phalanx.training.local import LocalTrainer
from phalanx.training.pool import WorkerPool
from phalanx.training.schedules import Constant, Cosine, Exponential, StepDecay
from phalanx.training.sgd import SGD
from phalanx.training.worker_momentum import WorkerMomentum

__all__ = [
    "SGD",
    "Adam",
    "ClampGradient",
    "ClipGradientNorm",
    "Constant",
    "Cosine",
    "Exponential",
    "FedProx",
    "InProcess",
    "LocalTrainer",
    "StepDecay",
    "WorkerMomentum",
    "WorkerPool",
]
