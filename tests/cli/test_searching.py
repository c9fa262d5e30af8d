"""`phalanx privacy search-policies`: a table, a picture, JSON, and the warning that goes with all of them."""

import json

import pytest

from phalanx.cli import searching
from phalanx.cli.searching import search_file
from phalanx.core.errors import ConfigError
from phalanx.experiments.policy_search import Found, ScoredPolicy
from phalanx.report.policies import policies_plot

CONFIG = '[run]\nrounds = 1\n[data]\nkind = "digits"\n[model]\nkind = "cnn"\n'
OPTIONS = {"policies": 2, "images": 1, "threshold": -1e9, "top": 1, "jobs": 1}
NONE = ScoredPolicy(0, (), 0.9, -60.0)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text(CONFIG)
    return file


def test_the_best_are_printed_with_none_beside_them_and_drawn(config, tmp_path, capsys):
    search_file(config, [], tmp_path / "found", **OPTIONS, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 of 2 kept: S_acc >= -1000000000.0" in shown
    assert "none" in shown
    assert 'training.augment = [{ kind = "ats", policies = [[' in shown
    assert "no correlation" in shown
    for form in ("png", "svg", "pdf"):
        assert (tmp_path / "found" / f"policies.{form}").stat().st_size > 1000


def test_json_holds_the_scores_of_none_and_of_the_best(config, tmp_path, capsys):
    search_file(config, ["run.seed=4"], tmp_path / "found", **OPTIONS, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "policies"
    assert document["none"]["policy"] == []
    assert (document["num_scored"], document["num_kept"], len(document["best"])) == (2, 2, 1)


def test_without_a_kept_policy_it_says_so(config, tmp_path, capsys):
    search_file(config, [], tmp_path / "found", **OPTIONS | {"threshold": 0.0}, as_json=False)
    assert "No policy is kept." in capsys.readouterr().out


def test_the_folder_is_named_after_the_file(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search_file(config, [], None, **OPTIONS, as_json=True)
    assert (tmp_path / "runs" / "experiment-policies" / "policies.jsonl").exists()


def test_a_wrong_setting_is_refused_by_its_path(config, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.lr"):
        search_file(config, ["training.lr=-1"], tmp_path / "found", **OPTIONS, as_json=False)


def test_the_plot_has_a_point_a_policy_names_the_best_and_keeps_the_worst_at_its_edge():
    scored = (
        ScoredPolicy(1, (1, 2, 3), 0.5, -70.0),
        ScoredPolicy(2, (4, 5, 6), 0.1, -1e5),
        ScoredPolicy(3, (7, 8, 9), 0.7, -80.0),
    )
    plot = policies_plot(Found(NONE, scored, -85.0))
    assert plot.alt == "S_pri over S_acc of 3 policies, of which 2 are kept; the lowest S_pri has 1-2-3, 0.5000. None: 0.9000."
    low, kept, none = (collection.get_offsets().tolist() for collection in plot.figure.axes[0].collections)
    assert (low, kept, none) == ([[-255.0, 0.1]], [[-70.0, 0.5], [-80.0, 0.7]], [[-60.0, 0.9]])
    assert [text.get_text() for text in plot.figure.axes[0].texts] == ["1-2-3", "7-8-9"]


def test_a_search_that_keeps_nothing_can_be_drawn():
    assert "none is kept" in policies_plot(Found(NONE, (), -85.0)).alt
    assert "No policy is kept" in searching._use(Found(NONE, (), -85.0), 3)
