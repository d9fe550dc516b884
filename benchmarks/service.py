"""The REST service under load: how long 10,000 loans × 24 months take, and a minute of 50 clients at once.

    python benchmarks/service.py                                   # everything, about three minutes
    python benchmarks/service.py --seconds 10 --clients 10 --loans 2000

A real server (`cascade-engine serve`) on loopback, with an LSTM of the default size, trained for one epoch: its speed does not depend on how good it is. Times of calls stand beside those of the library
doing the same in this process, in the same run. Server, workers and all clients share the machine's cores;
processor time is what a call costs whatever else the machine does meanwhile. Results go to benchmarks/results/service.{json,md}.
"""
import argparse, asyncio, io, json, os, platform, re, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1") # as the workers

import httpx
import pandas as pd

from cascade_engine import LSTMCascadeGenerator, simulate_bank, write_table
from cascade_engine.sequences import read_table

HERE, API = Path(__file__).resolve().parent, "/api/fintech"

def start(folder, *options):
    log = folder / "log"
    process = subprocess.Popen([Path(sys.executable).with_name("cascade-engine"), "serve", "--data-dir", folder / "data", "--port", "0", "--workers", "2", *options], stderr=log.open("w"), stdout=subprocess.DEVNULL)
    while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())): time.sleep(.1); assert process.poll() is None, log.read_text()
    return process, found[1]

def memory(pid): # MiB of the server, and of all its workers
    def of(p): return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{p}/status").read_text())[1]) / 1024
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return of(pid), sum(map(of, workers))

