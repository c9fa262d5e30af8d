"""CITATION.cff is well formed, names this version, and cites only what the library really names."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
TYPES = {"article", "conference-paper", "book", "software", "dataset"}
KEYS = {"type", "title", "authors", "year", "conference", "journal", "identifiers", "notes"}


def test_it_has_what_the_format_requires():
    assert str(CITATION["cff-version"]) == "1.2.0"
    assert CITATION["message"]
    assert CITATION["title"]
    assert all(author["name"] for author in CITATION["authors"])


def test_it_names_the_version_and_the_licence_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(CITATION["version"]) == project["version"]
    assert CITATION["license"] == project["license"]
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in project["authors"]]


def test_every_reference_is_complete():
    for reference in CITATION["references"]:
        assert reference.keys() <= KEYS, reference
        assert reference["type"] in TYPES
        assert reference["title"]
        assert reference["authors"]
        assert all(author.keys() == {"family-names"} for author in reference["authors"])
        assert 1980 < reference["year"] < 2100


def test_a_reference_stands_once_and_is_named_by_the_library():
    titles = [reference["title"] for reference in CITATION["references"]]
    assert len(set(titles)) == len(titles)
    assert len(cited()) > 20
    assert set(cited()) <= named(ROOT / "src")


def test_every_paper_on_arxiv_that_a_rule_or_an_attack_names_is_cited():
    missing = {number for family in ("aggregators", "attacks") for number in named(ROOT / "src" / "phalanx" / family)} - set(
        cited()
    )
    assert not missing


def cited():
    """The numbers on arXiv of all references."""
    found = [item["value"] for reference in CITATION["references"] for item in reference.get("identifiers", [])]
    return [value.removeprefix("arXiv:") for value in found]


def named(folder):
    """The numbers on arXiv that docstrings below a folder name, also where a line ends after the word."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    return set(re.findall(r"arXiv\s+(\d{4}\.\d{4,5})", source))


def test_the_changelog_has_an_entry_for_this_version():
    assert f"## [{CITATION['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
