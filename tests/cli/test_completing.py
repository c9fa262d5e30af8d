"""The names that the shell offers are those that a config takes, and it takes no torch to know them."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phalanx.cli.completing import complete_dataset, complete_library, complete_name, complete_run, kinds_by_family
from phalanx.cli.listing import known_families, sections
from phalanx.config import Experiment
from phalanx.core.component import members
from phalanx.testing.conformance import LIBRARIES


def of_phalanx(family):
    return tuple(kind for kind, member in members(family).items() if member.__module__.startswith("phalanx."))


def test_the_kinds_read_off_the_sources_are_those_that_the_catalogue_finds():
    offered = {family: kinds for family, kinds in kinds_by_family().items() if family in known_families()}
    assert offered == {name: kinds for name, family in known_families().items() if (kinds := of_phalanx(family))}


def test_the_kinds_of_somebody_elses_module_are_offered_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "their_rules.py").write_text(
        "raise ImportError\nclass Slow(\n    Aggregator,\n):\n    pass\nclass Slower(Slow, kind='x'):\n"
        'class Odd(Aggregator, kind="strange"):\n    pass\nclass _Hidden(Aggregator):\n    pass\n'
    )
    (tmp_path / "their_rules-1.dist-info").mkdir()
    (tmp_path / "their_rules-1.dist-info" / "METADATA").write_text("Name: their_rules\n")
    points = "[phalanx.aggregators]\ntheirs = their_rules\n"
    (tmp_path / "their_rules-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    assert {"slow", "strange", "krum"} <= set(kinds_by_family.__wrapped__()["aggregator"])
    assert "_hidden" not in kinds_by_family.__wrapped__()["aggregator"]


def test_names_are_families_sections_and_kinds():
    assert {"aggregator", "krum", "training", "run"} <= set(complete_name(""))
    assert complete_name("attac") == ["attack"]
    assert complete_name("multi_k") == ["multi_krum"]
    assert set(sections()) == {field.name for field in dataclasses.fields(Experiment)} <= set(complete_name(""))
    assert "cifar10" in complete_dataset("cif")
    assert not complete_dataset("custom")


def test_libraries_are_those_that_conformance_tries():
    assert set(complete_library("")) == set(LIBRARIES)
    assert complete_library("by") == ["byzfl"]


def test_run_folders_and_sweeps_are_offered_below_what_was_typed(tmp_path, monkeypatch):
    for folder, name in (("runs/a-1", "config.toml"), ("runs/grid", "sweep.toml"), ("other/x/b", "config.toml")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).touch()
    (tmp_path / "runs" / "no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete_run("") == ["runs/a-1", "runs/grid"]
    assert complete_run("runs/g") == ["runs/grid"]
    assert complete_run("other/") == ["other/x/b"]
    assert complete_run(f"{tmp_path}/runs/a") == [f"{tmp_path}/runs/a-1"]
    assert complete_run("nowhere/") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_are_answered_without_torch(shell):
    words = {"COMP_WORDS": "phalanx list multi_", "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": "phalanx list multi_"}
    words |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "multi_"}
    code = "import sys; sys.argv[0] = 'phalanx'; from phalanx.cli.main import main\n"
    code += "try: main()\nfinally: assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)"
    environment = {**os.environ, **words, "_PHALANX_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "multi_krum" in done.stdout
    assert Path("runs") not in map(Path, done.stdout.split())
