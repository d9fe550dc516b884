"""The documentation holds together: every link, picture and code sample, every public name documented and shown. Quarto is not needed."""
import ast, json, logging, re, shlex, shutil, subprocess, sys, urllib.parse, warnings
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from fastcore.basics import AttrDict
from jupyter_server.services.contents.filemanager import FileContentsManager
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
MODULES = sorted(p for p in (ROOT / "cascade_engine").glob("*.py") if not p.stem.startswith("_"))
CFG = get_config(path=ROOT)
CODE_HOST, DOC_HOST = f"{CFG.git_url}/blob/{CFG.branch}/", f"{CFG.doc_host}{CFG.doc_baseurl}"

def name(path): return str(path.relative_to(NBS) if NBS in path.parents else path.relative_to(ROOT))
def source(cell): return "".join(cell["source"])
@cache
def cells(path): return json.loads(path.read_text(encoding="utf-8"))["cells"]


# The site, as far as it goes without Quarto

class Reader(HTMLParser):
    "Links, pictures, tables and headings of a page."
    def __init__(self): super().__init__(); self.links, self.images, self.tables, self.headings, self.ids, self._in = [], [], 0, [], set(), None
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if "id" in a: self.ids.add(a["id"])
        if tag == "a" and a.get("href") and a.get("class") != "anchor-link": self.links.append(a["href"])
        if tag == "img": self.images.append((a.get("src", ""), a.get("alt")))
        if tag == "table": self.tables += 1
        if re.fullmatch("h[1-6]", tag): self._in = []
    def handle_data(self, data):
        if self._in is not None: self._in.append(data)
    def handle_endtag(self, tag):
        if re.fullmatch("h[1-6]", tag) and self._in is not None: self.headings.append("".join(self._in).strip("¶ \n")); self._in = None

def anchor(heading, seen): # what pandoc makes of a heading
    text = re.sub(r"[^\w\s.-]", "", heading.lower())
    text = re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", text.strip())) or "section"
    seen[text] = seen.get(text, -1) + 1
    return text if not seen[text] else f"{text}-{seen[text]}"

def read_page(path):
    "A processed page as a reader's browser gets it."
    logging.getLogger("traitlets").setLevel(logging.ERROR) # nbconvert remarks on every picture without a text
    from nbconvert import HTMLExporter
    from nbconvert.filters import markdown2html
    page, html = Reader(), path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        raw = json.loads(html)
        for c in raw["cells"]: c.pop("has_sd", None) # nbdev's own mark
        notebook = nbformat.reads(json.dumps(raw), as_version=4)
        front = yaml.safe_load(re.sub(r"^---|---\s*$", "", notebook.cells[0].source)) if notebook.cells[0].cell_type == "raw" else {}
        html = HTMLExporter(template_name="basic").from_notebook_node(notebook)[0]
    else: front, html = {}, markdown2html(html)
    page.feed(html)
    seen = {}
    return AttrDict(path=path, out=path.with_name(front.get("output-file", path.with_suffix(".html").name)), title=front.get("title"), description=front.get("description"),
                    links=page.links, images=page.images, tables=page.tables, ids={anchor(h, seen) for h in page.headings} | page.ids)

