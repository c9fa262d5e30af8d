"""`run`: an experiment from its config to its result. The command line does the same."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from phalanx.config import Experiment
from phalanx.core import rng
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.events import Event, Sink
from phalanx.core.types import DataSplit
from phalanx.data import Federation
from phalanx.experiments.custom import CustomData, CustomModel, data_digest, model_digest
from phalanx.experiments.driving import drive
from phalanx.experiments.folder import RunFolder
from phalanx.experiments.privacy import announced, recharged
from phalanx.experiments.record import experiment_of
from phalanx.experiments.watching import check_trackers, end, watched
from phalanx.models import model_sha256
from phalanx.simulation import FederationState, Simulation


@dataclass(frozen=True)
class RunResult:
    """What a run ended in.

    `metrics`: one row per evaluation, ready for `pandas.DataFrame`. `model`: the final module, in eval mode. `summary`: what
    result.json holds. `rounds_kept`: how many rounds kept the model as it was. `folder`: where it was written, or None.
    """

    experiment: Experiment
    metrics: list[dict[str, Any]]
    model: nn.Module
    summary: dict[str, Any]
    rounds_kept: int
    folder: Path | None = None


def run(
    experiment: Experiment,
    *,
    out: str | Path | None = None,
    model: nn.Module | None = None,
    data: DataSplit | None = None,
    sinks: Sequence[Sink] = (),
) -> RunResult:
    """Run an experiment to its end.

    Args:
        experiment: what to run.
        out: the run folder. An unfinished run in it goes on where its last checkpoint stands, a finished one is read back.
            None keeps everything in memory, without checkpoints.
        model: your own module, instead of `experiment.model`; its current weights are the initial ones. It is not changed.
        data: your own samples, instead of `experiment.data`.
        sinks: who else takes the events.

    Raises: ConfigError, DataError, CapabilityError, PreconditionError before any work; CheckpointError if the folder cannot be
        used; Stopped after Ctrl-C or SIGTERM, with everything up to the last finished round saved.
    """
    experiment = _record_custom(experiment, model, data)
    return run_on(experiment.data.load if data is None else lambda: data, experiment, out=out, model=model, sinks=sinks)


def run_on(
    load: Callable[[], DataSplit],
    experiment: Experiment,
    *,
    out: str | Path | None,
    model: nn.Module | None = None,
    sinks: Sequence[Sink] = (),
) -> RunResult:
    """`run`, with another way to come by the samples of `experiment.data`: a sweep's process reads them once for many cells."""
    path = Path(out) if out is not None else None
    check_trackers(experiment, path)
    federation, module = prepare(experiment, model, load())
    simulation = Simulation(experiment, federation, module)  # refuses what cannot work, before anything is written
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(path, experiment)) if path else None
        if folder and folder.is_finished:
            return _read_back(folder, module)
        stack.enter_context(simulation)
        history = _History()
        listeners: list[Sink] = [history, *([folder] if folder else []), *sinks]
        state, is_recharged = simulation.initial_state(), False
        if folder:
            state, is_recharged = _restore(folder, simulation, state, history, sinks)
        trackers = stack.enter_context(watched(experiment, folder))  # after the workers: forks must not inherit their threads
        listeners += trackers
        if simulation.accounts:  # one that goes on has it in its events already, unless it has paid twice
            is_told = folder is not None and folder.position()["events"] != "0"
            event = announced(simulation.accounts, state)
            for listener in sinks if is_told and not is_recharged else listeners:
                listener.emit(event)
        state, ending = drive(simulation, state, folder, listeners)
        module = simulation.load(state).eval()
        summary = {**_summary(experiment, history.rows, module), **ending}
        if simulation.accounts:
            summary["privacy"] = simulation.accounts.result(state)
        for tracker in trackers:
            tracker.emit(end(state.round - 1, summary["final"]))
        if folder:
            folder.finish(module, summary)
        return RunResult(experiment, history.rows, module, summary, history.rounds_kept, folder.path if folder else None)


def resume(
    path: str | Path, *, model: nn.Module | None = None, data: DataSplit | None = None, sinks: Sequence[Sink] = ()
) -> RunResult:
    """Go on with the run in a folder; a finished one is read back. Your own model and data are asked for again.

    Raises: CheckpointError if there is no run.
    """
    return run(experiment_of(Path(path)), out=path, model=model, data=data, sinks=sinks)


