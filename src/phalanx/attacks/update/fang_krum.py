"""Fang's attack on Krum: as far against the honest mean as Krum still picks an attacker."""

from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.stand_ins import crowd
from phalanx.core import linalg
from phalanx.core.types import AttackView, Crafted, RoundContext, State

SMALLEST = 1e-5


class FangKrum(Colluding):
    """All attackers send `−λ sign(mean)`; from an upper bound, λ is halved until Krum picks one, or it is below 1e-5.

    The attackers stand at one point, so they vouch for each other. Made against Krum, where it decides the round; Multi-Krum
    and rules with mixing average it away. Metrics: λ (`lambda`) and whether Krum picked it (`picked`). Untargeted. O(n² d).

    Reference: Fang, Cao, Jia, Gong, Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020
    (arXiv 1911.11815), Section 4.2. Differs from the paper: all attackers at one point, where it scatters them in a small ball.

    >>> import torch
    >>> honest = torch.tensor([[1.0], [1.1], [1.2], [0.9], [1.3], [0.8], [1.4]])
    >>> FangKrum()(honest, num_byzantine=3)[0] < 0
    tensor([True])
    """

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers; with `knowledge = "own"` made-up rows like the attackers' own stand in for the honest."""
        rows, f = crowd(view, context), view.num_byzantine
        direction = -rows.mean(0).sign()
        distances = linalg.geometry(rows).distances
        n = len(rows) + f
        bound = _first_lambda(rows, distances, n, f)
        projections, norms = (rows @ direction).double(), linalg.norms(rows).square()
        length = float(direction.double().square().sum())
        picked = False
        while not (picked := self._is_picked(distances, norms - 2 * bound * projections + bound**2 * length, f)):
            if bound < SMALLEST:
                break
            bound /= 2
        row: Tensor = bound * direction
        return Crafted(row.expand(f, -1), {"lambda": bound, "picked": float(picked)}), state

    @staticmethod
    def _is_picked(distances: Tensor, to_attackers: Tensor, f: int) -> bool:
        """Whether Krum's best of all n rows is an attacker, given squared distances among the honest and to the attackers."""
        h = len(distances)
        whole = distances.new_zeros(h + f, h + f)
        whole[:h, :h] = distances
        whole[:h, h:] = to_attackers.clamp(min=0)[:, None]
        whole[h:, :h] = to_attackers.clamp(min=0)
        scores = linalg.krum_scores(whole, f)
        return bool(scores[h:].min() < scores[:h].min())


def _first_lambda(rows: Tensor, distances: Tensor, n: int, f: int) -> float:
    """The paper's upper bound: min_i Σ of distances to the nearest n − f − 2 / ((n − 2f − 1) √d) + max_i |x_i| / √d."""
    root = float(rows.shape[1] ** 0.5)
    nearest = distances.sqrt().sort(dim=1).values[:, 1 : max(n - f - 1, 2)].sum(dim=1)
    return float(nearest.min()) / (max(n - 2 * f - 1, 1) * root) + float(linalg.norms(rows).max()) / root
