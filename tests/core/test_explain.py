"""A near miss is named, and what is allowed always."""

import pytest

from phalanx.core.explain import nearest


@pytest.mark.parametrize(
    ("name", "allowed", "sentence"),
    [
        ("krun", ["krum", "mean"], "; did you mean 'krum'? Allowed: krum, mean."),
        ("zzz", ["krum", "mean"], ". Allowed: krum, mean."),
        ("", {"krum": 1}, ". Allowed: krum."),
        ("anything", [], ". Allowed: nothing."),
    ],
)
def test_the_nearest_name_is_offered_if_there_is_one(name, allowed, sentence):
    assert nearest(name, allowed) == sentence