class _History:
    """The metrics table, built from events: one row per evaluation, with the numbers of the round before it, and of the last
    inversion."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.rounds_kept = 0
        self._round: dict[str, Any] = {}
        self._inverted: dict[str, Any] = {}

    def emit(self, event: Event) -> None:
        self.take(event.as_dict())

    def take(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "round":
            self.rounds_kept += "kept_model" in event
            self._round = {name: value for name, value in event.items() if isinstance(value, int | float) or value is None}
        if event["event"] == "inversion" and "missing" not in event:
            self._inverted = {f"inversion_{name}": event.get(f"mean_{name}") for name in ("psnr", "ssim", "baseline")}
        if event["event"] == "evaluation":
            scores = {name: value for name, value in event.items() if name not in ("event", "seconds", "over_tau")}
            self.rows.append(self._round | self._inverted | scores)


def _record_custom(experiment: Experiment, model: nn.Module | None, data: DataSplit | None) -> Experiment:
    """The experiment with a user's own model and data in it. Raises: ConfigError if it was made with others."""
    given: dict[str, CustomModel | CustomData] = {}
    if model is not None:
        given["model"] = CustomModel(digest=model_digest(model))
    if data is not None:
        given["data"] = CustomData(digest=data_digest(data))
    for name, custom in given.items():
        asked = getattr(experiment, name)
        if isinstance(asked, CustomModel | CustomData) and asked != custom:
            raise ConfigError(
                f"This experiment was made with another {name}: its digest is {asked.digest}, not {custom.digest}."
            )
    return replace(experiment, **given)  # type: ignore[arg-type]


def prepare(experiment: Experiment, model: nn.Module | None, split: DataSplit) -> tuple[Federation, nn.Module]:
    """The samples dealt to clients, and the initial model: a copy of the user's own, if there is one."""
    seed = experiment.run.seed
    federation = Federation.build(split, experiment.partition, experiment.root, seed)
    if model is not None:
        return federation, deepcopy(model)
    generator = rng.generator(seed, "model")
    return federation, experiment.model.build(federation.input_shape, federation.num_classes, generator)


def _restore(
    folder: RunFolder, simulation: Simulation, fresh: FederationState, history: _History, sinks: Sequence[Sink]
) -> tuple[FederationState, bool]:
    """The state to go on from, and whether what was spent after it was put on its books; listeners that only show are told."""
    state, damaged, receipts = folder.restore()
    remarks = folder.describe(simulation, is_fresh=state is None)
    for event in folder.read_events():
        history.take(event)
    if state is not None and not _fits(state, fresh):
        raise CheckpointError(f"The checkpoint in {folder.path} is of another model; delete {folder.path} to start again.")
    going_on = fresh if state is None else state.to(simulation.device)
    if going_on.round >= simulation.experiment.run.rounds and not history.rows:
        raise CheckpointError(f"{folder.events_path} is damaged; delete {folder.path} to start again.")
    restored = going_on
    if simulation.accounts and receipts:
        going_on = recharged(simulation.accounts, going_on, receipts, is_same_machine=not remarks)
    if state is not None:
        for sink in sinks:
            sink.emit(Event("resumed", state.round, {"remarks": [*remarks, *damaged]}))
    return going_on, going_on is not restored


def _fits(state: FederationState, fresh: FederationState) -> bool:
    """Whether a checkpoint holds a model of this form: its seal says only that nobody has changed it since."""
    pairs = ((state.params, fresh.params), (state.buffers, fresh.buffers))
    return all(found.shape == asked.shape and found.dtype == asked.dtype for found, asked in pairs)


def _summary(experiment: Experiment, rows: list[dict[str, Any]], module: nn.Module) -> dict[str, Any]:
    """What result.json says: the last row, and the digest of the model's bytes. No times: the same run gives the same file."""
    digest = model_sha256(module)
    return {"experiment": experiment.digest(), "rounds": experiment.run.rounds, "final": rows[-1], "model_sha256": digest}


def _read_back(folder: RunFolder, module: nn.Module) -> RunResult:
    summary = folder.read_result(module)
    history = _History()
    for event in folder.read_events():
        history.take(event)
    return RunResult(folder.experiment, history.rows, module.eval(), summary, history.rounds_kept, folder.path)
