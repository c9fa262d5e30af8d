"""What a run was made with and of: enough to know later whether two runs can be compared."""

import hashlib
import platform
from importlib.metadata import version
from typing import Any

import torch

from phalanx.data import Federation
from phalanx.simulation import Simulation

MOST_CLASS_COUNTS = 20_000  # numbers in a manifest: 60 kB
PACKAGES = ("phalanx", "torch", "numpy", "scikit-learn", "pydantic")


def manifest(simulation: Simulation) -> dict[str, Any]:
    """Versions, platform, device, data digests, and the sizes of model, data and clients."""
    federation = simulation.federation
    return {
        "experiment": simulation.experiment.digest(),
        "seed": simulation.experiment.run.seed,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "platform": platform.platform(),
        "device": ", ".join(map(str, simulation.devices)),
        "parameters": simulation.layout.d,
        "buffer_values": simulation.layout.b,
        "data": {
            "name": federation.name,
            "train": len(federation.train),
            "test": len(federation.test),
            "root": len(federation.root) if federation.root else 0,
            "checksums": dict(federation.checksums),
        },
        "client_samples": simulation.sample_counts.tolist(),
        "client_classes": client_classes(federation),
        "partition": partition_digest(federation),
    }


def client_classes(federation: Federation) -> dict[str, Any]:
    """How many samples of each class the clients 0, step, 2·step … hold, one string a client: small for 10,000 clients, too.

    `step` is 1 as long as the numbers of all clients are at most MOST_CLASS_COUNTS.
    """
    labels, classes, clients = federation.train.labels, federation.num_classes, federation.clients
    step = -(-len(clients) * classes // MOST_CLASS_COUNTS)
    counts = (labels[index].bincount(minlength=classes).tolist() for index in clients[::step])
    return {"step": step, "counts": [" ".join(map(str, row)) for row in counts]}


def partition_digest(federation: Federation) -> str:
    """Who holds which samples."""
    sizes = torch.tensor([len(index) for index in federation.clients])
    return hashlib.sha256(torch.cat([sizes, *(index.cpu() for index in federation.clients)]).numpy().tobytes()).hexdigest()