def processor(pid): # seconds of the server and its workers so far
    def of(p): return sum(map(int, Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return sum(map(of, [pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]))

def timed(f): t = time.perf_counter(); f(); return time.perf_counter() - t

def calls(url, process, folder, model, repeats):
    "Seconds of a generation by the service and by the library, alternating; each with a seed of its own."
    out = {}
    with httpx.Client(base_url=url, timeout=300) as client:
        pid = client.post(f"{API}/portfolios", files={"file": (folder / "borrowers.csv").open("rb")}).raise_for_status().json()["portfolio_id"]
        borrowers = read_table(folder / "borrowers.csv")
        for use_lstm in (True, False):
            lstm = LSTMCascadeGenerator.load(model) if use_lstm else LSTMCascadeGenerator()
            def service(seed):
                answer = client.post(f"{API}/generate-payment-sequences", json=dict(portfolio_id=pid, num_months=24, use_lstm=use_lstm, seed=seed))
                assert answer.status_code == 200 and answer.json()["cascade_model"] == ("LSTM" if use_lstm else "MATRIX"), answer.text
            def library(seed):
                records = lstm.generate_records(borrowers, 24, seed=seed)
                for ending in ("csv", "parquet"): write_table(records, folder / f"library.{ending}", overwrite=True)
            service(0); library(0) # warm
            before = processor(process)
            pairs = [(timed(lambda: service(k)), timed(lambda: library(k))) for k in range(1, repeats + 1)]
            used = (processor(process) - before) / repeats
            same = client.get(f"{API}/download/{pid}/payment_sequences.csv").content == (folder / "library.csv").read_bytes()
            assert same, "service and library differ"
            name = "lstm" if use_lstm else "matrix"
            out[name] = dict(processor=used, service=statistics.median(s for s, _ in pairs), worst=max(s for s, _ in pairs), library=statistics.median(l for _, l in pairs), ratio=statistics.median(s / l for s, l in pairs))
    return out

async def client(url, k, until, codes, borrowers):
    "One client, again and again: simulate or upload a portfolio, generate, download, ask for probabilities, delete."
    async with httpx.AsyncClient(base_url=url, timeout=120) as c:
        async def ask(method, path, **kw):
            answer = await c.request(method, path, **kw)
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            return answer
        turn = 0
        while time.monotonic() < until:
            turn += 1
            pid = (await ask("POST", f"{API}/portfolios", **(dict(json={"simulate": 200, "seed": k}) if turn % 2 else dict(files={"file": ("b.csv", borrowers)})))).json()["portfolio_id"]
            answer = (await ask("POST", f"{API}/generate-payment-sequences", json=dict(portfolio_id=pid, num_months=24, use_lstm=bool((turn + k) % 2), seed=turn))).json()
            csv = await ask("GET", answer["download_url"])
            assert csv.content.count(b"\n") == answer["total_records"] + 1, "half a file"
            await ask("GET", f"{API}/cascade-probabilities/30_days", params=dict(model="lstm", credit_score=600 + k))
            await ask("DELETE", f"{API}/portfolios/{pid}")

async def watch(url, pid, until, health, rss):
    async with httpx.AsyncClient(base_url=url, timeout=60) as c:
        while time.monotonic() < until:
            t = time.perf_counter()
            assert (await c.get("/health")).status_code == 200
            health.append(time.perf_counter() - t)
            rss.append(memory(pid))
            await asyncio.sleep(.1)

async def soak(url, pid, clients, seconds, borrowers):
    until, codes, health, rss = time.monotonic() + seconds, {}, [], []
    await asyncio.gather(watch(url, pid, until, health, rss), *[client(url, k, until, codes, borrowers) for k in range(clients)])
    quarter = len(rss) // 4
    def mean(rows, i): return statistics.mean(r[i] for r in rows)
    return dict(clients=clients, seconds=seconds, requests=sum(codes.values()), codes={str(k): v for k, v in sorted(codes.items())}, errors=sum(v for k, v in codes.items() if k >= 400),
        health_median_ms=1000*statistics.median(health), health_p95_ms=1000*sorted(health)[int(.95*len(health))], health_asked=len(health),
        server_mib=[mean(rss[quarter:2*quarter], 0), mean(rss[-quarter:], 0)], workers_mib=[mean(rss[quarter:2*quarter], 1), mean(rss[-quarter:], 1)])

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50); parser.add_argument("--seconds", type=int, default=60); parser.add_argument("--loans", type=int, default=10_000); parser.add_argument("--repeats", type=int, default=7)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bank = simulate_bank(3000, 24, seed=1)
        LSTMCascadeGenerator(epochs=1, seed=1).fit(bank.sequences, bank.borrowers, progress=False).save(folder / "model")
        write_table(simulate_bank(a.loans, 1, seed=2).borrowers, folder / "borrowers.csv")
        write_table(simulate_bank(200, 1, seed=3).borrowers, folder / "few.csv")
        process, url = start(folder, "--model", folder / "model")
        try: figures = dict(calls(url, process.pid, folder, folder / "model", a.repeats), soak=asyncio.run(soak(url, process.pid, a.clients, a.seconds, (folder / "few.csv").read_bytes())), load=os.getloadavg()[0])
        finally: process.terminate(); process.wait(30)
        log = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        assert not [line for line in log if line["level"] == "error"], "errors in the log"
    s = figures["soak"]
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    rows = [f"| {a.loans:,} × 24, {kind}, to the answer with the files ready | {f['service']:.2f} s (worst of {a.repeats}: {f['worst']:.2f}); processor time {f['processor']:.2f} s, over two workers | under 3 s |\n| the same in the library, one thread, files written | {f['library']:.2f} s; service / library {f['ratio']:.2f} | – |"
            for kind, f in (("LSTM", figures["lstm"]), ("MATRIX", figures["matrix"]))]
    text = f"{where}; load of the machine during the run {figures['load']:.0f}\n\n| what | figure | target |\n| --- | --- | --- |\n" + "\n".join(rows) + f"""
| {s['clients']} clients at once for {s['seconds']} s | {s['requests']:,} requests, {s['errors']} errors | no error |
| `/health` meanwhile | median {s['health_median_ms']:.0f} ms, 95 % under {s['health_p95_ms']:.0f} ms | median under 100 ms |
| memory of the server, second and last quarter | {s['server_mib'][0]:.0f} and {s['server_mib'][1]:.0f} MiB | flat |
| memory of its workers, likewise | {s['workers_mib'][0]:.0f} and {s['workers_mib'][1]:.0f} MiB | flat |
"""
    if (a.clients, a.seconds, a.loans) == (50, 60, 10_000):
        (HERE / "results" / "service.json").write_text(json.dumps(dict(machine=where, **figures), indent=1) + "\n")
        (HERE / "results" / "service.md").write_text(text)
    print(text)

if __name__ == "__main__": main()
