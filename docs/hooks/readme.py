"""The README's table of methods, read off the catalogue. `python docs/hooks/readme.py` writes it into the README."""

import re
from pathlib import Path

import phalanx.config  # noqa: F401 - imports every family
from phalanx.cli.describing import describe, short_reference
from phalanx.core.component import Component, families, members

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- methods: written by python docs/hooks/readme.py -->", "<!-- end of methods -->"
TITLES = {
    "aggregator": "Rules",
    "pre_aggregator": "Before the rule",
    "trainer": "Training at the clients",
    "update_attack": "Attacks on updates",
    "data_attack": "Attacks on data",
    "client_attack": "Attacks on training",
    "inversion_attack": "Attacks on privacy",
}


def methods_table() -> str:
    """One table for each family of attacks and defences, folded: name, what it does, paper."""
    return "\n".join(family_table(family, title) for family, title in TITLES.items())


def family_table(family: str, title: str) -> str:
    """The family's own members, a line each."""
    found = [member for member in members(families()[family]).values() if member.__module__.startswith("phalanx.")]
    rows = "\n".join(f"| `{member.kind}` | {summary(member)} | {paper(member)} |" for member in found)
    head = f"<details><summary><b>{title}</b> ({len(found)})</summary>"
    return f"{head}\n\n| `kind` | what it does | paper |\n|---|---|---|\n{rows}\n\n</details>"


def summary(member: type[Component]) -> str:
    """What a method does, as the text of a cell."""
    return describe(member).summary.replace("|", "\\|")


def paper(member: type[Component]) -> str:
    """First author and year, with a link where there is an arXiv number; a dash for a method without a paper of its own."""
    reference = describe(member).reference
    text = short_reference(reference)
    arxiv = re.search(r"arXiv (\d{4}\.\d{4,5})", reference)
    return f"[{text}](https://arxiv.org/abs/{arxiv[1]})" if text and arxiv else text or "–"


def replaced(text: str) -> str:
    """The README with the table between its two marks."""
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return f"{before}{BEGIN}\n{methods_table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(replaced(README.read_text(encoding="utf-8")), encoding="utf-8")
