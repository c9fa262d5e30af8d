"""`Sweep`: one TOML file that stands for many experiments, the base config crossed with variants and seeds.

[sweep]                                  # below it, any axis; the order of the file is the order of the table
seeds = [1, 2, 3]                        # crosses run.seed; scores are averaged over them
[sweep.cross]                            # values of one setting
training.lr = [0.1, 0.3]
[sweep.attack]                           # a named axis: each variant is laid over the base config, as --set does
none = {}
min_max = { adversary.update.kind = "min_max" }

Variants share values by name: `few = { let.f = 2 }` in one axis, `aggregator.num_byzantine = "$f"` in another; those in
`[sweep.let]` are everybody's.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest
from phalanx.core.toml import outermost_first, read_toml
from phalanx.experiments.axis import Axis, Settings, crossed_axes, is_list, leaves, named_axis, nested, override_sweep
from phalanx.experiments.let import check_names, with_values


@dataclass(frozen=True, eq=False)
class Cell:
    """One experiment of a sweep: where it stands on every axis, and its seed. Compared by identity: a sweep holds each once."""

    place: Mapping[str, str]
    experiment: Experiment

    @property
    def seed(self) -> int:
        """The seed, which is no axis: cells that differ in it only are repetitions of each other."""
        return self.experiment.run.seed

    @property
    def name(self) -> str:
        """What errors and progress call it."""
        return ", ".join([*(f"{axis} {variant}" for axis, variant in self.place.items()), f"seed {self.seed}"])

    @cached_property
    def folder_name(self) -> str:
        """Its run folder inside the sweep's: readable, and no two experiments have the same."""
        readable = re.sub(r"[^a-z0-9]+", "-", "-".join([*self.place.values(), str(self.seed)]).lower()).strip("-")
        return f"{readable[:80]}-{self.experiment.digest()}"


@dataclass(frozen=True)
class Sweep:
    """A base experiment as a table, the axes it is crossed with, and the seeds. `source` is what errors name."""

    base: Mapping[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    source: str = "sweep"
    let: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, overrides: Settings | None = None) -> Self:
        """Read a TOML file with a `[sweep]`; `overrides` change the base, and `sweep.…` what is crossed.

        Raises: ConfigError naming the file, the path and the rule.
        """
        table = read_toml(Path(path))
        for dotted, value in outermost_first(overrides or {}):
            if dotted.split(".")[0] == "sweep":
                override_sweep(table, dotted, value)
        others = {dotted: value for dotted, value in (overrides or {}).items() if dotted.split(".")[0] != "sweep"}
        crossed = table.pop("sweep", None)
        try:
            if not isinstance(crossed, dict):
                raise ConfigError("there is no [sweep]; run a single experiment with: phalanx run.")
            if "seeds" in crossed and "run.seed" in dict(leaves(others)):
                raise ConfigError("run.seed would have no effect beside sweep.seeds; set sweep.seeds instead.")
            return cls.from_tables(Experiment.overridden(table, others), crossed, source=str(path))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def from_tables(cls, base: Mapping[str, Any], crossed: Mapping[str, Any], *, source: str = "sweep") -> Self:
        """A sweep from its base table and its `[sweep]` table.

        Raises: ConfigError.
        """
        seeds = crossed.get("seeds", [RunSettings.from_table(base.get("run", {})).seed])
        is_right = is_list(seeds) and all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
        if not is_right or len(set(seeds)) < len(seeds):
            raise ConfigError(f"sweep.seeds must be a list of different integers from 0 to 2^63 - 1; got {seeds!r}.")
        let, axes = crossed.get("let", {}), list[Axis]()
        if not isinstance(let, Mapping):
            raise ConfigError(f"sweep.let must be a table of values such as {{ f = 2 }}; got {let!r}.")
        for name, table in crossed.items():
            if name in ("seeds", "let"):
                continue
            if not isinstance(table, Mapping) or not table:
                hint = "." if name == "cross" else nearest(name, ["seeds", "cross", "let"])
                raise ConfigError(f"sweep.{name} must be a table of variants; got {table!r}{hint}")
            axes += crossed_axes(table) if name == "cross" else [named_axis(name, table)]
        if any("run.seed" in dict(leaves(settings)) for axis in axes for settings in axis.variants.values()):
            raise ConfigError("sweep: run.seed is no axis; write sweep.seeds, over which scores are averaged.")
        twice = [axis.name for axis in axes if [other.name for other in axes].count(axis.name) > 1]
        if twice:
            raise ConfigError(f"sweep: two axes are called {twice[0]!r}.")
        names = [name for axis in axes for name in (axis.name, *axis.variants)]
        if broken := [name for name in names if re.search(r"[\x00-\x1f\x7f]", name)]:
            raise ConfigError(f"sweep: axes and variants need names of one line; got {broken[0]!r}.")
        check_names(let, [settings for axis in axes for settings in axis.variants.values()])
        return cls(base, tuple(axes), tuple(seeds), source, let)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every experiment, seeds innermost.

        Raises: ConfigError naming the cell whose config is wrong, or two cells that are the same experiment.
        """
        found: dict[str, Cell] = {}
        for cell in self._cross():
            other = found.setdefault(cell.experiment.digest(), cell)
            if other is not cell:
                raise ConfigError(f"{self.source}: the cells ({other.name}) and ({cell.name}) are the same experiment.")
        return tuple(found.values())

    def to_tables(self) -> dict[str, Any]:
        """The sweep as one table, ready for TOML; `from_tables` of it makes the same cells."""
        axes: dict[str, Any] = {}
        for axis in self.axes:
            if axis.is_crossed:
                axes.setdefault("cross", {})[axis.name] = [settings[axis.name] for settings in axis.variants.values()]
            else:
                axes[axis.name] = {name: nested(settings) for name, settings in axis.variants.items()}
        shared = {"let": dict(self.let)} if self.let else {}
        return {**self.base, "sweep": {"seeds": list(self.seeds), **shared, **axes}}

    def _cross(self) -> Iterator[Cell]:
        for chosen in itertools.product(*(axis.variants for axis in self.axes)):
            place = {axis.name: name for axis, name in zip(self.axes, chosen)}
            settings: dict[str, Any] = {}
            for axis in self.axes:
                settings |= axis.variants[place[axis.name]]
            try:
                experiment = Experiment.from_table(Experiment.overridden(self.base, with_values(settings, self.let)))
            except ConfigError as error:
                where = ", ".join(f"{axis} {variant}" for axis, variant in place.items())
                raise ConfigError(f"{self.source}: cell ({where}): {error}") from None
            for seed in self.seeds:
                yield Cell(place, replace(experiment, run=replace(experiment.run, seed=seed)))