def build(folder):
    "Every page, processed by nbdev and converted to HTML."
    copy = folder / "project"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", "demo", "build", "dist", "*.egg-info", "__pycache__", "_proc", "_docs"))
    done = subprocess.run([sys.executable, ROOT / "tools" / "docs.py", copy], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pages = [read_page(p) for p in sorted((copy / "_proc").rglob("*")) if p.suffix in (".ipynb", ".md")]
    return AttrDict(folder=copy / "_proc", pages=pages, by_file={p.path: p for p in pages} | {p.out: p for p in pages})

def dead(link, page, site):
    "Why a link leads nowhere, or nothing."
    if link.startswith("data:"): return
    if link.startswith(CODE_HOST):
        path, _, line = link.removeprefix(CODE_HOST).partition("#L")
        if not (ROOT / path).exists(): return "no such file in the repository"
        return None if not line or (ROOT / path).is_dir() or int(line) <= len((ROOT / path).read_text().splitlines()) else "the file has fewer lines"
    if link.startswith(DOC_HOST): link, page = link.removeprefix(DOC_HOST).lstrip("/") or "index.html", AttrDict(path=site.folder / "index.ipynb")
    if urllib.parse.urlsplit(link).scheme:
        return None if re.match(r"https://[\w-]+(\.[\w-]+)+(/\S*)?$", link) else "not https, or not an address"
    path, _, fragment = urllib.parse.unquote(link).partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if target in site.by_file: return None if not fragment or fragment in site.by_file[target].ids else f"the page has no heading or entry #{fragment}"
    return None if target.exists() else "no such page or file on the site; a notebook is linked as NAME.ipynb"

def problems(site):
    "What a reader would stumble over, each with what to do about it."
    def where(p): return p.path.relative_to(site.folder)
    for p in site.pages:
        for link in p.links:
            if why := dead(link, p, site): yield f"{where(p)}: dead link {link}: {why}"
        for src, _ in p.images:
            if not src.startswith("data:image/") and not (p.path.parent / src).exists(): yield f"{where(p)}: no picture {src[:80]}"
        if p.path.suffix != ".ipynb": continue
        if not (p.title and p.description): yield f"{where(p)}: the first cell must be `# title`, an empty line, `> one sentence`"
        if not (p.images or p.tables): yield f"{where(p)} has no picture and no table: add the one that helps most (an output that is a DataFrame is a table)"

def test_site_holds_together(tmp_path): # one test: the site is built once
    site = build(tmp_path)
    assert {p.path.relative_to(site.folder) for p in site.pages} >= {p.relative_to(NBS) for p in NOTEBOOKS} and sum(len(p.links) for p in site.pages) > 100
    assert not (found := list(problems(site))), "\n".join(found)

    home = site.by_file[site.folder / "index.ipynb"] # the check itself: what is dead is found, what is not is not
    for link in ("nowhere.ipynb", "plots.html#plot_nothing", f"{CODE_HOST}cascade_engine/nothing.py", f"{CODE_HOST}cascade_engine/plots.py#L99999", f"{DOC_HOST}/nothing.html", "http://example.com", "#nothing"):
        assert dead(link, home, site), link
    for link in ("11_plots.ipynb", "plots.html#plot_flow", "CHANGELOG.md", f"{CODE_HOST}cascade_engine/plots.py#L1", f"{DOC_HOST}/generator.html#lstmcascadegenerator.fit", "https://example.com"): assert not dead(link, home, site), link

    face = site.by_file[site.folder / "09_generator.ipynb"] # reference entries: there, with their comments, and a link to the source
    assert {"lstmcascadegenerator", "lstmcascadegenerator.fit", "lstmcascadegenerator.load", "lstmcascadegenerator.generate_records"} <= face.ids
    text = face.path.read_text()
    assert "Stop training after this long" in text and f"{CODE_HOST}cascade_engine/generator.py#L" in text

# Navigation

def hrefs(x):
    if isinstance(x, str): return [x] if x.endswith((".ipynb", ".md")) else []
    return [h for v in (x.values() if isinstance(x, dict) else x if isinstance(x, list) else []) for h in hrefs(v)]

def test_every_notebook_is_in_the_sidebar():
    listed = hrefs(yaml.safe_load((ROOT / "_quarto.yml").read_text())["website"]["sidebar"])
    missing = {name(p) for p in NOTEBOOKS} - set(listed)
    assert not missing, f"add to website: sidebar: contents: in _quarto.yml: {sorted(missing)}"
    gone = [h for h in listed if not (NBS / h).exists()]
    assert not gone and len(listed) == len(set(listed)), f"in the sidebar of _quarto.yml, but not in nbs/ (or twice): {gone}"

def test_quarto_files_exist():
    site = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    for f in [site["format"]["html"]["css"], site["website"]["favicon"], site["website"]["navbar"]["logo"], *site["project"]["resources"], *hrefs(site["website"]["navbar"])]: assert (NBS / f).is_file(), f

def test_llms_txt_is_made_from_the_notebooks(tmp_path):
    subprocess.run([sys.executable, ROOT / "tools" / "llms.py", tmp_path / "llms.txt"], check=True)
    assert (tmp_path / "llms.txt").read_text() == (NBS / "llms.txt").read_text(), "run `make readme`"

# Notebooks

@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_jupyterlab_opens_it_without_a_word(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5), "save it in JupyterLab once: format 4.5 has cell ids"
    ids = [c["id"] for c in notebook["cells"]]
    assert len(set(ids)) == len(ids), "two cells share an id"
    assert notebook["metadata"]["kernelspec"]["name"] == "python3", "another kernel makes JupyterLab ask"
    manager = FileContentsManager(root_dir=str(NBS)) # what JupyterLab opens files with
    manager.notary.db_file = ":memory:"
    assert not manager.get(name(path)).get("message")

@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_first_cell_is_title_and_description_alone(path):
    lines = source(cells(path)[0]).strip().splitlines()
    assert len(lines) == 3 and lines[0].startswith("# ") and not lines[1] and lines[2].startswith("> "), \
        "the first cell must be `# title`, an empty line, `> one sentence`, nothing else: nbdev takes the page's title from it and drops what stands below. Move that to a cell of its own."

# Code samples

def fences(path):
    "Fenced samples of a Markdown file or of a notebook's prose: (language, text)."
    text = "\n\n".join(source(c) for c in cells(path) if c["cell_type"] == "markdown") if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.M | re.S)

SAMPLES = [(p, *f) for p in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *NOTEBOOKS] for f in fences(p)]

