"""What a server does around the rule; the simulator and the network engine share it."""

from phalanx.server.optimizers import FedAdam, ServerSGD
from phalanx.server.participation import AllClients, FixedSize, Poisson, Regulars
from phalanx.server.screening import Rejection, Reply, Screening, malformation, receive

__all__ = [
    "AllClients",
    "FedAdam",
    "FixedSize",
    "Poisson",
    "Regulars",
    "Rejection",
    "Reply",
    "Screening",
    "ServerSGD",
    "malformation",
    "receive",
]
