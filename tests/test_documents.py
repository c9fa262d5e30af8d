"""The documents are true: the code blocks of a page run as a reader would run them, in an empty folder, from top to bottom.

- toml: a packaging file or an editor's settings (`# pyproject.toml` or `# .taplo.toml` first) has to parse; any other is an
  experiment or a sweep, which has to validate. A first line `# name.toml` also writes the block to that file, before all else.
- python: all blocks of a page share one namespace.
- inline code that begins with `phalanx ` names a command and options that there are; what is quick runs.
- bash: lines that begin with `phalanx ` run. Lines with make, git, pip, python and cd are what `.ci/run` itself does or what a
  reader's own machine decides; any other line is an error, so that nothing is left out unseen.

A page becomes one script whose lines are the page's lines, so that a traceback points into the page.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import typer

import phalanx
from phalanx.cli.main import app
from phalanx.core.errors import ConfigError
from phalanx.experiments import Sweep

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NO_EXPERIMENTS = ("pyproject.toml", ".taplo.toml")
INLINE = re.compile(r"(?<!`)`(phalanx [^`]+)`(?!`)")
QUICK = ("phalanx list", "phalanx data digits", "phalanx schema")
NOT_RUN_HERE = ("make", "git", "pip", "python", "python3", "cd", "export")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the line of the document that its code begins on (from 1), and the code."""

    language: str
    line: int
    code: str

    @property
    def file_name(self) -> str | None:
        """`name.toml`, if the first line is a comment that says just that."""
        match = re.fullmatch(r"# ([\w./-]+\.\w+)", self.code.partition("\n")[0].strip())
        return match[1] if match else None


def blocks(text: str) -> list[Block]:
    """The fenced code blocks of a Markdown text; a fence that never closes, or is indented and so not seen, is an error."""
    found, language, start, code = list[Block](), None, 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if language is None and (fence := re.fullmatch(r"```(\w*).*", line)):
            language, start, code = fence[1], number + 1, []
        elif language is not None and line.rstrip() == "```":
            found.append(Block(language, start, "\n".join(code)))
            language = None
        elif language is None and line.lstrip().startswith("```"):
            raise ValueError(f"line {number}: nobody runs a code block that is indented; begin it at the margin")
        else:
            code.append(line)
    if language is not None:
        raise ValueError(f"line {start - 1}: this code block is never closed")
    return found


def run(text: str, folder: Path, name: str = "README") -> None:
    """Run all blocks of a page in an empty folder; `name` is what a traceback calls it.

    Raises: whatever a toml block is refused with; RuntimeError with the traceback and output of what failed.
    """
    found = blocks(text)
    for block in found:
        if block.language == "toml":
            read_toml(block, folder)
    if not (code := script(found)):
        return
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=folder,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the blocks failed with exit code {done.returncode}:\n{done.stdout[-8000:]}")


def read_toml(block: Block, folder: Path) -> None:
    table = tomllib.loads(block.code)
    if block.file_name:
        (folder / block.file_name).write_text(block.code, encoding="utf-8")
    if block.file_name in NO_EXPERIMENTS:
        return
    if crossed := table.pop("sweep", None):
        _ = Sweep.from_tables(table, crossed).cells
    else:
        phalanx.Experiment.from_table(table)


def script(found: list[Block]) -> str:
    """All python blocks and `phalanx` commands as one Python script, each line where it stands in the document."""
    lines: dict[int, str] = {}
    for block in found:
        if block.language == "python":
            lines |= dict(enumerate(block.code.split("\n"), start=block.line))
        elif block.language in ("bash", "sh", "console", "shell"):
            lines |= commands(block)
    return "\n".join(lines.get(number, "") for number in range(1, max(lines, default=0) + 1))


