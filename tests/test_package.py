"""What is imported, what the wheel holds, and that the installed package works without torch."""
import subprocess, sys, tarfile, zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

def run(code, cwd, path=ROOT):
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(path), "MPLBACKEND": "Agg"}, capture_output=True, text=True)

def test_import_is_light(tmp_path):
    done = run("import cascade_engine, sys; print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))", tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

def test_public_names_resolve(tmp_path):
    done = run("import cascade_engine as c; [getattr(c, n) for n in c.__all__]; print(len(c.__all__))", tmp_path)
    assert int(done.stdout) > 5, done.stderr

TEN_LINES = """
import sys, warnings
if {blocked}: sys.meta_path.insert(0, type("NoTorch", (), {{"find_spec": staticmethod(lambda name, *a: (_ for _ in ()).throw(ImportError(name)) if name.split(".")[0] == "torch" else None)}}))
import importlib.util
if {blocked}:
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *a: None if name == "torch" else real(name, *a)
from cascade_engine import LSTMCascadeGenerator, simulate_bank, validate_sequences
bank = simulate_bank(1200, 12, seed=1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    lstm = LSTMCascadeGenerator(hidden_dim=8, num_layers=1, epochs=1).fit(bank.sequences, bank.borrowers, progress=False)
histories = lstm.generate(bank.borrowers, num_months=12)
records = lstm.generate_records(bank.borrowers, num_months=12, start_date="2024-01-01")
results = validate_sequences(bank.sequences, histories)
print(len(records), any("torch is not installed" in str(w.message) for w in caught), 0 <= results["default_rate_match"] <= 1, "torch" in sys.modules)
"""

def test_wheel_holds_everything_and_works_with_and_without_torch(tmp_path):
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT], check=True, capture_output=True)
    wheel, = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"cascade_engine/{p.name}" for p in (ROOT / "cascade_engine").glob("*.py")} <= set(names)
    assert "cascade_engine/data/macro.csv" in names
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site) # a pure wheel: unpacked is installed
    for blocked in (False, True):
        done = run(TEN_LINES.format(blocked=blocked), tmp_path, site)
        assert done.returncode == 0, done.stderr
        rows, warned, match, torch = done.stdout.split()
        assert int(rows) > 1200 * 3 and match == "True" and warned == str(blocked) and torch == str(not blocked)

def test_sdist_can_be_built_from(tmp_path):
    subprocess.run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT], check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive: names = {n.split("/", 1)[-1] for n in archive.getnames()}
    assert {"setup.py", "settings.ini", "README.md", "LICENSE", "cascade_engine/data/macro.csv", "cascade_engine/cli.py"} <= names
