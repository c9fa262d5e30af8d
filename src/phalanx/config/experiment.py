"""`Experiment`: everything that decides a run's result, as one frozen value that is also one TOML file."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field

from phalanx.aggregators import Mean
from phalanx.attacks import Adversary
from phalanx.config.settings import EvaluationSettings, PrivacySettings, RunSettings
from phalanx.core.component import Component, find
from phalanx.core.errors import ConfigError
from phalanx.core.families import (
    Aggregator,
    Architecture,
    Dataset,
    Participation,
    Partitioner,
    ServerOptimizer,
    Tracker,
    Trainer,
)
from phalanx.core.toml import outermost_first, override, read_toml
from phalanx.data import IID, Digits, RootSet
from phalanx.models import MLP
from phalanx.server import AllClients, Screening, ServerSGD
from phalanx.training import SGD

_LATER = (
    (..., "local_schedule", {"kind": "constant"}),
    ("flip", "known", "pair"),
    *((hardening, "augment", []) for hardening in ("flip", "universal_flip", "clean_hardening")),
)
"""Fields that came after the first runs, by kind (...: any), with their defaults: those runs keep their names."""


class Experiment(Component):
    """A federation, who attacks it and what defends it. Every section has a default; the default runs.

    >>> from phalanx.aggregators import Krum
    >>> Experiment(aggregator=Krum(num_byzantine=2)).aggregator
    Krum(num_byzantine=2)
    """

    run: RunSettings = Field(default_factory=RunSettings)
    data: Dataset = Field(default_factory=Digits)
    root: RootSet = Field(default_factory=RootSet)
    partition: Partitioner = Field(default_factory=IID)
    participation: Participation = Field(default_factory=AllClients)
    model: Architecture = Field(default_factory=MLP)
    training: Trainer = Field(default_factory=lambda: SGD(lr=0.1, epochs=1))
    server: ServerOptimizer = Field(default_factory=ServerSGD)
    screening: Screening = Field(default_factory=Screening)
    aggregator: Aggregator = Field(default_factory=Mean)
    adversary: Adversary = Field(default_factory=Adversary)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    tracking: tuple[Tracker, ...] = ()

    def __post_init__(self) -> None:
        kinds = [tracker.kind for tracker in self.tracking]
        if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
            raise ConfigError(f"tracking names {twice[0]} twice; a run has one tracker of a kind.")

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a TOML file; `overrides` maps dotted paths to values, as `--set` does, in any order.

        Raises: ConfigError naming the file, the path, the value and the nearest valid name.
        """
        table = read_toml(Path(path))
        if "sweep" in table:
            raise ConfigError(f"{path} is a sweep; run it with: phalanx sweep {path}")
        try:
            return cls.from_table(cls.overridden(table, overrides or {}))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def overridden(cls, table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a config's table with dotted paths set in it, in any order.

        A table that is left out is overridden from its default, also inside of others: `training.lr` alone changes the default
        trainer, `aggregator.noise.level` the default noise of the rule that the config names.

        Raises: ConfigError if a path does not lead to a setting.
        """
        changed = deepcopy(dict(table))
        for dotted, value in outermost_first(overrides):
            _fill(cls, changed, dotted.split(".")[:-1])
            override(changed, dotted, value)
        return changed

    def to_toml(self) -> str:
        """The complete experiment, defaults included, as TOML; loading it gives an equal experiment."""
        return tomli_w.dumps(self.to_table())

    def digest(self) -> str:
        """A short name for everything that decides the result: the same experiment has the same digest.

        What only decides how fast it comes (workers, devices, checkpoints) or who watches (tracking) is left out.
        """
        table = self.to_table()
        del table["tracking"]
        if self.privacy == PrivacySettings():  # runs from before there was this section keep their names
            del table["privacy"]
        table["run"] = {name: value for name, value in table["run"].items() if name in RunSettings.deciding}
        return hashlib.sha256(json.dumps(_without_later(table), sort_keys=True).encode()).hexdigest()[:10]


def _without_later(value: Any) -> Any:
    """A table, at any depth, without fields that came later and are left alone."""
    if isinstance(value, list):
        return [_without_later(part) for part in value]
    if not isinstance(value, dict):
        return value
    kinds = (..., value.get("kind"))
    return {
        name: _without_later(part) for name, part in value.items() if not any((kind, name, part) in _LATER for kind in kinds)
    }


def _fill(component: type[Component], table: dict[str, Any], path: list[str]) -> None:
    """Put defaults where a table on the path is missing. It ends where there is no default, or what is there is wrong."""
    for name in path:
        field = component.__pydantic_fields__.get(name)  # type: ignore[attr-defined]
        default = None if field is None else field.get_default(call_default_factory=True)
        if not isinstance(default, Component):
            return
        inner = table.setdefault(name, default.to_table())
        if not isinstance(inner, dict):
            return
        table, component = inner, type(default)
        if component._base is not None and table.get("kind") != component.kind:
            chosen = find(component._base, str(table.get("kind")))
            if chosen is None:
                return
            component = chosen
