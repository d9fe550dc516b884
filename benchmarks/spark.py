"""Spark against one process: the same job, Parquet in and Parquet out, per core second; and whether the driver's memory grows with the loans.

    python benchmarks/spark.py                       # 100,000 and 1,000,000 loans × 24 months, the default network and the matrix
    python benchmarks/spark.py --loans 20000 50000 --models matrix

Each job is a process of its own, and the two of a pair run at the same time, so that both see the same machine. One process: chunks of 10,000 loans through `generate_records`, a Parquet part each, one thread. Spark: `generate_spark` on `local[cores]`, started cold, its check of all input
included. What a session costs that does nothing is measured beside it, and shown as a second ratio: clusters stand. Counted are the processor seconds of the whole process tree, Java included, sampled twice a second: other work on the machine slows the clock, but not this count by much. Wall time is shown beside it.
Results of a million loans, and of sizes run with them, go to benchmarks/results/spark.{json,md}.
"""
import argparse, json, os, platform, shutil, subprocess, sys, tempfile, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"): os.environ[name] = "1"
import pandas as pd
import psutil
import pyarrow.dataset as ds

HERE = Path(__file__).resolve().parent
MONTHS, CHUNK = 24, 10_000 # the loans of one Arrow batch, so that both draw as many at once

def one(model, borrowers, out):
    "The job without Spark."
    from cascade_engine import LSTMCascadeGenerator
    lstm = LSTMCascadeGenerator.load(model)
    Path(out).mkdir()
    k = 0
    for part in sorted(Path(borrowers).glob("*.parquet")):
        table = pd.read_parquet(part)
        for at in range(0, len(table), CHUNK): lstm.generate_records(table[at:at + CHUNK], MONTHS).to_parquet(f"{out}/{k:04}.parquet", index=False); k += 1

def spark(model, borrowers, out, cores):
    "The job with it."
    from cascade_engine import LSTMCascadeGenerator
    from cascade_engine.cluster import spark_session
    from cascade_engine.spark import generate_spark
    session = spark_session(f"local[{cores}]")
    generate_spark(LSTMCascadeGenerator.load(model), session.read.parquet(borrowers), MONTHS).write.parquet(out)
    session.stop()

def start(cores):
    "A session that does nothing."
    from cascade_engine.cluster import spark_session
    session = spark_session(f"local[{cores}]")
    session.range(1).count()
    session.stop()

