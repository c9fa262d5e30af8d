"""How training samples are dealt to clients."""

from phalanx.data.partitioners.by_group import ByGroup
from phalanx.data.partitioners.client_dirichlet import ClientDirichlet
from phalanx.data.partitioners.dirichlet import Dirichlet
from phalanx.data.partitioners.from_file import FromFile
from phalanx.data.partitioners.iid import IID
from phalanx.data.partitioners.label_bias import LabelBias
from phalanx.data.partitioners.shards import Shards

__all__ = ["IID", "ByGroup", "ClientDirichlet", "Dirichlet", "FromFile", "LabelBias", "Shards"]