@pytest.mark.parametrize("path, code", [(p, c) for p, lang, c in SAMPLES if lang == "python"], ids=lambda x: name(x) if isinstance(x, Path) else "")
def test_python_samples_compile_and_import_what_exists(path, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "cascade_engine":
            module = __import__(node.module, fromlist=["x"])
            for a in node.names: assert hasattr(module, a.name), f"{node.module} has no {a.name}"

def check_command(words):
    "A command of a sample, parsed as its program would parse it."
    if words[0] == "cascade-engine":
        import typer
        from cascade_engine.cli import app
        command = typer.main.get_command(app).commands[words[1]]
        command.make_context(words[1], words[2:]) # an unknown option, a missing argument raises
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(w for w in words[1:] if "=" not in w) <= set(targets), f"no such target: {words[1:]}"
    elif words[:2] == ["pip", "install"]:
        for w in words[2:]:
            if m := re.fullmatch(r"cascade-engine(?:\[([\w,]+)\])?", w):
                assert all(f"{extra}_requirements" in CFG.d for extra in (m[1] or "").split(",") if extra), f"no such extra: {w}"

@pytest.mark.parametrize("path, code", [(p, c) for p, lang, c in SAMPLES if lang in ("bash", "sh", "console")], ids=lambda x: name(x) if isinstance(x, Path) else "")
def test_shell_samples_parse(path, code):
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words: check_command(words)

def test_a_wrong_sample_would_be_found():
    for line in ("cascade-engine generate model/ b.csv --month 3 --out x.csv", "cascade-engine learn a b", "make tea", "pip install cascade-engine[gpu]"):
        with pytest.raises(Exception): check_command(shlex.split(line))

def test_readme_links_stand_in_the_repository():
    for file in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", (ROOT / file).read_text()):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{file}: {link}"

# Public names

STEPPER = {"probabilities", "keep", "read", "take", "forward"} # the protocol that `sampling` describes, and the network's own
PLUMBING = {"cli"} # its commands are shown by running them

def is_exported(cell): return cell["cell_type"] == "code" and re.search(r"^#\|\s*exports?\b", source(cell), re.M)
def patched(f): return any(ast.unparse(d).startswith("patch") for d in f.decorator_list)

def public(path):
    "(qualified name, node) of a module's public functions, classes and methods."
    tree = ast.parse(path.read_text())
    listed = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__")
    for n in tree.body:
        if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"):
            if patched(n):
                if not (owner := ast.unparse(n.args.args[0].annotation)).startswith("_"): yield f"{owner}.{n.name}", n
            elif n.name in listed: yield n.name, n
        if isinstance(n, ast.ClassDef) and n.name in listed:
            yield n.name, n
            for m in n.body:
                if isinstance(m, ast.FunctionDef) and (m.name == "__init__" or not m.name.startswith("_")): yield f"{n.name}.{m.name}", m

def undocumented(path):
    "What is missing, in words."
    lines = path.read_text().splitlines()
    for qualified, node in public(path):
        if isinstance(node, ast.ClassDef):
            if not ast.get_docstring(node): yield f"class {qualified} has no docstring"
            continue
        if node.name in STEPPER: continue
        doc, said = ast.get_docstring(node) or "", "#" in lines[node.lineno - 1]
        if not doc and not said and node.name != "__init__" and node.returns is None: yield f"{qualified} has no docstring"
        if re.search("as in `", doc, re.I): continue # it says where its arguments are explained
        silent = [a.arg for a in [*node.args.args, *node.args.kwonlyargs] if a.arg not in ("self", "cls") and a.annotation is None and "#" not in lines[a.lineno - 1] and f"`{a.arg}`" not in doc]
        if silent: yield f"{qualified}: say what {', '.join(silent)} is, in a comment on its line (`x, # (N,) what it is, unit, range`) or in the docstring, or annotate it"

@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_every_public_name_is_documented(path):
    found = list(undocumented(path))
    assert not found, f"in the notebook of {path.stem}:\n" + "\n".join(found)

@cache
def examples():
    "Names used in cells that are not exported; and names defined in an exported cell that such a cell follows at once."
    used, followed = set(), set()
    for path in NOTEBOOKS:
        for i, cell in enumerate(cells(path)):
            if cell["cell_type"] != "code": continue
            tree = list(ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", source(cell), flags=re.M))))
            if not is_exported(cell): used |= {n.id for n in tree if isinstance(n, ast.Name)} | {n.attr for n in tree if isinstance(n, ast.Attribute)}
            else:
                after = [c for c in cells(path)[i + 1:i + 4] if c["cell_type"] == "code" or source(c).startswith("#")][:1]
                if after and after[0]["cell_type"] == "code" and not is_exported(after[0]): followed |= {n.name for n in tree if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return used | followed

@pytest.mark.parametrize("path", [p for p in MODULES if p.stem not in PLUMBING], ids=lambda p: p.stem)
def test_every_public_name_has_an_example(path):
    made = " ".join(ast.unparse(n.returns) for q, n in public(path) if isinstance(n, ast.FunctionDef) and n.returns and n.name in examples()) # a class is shown by what returns it
    names = [q for q, n in public(path) if n.name not in STEPPER | {"__init__"} and n.name not in examples() and not (isinstance(n, ast.ClassDef) and n.name in made)]
    assert not names, f"{path.stem}: no example of {', '.join(names)}. Put a code cell that uses it, not exported, right after the cell that exports it."
