"""Every notebook of ``docs/notebooks`` becomes a page, with the outputs that are saved in it.

Nothing is executed here; ``tests/docs/test_notebooks.py`` executes them.  A cell that draws says in its metadata, as
``alt``, what is to be seen.
"""

from __future__ import annotations

import base64
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """MkDocs calls this with the files of the site."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        assert notebook.abs_src_path is not None
        stem = notebook.src_uri.removesuffix(".ipynb")
        text, images = page(nbformat.read(notebook.abs_src_path, as_version=4), stem.rpartition("/")[2])
        files.append(File.generated(config, f"{stem}.md", content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"{stem.rpartition('/')[0]}/{name}", content=content))
    return files


def page(notebook: Any, stem: str) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by file name."""
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        # What is printed arrives in pieces; a reader sees it as one.
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
        for data in [output.data for output in cell.outputs if "data" in output]:
            if "image/png" in data:
                name = f"{stem}-{len(images) + 1}.png"
                images[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{cell.metadata['alt']}]({name})")
            elif "text/plain" in data:
                parts.append(f"```text\n{data['text/plain'].rstrip()}\n```")
    parts.append(f"[Download this notebook]({stem}.ipynb)")
    return "\n\n".join(parts) + "\n", images
