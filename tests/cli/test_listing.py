"""`phalanx list`: everything, a family, a section, one kind; as text and as JSON."""

import json

import pytest

from phalanx.attacks import data as data_attacks
from phalanx.cli.completing import GROUPS
from phalanx.cli.describing import describe, short_reference
from phalanx.cli.listing import known_families, list_all, list_named
from phalanx.cli.terminal import PIPE_WIDTH
from phalanx.core.component import members
from phalanx.core.errors import ConfigError


def test_all_families_and_members_are_named(capsys):
    list_all()
    shown = capsys.readouterr().out
    for family, base in known_families().items():
        for kind in members(base):
            assert f"\n  {kind} " in shown
            assert f"{family}\n" in shown


def test_a_family_shows_fields_defaults_papers_and_when_not_to_use_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # xdist's workers have 80: a reference is broken over two lines there
    list_named("aggregator")
    shown = capsys.readouterr().out
    for text in ("num_byzantine  int >= 0, required", "USENIX Security 2022", "No defence: one client can move it anywhere"):
        assert text in shown


def test_a_kind_shows_that_component_only_and_a_section_what_it_may_hold(capsys):
    list_named("krum")
    shown = capsys.readouterr().out
    assert shown.startswith("krum\n")
    assert "multi_krum" not in shown
    list_named("run")
    shown = capsys.readouterr().out
    assert shown.startswith("run\n")
    assert "seed " in shown
    list_named("tracking")
    assert {"mlflow", "tensorboard", "wandb"} <= set(capsys.readouterr().out.split())
    list_named("training")
    assert {"adam", "sgd"} <= set(capsys.readouterr().out.split())


def test_in_a_pipe_no_line_is_blanks_up_to_the_width(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    list_named("dataset")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == max(len(line.rstrip()) for line in lines) < PIPE_WIDTH


def test_attacks_are_listed_together_with_a_line_and_the_paper_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    list_named("attack")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("_attack")] == ["data_attack", "client_attack", "update_attack"]
    for family in GROUPS["attack"]:
        for kind, member in members(known_families()[family]).items():
            (line,) = (line for line in lines if line.startswith(f"  {kind} "))
            assert line.rstrip().endswith(short_reference(describe(member).reference) or "–")
    list_named("attack", as_json=True)
    assert set(json.loads(capsys.readouterr().out)) == set(GROUPS["attack"])


@pytest.mark.parametrize("family", ["aggregator", "pre_aggregator", *GROUPS["attack"]])
def test_every_rule_and_attack_says_where_it_comes_from(family):
    own = {kind: one for kind, one in members(known_families()[family]).items() if one.__module__.startswith("phalanx.")}
    assert [kind for kind, member in own.items() if not describe(member).reference] == []


def test_a_kind_of_two_families_shows_both(capsys):
    list_named("sgd", as_json=True)
    assert set(json.loads(capsys.readouterr().out)) == {"server_optimizer", "trainer"}


def test_json_holds_what_a_script_needs(capsys):
    list_all(as_json=True)
    tables = json.loads(capsys.readouterr().out)
    assert {one["kind"] for one in tables["data_attack"]} == {
        member.kind for member in members(data_attacks.Backdoor._base).values()
    }
    (flame,) = (one for one in tables["aggregator"] if one["kind"] == "flame")
    assert flame["fields"][0] == {
        "name": "space",
        "type": '"model" | "update"',
        "is_required": False,
        "default": "model",
        "text": "",
    }
    assert "do not use it where" in flame["text"].replace("\n", " ")


def test_an_unknown_name_is_one_sentence_with_the_nearest():
    with pytest.raises(ConfigError, match="'krumm' is no family, section or kind; did you mean 'krum'") as error:
        list_named("krumm")
    assert len(str(error.value)) < 120
