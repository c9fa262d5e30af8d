"""The engine for one machine: very fast rounds, checkpoints that survive anything."""

from phalanx.server.state import FederationState
from phalanx.simulation.devices import choose_devices
from phalanx.simulation.inversion import Pictures
from phalanx.simulation.simulation import Simulation

__all__ = ["FederationState", "Pictures", "Simulation", "choose_devices"]
