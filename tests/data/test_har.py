"""HAR: a table read by position, two splits, standardised features."""

import csv
import gzip
import io

import pytest
import torch

from phalanx.core.errors import DataError
from phalanx.data import HAR, ByGroup, Federation, HARPerSubject, RootSet
from phalanx.data.har import ACTIVITIES, read_table


def table(rows: list[tuple[int, str]], offset: float) -> bytes:
    """A file in Kaggle's layout with repeated, quoted column names; feature j of row i is offset + i + j / 1000."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([f"bandsEnergy()-{column % 3},8" for column in range(561)] + ["subject", "Activity"])
    for number, (subject, activity) in enumerate(rows):
        features = ",".join(f"{offset + number + column / 1000:.5f}" for column in range(561))
        text.write(f"{features},{subject},{activity}\r\n")
    return gzip.compress(text.getvalue().encode())


TRAIN = [(1, "WALKING"), (1, "LAYING"), (5, "SITTING"), (5, "STANDING"), (5, "LAYING")] * 4
TEST = [(2, "WALKING_UPSTAIRS"), (2, "WALKING_DOWNSTAIRS")] * 5


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    folder = tmp_path / "HAR"
    folder.mkdir()
    (folder / "train.csv.gz").write_bytes(table(TRAIN, 0.0))
    (folder / "test.csv.gz").write_bytes(table(TEST, 100.0))
    return folder


def test_columns_are_read_by_position(small):
    features, subjects, labels = read_table(small / "train.csv.gz")
    assert features.shape == (20, 561)
    assert features[3, 250] == pytest.approx(3.25)
    assert subjects[:5].tolist() == [1, 1, 5, 5, 5]
    assert [ACTIVITIES[label] for label in labels[:5]] == [activity for _, activity in TRAIN[:5]]


def test_the_original_split_groups_by_subject(small):
    split = HAR().load()
    assert (len(split.train), len(split.test)) == (20, 10)
    assert split.groups.tolist() == [subject for subject, _ in TRAIN]
    assert split.train.num_classes == split.test.num_classes == 6


def test_features_are_standardised_with_the_training_samples(small):
    split = HAR().load()
    seen = split.train.normalize(split.train.images)
    assert torch.allclose(seen.mean(0), torch.zeros(561), atol=1e-5)
    assert torch.allclose(seen.std(0, correction=0), torch.ones(561), atol=1e-4)
    assert split.test.normalize(split.test.images).mean() > 10
    assert HAR(normalize=False).load().train.mean is None


def test_each_subject_gives_its_share_to_the_test(small):
    split = HARPerSubject(test_share=0.25).load()
    assert split.groups.bincount().tolist() == [0, 8 - 2, 10 - 2, 0, 0, 12 - 3]
    assert len(split.test) == 7
    everything = torch.cat([split.train.images, split.test.images])[:, 0].sort().values
    assert everything.tolist() == [*range(20), *range(100, 110)]


def test_the_per_subject_split_depends_on_its_seed_only(small, untouched_rng):
    first, again, other = (HARPerSubject(seed=seed).load().train.images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"a,b\n1,2\n"),
        table([(1, "DANCING")], 0.0),
        table([(1, "WALKING")], 0.0).replace(b"", b"", 1)[:-20],
        gzip.compress(b"\xff\xfe"),
        gzip.compress(b"header only\n"),
    ],
    ids=range(5),
)
def test_another_kind_of_file_is_named(small, content):
    (small / "test.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"test\.csv\.gz is"):
        HAR().load()


def test_a_missing_set_says_that_it_cannot_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    with pytest.raises(DataError, match=r"HAR needs train\.csv\.gz, test\.csv\.gz.*cannot be fetched automatically"):
        HAR().load()


def test_the_real_set_has_its_published_counts(data_dir):
    split = HAR().load()
    assert split.train.labels.bincount().tolist() == [1226, 1073, 986, 1286, 1374, 1407]
    assert split.test.labels.bincount().tolist() == [496, 471, 420, 491, 532, 537]
    assert len(split.groups.unique()) == 21


def test_skymasks_thirty_clients_are_the_thirty_subjects(data_dir):
    split = HARPerSubject().load()
    federation = Federation.build(split, ByGroup(), RootSet(247), seed=0)
    assert federation.num_clients == 30
    assert len(split.test) == sum(int(count * 0.2) for count in _all_subjects().bincount().tolist())
    assert sum(map(len, federation.clients)) + 247 + len(split.test) == 10_299
    assert federation.input_shape == (561,)


def _all_subjects() -> torch.Tensor:
    from phalanx.data.har import _paths

    return torch.cat([read_table(path)[1] for path in _paths()])
