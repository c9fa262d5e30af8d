"""The library runs nobody's code, phones nobody and touches no global random stream: read from its syntax trees, not run.

What is looked for stands in `FORBIDDEN`; a line of the library that needs one of these has to argue here first.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"

FORBIDDEN = {
    "import": {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"},
    "network": {"socket", "requests", "urllib.request", "urllib3", "http", "httpx", "aiohttp", "smtplib", "ftplib", "xmlrpc"},
    "call": {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.hub.load", "yaml.load"},
    "seed": {
        *(f"torch.{name}" for name in ("manual_seed", "seed", "set_rng_state", "random.manual_seed", "random.set_rng_state")),
        *(f"torch.cuda.{name}" for name in ("manual_seed", "manual_seed_all", "seed", "set_rng_state")),
        *("random.seed", "random.setstate"),
    },
}
MAY_DOWNLOAD = {"data"}  # the packages of phalanx that may import pooch: it checks what it fetches
LOCAL_RANDOM = ("Generator", "default_rng", "SeedSequence", "Philox", "PCG64")  # numpy.random's parts without a global stream


def findings(source: str, package: str = "core") -> list[str]:
    """Every forbidden thing in a module of `phalanx.<package>`, each as `line: what`."""
    tree = ast.parse(source)
    names = _aliases(tree)
    visitor = _Visitor(names, package)
    visitor.visit(tree)
    return visitor.found


def _aliases(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: `import numpy as np` and `from torch import load` hide nothing."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


class _Visitor(ast.NodeVisitor):
    def __init__(self, names: dict[str, str], package: str):
        self.names, self.package, self.forks, self.found = names, package, 0, []

    def report(self, node: ast.AST, what: str) -> None:
        self.found.append(f"{node.lineno}: {what}")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.check_module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.check_module(node, node.module or "")
        for alias in node.names:
            self.check_module(node, f"{node.module}.{alias.name}")

    def check_module(self, node: ast.AST, module: str) -> None:
        parents = {module, module.partition(".")[0]}
        if parents & (FORBIDDEN["import"] | FORBIDDEN["network"]):
            self.report(node, f"import {module}")
        if module == "pooch" and self.package not in MAY_DOWNLOAD:
            self.report(node, "import pooch outside of data")

    def visit_With(self, node: ast.With) -> None:
        forks = any("fork_rng" in ast.unparse(item.context_expr) for item in node.items)
        self.forks += forks
        self.generic_visit(node)
        self.forks -= forks

    def visit_Call(self, node: ast.Call) -> None:
        head, dot, rest = ast.unparse(node.func).partition(".")
        name = self.names.get(head, head) + dot + rest
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in FORBIDDEN["call"] and not (name == "torch.load" and options.get("weights_only") == "True"):
            self.report(node, f"{name}(")
        if name in FORBIDDEN["seed"] and not self.forks:
            self.report(node, f"{name}( outside of fork_rng")
        if name.startswith("numpy.random.") and not name.endswith(LOCAL_RANDOM):
            self.report(node, f"{name}( draws from a global stream")
        for option, value in (("shell", "True"), ("allow_pickle", "True"), ("weights_only", "False")):
            if options.get(option) == value:
                self.report(node, f"{option}={value}")
        self.generic_visit(node)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_module_of_the_library_holds_nothing_forbidden(path):
    package = path.relative_to(SOURCE / "phalanx").parts[0]
    assert findings(path.read_text(encoding="utf-8"), package) == []


def test_there_is_something_to_look_at():
    assert len(modules()) > 10


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "eval('1')",
        "x = exec(code)",
        "import torch\ntorch.load(path)",
        "from torch import load as read\nread(path)",
        "torch.load(path, weights_only=False)",
        "import numpy\nnumpy.load(path, allow_pickle=True)",
        "subprocess.run(command, shell=True)",
        "import yaml",
        "torch.manual_seed(0)",
        "from torch import manual_seed\nmanual_seed(0)",
        "import numpy as np\nnp.random.seed(0)",
        "import numpy as np\nnp.random.randn(3)",
        "import random\nrandom.seed(0)",
        "import socket",
        "import urllib.request",
        "from urllib import request",
        "import requests",
        "import pooch",
        "with torch.no_grad():\n    torch.manual_seed(0)",
    ],
)
def test_each_forbidden_thing_is_found(line):
    assert len(findings(line)) >= 1


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)",
        "numpy.load(path, allow_pickle=False)",
        "generator.manual_seed(0)",
        "with torch.random.fork_rng():\n    torch.manual_seed(0)",
        "model.eval()",
        "import numpy as np\nnp.random.default_rng(3)",
        "re.compile('x')",
        "from urllib.parse import quote",
        "'pickle and eval( in a docstring'",
    ],
)
def test_harmless_lines_pass(line):
    assert findings(line) == []


def test_downloads_have_one_place():
    assert findings("import pooch", "data") == []
