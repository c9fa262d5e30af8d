"""`phalanx conformance`: the table, its JSON, and a library that there is not."""

import json

import pytest

from phalanx.cli import conforming
from phalanx.core.errors import ConfigError
from phalanx.testing.conformance import LIBRARIES, Subject


@pytest.fixture
def _a_small_library(monkeypatch):
    def subjects():
        yield Subject("Wrong[/]", "mean", lambda f: lambda rows: rows.sum(dim=0))

    monkeypatch.setitem(LIBRARIES, "phalanx", ("phalanx", subjects))


@pytest.mark.usefixtures("_a_small_library")
def test_the_table_counts_and_names_the_failures_with_their_reasons(capsys):
    conforming.show_conformance("phalanx", as_json=False)
    shown = capsys.readouterr().out
    assert "Wrong[/], identical rows: identical rows: " in shown
    assert "6 of 8 passed." in shown
    assert "–: the case does not concern the method." in shown
    assert "1 the paper's rule:" in shown


@pytest.mark.usefixtures("_a_small_library")
def test_json_has_every_case_with_its_reason(capsys):
    conforming.show_conformance("phalanx", as_json=True)
    document = json.loads(capsys.readouterr().out)
    case = document["rules"]["Wrong[/]"]["cases"]["the_dtype"]
    assert case == {"passed": True, "reason": ""}
    assert document["rules"]["Wrong[/]"]["cases"]["too_few_rows"]["passed"] is None
    assert document["rules"]["Wrong[/]"]["method"] == "mean"


def test_a_case_that_does_not_end_is_a_failure_also_where_an_error_is_an_answer(monkeypatch, capsys):
    def endless(rows):
        while rows.isnan().any():
            pass
        return rows.mean(dim=0)

    monkeypatch.setitem(LIBRARIES, "phalanx", ("phalanx", lambda: iter([Subject("Endless", "median", lambda f: endless)])))
    monkeypatch.setattr(conforming, "SECONDS", 0.2)
    conforming.show_conformance("phalanx", as_json=False)
    assert "Endless, a NaN row: no answer within 0.2 seconds" in capsys.readouterr().out


def test_an_unknown_library_is_one_sentence():
    with pytest.raises(ConfigError, match="'byzfll' is no library that can be tried; did you mean 'byzfl'"):
        conforming.show_conformance("byzfll", as_json=False)
