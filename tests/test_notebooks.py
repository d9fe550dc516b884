"""Every notebook runs from top to bottom: its assertions are the unit tests of the package."""
from pathlib import Path

import pytest
from conftest import no_spark
from nbdev.config import get_config
from nbdev.test import test_nb as run_notebook

ROOT = Path(__file__).resolve().parents[1]
FLAGS = [f for f in get_config().tst_flags.split() if f != "spark" or no_spark()] # cells that are skipped
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: str(p.relative_to(ROOT / "nbs")))
def test_notebook(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    passed, _ = run_notebook(path, skip_flags=FLAGS, basepath=ROOT)
    assert passed, f"{path.name} failed: its traceback stands above"
