"""README.md from nbs/index.ipynb; pictures go to images/ beside it. Usage: readme.py [TARGET]"""
import re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).resolve().parents[1]
target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "README.md"
notebook = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
notebook.cells = [c for c in notebook.cells if not (c.cell_type == "code" and "#| hide" in c.source)]
notebook.metadata["language_info"] = {"name": "python"} # so that code fences say so
exporter = MarkdownExporter()
exporter.register_filter("filter_data_type", lambda output: [t for t in ("image/png", "text/plain") if t in output][:1]) # plain tables read well anywhere
text, resources = exporter.from_notebook_node(notebook, resources={"output_files_dir": "images"})
for name, data in resources["outputs"].items():
    (target.parent / name).parent.mkdir(exist_ok=True)
    (target.parent / name).write_bytes(data)
text = re.sub(r"\]\((?!https?:|#|images/)(?=[\w/]+\.ipynb)", "](nbs/", text) # links between notebooks, seen from the root
target.write_text("<!-- Made from nbs/index.ipynb by `make readme`: edit that. -->\n" + text.strip() + "\n", encoding="utf-8")
