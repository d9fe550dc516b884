"""Records larger than memory: killed at any moment, the same call goes on, and the file it ends with is the same byte for byte."""
import multiprocessing, os, random, signal, time, warnings
from pathlib import Path

import pytest

from cascade_engine import LSTMCascadeGenerator, generator, simulate_bank, write_table

context = multiprocessing.get_context("forkserver") # a clean process a run, which need not import everything again
context.set_forkserver_preload(["cascade_engine.generator", "cascade_engine.model", "pyarrow.parquet", "pyarrow.csv"])

def job(folder, out):
    "1,000 loans in 20 parts, from a file."
    generator.PART = 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LSTMCascadeGenerator(use_lstm=False, seed=1).generate_records(folder / "people.parquet", num_months=12, out=folder / out, progress=False)

def started(*args):
    process = context.Process(target=job, args=args)
    process.start()
    return process

@pytest.mark.parametrize("ending, kills", [("csv", 10), ("parquet", 10)])
def test_killed_at_random_moments(ending, kills, tmp_path):
    write_table(simulate_bank(1000, 2, seed=4).borrowers, tmp_path / "people.parquet")
    job(tmp_path, f"whole.{ending}")
    begin = time.monotonic()
    process = started(tmp_path, f"warm.{ending}"); process.join()
    span, whole, out, killed = time.monotonic() - begin, (tmp_path / f"whole.{ending}").read_bytes(), tmp_path / f"out.{ending}", 0
    moments, progress = random.Random(ending), 0
    while killed < kills:
        process = started(tmp_path, out.name)
        process.join(moments.uniform(.1, 1) * span)
        if process.is_alive(): os.kill(process.pid, signal.SIGKILL); killed += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        progress = max(progress, len(list(tmp_path.glob(f".out.{ending}.parts/0*"))))
        if out.exists(): assert out.read_bytes() == whole; out.unlink() # once more from the start
    process = started(tmp_path, out.name); process.join()
    if not out.exists(): process = started(tmp_path, out.name); process.join() # killed between the last two renames
    assert out.read_bytes() == whole and progress > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["people.parquet", out.name, f"whole.{ending}", f"warm.{ending}"])

def test_goes_on_and_does_not_start_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "PART", 50)
    borrowers = simulate_bank(200, 2, seed=4).borrowers
    lstm, real, made = LSTMCascadeGenerator(use_lstm=False), generator.ledger_records, []
    def breaks_at(n):
        def records(seqs, *a, **kw):
            if seqs.num_months > 1: made.append(seqs.loan_id[0])
            if len(made) == n: raise OSError(28, "No space left on device")
            return real(seqs, *a, **kw)
        return records
    def write(**kw): return lstm.generate_records(borrowers, num_months=kw.get("months", 12), out=tmp_path / "out.csv", progress=False)
    monkeypatch.setattr(generator, "ledger_records", breaks_at(3))
    with pytest.warns(UserWarning, match="2 parts are kept"), pytest.raises(OSError): write()
    monkeypatch.setattr(generator, "ledger_records", breaks_at(-1))
    with pytest.warns(generator.FallbackWarning): assert write().kept == 2
    assert made == ["L0000001", "L0000051", "L0000101", "L0000101", "L0000151"]
    (tmp_path / "out.csv").unlink(); made.clear()
    monkeypatch.setattr(generator, "ledger_records", breaks_at(3))
    with pytest.warns(UserWarning, match="2 parts are kept"), pytest.raises(OSError): write()
    monkeypatch.setattr(generator, "ledger_records", real)
    with pytest.warns(UserWarning, match="2 parts of an earlier run of out.csv with other inputs were discarded"): assert write(months=11).kept == 0