def watched(*args):
    "Run a job; processor seconds of its tree, wall seconds, peak memory of the driver, of Java and of one worker."
    start, cpu, peak = time.monotonic(), {}, dict(driver=0, java=0, worker=0)
    kinds = {}
    job = subprocess.Popen([sys.executable, __file__, "--job", *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    top = psutil.Process(job.pid)
    while job.poll() is None:
        try: tree = [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess: break
        for p in tree:
            try:
                t, kind = p.cpu_times(), "driver" if p.pid == job.pid else "java" if "java" in p.name() else "worker"
                kinds[p.pid], cpu[p.pid], peak[kind] = kind, t.user + t.system, max(peak[kind], p.memory_info().rss / 2**20)
            except psutil.Error: pass
        time.sleep(.5)
    assert job.wait() == 0, args
    return dict(cpu=sum(cpu.values()), **{f"{k}_cpu": sum(v for p, v in cpu.items() if kinds[p] == k) for k in peak}, wall=time.monotonic() - start, **{f"{k}_mib": v for k, v in peak.items()})

def models(folder):
    "The default network, barely trained, and the matrix: what they say does not matter here, how fast they say it does."
    from cascade_engine import LSTMCascadeGenerator, simulate_bank
    bank = simulate_bank(2000, MONTHS, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LSTMCascadeGenerator(epochs=1).fit(bank.sequences, bank.borrowers, progress=False).save(folder / "lstm")
        LSTMCascadeGenerator(use_lstm=False).fit(bank.sequences, bank.borrowers).save(folder / "matrix")

def people(folder, loans):
    from cascade_engine.portfolio import simulate_borrowers
    folder.mkdir()
    table = simulate_borrowers(loans, seed=2).drop(columns="origination_date")
    for k, at in enumerate(range(0, loans, 100_000)): table[at:at + 100_000].to_parquet(folder / f"{k:04}.parquet", index=False)

def same(a, b)->int:
    "Both jobs wrote the same loans, statuses and money; the number of rows."
    def sums(folder):
        d = ds.dataset(folder, format="parquet")
        t = d.to_table(columns=["payment_status", "payment_amount", "month"]).to_pandas()
        return len(t), t["payment_status"].astype(str).value_counts().to_dict(), round(t["payment_amount"].sum(), 0), int(t["month"].sum())
    x, y = sums(a), sums(b)
    assert x == y, (x, y)
    return x[0]

def keep(rows, where)->list:
    "Results to files, beside those of models that were not run this time."
    path = HERE / "results" / "spark.json"
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    fresh = {(r["model"], r["loans"]) for r in rows}
    rows = sorted([r for r in old if (r["model"], r["loans"]) not in fresh] + rows, key=lambda r: (r["model"], r["loans"]))
    path.write_text(json.dumps(dict(machine=where, rows=rows), indent=1) + "\n")
    path.with_suffix(".md").write_text(report(rows, where))
    return rows

def report(rows, where)->str:
    text = (f"{where}; {MONTHS} months, Parquet in and out; processor seconds of the whole process tree, Java and its start included\n\n"
            "| model | loans | rows | one process, loans a core second | Spark, loans a core second | ratio (target 0.70) | session's start left out | of Spark's seconds: Python workers | Java | driver, MiB | Java, MiB | a worker, MiB |\n" + "|---" * 12 + "|\n")
    for r in rows:
        s, n = r["spark"], r["loans"]
        text += f"| {r['model']} | {n:,} | {r['rows']:,} | {n/r['one']['cpu']:,.0f} | {n/s['cpu']:,.0f} | {r['ratio']:.2f} | {r['ratio_of_a_standing_session']:.2f} | {s['worker_cpu']:,.0f} | {s['java_cpu']:,.0f} | {s['driver_mib']:,.0f} | {s['java_mib']:,.0f} | {s['worker_mib']:,.0f} |\n"
    return text

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loans", type=int, nargs="+", default=[100_000, 1_000_000]); parser.add_argument("--models", nargs="+", default=["matrix", "lstm"])
    parser.add_argument("--cores", type=int, default=1); parser.add_argument("--job", nargs="+")
    a = parser.parse_args()
    if a.job: return {"one": one, "spark": spark, "start": start}[a.job[0]](*a.job[1:])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder, begin = Path(folder), watched("start", a.cores)["cpu"]; models(folder)
        for loans in a.loans:
            people(folder / "people", loans)
            for model in a.models:
                with ThreadPoolExecutor(2) as pool:
                    jobs = [pool.submit(watched, kind, folder / model, folder / "people", folder / out, *more) for kind, out, *more in (("one", "alone"), ("spark", "cluster", a.cores))]
                    alone, cluster = (j.result() for j in jobs)
                n = same(folder / "alone", folder / "cluster")
                rows.append(dict(model=model, loans=loans, rows=n, one=alone, spark=cluster, start=begin, ratio=alone["cpu"] / cluster["cpu"], ratio_of_a_standing_session=alone["cpu"] / (cluster["cpu"] - begin)))
                print(json.dumps(rows[-1]), flush=True)
                for x in ("alone", "cluster"): shutil.rmtree(folder / x)
            shutil.rmtree(folder / "people")
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, local[{a.cores}]"
    if 1_000_000 in a.loans: rows = keep(rows, where)
    print(report(rows, where))

if __name__ == "__main__": main()
