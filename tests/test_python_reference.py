"""The reference of the library names everything that a stable package exports, and every law."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from phalanx.core.component import Component
from phalanx.testing import LAWS

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\w+", REFERENCE))
STABILITY = (DOCS / "project" / "stability.md").read_text(encoding="utf-8")
PROMISED = re.search(r"what (`phalanx\.aggregators`.*) export in `__all__`", STABILITY)[1]
PACKAGES = ["phalanx", *(name if name.startswith("phalanx") else f"phalanx{name}" for name in re.findall(r"`(.+?)`", PROMISED))]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_stable_package_exports_has_a_place(package):
    """Methods and settings have theirs on the pages that are written from the catalogue."""
    module = importlib.import_module(package)
    exported = [name for name in module.__all__ if not _is_component(getattr(module, name))]
    assert not [name for name in exported if name != "__version__" and name not in NAMED]


def test_every_law_has_a_place():
    assert LAWS.keys() <= NAMED


@pytest.mark.parametrize("place", re.findall(r"^::: (\S+)", REFERENCE, re.MULTILINE))
def test_a_place_is_one_that_there_is(place):
    pkgutil.resolve_name(place)


def _is_component(value):
    return isinstance(value, type) and issubclass(value, Component)
