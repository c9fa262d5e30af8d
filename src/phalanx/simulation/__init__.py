"""The engine for one machine: very fast rounds, checkpoints that survive anything."""

from phalanx.simulation.devices import choose_devices
from phalanx.simulation.simulation import Simulation
from phalanx.simulation.state import FederationState

__all__ = ["FederationState", "Simulation", "choose_devices"]
