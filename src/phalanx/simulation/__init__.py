"""The engine for one machine: very fast rounds, checkpoints that survive anything."""

from phalanx.simulation.simulation import Simulation, choose_device
from phalanx.simulation.state import FederationState

__all__ = ["FederationState", "Simulation", "choose_device"]
