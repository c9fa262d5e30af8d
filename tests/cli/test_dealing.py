"""`phalanx data`: where data sets lie, and how one is dealt, in numbers, bars and a picture."""

import hashlib
import json
from collections import Counter

import pytest
import torch

from phalanx.cli.bars import MARKS, bar, bars, group_size, legend
from phalanx.cli.dealing import effective_classes, show_data
from phalanx.config import Experiment
from phalanx.core.component import members
from phalanx.core.errors import ConfigError, DataError
from phalanx.core.families import Dataset
from phalanx.data import Digits, Dirichlet, Federation
from phalanx.data.files import VARIABLE

SKEWED = ["partition.kind=dirichlet", "partition.alpha=0.1", "partition.num_clients=6"]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def document(capsys, name, settings=()):
    show_data(name, list(settings), None, as_json=True)
    return json.loads(capsys.readouterr().out)


def test_all_data_sets_are_listed_with_where_they_lie(tmp_path, monkeypatch, capsys):
    (tmp_path / "HAR").mkdir()
    for name in ("train.csv.gz", "test.csv.gz"):
        (tmp_path / "HAR" / name).touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = {one["name"]: one for one in document(capsys, None)}
    assert set(found) == set(members(Dataset))
    assert found["har"]["folder"] == str(tmp_path / "HAR")
    assert (found["cifar10"]["has_files"], found["cifar10"]["folder"]) == (True, None)
    assert not found["digits"]["has_files"]
    show_data(None, [], None, as_json=False)
    text = capsys.readouterr().out
    assert "not here yet" in text
    assert "always here" in text


def test_a_split_is_the_one_that_a_run_with_these_settings_has(capsys):
    found = document(capsys, "digits", [*SKEWED, "run.seed=3"])
    partition = Dirichlet(num_clients=6, alpha=0.1)
    federation = Federation.build(Digits().load(), partition, seed=3)
    expected = [Counter(federation.train.labels[index].tolist()) for index in federation.clients]
    assert [[row[label] for label in range(10)] for row in expected] == found["class_counts"]
    assert found["samples"] == [len(index) for index in federation.clients]
    assert found["partition"] == partition.to_table()
    assert (found["train"], found["test"], found["shape"], found["classes"]) == (1500, 297, [1, 8, 8], 10)
    (digest,) = found["checksums"].values()
    assert len(digest) == 2 * hashlib.sha256().digest_size


def test_without_settings_the_experiments_own_defaults_are_dealt(capsys):
    assert document(capsys, "digits")["partition"] == Experiment().partition.to_table()


def test_the_terminal_shows_a_bar_a_client_and_the_spread(capsys):
    show_data("digits", SKEWED, None, as_json=False)
    text = capsys.readouterr().out
    assert "Dealt to 6 clients by dirichlet (alpha 0.1), seed 0" in text
    for word in ("effective classes a client", "samples a client", "sha256 "):
        assert word in text


def test_thousands_of_clients_are_a_few_bars_and_said_so(capsys):
    show_data("synthetic", ["data.num_samples=3000", "partition.num_clients=2500"], None, as_json=False)
    text = capsys.readouterr().out
    assert "Shown are 30 of 2,500 clients, evenly spaced." in text
    assert "\n 2,499 " in text


def test_a_plot_is_written_and_another_format_or_place_is_one_sentence(tmp_path, capsys):
    show_data("digits", SKEWED, tmp_path / "split.png", as_json=False)
    assert (tmp_path / "split.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"--plot writes \.pdf, \.png, \.svg; got 'split\.bmp'"):
        show_data("digits", [], tmp_path / "split.bmp", as_json=False)
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        show_data("digits", [], tmp_path / "nowhere" / "split.png", as_json=False)


def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        show_data("digit", [], None, as_json=False)
    with pytest.raises(ConfigError, match="need the name of a data set"):
        show_data(None, SKEWED, None, as_json=False)
    with pytest.raises(DataError, match="at least 2000 x 1 samples; got 1500"):
        show_data("digits", ["partition.num_clients=2000"], None, as_json=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"data set HAR needs train\.csv\.gz") as error:
        show_data("har", [], None, as_json=False)
    assert "\n" not in str(error.value)


def test_real_data_is_found_and_verified(data_dir, capsys):
    found = document(capsys, "fashion_mnist", SKEWED)
    assert found["folder"] == str(data_dir / "FashionMNIST")
    assert sum(found["samples"]) == found["train"]
    assert len(found["checksums"]) == 4


@pytest.mark.parametrize("own", [[7, 0, 1], [1, 1, 1], [0, 0, 5], [1, 0, 0]])
def test_a_bar_is_as_long_as_asked_and_in_proportion(own):
    drawn = bar(torch.tensor(own), length=8).plain
    assert len(drawn) == 8
    for label, number in enumerate(own):
        assert abs(drawn.count(MARKS[label]) - 8 * number / sum(own)) < 1


def test_a_hundred_classes_share_marks():
    assert group_size(100) == 10
    (row,) = bars(torch.eye(100, dtype=torch.int64)[[57]] * 9, width=40).columns[2].cells
    assert set(row.plain) == {"5"}
    assert "0 to 9 are the classes 0 to 99, 10 a mark" in legend(100).plain


def test_effective_classes_are_between_one_and_all():
    counts = torch.tensor([[4, 4, 4, 4], [16, 0, 0, 0], [8, 8, 0, 0], [0, 0, 0, 0]])
    assert effective_classes(counts).tolist() == pytest.approx([4, 1, 2, 0])
