"""Shared by all tests: one thread a worker, and a plain last line."""
import os
from collections import Counter

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1") # two workers share the cores
os.environ.setdefault("MPLBACKEND", "Agg")

_counts = Counter()

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "tutorials/" not in item.nodeid) # the longest first, so that no worker waits for the other at the end

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed": _counts[report.outcome] += 1

def pytest_collectreport(report):
    if report.failed: _counts["failed"] += 1

def pytest_unconfigure(config):
    if hasattr(config, "workerinput"): return # a worker: the controller speaks
    skipped = f", {_counts['skipped']} skipped" if _counts["skipped"] else ""
    print(f"\n{_counts['passed']} passed, {_counts['failed']} failed{skipped}", flush=True)

def no_spark()->str: # Empty: Spark can run here
    "Why tests that need Spark are skipped."
    import importlib.util, shutil
    if importlib.util.find_spec("pyspark") is None: return "pyspark is not installed"
    return "" if shutil.which("java") or os.environ.get("JAVA_HOME") else "no Java on this machine"
