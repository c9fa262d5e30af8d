"""The engine for many machines: Phalanx's objects in Flower. Needs `pip install 'phalanx[flower]'`; nothing else imports it."""

from phalanx.flower.client import client_app
from phalanx.flower.dp_mod import dp_mod
from phalanx.flower.experiment import experiment_client
from phalanx.flower.in_process import InProcessGrid
from phalanx.flower.malicious import attacking
from phalanx.flower.robust import Robust
from phalanx.flower.serving import serve
from phalanx.flower.strategy import RobustStrategy

__all__ = ["InProcessGrid", "Robust", "RobustStrategy", "attacking", "client_app", "dp_mod", "experiment_client", "serve"]
