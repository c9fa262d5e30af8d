"""Layer replacement: an honest update with the few poisoned layers in it that carry the backdoor."""

from collections.abc import Callable
from dataclasses import KW_ONLY, replace

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.families import ClientAttack, DataAttack, Trainer
from phalanx.core.numbers import PositiveFloat32, Share
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status


class LayerReplacement(ClientAttack):
    """Train honestly and poisoned; send the honest update with the backdoor-critical layers of the poisoned one.

    ```
    order    = layers by the fall of attack success when the honest layer stands in the poisoned model, the deepest first
    critical = the first of them that, put into the honest model, reach `tau` of the poisoned model's success
    sent     = the honest update; in critical layers c · (λ poisoned + max(0, 1 − λ) honest)
    ```
    with the largest c <= 1 for which the update is not longer than the honest one. A layer is one parameter tensor. Success is
    measured on the attacker's own samples, as the data attack would present them. Made against rules that look at whole
    updates: all other layers are honest, bit for bit. On a small MLP, with `scale` 0.5, it passes MultiKrum and DeepSight,
    which stop the backdoor alone (experiments/stealthy_backdoors.toml); Krum stops both and Flame mostly, for there the
    critical layer is most of the model. An attacker that has no sample to measure on, or whose poison has not sunk in at all,
    sends the honest update.

    Attackers train twice, and test their models up to 2 L + 1 times on `num_samples` for L layers; memory one more row each.

    Reference: Zhuang, Yu, Wang, Hua, Li, Yuan, Backdoor Federated Learning by Poisoning Backdoor-Critical Layers, ICLR 2024
    (arXiv 2308.04466), layer substitution analysis and layer-wise poisoning.
    Differs from the paper: each attacker mixes into its own honest update, not into the attackers' mean; both models start from
    the global one and are judged on training samples; the norm is held.

    >>> LayerReplacement(tau=0.9).hooks()
    ()
    """

    tau: Share = 0.8
    """The share of the poisoned model's success that the critical layers reach."""
    _: KW_ONLY
    scale: PositiveFloat32 = 1.0
    """λ: above 1 against averaging, below 1 to hide."""
    num_samples: PositiveInt = 256
    """At most so many of an attacker's samples judge the layers."""
    trainer: Trainer | None = None
    """Trains the poisoned model (learning rate, epochs …); None: the honest one."""

    def check(self, data: DataAttack | None) -> None:
        """It needs a data attack with a class to reach."""
        if data is None or data.success_class is None:
            got = "none" if data is None else data.kind
            raise ConfigError(
                f"LayerReplacement needs a targeted data attack, such as a backdoor; got {got}. Set adversary.data."
            )

    def training(self, honest: Trainer) -> Trainer:
        """Both trainings, one after the other, and the mixture."""
        return _ReplaceLayers(self, honest, self.trainer or honest)


class _ReplaceLayers(Trainer):
    """The attackers' training; not for configs, since it makes no sense without the attack."""

    attack: LayerReplacement
    honest: Trainer
    poisoned: Trainer

    def check(self, model: nn.Module, samples: Samples) -> None:
        self.honest.check(model, samples)
        self.poisoned.check(model, samples)

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        self.attack.check(cohort.poison)
        k = len(cohort)
        clean = Rows.empty(k, context.layout, device=out.matrix.device)
        as_honest = replace(cohort, places=tuple(range(k)), poison=None, attackers=(), hooks=())
        kept = self.honest.train(as_honest, state, context, clean)
        self.poisoned.train(cohort, state, context, out)
        for i, place in enumerate(cohort.places):
            if clean.status[i] == Status.SENT and out.status[place] == Status.SENT:
                success = _success(cohort, i, context, self.attack.num_samples)
                models = (clean.matrix[i], clean.buffers[i]), (out.matrix[place], out.buffers[place])
                layers = [] if success is None else critical_layers(success, *models, context, self.attack.tau)
                out.matrix[place] = replaced(clean.matrix[i], out.matrix[place], layers, self.attack.scale)
                out.buffers[place] = clean.buffers[i]
        return kept


Success = Callable[[Tensor, Tensor], float]
"""The attack success of an update `[d]` with its buffers `[b]`."""
Trained = tuple[Tensor, Tensor]


def critical_layers(success: Success, honest: Trained, poisoned: Trained, context: RoundContext, tau: float) -> list[slice]:
    """The columns of the critical layers, the most critical first; none where the poisoned model has no success."""
    (good, good_buffers), (bad, bad_buffers) = honest, poisoned
    enough = tau * success(bad, bad_buffers)
    if enough == 0:
        return []
    layers = [slice(slot.start, slot.stop) for slot in context.layout.parameters]
    without = [success(_swapped(bad, good, [layer]), bad_buffers) for layer in layers]
    order = sorted(range(len(layers)), key=without.__getitem__)
    critical: list[slice] = []
    for place in order:
        critical.append(layers[place])
        if success(_swapped(good, bad, critical), good_buffers) >= enough:
            break
    return critical


def replaced(honest: Tensor, poisoned: Tensor, layers: list[slice], scale: float) -> Tensor:
    """The honest update `[d]` with these columns of the poisoned one, scaled, but no longer than honest ones."""
    sent, mask = honest.clone(), torch.zeros_like(honest, dtype=torch.bool)
    for layer in layers:
        mask[layer] = True
    mixed = scale * poisoned[mask] + max(0.0, 1 - scale) * honest[mask]
    bound, length = honest[mask].double().norm(), mixed.double().norm()
    sent[mask] = mixed * float((bound / length).clamp(max=1)) if length > 0 else mixed
    return sent


def _swapped(base: Tensor, donor: Tensor, layers: list[slice]) -> Tensor:
    mixed = base.clone()
    for layer in layers:
        mixed[layer] = donor[layer]
    return mixed


def _success(cohort: Cohort, i: int, context: RoundContext, most: int) -> Success | None:
    """How well a model of the cohort's i-th client does what the attack wants, on its own samples; None without any."""
    poison, model = cohort.poison, context.model
    assert poison is not None
    if model is None:
        raise ConfigError("LayerReplacement judges models; the round's context has none. Set RoundContext.model.")
    order = torch.randperm(len(cohort.index[i]), generator=context.generator("layer replacement", cohort.ids[i]))
    index = cohort.index[i].to(cohort.samples.labels.device)
    images, labels = cohort.samples.pixels(index[order[:most].to(index.device)])
    eligible = poison.eligible(images, labels)
    if not eligible.any():
        return None
    inputs = cohort.samples.normalize(poison.stamp(images[eligible]))

    def success(update: Tensor, buffers: Tensor) -> float:
        flat.load(model, context.global_params + update, buffers)
        with flat.evaluating(model), torch.no_grad():
            logits = model(inputs)
        hits = (logits.argmax(dim=1) == poison.success_class) & logits.isfinite().all(dim=1)
        return float(hits.double().mean())

    return success
