"""What the shell offers after the tab key. It must answer at once, so nothing here imports torch, or any component: kinds are
read off the source text of the packages that entry points announce."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path

GROUPS = {"attack": ("data_attack", "client_attack", "update_attack")}
"""Families that `phalanx list` shows together, under a name that is none itself."""

_PHALANX = Path(__file__).parents[1]
_CLASS = re.compile(r"^class (\w+)\(([^)]*)\):", re.MULTILINE)
_SECTION = re.compile(r"^    (\w+): \S.* = ", re.MULTILINE)
_KEYWORD = re.compile(r'(family|kind)="(\w+)"')


def complete_name(incomplete: str) -> list[str]:
    """Families, groups of them, sections of a config, and all kinds."""
    names = set(GROUPS) | {name for family, kinds in kinds_by_family().items() for name in (family, *kinds)}
    names |= set(_SECTION.findall((_PHALANX / "config" / "experiment.py").read_text(encoding="utf-8")))
    return sorted(name for name in names if name.startswith(incomplete))


def complete_dataset(incomplete: str) -> list[str]:
    """The kinds of data sets."""
    return sorted(kind for kind in kinds_by_family().get("dataset", ()) if kind.startswith(incomplete))


def complete_library(incomplete: str) -> list[str]:
    """The libraries whose rules `phalanx conformance` tries."""
    return [name for name in ("byzfl", "flower", "phalanx") if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Run folders and sweeps' folders at most two levels below what has been typed, and those in runs/.

    Where there are none, the shell's own completion of paths takes over.
    """
    typed = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    places = [typed, *([Path("runs")] if not incomplete else [])]
    found = {str(folder) for place in places for pattern in ("*", "*/*") for folder in _folders(place, pattern)}
    return sorted(folder for folder in found if folder.startswith(incomplete.removeprefix("./")))


def _folders(place: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from (file.parent for name in ("config.toml", "sweep.toml") for file in place.glob(f"{pattern}/{name}"))
    except OSError:
        return


@cache
def kinds_by_family() -> dict[str, tuple[str, ...]]:
    """The kinds of every family, as `members` would find them."""
    points = [point for package in distributions() for point in package.entry_points if point.group.startswith("phalanx.")]
    files = {file for point in points for file in _sources(point)} | {_PHALANX / "core" / "families.py"}
    classes: dict[str, tuple[list[str], dict[str, str]]] = {}
    for file in sorted(files):
        for name, arguments in _CLASS.findall(file.read_text(encoding="utf-8", errors="replace")):
            bases = [base for base in re.split(r"[,\s]+", arguments) if "=" not in base]
            classes[name] = (bases, dict(_KEYWORD.findall(arguments)))
    found: dict[str, list[str]] = {}
    for name, (bases, keywords) in classes.items():
        family = _family(bases, classes)
        kind = keywords.get("kind") or _snake_case(name)
        if family and "family" not in keywords and "ABC" not in bases and not name.startswith("_") and kind != "custom":
            found.setdefault(family, []).append(kind)
    return {family: tuple(sorted(set(kinds))) for family, kinds in sorted(found.items())}


def _family(bases: list[str], classes: dict[str, tuple[list[str], dict[str, str]]]) -> str | None:
    for base in bases:
        above, keywords = classes.get(base.rpartition(".")[2], ([], {}))
        if found := keywords.get("family") or _family(above, classes):
            return found
    return None


def _sources(point: EntryPoint) -> Iterator[Path]:
    """The source files of an entry point's module or package, found without importing it."""
    top, *inner = point.module.split(".")
    spec = find_spec(top)
    if spec is None or spec.submodule_search_locations is None:
        yield from [Path(spec.origin)] if spec and spec.origin else []
        return
    for root in spec.submodule_search_locations:
        place = Path(root, *inner)
        yield from place.rglob("*.py") if place.is_dir() else filter(Path.is_file, [place.with_suffix(".py")])


def _snake_case(name: str) -> str:
    """As `core.component.snake_case`, whose module takes a while to import."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