def commands(block: Block) -> dict[int, str]:
    """The block's `phalanx` commands as Python statements, by their line in the document."""
    found, waiting = dict[int, str](), ""
    for number, line in enumerate(block.code.split("\n"), start=block.line):
        waiting += line.removeprefix("$ ").removesuffix("\\")
        if line.endswith("\\"):
            continue
        words, waiting = shlex.split(waiting, comments=True), ""
        if words and words[0] == "phalanx":
            found[number] = f"__import__('subprocess').run({words!r}, check=True)"
            if words[-2:-1] == [">"]:
                found[number] = f"__import__('subprocess').run({words[:-2]!r}, check=True, stdout=open({words[-1]!r}, 'w'))"
        elif words and words[0] not in NOT_RUN_HERE:
            raise ValueError(f"line {number}: nobody runs {line!r}; begin it with phalanx or one of {', '.join(NOT_RUN_HERE)}")
    return found


def parse(line: str) -> None:
    """Read a command line as `phalanx` would, without running it; a sentence may leave out the RUN of `phalanx show`.

    Raises: click.UsageError if there is no such command or option.
    """
    group = typer.main.get_command(app)
    name, *words = shlex.split(line.partition(" > ")[0])[1:]
    if name.startswith("-"):  # not parsed: some of these act at once
        known = {option for parameter in group.params for option in parameter.opts}
        if name not in known:
            raise click.NoSuchOption(name)
        return
    while isinstance(group, click.Group):
        if name not in group.commands:
            raise click.UsageError(f"no such command: {name}")
        group = group.commands[name]
        if isinstance(group, click.Group):
            name, *words = words
    with suppress(click.MissingParameter):
        group.make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix())
def test_the_blocks_of_a_page_run(page, tmp_path):
    run(page.read_text(encoding="utf-8"), tmp_path, page.stem)


