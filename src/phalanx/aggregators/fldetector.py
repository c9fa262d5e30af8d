"""FLDetector: whoever's updates cannot be predicted from his last one is malicious."""

from dataclasses import KW_ONLY
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from phalanx.aggregators.hessian import hessian_product
from phalanx.aggregators.score_clusters import number_of_groups, two_groups
from phalanx.core import linalg
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_MOST_GROUPS = 10


class FLDetector(Aggregator, kind="fldetector"):
    """Predict each client's update from its last one; exclude the cluster of clients who fit their predictions worst.

    ```
    p_i = x_i' + H (w − w')                  # ' is the last round; H from the `window` last rounds by L-BFGS
    d_i = |p_i − x_i|, divided by the mean over clients;  score_i = mean of its d_i over the window
    from round `window` on: more than one group by the gap statistic → the upper of two groups (2-means) is malicious
    ```
    The rest is averaged. Made against attackers who change their mind every round; those who train like everyone (backdoors
    without a boost, label flips) are as predictable as honest clients, and many local steps on little data make the honest
    unpredictable. Who sent nothing in the last round gets no distance in this one. `is_permanent`: an excluded client stays so,
    with all of its later updates; else every round decides anew. If nobody is left, the model is kept. Scores: score_i (NaN
    where there is none). State: each client's last update (n · d numbers) and 2 · window vectors. Time O(n d + window² d).

    Reference: Zhang, Cao, Jia, Gong, FLDetector: Defending Federated Learning Against Model Poisoning Attacks via Detecting
    Malicious Clients, KDD 2022 (arXiv 2207.09209), Algorithms 1 and 2.
    Differs from the paper: distances are divided by their mean, not by their sum, which is the same but for a factor where all
    clients are in every round, and where not, lets rounds of many and of few be compared; training goes on after a detection
    instead of beginning again; k-means on a line is exact.

    >>> FLDetector()(torch.tensor([[1.], [2.], [6.]]))
    tensor([3.])
    """

    window: Annotated[int, Field(ge=1, le=1000)] = 10
    _: KW_ONLY
    is_permanent: bool = True

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS})

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        memory, params = dict(state), context.global_params
        distances = self._distances(updates, state, params)
        scores = self._remember_distances(distances, updates, memory)
        suspicious = self._suspicious(scores, memory, context)
        if self.is_permanent:
            suspicious = _remember_excluded(suspicious, updates, memory)
        benign = ~suspicious
        influence = benign.double() / max(int(benign.sum()), 1)
        metrics = {"judged": float((~distances.isnan()).sum()), "excluded": float(suspicious.sum())}
        mean = updates.weighted_sum(influence if benign.any() else torch.full_like(influence, 1 / len(updates)))
        self._remember_round(mean, updates, params, memory)
        return Aggregate(mean if benign.any() else None, influence=influence, scores=scores, metrics=metrics), memory

    def _distances(self, updates: Updates, state: State, params: Tensor) -> Tensor:
        """How far each update is from its prediction, in multiples of the mean `[n]` float64; NaN without a prediction."""
        distances = torch.full_like(updates.norms, torch.nan)
        if "moves" not in state:
            return distances
        moved = params - state["params"].to(params)
        change = hessian_product(state["moves"].to(params), state["changes"].to(params), moved)
        for place, client in enumerate(updates.ids.tolist()):
            last = state.get(f"{client}.update")
            if last is None or int(state[f"{client}.round"]) != int(state["rounds"]):
                continue
            # An update is the gradient's negative, so H, which is made of updates, has the sign that fits.
            row = updates.matrix[place].double() - last.to(updates.matrix.device).double()
            distances[place] = linalg.norms(row[None], centre=change)[0]
        mean = distances.nanmean()
        return distances / mean if mean > 0 else distances

    def _remember_distances(self, distances: Tensor, updates: Updates, memory: dict[str, Tensor]) -> Tensor:
        """Each client's mean distance over the window `[n]`, with the new one; NaN for a client that has none."""
        scores = torch.full_like(distances, torch.nan)
        for place, client in enumerate(updates.ids.tolist()):
            name = f"{client}.distances"
            past = memory.get(name, distances.new_zeros(0).cpu())
            if not distances[place].isnan():
                memory[name] = past = torch.cat([past, distances[place, None].cpu()])[-self.window :]
            if len(past):
                scores[place] = past.mean()
        return scores

    def _suspicious(self, scores: Tensor, memory: dict[str, Tensor], context: RoundContext) -> Tensor:
        """The mask `[n]` of the upper group of the scores, if there are two."""
        suspicious, judged = torch.zeros_like(scores, dtype=torch.bool), ~scores.isnan()
        if int(memory.get("rounds", torch.tensor(0))) < self.window or judged.sum() < 2:
            return suspicious
        generator = context.generator("fldetector gap statistic")
        if number_of_groups(scores[judged], generator, most=_MOST_GROUPS) > 1:
            suspicious[judged] = two_groups(scores[judged])
        return suspicious

    def _remember_round(self, mean: Tensor, updates: Updates, params: Tensor, memory: dict[str, Tensor]) -> None:
        """The pair (w − w', mean − mean') joins the window, and every client's update is kept with the round's number."""
        if "params" in memory:
            pair = {"moves": params - memory["params"].to(params), "changes": mean - memory["mean"].to(mean)}
            for name, vector in pair.items() if pair["moves"].any() else ():
                past = memory.get(name, vector.new_zeros(0, len(vector))).to(vector)
                memory[name] = torch.cat([past, vector[None]])[-self.window :]
        rounds = memory.get("rounds", torch.tensor(0)) + 1
        memory |= {"params": params, "mean": mean, "rounds": rounds}
        for row, client in zip(updates.matrix, updates.ids.tolist()):
            memory |= {f"{client}.update": row.clone(), f"{client}.round": rounds}


def _remember_excluded(suspicious: Tensor, updates: Updates, memory: dict[str, Tensor]) -> Tensor:
    """The mask `[n]` of clients that are or ever were suspicious."""
    before = memory.get("excluded", updates.ids.new_zeros(0)).to(updates.ids.device)
    memory["excluded"] = torch.unique(torch.cat([before, updates.ids[suspicious.to(updates.ids.device)]]))
    return torch.isin(updates.ids, memory["excluded"]).to(suspicious.device)
