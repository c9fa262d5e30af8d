"""Notebooks are stored without outputs; here they run and become pages. A cell that fails fails the build."""

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config


def on_files(files: Files, config: Any) -> Files:
    """mkdocs calls this when it has found all files. The notebook itself stays beside its page, to be downloaded."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        notebook = nbformat.read(file.abs_src_path, as_version=4)
        execute(notebook)
        text, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": f"{file.name}_files"})
        download = f"\n\n[Download this notebook]({Path(file.src_uri).name})\n"
        files.append(File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=text + download))
        for name, data in resources["outputs"].items():
            files.append(File.generated(config, f"{Path(file.src_uri).parent}/{name}", content=data))
    return files


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in an empty folder. The kernel is spoken to through socket files, not through ports."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        config = Config(AsyncKernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}, config=config).execute()