INLINE_LINES = sorted({line for page in PAGES for line in INLINE.findall(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("line", INLINE_LINES)
def test_a_command_within_a_sentence_exists_and_what_is_quick_runs(line):
    parse(line)
    if line.startswith(QUICK) and not re.search(r"\b[A-Z]{2,}\b", line):
        app(shlex.split(line)[1:], standalone_mode=False)


def test_every_command_has_an_example_that_parses(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    spec = importlib.util.spec_from_file_location("command_pages", ROOT / "docs" / "hooks" / "commands.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    assert list(hook.EXAMPLES) == [name for name, _ in hook.each_command(typer.main.get_command(app))]
    for name, line in hook.EXAMPLES.items():
        assert line.startswith(f"phalanx {name}")
        parse(line)
    assert hook.commands().count("```bash") == len(hook.EXAMPLES)


@pytest.mark.parametrize(
    "line", ["phalanx shwo", "phalanx show runs/a --jsn", "phalanx --no-such", "phalanx sweep a.toml --jobs x"]
)
def test_a_command_that_there_is_not_is_found(line):
    with pytest.raises(click.UsageError):
        parse(line)


def test_the_pages_are_all_there():
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "first-steps.md", "compare.md"} <= {page.name for page in PAGES}


SAMPLE = """# Title
Some `inline` text.

```python
value = 20
```
Then more.
```python title="more"
from pathlib import Path
Path("answer").write_text(str(value + 1 + len(Path("notes.toml").read_text())))
```
```toml
# notes.toml
[project]
```
```text
not code ( at all
```
"""


@pytest.fixture
def _experiment_without_key_wrong(monkeypatch):
    """The runner's own tests hold without a federation: an experiment is any table that has no key `wrong`."""

    class Fake:
        @staticmethod
        def from_table(table):
            if "wrong" in table:
                raise ValueError("wrong: unknown field")

    monkeypatch.setitem(vars(phalanx), "Experiment", Fake)


def test_blocks_know_their_language_line_and_file():
    found = blocks(SAMPLE)
    assert [(block.language, block.line) for block in found] == [("python", 5), ("python", 9), ("toml", 13), ("text", 17)]
    assert found[0].code == "value = 20"
    assert [block.file_name for block in found] == [None, None, "notes.toml", None]


@pytest.mark.usefixtures("_experiment_without_key_wrong")
def test_python_blocks_share_one_namespace_and_find_the_written_files(tmp_path):
    run(SAMPLE, tmp_path)
    assert (tmp_path / "answer").read_text() == str(21 + len("# notes.toml\n[project]"))


@pytest.mark.usefixtures("_experiment_without_key_wrong")
def test_a_failing_python_block_fails_with_its_line_in_the_document(tmp_path):
    broken = SAMPLE.replace("value + 1", "value + missing")
    with pytest.raises(RuntimeError, match=r'(?s)README\.py", line 10.*missing'):
        run(broken, tmp_path)


@pytest.mark.usefixtures("_experiment_without_key_wrong")
def test_an_invalid_experiment_fails(tmp_path):
    with pytest.raises(ValueError, match="wrong: unknown field"):
        run("```toml\nwrong = 1\n```", tmp_path)


@pytest.mark.usefixtures("_experiment_without_key_wrong")
def test_toml_that_does_not_parse_fails(tmp_path):
    with pytest.raises(tomllib.TOMLDecodeError):
        run("```toml\n# pyproject.toml\n[project\n```", tmp_path)


@pytest.mark.usefixtures("_experiment_without_key_wrong")
def test_a_packaging_file_is_no_experiment(tmp_path):
    run("```toml\n# pyproject.toml\nwrong = 1\n```", tmp_path)
    assert (tmp_path / "pyproject.toml").exists()


def test_only_phalanx_commands_run_each_on_its_line():
    text = "```bash\nmake demo   # first\n$ phalanx run a.toml \\\n  --set a.b=1\n\nphalanx list 'x y'  # all\n```"
    lines = script(blocks(text)).split("\n")
    assert [number for number, line in enumerate(lines, start=1) if line] == [4, 6]
    assert "['phalanx', 'run', 'a.toml', '--set', 'a.b=1']" in lines[3]
    assert "['phalanx', 'list', 'x y']" in lines[5]


def test_blocks_run_from_top_to_bottom(tmp_path):
    (tmp_path / "phalanx").write_text("#!/bin/sh\necho $1 >> log\n")
    (tmp_path / "phalanx").chmod(0o755)
    call = "import os\nos.environ['PATH'] = os.getcwd() + ':' + os.environ['PATH']\nopen('log', 'a').write('python\\n')"
    again = "open('log', 'a').write('python again\\n')"
    run(f"```python\n{call}\n```\n```bash\nphalanx one\nphalanx two\n```\n```python\n{again}\n```", tmp_path)
    assert (tmp_path / "log").read_text().splitlines() == ["python", "one", "two", "python again"]


def test_a_command_that_fails_fails_with_its_line(tmp_path):
    with pytest.raises(RuntimeError, match=r'(?s)README\.py", line 2.*phalanx.*no-such-command'):
        run("```bash\nphalanx no-such-command\n```", tmp_path)


def test_a_line_that_nobody_would_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="line 3: nobody runs 'curl x'"):
        run("```bash\nmake test\ncurl x\n```", tmp_path)


def test_a_block_that_never_closes_is_an_error():
    with pytest.raises(ValueError, match="line 2: this code block is never closed"):
        blocks("text\n```python\nx = 1\n")


def test_an_indented_block_is_an_error():
    with pytest.raises(ValueError, match="line 2: nobody runs a code block that is indented"):
        blocks("- a list\n  ```python\n  x = 1\n  ```\n")


def test_an_invalid_sweep_fails(tmp_path):
    with pytest.raises(ConfigError, match=r"cell \(training.lr -1\)"):
        run("```toml\n[sweep.cross]\ntraining.lr = [0.1, -1]\n```", tmp_path)


def test_a_page_without_code_runs_nothing(tmp_path):
    run("# Title\n```text\nnot code\n```", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_command_may_write_its_output_to_a_file(tmp_path):
    run("```bash\nphalanx --version > version.txt\n```", tmp_path)
    assert (tmp_path / "version.txt").read_text().startswith("phalanx ")
