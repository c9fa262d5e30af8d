"""What an inversion attack finds in a client's real update. Only here is it compared with the truth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from phalanx.config import Experiment, InversionSettings
from phalanx.core import params as flat
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.events import Event, Value
from phalanx.core.leak import Leak, Watch
from phalanx.core.types import Cohort, RoundContext, Rows, State, Status
from phalanx.data import Federation
from phalanx.metrics import Recovery, recovery
from phalanx.server.events import Stopwatch, number
from phalanx.training.trace import Trace, trace


@dataclass(frozen=True)
class Pictures:
    """Bytes `[3, B, C, H, W]`: the client's images, what it trained on, and what the attack found, in the order that fits."""

    round: int
    images: Tensor


class Inversion:
    """The attack that `[evaluation.inversion]` asks for.

    The client's row is trained again, from the same streams: it is the one that it sent, bit for bit.
    """

    def __init__(self, experiment: Experiment, federation: Federation, model: nn.Module, settings: InversionSettings) -> None:
        self._experiment, self._federation, self._model, self._settings = experiment, federation, model, settings
        self._cohort = Cohort(
            (settings.client,), (0,), federation.train, federation.clients[settings.client : settings.client + 1]
        )

    def check(self, context: RoundContext) -> None:
        """Refuse before round 0 what could not be attacked. Raises: ConfigError."""
        settings, shape = self._settings, self._federation.input_shape
        if settings.client >= self._federation.num_clients:
            raise ConfigError(
                f"evaluation.inversion.client must be below {self._federation.num_clients}, the number of clients; "
                f"got {settings.client}."
            )
        if max(settings.rounds) >= self._experiment.run.rounds:
            raise ConfigError(
                f"evaluation.inversion.rounds count from 0 and must be below run.rounds = {self._experiment.run.rounds}; "
                f"got {max(settings.rounds)}."
            )
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ConfigError(
                f"evaluation.inversion needs grey or colour images [C, H, W]; got samples of shape {list(shape)}."
            )
        # Under Poisson sampling a round has more images than another: what works in one of them is not refused.
        refusals = list[ConfigError]()
        for round in settings.rounds:
            try:
                self._check_round(replace(context, round=round))
            except ConfigError as refusal:
                refusals.append(refusal)
            else:
                return
        raise refusals[0]

    def _check_round(self, context: RoundContext) -> None:
        traced = trace(self._experiment.training, self._cohort, context, self._model)
        if traced is None:
            return
        if not all(images.min() >= 0 and images.max() <= 1 for images in (traced.truth, traced.transformed)):
            raise ConfigError("evaluation.inversion needs pixels in [0, 1], or bytes.")
        try:
            self._settings.attack.check(self._leak(torch.zeros_like(context.global_params), traced), self._model.train())
        except (PreconditionError, ConfigError) as reason:
            raise ConfigError(f"evaluation.inversion.attack: {reason}") from None

    def run(self, state: State, context: RoundContext, watch: Watch | None) -> tuple[Event, Pictures | None]:
        """Attack the client's update in this round; an event says why there was none, or what it came to."""
        clock, values = Stopwatch(), dict[str, Value](client=self._settings.client)
        with clock.phase("inversion"):
            try:
                pictures, scores = self._attack(state, context, watch)
            except (PreconditionError, ConfigError) as reason:  # a whole run is worth more than a picture of it
                pictures, scores = None, {"missing": str(reason)}
        return Event("inversion", context.round, {**values, **scores, "seconds": clock.seconds}), pictures

    def _attack(self, state: State, context: RoundContext, watch: Watch | None) -> tuple[Pictures | None, Mapping[str, Value]]:
        settings = self._settings
        self._require_presence(context)
        traced = trace(self._experiment.training, self._cohort, context, self._model)
        row = self._row(state, context)
        if traced is None or row is None:
            raise PreconditionError("The client sent no update: it has no samples, or none was drawn.")
        leak = self._leak(row, traced)
        flat.load(self._model, context.global_params, context.global_buffers)
        model = self._model.train()  # as the client trained: BatchNorm with the statistics of the batch
        draws = context.generator("inversion", settings.client)
        [found] = settings.attack.reconstruct_all((leak,), model, draws, watch=watch)
        public, _ = self._federation.test.pixels(_spread(len(self._federation.test), traced.labels.device))
        changed, draws = public, context.generator("inversion baseline")
        for augmentation in traced.augment:
            changed = augmentation.apply(changed, draws)
        shown = found.images if found.transformed is None else found.transformed
        as_trained = recovery(shown, traced.transformed, mean_image=changed.mean(0))
        as_held = recovery(found.images, traced.truth, mean_image=public.mean(0))
        return _pictures(context.round, traced, found.images[as_trained.order]), {
            "images": len(traced.truth),
            **_scores(as_trained),
            **_scores(as_held, "truth_"),
            "labels_right": number(_share_right(found.labels.cpu(), traced.labels.cpu())),
        }

    def _leak(self, row: Tensor, traced: Trace) -> Leak:
        samples, (b, c, h, w) = self._federation.train, traced.truth.shape
        labels = traced.labels if self._settings.knows_labels else None
        return Leak.of_update(row, (b, c, h, w), labels, local=traced.local, mean=samples.mean, std=samples.std)

    def _require_presence(self, context: RoundContext) -> None:
        experiment, client, count = self._experiment, self._settings.client, self._federation.num_clients
        sampled = experiment.participation.sample(count, context)
        ids = sampled.tolist()
        if client not in ids or experiment.participation.drops(sampled, count, context)[ids.index(client)]:
            raise PreconditionError("The client took no part in this round.")
        if ids.index(client) in experiment.adversary.active(sampled, count, context):
            raise PreconditionError("The client is an attacker in this round: it sends what it likes.")

    def _row(self, state: State, context: RoundContext) -> Tensor | None:
        rows = Rows.empty(1, context.layout, device=context.global_params.device)
        self._experiment.training.train(self._cohort, state, replace(context, model=self._model), rows)
        return rows.matrix[0] if rows.status[0] == Status.SENT else None


def _spread(count: int, device: torch.device) -> Tensor:
    """Places of at most a thousand of so many samples, from all over them: enough for what anyone knows of such images."""
    return torch.arange(0, count, -(-count // 1000), device=device)


def _scores(found: Recovery, prefix: str = "") -> dict[str, Value]:
    """Each image's scores, and their means: an equal image, whose PSNR is infinite, counts as one of 100 dB."""
    scores = {"mse": found.mse, "psnr": found.psnr, "ssim": found.ssim, "baseline": found.baseline}
    each: dict[str, Value] = {f"{prefix}{name}": [number(one, 4) for one in some.tolist()] for name, some in scores.items()}
    means = {f"{prefix}mean_{name}": number(float(some.clamp(max=100).mean())) for name, some in scores.items()}
    return {**each, **means}


def _share_right(found: Tensor, labels: Tensor) -> float:
    """How many of the labels were found; which image one belongs to is not asked."""
    classes = int(max(found.max(), labels.max())) + 1
    both = torch.minimum(found.bincount(minlength=classes), labels.bincount(minlength=classes))
    return int(both.sum()) / len(labels)


def _pictures(round: int, traced: Trace, found: Tensor) -> Pictures:
    images = torch.stack([traced.truth, traced.transformed, found.to(traced.truth)])
    return Pictures(round, (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
