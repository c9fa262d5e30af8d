"""The README's table of methods is the catalogue's: no method is missing, none is made up."""

import importlib.util
from pathlib import Path

from phalanx.core.component import families, members

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def load():
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "docs" / "hooks" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date():
    assert load().replaced(README) == README, "the table of methods is old; write it with: python docs/hooks/readme.py"


def test_every_rule_and_attack_has_its_line():
    table = load()
    for family in table.TITLES:
        for kind, member in members(families()[family]).items():
            assert not member.__module__.startswith("phalanx.") or f"| `{kind}` |" in README


def test_a_paper_is_named_by_author_and_year():
    table = load()
    rules = members(families()["aggregator"])
    assert table.paper(rules["krum"]) == "[Blanchard 2017](https://arxiv.org/abs/1703.02757)"
    assert table.paper(rules["pipeline"]) == "–"


def test_the_text_around_the_table_stays():
    table = load()
    text = f"before\n{table.BEGIN}\nOBSOLETE\n{table.END}\nafter\n"
    written = table.replaced(text)
    assert written.startswith(f"before\n{table.BEGIN}\n<details><summary><b>Rules</b>")
    assert written.endswith(f"{table.END}\nafter\n")
    assert "OBSOLETE" not in written
