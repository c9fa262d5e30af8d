"""`phalanx data`: the data sets and where they lie; one of them, fetched, verified and dealt to clients."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from phalanx.cli.bars import MOST_ROWS, bars, legend
from phalanx.cli.describing import describe
from phalanx.cli.summarising import SIZES, SPREAD, brief
from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.core.component import Component, members
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.families import Dataset
from phalanx.core.toml import parse_setting
from phalanx.core.types import DataSplit
from phalanx.data import Federation
from phalanx.data.files import OnDisk
from phalanx.report.numbers import count

FORMATS = (".pdf", ".png", ".svg")


def show_data(name: str | None, settings: list[str], plot: Path | None, *, as_json: bool) -> None:
    """Show all data sets, or one and its split.

    Raises: ConfigError for settings that do not fit; DataError if the files are missing or damaged, or cannot be dealt so.
    """
    if name is None:
        if settings or plot:
            raise ConfigError("--set and --plot need the name of a data set: phalanx data digits --plot split.png.")
        _list_datasets(as_json=as_json)
        return
    if plot is not None and plot.suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot writes {', '.join(FORMATS)}; got {plot.name!r}.")
    experiment = Experiment.from_table(Experiment.overridden({"data": {"kind": name}}, dict(map(parse_setting, settings))))
    split = experiment.data.load()
    federation = Federation.build(split, experiment.partition, experiment.root, experiment.run.seed)
    counts = class_counts(federation)
    if plot is not None:
        _write_plot(plot, counts)
    if as_json:
        print(json.dumps(document(experiment, split, federation, counts), indent=2))  # noqa: T201 - the command's output
        return
    _show(console(), experiment, split, federation, counts)
    if plot is not None:
        console().print(Text(f"Written: {plot}"), soft_wrap=True)


def class_counts(federation: Federation) -> Tensor:
    """How many samples of each class each client holds, `[n, C]`."""
    classes, labels = federation.num_classes, federation.train.labels
    return torch.stack([labels[index].bincount(minlength=classes) for index in federation.clients])


def effective_classes(counts: Tensor) -> Tensor:
    """exp(entropy) of each client's classes `[n]`: 1 for a single class, C for all alike, 0 for a client without samples.

    >>> effective_classes(torch.tensor([[5, 0], [5, 5], [0, 0]]))
    tensor([1., 2., 0.], dtype=torch.float64)
    """
    sizes = counts.sum(1)
    shares = counts.double() / sizes.clamp(min=1)[:, None]
    return torch.where(sizes > 0, torch.special.entr(shares).sum(1).exp(), 0.0)


def document(experiment: Experiment, split: DataSplit, federation: Federation, counts: Tensor) -> dict[str, Any]:
    """kind ("data"), name, train, test, root (samples), shape, classes, folder, checksums (sha256), partition, seed,
    clients, samples [n], effective_classes [n], class_counts [n][C]."""
    return {
        "kind": "data",
        "name": split.name,
        "train": len(split.train),
        "test": len(split.test),
        "root": len(federation.root) if federation.root else 0,
        "shape": list(federation.input_shape),
        "classes": federation.num_classes,
        "folder": _folder(experiment.data),
        "checksums": dict(split.checksums),
        "partition": experiment.partition.to_table(),
        "seed": experiment.run.seed,
        "clients": federation.num_clients,
        "samples": counts.sum(1).tolist(),
        "effective_classes": [round(value, 4) for value in effective_classes(counts).tolist()],
        "class_counts": counts.tolist(),
    }


def _list_datasets(*, as_json: bool) -> None:
    found = [_dataset(member) for member in members(Dataset).values()]
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
        return
    shown = console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for one in found:
        table.add_row(one["name"], Text.assemble(one["summary"], "\n", (_whereabouts(one), "dim")))
    shown.print(table)
    shown.print("\nFetch, verify and deal one: phalanx data NAME --set partition.kind=dirichlet", highlight=False)


def _dataset(member: type[Component]) -> dict[str, Any]:
    """name, summary, reference, has_files, folder (null: not here, or no files of its own)."""
    said, has_files, folder = describe(member), issubclass(member, OnDisk), None
    with suppress(ConfigError):  # one that cannot be made without settings does not say where it lies
        folder = _folder(Dataset.from_table({"kind": member.kind}))
    return {
        "name": member.kind,
        "summary": said.summary,
        "reference": said.reference,
        "has_files": has_files,
        "folder": folder,
    }


def _whereabouts(one: dict[str, Any]) -> str:
    if not one["has_files"]:
        return "always here"
    return f"in {one['folder']}" if one["folder"] else "not here yet"


def _folder(dataset: Dataset) -> str | None:
    place = dataset.place() if isinstance(dataset, OnDisk) else None
    return None if place is None else str(place)


def _show(shown: Console, experiment: Experiment, split: DataSplit, federation: Federation, counts: Tensor) -> None:
    shape = " x ".join(map(str, federation.input_shape))
    sizes = f"{len(split.train):,} training, {len(split.test):,} test samples, {shape}, {federation.num_classes} classes"
    shown.print(Text.assemble((split.name, "bold"), f"  {sizes}"))
    if folder := _folder(experiment.data):
        shown.print(Text(f"in {folder}", style="dim"), soft_wrap=True)
    for name, digest in split.checksums.items():
        shown.print(Text(f"sha256 {digest[:16]}…  {name}", style="dim"), soft_wrap=True)
    clients, partition = federation.num_clients, brief(experiment.partition, always=SPREAD, never=SIZES)
    kept = f", after {count(len(federation.root), 'sample')} for the server's root set" if federation.root else ""
    shown.print(f"\nDealt to {count(clients, 'client')} by {partition}, seed {experiment.run.seed}{kept}\n", highlight=False)
    shown.print(bars(counts, width=min(shown.width, 100)))
    if clients > MOST_ROWS:
        shown.print(Text(f"Shown are {MOST_ROWS} of {clients:,} clients, evenly spaced.", style="dim"))
    shown.print()
    shown.print(legend(federation.num_classes))
    shown.print()
    shown.print(_summary(counts))


def _summary(counts: Tensor) -> Table:
    sizes = counts.sum(1)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "least", "median", "most"):
        table.add_column(name, justify="left" if not name else "right")
    middle = torch.quantile(sizes.double(), 0.5)
    table.add_row("samples a client", f"{int(sizes.min()):,}", f"{float(middle):,.0f}", f"{int(sizes.max()):,}")
    spread = effective_classes(counts)
    cells = (f"{float(value):.1f}" for value in (spread.min(), torch.quantile(spread, 0.5), spread.max()))
    table.add_row("effective classes a client", *cells)
    if empty := int((sizes == 0).sum()):
        table.add_row("clients without samples", "", "", f"{empty:,}")
    return table


def _write_plot(path: Path, counts: Tensor) -> None:
    from phalanx.report.files import write_figure
    from phalanx.report.panels.partition import MOST_CLIENTS, draw_partition
    from phalanx.report.series import thinned
    from phalanx.report.style import style

    ids = thinned(len(counts), MOST_CLIENTS)
    with style():
        figure = draw_partition(counts.sum(1).tolist(), ids, counts[ids].T.numpy(), frozenset(), wide=True)
    try:
        write_figure(path, figure, dpi=200)
    except CheckpointError as error:
        raise ConfigError(f"The plot {error} Choose another place.") from None
