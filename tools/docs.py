"""The documentation site: `make docs`. nbdev processes the notebooks, Quarto renders the pages, the site lands in _docs/."""
import ast, inspect, os, re, shutil, subprocess, sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import nbdev.serve
from fastcore.basics import AttrDict
from nbdev.config import get_config
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, add_links, exec_show_docs
from nbdev.quarto import refresh_quarto_yml

ROOT = Path(__file__).resolve().parents[1]
HOW = """Quarto renders the pages and is not installed: https://quarto.org/docs/get-started/ has an installer for every system.
What comes before is done: the processed notebooks are in _proc/. `make docs-check` checks them without Quarto."""

def signature(node, lines, name)->str:
    "A function's signature as it stands in the source, comments and all; of a class its constructor, or its fields."
    if isinstance(node, ast.ClassDef):
        if init := [n for n in node.body if getattr(n, "name", "") == "__init__"]: return signature(init[0], lines, name)
        fields = "".join(lines[n - 1] for n in sorted({n.lineno for n in node.body if isinstance(n, ast.AnnAssign)})).rstrip()
        return f"class {name}{'(' + ', '.join(map(ast.unparse, node.bases)) + ')' if node.bases else ''}:\n{fields or '    ...'}"
    body = node.body[0]
    head = "".join(lines[node.lineno - 1:body.lineno - 1]) + lines[body.lineno - 1][:body.col_offset]
    return re.sub(r"def \w+\((?:(?:self|cls)\b(?::\w+)?,? *)?", f"{name}(", dedent(head).rstrip(), count=1)

def entry(name:str, thing, level:int=3)->str: # Markdown
    "A reference entry: name, source link, signature with its comments, docstring; of a class its own methods after it."
    thing = inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "__func__", thing)) # of a property, of a class method
    source, line = inspect.getsourcelines(thing)
    lines = dedent("".join(source)).splitlines(True)
    cfg, path, node = get_config(), Path(inspect.getsourcefile(thing)).name, ast.parse("".join(lines)).body[0]
    link = f"[source]({cfg.git_url}/blob/{cfg.branch}/{cfg.lib_path.name}/{path}#L{line})" + '{target="_blank" style="float:right; font-size:smaller"}'
    methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")] if isinstance(node, ast.ClassDef) else []
    return f"{link}\n\n{'#'*level} {name}\n\n```python\n{signature(node, lines, name)}\n```\n\n{ast.get_docstring(node) or ''}\n\n" + "".join(entry(f"{name}.{m}", inspect.getattr_static(thing, m), 4) for m in methods)

class reference(Processor):
    "Fill in each `show_doc` from the package. nbdev's own step runs a choice of the cells, and fails where such a cell stands on one that it left out."
    def begin(self):
        module = [c.directives_["default_exp"][0] for c in self.nb.cells if "default_exp" in getattr(c, "directives_", {})]
        self.names = vars(import_module(f"{get_config().lib_name}.{module[0]}")) if module else {}
    def cell(self, cell):
        if cell.cell_type != "code" or not (at := re.findall(r"^show_doc\(([\w.]+)\)", cell.source, re.M)): return
        first, *path = at[0].split(".")
        thing = self.names[first]
        for attribute in path: thing = getattr(thing, attribute)
        if at[0].split(".")[-1].startswith("_"): cell.source = None; return # a dunder method is no entry
        cell.outputs = [AttrDict(output_type="display_data", metadata={}, data={"text/markdown": entry(at[0], thing).splitlines(True)})]

class relative_links(Processor):
    "Links between pages work wherever the site stands. `fit` and `generate` in prose are the methods, never the commands of the same name: no link to those."
    def begin(self):
        cfg = get_config()
        self.host, self.up = f"{cfg.doc_host}{cfg.doc_baseurl}/", "../" * (len(Path(self.nb.path_).resolve().relative_to(cfg.nbs_path).parts) - 1)
    def relink(self, text): return re.sub(rf"\[(`[^`]+`)\]\({re.escape(self.host)}cli\.html#\w+\)", r"\1", text).replace(f"]({self.host}", f"]({self.up}")
    def cell(self, cell):
        if cell.cell_type == "markdown": cell.source = self.relink(cell.source)
        for o in cell.get("outputs", []):
            if "text/markdown" in o.get("data", {}): o.data["text/markdown"] = list(map(self.relink, o.data["text/markdown"]))

class Pages(FilterDefaults):
    def base_procs(self):
        return [p for old in super().base_procs() for p in ([reference] if old is exec_show_docs else [add_links, relative_links] if old is add_links else [old])]

def process(root:Path=ROOT)->Path: # The folder of processed notebooks, _proc/
    "Notebooks as Quarto wants them: reference entries filled in, hidden cells gone, names linked."
    os.chdir(root)
    refresh_quarto_yml()
    nbdev.serve.FilterDefaults = Pages
    return nbdev.serve.proc_nbs(n_workers=0, force=True) # not `nbdev_proc_nbs`: it downloads Quarto where there is none

def render(folder:Path)->None:
    "The pages. No notebook is executed: the outputs are those that were committed."
    subprocess.run(["quarto", "render", "--no-execute"], cwd=folder, check=True)
    shutil.rmtree(ROOT / "_docs", ignore_errors=True)
    shutil.move(folder / "_docs", ROOT / "_docs")

if __name__ == "__main__":
    folder = process(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    if len(sys.argv) == 1: render(folder) if shutil.which("quarto") else print(HOW)
