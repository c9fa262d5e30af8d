"""The scripts in experiments/inversion, on eight by eight pixels: what they print is what they measured, once."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image

import phalanx
from phalanx.core.types import DataSplit, Samples
from phalanx.data import ATS
from phalanx.experiments import Sweep, SweepRecord
from phalanx.inversion import DLG
from phalanx.metrics import psnr

SCRIPTS = Path(__file__).parents[2] / "experiments" / "inversion"
EXPERIMENT = """
[run]
rounds = 1
[data]
kind = "digits"
[model]
kind = "cnn"
[training]
kind = "sgd"
lr = 0.05
steps = 1
"""
SWEEP = f"""{EXPERIMENT}
[partition]
kind = "iid"
num_clients = 1
[sweep.setting]
"digits, CNN" = {{}}
[sweep.policy]
none = {{}}
hybrid = {{ training = {{ augment = [{{ kind = "ats", policies = [[21, 0], [42]] }}] }} }}
"""


@pytest.fixture
def script(monkeypatch):
    """A script's module by its name. Each takes torch's threads for itself."""
    monkeypatch.syspath_prepend(SCRIPTS)
    threads = torch.get_num_threads()
    yield import_module
    torch.set_num_threads(threads)


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SWEEP)
    return path


def cells_of(text):
    """What a Markdown table has in each row, by the row's name."""
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {name: fields for name, *fields in rows[2:]}


def test_a_table_holds_the_psnr_of_what_was_kept_and_measures_nothing_twice(script, sweep, tmp_path, monkeypatch, capsys):
    tables, measuring, out = script("tables"), script("measuring"), tmp_path / "out"
    tables.main(sweep, out, 2, 2, None, is_trained=False)
    text = (out / "tables.md").read_text()
    assert text.strip() in capsys.readouterr().out
    rows = cells_of(text)
    assert list(rows) == ["none", "hybrid: 21-0, 42"]
    for cell in Sweep.load(sweep).cells:
        found = {
            attacker: measuring.measured(cell, attacker, out, images=2, steps=2)
            for attacker in ("naive", "translation", "policy")
        }
        naive, translation, policy = found.values()
        expected = [
            (naive.found_transformed, naive.transformed),
            translation and (translation.found_transformed, translation.transformed),
            (naive.mean_transformed.expand(2, -1, -1, -1), naive.transformed),
            (naive.found, naive.truth),
            translation and (translation.found, translation.truth),
            policy and (policy.found, policy.truth),
            (naive.mean_image.expand(2, -1, -1, -1), naive.truth),
        ]
        shown = ["" if pair is None else f"{float(psnr(*pair).mean()):.2f}" for pair in expected]
        assert rows["none" if translation is None else "hybrid: 21-0, 42"] == shown
    assert len(list(out.glob("*.safetensors"))) == 4
    monkeypatch.setattr(measuring, "attacked", lambda *known, **named: pytest.fail("It was measured before."))
    tables.main(sweep, out, 2, 2, None, is_trained=False)
    assert (out / "tables.md").read_text() == text


def test_what_is_kept_is_the_truth_and_what_the_policy_makes_of_it(script, sweep, tmp_path):
    measuring, (none, hybrid) = script("measuring"), Sweep.load(sweep).cells
    plain, hidden = (measuring.measured(cell, "naive", tmp_path, images=2, steps=1) for cell in (none, hybrid))
    assert torch.equal(plain.truth, plain.transformed)
    assert torch.equal(plain.truth, hidden.truth)
    both = [ATS(((21, 0), (42,))).apply(plain.truth, torch.Generator().manual_seed(seed)) for seed in range(30)]
    assert any(torch.equal(one, hidden.transformed) for one in both)
    assert measuring.measured(none, "policy", tmp_path, images=2, steps=1) is None


def test_with_a_finished_sweep_its_accuracy_stands_there_and_its_models_are_attacked(script, sweep, tmp_path):
    tables, record = script("tables"), SweepRecord.of(tmp_path / "runs", Sweep.load(sweep))
    first, _ = record.sweep.cells
    accuracy = phalanx.run(first.experiment, out=record.folder_of(first)).summary["final"]["accuracy"]
    tables.main(sweep, tmp_path / "out", 1, 1, tmp_path / "runs", is_trained=False)
    rows = cells_of((tmp_path / "out" / "tables.md").read_text())
    assert [fields[-1] for fields in rows.values()] == [f"{100 * accuracy:.1f} %", "–"]
    measuring = script("measuring")
    fresh, trained = (
        measuring.measured(first, "naive", tmp_path / "out", images=1, steps=1, run=run)
        for run in (None, record.folder_of(first))
    )
    assert torch.equal(fresh.truth, trained.truth)
    assert not torch.equal(fresh.found, trained.found)


def test_the_sheet_has_a_row_for_the_truth_and_for_every_attack(script, sweep, tmp_path):
    sheet = script("sheet")
    sheet.main(sweep, tmp_path, tmp_path / "sheet.png", None, "hybrid", 2, 1)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height > picture.width
    for policy in ("none", "triple"):
        with pytest.raises(SystemExit, match=f"{policy} is no policy of"):
            sheet.main(sweep, tmp_path, tmp_path / "sheet.png", None, policy, 2, 1)


def test_the_correlation_is_that_of_the_numbers_it_prints(script, tmp_path, capsys):
    path = tmp_path / "search.toml"
    path.write_text(EXPERIMENT)
    script("correlation").main(path, tmp_path / "out", 3, 1, 1)
    shown = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if line.startswith("│")]
    assert [len(row) for row in rows] == [5] * 4
    assert rows[0][0] == "none"
    privacy, decibels = torch.tensor([[float(row[1]), float(row[3])] for row in rows[1:]]).T
    expected = float(torch.corrcoef(torch.stack([privacy, decibels]))[0, 1])
    line = next(line for line in shown.splitlines() if "what was trained on" in line)
    assert float(line.split("correlation ")[1].split(",")[0]) == pytest.approx(expected, abs=0.02)
    assert line.endswith("n = 3")


def test_every_defence_has_a_row_and_a_baseline_below(script, monkeypatch, capsys):
    defences = script("defences")
    monkeypatch.setattr(defences, "FashionMNIST", Noise)
    monkeypatch.setattr(defences, "ATTACKS", (DLG(steps=1),))
    known = [replace(one, rounds=min(one.rounds, 2), group=min(one.group, 2)) for one in defences.DEFENCES]
    monkeypatch.setattr(defences, "DEFENCES", known)
    defences.main(2)
    rows = cells_of(capsys.readouterr().out)
    assert set(rows) == {one.name for one in known} | {"nothing seen: the mean image"}
    assert all(" ± " in naive and " ± " in adaptive for naive, adaptive, _ in list(rows.values())[:-1])


class Noise:
    """A data set of the size of Fashion-MNIST's images."""

    def load(self):
        images = torch.randint(256, (4, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        samples = Samples(images, torch.arange(4), 10)
        return DataSplit("noise", samples, samples)
