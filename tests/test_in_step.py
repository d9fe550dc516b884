"""What is committed agrees with the notebooks, and the structure is what the design says."""
import json, re, shutil, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p for p in (ROOT / "cascade_engine").glob("*.py") if p.name not in ("__init__.py", "_modidx.py"))
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
LAYERS = [["status", "sequences", "streaming"], ["features", "matrix"], ["model", "sampling"], ["training", "terms", "amortization", "scenarios"],
          ["generator", "validation", "exits", "plots", "utility", "privacy", "figures", "report"],
          ["portfolio", "forecasts", "stress", "cluster", "spark", "store", "workers", "desk", "guard", "schema", "backend", "service", "cli"]]
ORDER = {name: 10 * depth + place for depth, layer in enumerate(LAYERS) for place, name in enumerate(layer)}

@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    "A copy of the project, exported and cleaned afresh."
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", "demo", "build", "dist", "*.egg-info", "__pycache__"))
    bin = Path(sys.executable).parent
    for command in ("nbdev_export", "nbdev_clean"): subprocess.run([bin / command], cwd=copy, check=True, capture_output=True)
    return copy

@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_module_is_what_its_notebook_exports(path, exported):
    assert path.read_text() == (exported / "cascade_engine" / path.name).read_text(), "run `make export`"

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_is_clean_and_executed(path, exported):
    assert json.loads(path.read_text()) == json.loads((exported / path.relative_to(ROOT)).read_text()), "run `make export`"
    code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
    assert any(c["outputs"] for c in code), "run `make notebooks`"

def imports(path):
    "The modules of the package that this one imports, at its top or inside a function."
    return re.findall(r"^\s*(?:from (?:cascade_engine)?\.|import cascade_engine\.)(\w+)", path.read_text(), re.M)

def test_imports_are_seen():
    assert {"status", "sampling", "model"} <= {name for path in MODULES for name in imports(path)}

@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_imports_go_downwards_only(path):
    assert all(ORDER[name] < ORDER[path.stem] or ORDER[name] // 10 < ORDER[path.stem] // 10 for name in imports(path)), imports(path)

def test_torch_is_imported_by_the_network_alone():
    users = {p.stem for p in MODULES if re.search(r"^(?:import|from) (?:torch|safetensors)", p.read_text(), re.M)}
    assert users == {"model", "training"}

def test_readme_is_made_from_the_index(tmp_path):
    subprocess.run([sys.executable, ROOT / "tools" / "readme.py", tmp_path / "README.md"], check=True, capture_output=True)
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text(), "run `make readme`"

def test_no_file_names_a_place_on_one_machine():
    "A path under somebody's home or a temporary folder is an accident of whoever ran the notebook. Lines of picture data are skipped."
    files = [p for folder in (".", ".ci", "benchmarks", "benchmarks/results", "cascade_engine", "nbs", "nbs/tutorials", ".github/workflows", "tests", "tools") for p in (ROOT / folder).glob("*")
             if p.is_file() and p.name != ".git" and p.suffix in (".py", ".ipynb", ".md", ".ini", ".txt", ".yml", ".css", ".sh", "")]
    place = re.compile(r"(?<![\w.~])/(?:home|Users|root|tmp|work|var)/\w")
    found = [f"{p.relative_to(ROOT)}: {line.strip()[:100]}" for p in files for line in p.read_text(encoding="utf-8").splitlines() if len(line) < 5000 and place.search(line)]
    assert len(files) > 30 and not found, found
