"""Speed and scale on one machine: drawing, streaming, reading and training, beside the specification's table, a plain torch loop and the bare matrix products.

    python benchmarks/speed.py                    # all parts, one after another, each in a process of its own; about an hour on two quiet cores
    python benchmarks/speed.py --only sampler     # one part (repeat for more); the others keep their stored figures
    python benchmarks/speed.py --small            # a tenth of the sizes and epochs, nothing stored

Contestants take turns within one run, so that a ratio holds on a machine that others use too; CPU seconds are of this process alone. Results go to
benchmarks/results/speed.{json,md}.
"""
import argparse, json, os, platform, resource, statistics, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
PARTS = ["sampler", "sizes", "matrix", "streaming", "reading", "training", "memory"]

def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 # MiB, the most so far

def clock(f):
    "(wall, CPU) seconds of one call."
    wall, cpu = time.perf_counter(), time.process_time()
    f()
    return time.perf_counter() - wall, time.process_time() - cpu

def in_turn(contestants, rounds):
    "name -> [(wall, CPU), ...], a round at a time; the first round warms up and does not count."
    times = {name: [] for name in contestants}
    for r in range(rounds + 1):
        for name, f in contestants.items():
            t = clock(f)
            if r: times[name].append(t)
    return {name: dict(wall=statistics.median(w for w, _ in ts), wall_min=min(w for w, _ in ts), cpu=statistics.median(c for _, c in ts)) for name, ts in times.items()}

def network(hidden, bank):
    "A network of the generator's shape, started from the bank's matrix; what it has learned does not matter here. With features, terms and keys of the bank's loans."
    import torch
    from cascade_engine.features import FeatureEncoder
    from cascade_engine.matrix import TransitionMatrix
    from cascade_engine.model import LSTMCascadeModel, time_sizes
    from cascade_engine.sampling import loan_keys
    torch.manual_seed(0)
    model = LSTMCascadeModel(hidden_dim=hidden, time_sizes=time_sizes(24), prior=True).start_from(TransitionMatrix.fit(bank.sequences).probs).eval()
    return model, FeatureEncoder().fit(bank.borrowers).transform(bank.borrowers), bank.borrowers["term_months"].to_numpy(float), loan_keys(bank.borrowers["loan_id"])

def sampler(small, threads):
    "10,000 × 24 states: ours, a plain torch loop, and nothing but the matrix products of the loans that are live."
    import torch
    from cascade_engine import simulate_bank
    from cascade_engine.model import LSTMStepper, time_index
    from cascade_engine.sampling import walk
    n, months = (1_000 if small else 10_000), 24
    bank, out = simulate_bank(n, months, seed=1), {}
    for hidden in (64, 128):
        model, features, term, keys = network(hidden, bank)
        def ours(): return walk(LSTMStepper(model, features, term), np.zeros(n, np.uint8), np.ones(n, int), np.full(n, months - 1), keys, 0)
        def plain():
            x, state, status = torch.as_tensor(features), None, torch.zeros(n, 1, dtype=torch.long)
            with torch.no_grad():
                for month in range(1, months):
                    index = torch.as_tensor(time_index(np.full(n, month), term, 24))[:, None]
                    logits, state = model.read(status, x, index, state)
                    status = torch.multinomial(torch.softmax(logits[:, 0], 1), 1)
        live, weights = (ours() != 255).sum(0), [torch.randn(hidden, k) for k in (4*hidden, 4*hidden, 4*hidden, 8)] # layer 1 from its state; layer 2 from both; output
        rows = [torch.zeros(int(k), hidden) for k in live]
        def products():
            for x in rows:
                for w in weights: torch.mm(x, w)
        for k in threads or dict.fromkeys((1, os.cpu_count())):
            torch.set_num_threads(k)
            times = in_turn({"ours": ours, "plain": plain, "products": products}, 3 if small else 5)
            out[f"{hidden}x2, {k} thread{'s' * (k > 1)}"] = times | {"ratio_wall": times["ours"]["wall_min"] / times["products"]["wall_min"], "ratio_cpu": times["ours"]["cpu"] / times["products"]["cpu"]}
    return out | dict(loans=n, steps=int(live.sum()))

def generator(hidden=64):
    "A fitted generator."
    from cascade_engine import LSTMCascadeGenerator, simulate_bank
    bank = simulate_bank(2_000, 24, seed=9)
    return LSTMCascadeGenerator(hidden_dim=hidden, epochs=1).fit(bank.sequences, bank.borrowers, progress=False)

def sizes(small):
    "States and records through the public face, from 1,000 to 1,000,000 loans × 24 months."
    from cascade_engine.portfolio import simulate_borrowers
    out, counts = {}, [100, 1_000, 10_000] if small else [1_000, 10_000, 100_000, 1_000_000]
    borrowers = simulate_borrowers(counts[-1], seed=2)
    for hidden in (64, 128):
        lstm = generator(hidden)
        lstm.simulate(borrowers.head(600))
        for n in counts if hidden == 64 else counts[:-1]:
            times = [clock(lambda: lstm.simulate(borrowers.head(n), num_months=24)) for _ in range(1 if n > 100_000 else 3)]
            out[f"{hidden}x2 {n}"] = dict(wall=statistics.median(w for w, _ in times), wall_min=min(w for w, _ in times), cpu=statistics.median(c for _, c in times))
        fit = [n for n in counts if f"{hidden}x2 {n}" in out]
        if len(fit) > 2: out[f"{hidden}x2 slope"] = float(np.polyfit(np.log(fit[1:]), np.log([out[f"{hidden}x2 {n}"]["cpu"] for n in fit[1:]]), 1)[0])
    return out | dict(counts=counts)

def matrix(small):
    "Steps a second of the transition matrix."
    from cascade_engine.matrix import TransitionMatrix
    from cascade_engine.sampling import MatrixStepper, walk
    n, months, steps = 50_000, 24, 0
    def run():
        nonlocal steps
        steps = int((walk(MatrixStepper(TransitionMatrix.industry()), np.zeros(n, np.uint8), np.ones(n, int), np.full(n, months - 1), np.arange(n).astype(np.uint64), 0) != 255).sum())
    times = in_turn({"matrix": run}, 3 if small else 15)["matrix"]
    return times | dict(loans=n, steps=steps, steps_a_second=steps / times["wall_min"], steps_a_cpu_second=steps / times["cpu"])

def stream(loans, ending, kind):
    "One size in a process of its own: time, and memory above what the import and the model take."
    import torch
    from cascade_engine import LSTMCascadeGenerator
    from cascade_engine.portfolio import simulate_borrowers
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", f"from cascade_engine.portfolio import simulate_borrowers as s; s({loans}, 2).to_parquet({folder + '/b.parquet'!r}, row_group_size=100_000)"], check=True)
        lstm = LSTMCascadeGenerator(use_lstm=False) if kind == "matrix" else generator()
        before = rss()
        wall, cpu = clock(lambda: print(lstm.generate_records(f"{folder}/b.parquet", num_months=24, out=f"{folder}/r{ending}"), file=sys.stderr))
        return dict(wall=wall, cpu=cpu, mib=rss() - before, megabytes=os.path.getsize(f"{folder}/r{ending}") / 1e6)

def streaming(small):
    "Records into a file: 100,000 and 1,000,000 loans × 24 months."
    out = {}
    for kind, ending in (("matrix", ".csv"), ("matrix", ".parquet"), ("64x2", ".parquet")):
        for loans in (10_000, 20_000) if small else (100_000, 1_000_000):
            out[f"{kind} {ending} {loans}"] = child("--stream", f"{loans},{ending},{kind}")
    return out

def reading(small):
    "1,000,000 histories from a Parquet file to arrays."
    from cascade_engine import read_sequences, simulate_bank
    n = 20_000 if small else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", f"from cascade_engine import simulate_bank as s; s({n}, 24, seed=3).sequences.to_table().to_parquet({folder + '/h.parquet'!r}, index=False)"], check=True)
        before, times = rss(), [clock(lambda: read_sequences(f"{folder}/h.parquet")) for _ in range(3)]
    return dict(histories=n, wall=statistics.median(w for w, _ in times), wall_min=min(w for w, _ in times), cpu=statistics.median(c for _, c in times), mib=rss() - before)

def training_data(loans):
    "(histories, borrowers) to train on and to judge by, split by person."
    from cascade_engine import simulate_bank
    from cascade_engine.sequences import split_by_borrower
    bank = simulate_bank(loans * 6 // 5, 24, seed=5)
    held = split_by_borrower(bank.sequences.borrower_id, 1/6, 123)
    return [(bank.sequences.take(m), bank.borrowers[m].reset_index(drop=True)) for m in (~held, held)] + [bank]

def specification(train, test, epochs, batch=32, lr=1e-3):
    "The specification's recipe as a plain loop: its network, shuffled batches padded to 24 months, Adam. Yields each epoch's seconds and held-out loss."
    import torch
    from torch.nn.functional import cross_entropy
    from cascade_engine.features import FeatureEncoder
    from cascade_engine.model import LSTMCascadeModel
    from cascade_engine.training import Panel, mean_nll
    encoder = FeatureEncoder().fit(train[1])
    torch.manual_seed(0); rng = np.random.default_rng(0)
    model = LSTMCascadeModel()
    judge = Panel(test[0], encoder.transform(test[1]), np.full(len(test[0]), np.nan))
    optimiser, features = torch.optim.Adam(model.parameters(), lr=lr), torch.as_tensor(encoder.transform(train[1]))
    codes = torch.as_tensor(train[0].codes.astype(np.int64))
    inputs, targets = codes[:, :-1].masked_fill(codes[:, :-1] == 255, 0), codes[:, 1:].masked_fill(codes[:, 1:] == 255, -100)
    def epoch():
        model.train()
        for at in torch.as_tensor(rng.permutation(len(codes))).split(batch):
            if not (targets[at] >= 0).any(): continue
            loss = cross_entropy(model(inputs[at], features[at]).flatten(0, 1), targets[at].flatten(), ignore_index=-100)
            optimiser.zero_grad(); loss.backward(); optimiser.step()
    for _ in range(epochs): yield *clock(epoch), mean_nll(model, judge)

QUICK = dict(hidden_dim=64, num_layers=2, epochs=4, dropout=0.) # the specification's network, with the generator's time inputs and start from the matrix

def training(small):
    "Time to quality: the specification's recipe in full; ours before, between and after."
    from cascade_engine import LSTMCascadeGenerator
    train, test, bank = training_data(2_000 if small else 50_000)
    epochs, runs, losses, reached, defaults = (3 if small else 50), [], [], [], []
    def ours():
        lstm = LSTMCascadeGenerator(**QUICK)
        runs.append(clock(lambda: lstm.fit(*train, progress=False))); reached.append(-lstm.score(*test))
    for k, row in enumerate(specification(train, test, epochs)):
        if k % 20 == 0: ours()
        losses.append(row)
    ours()
    two = LSTMCascadeGenerator(epochs=2)
    default = clock(lambda: two.fit(*train, progress=False))
    wall, cpu, nll = zip(*losses)
    spec = dict(wall=sum(wall), cpu=sum(cpu), nll_last=nll[-1], nll_best=min(nll), curve=list(nll))
    mine = dict(wall=statistics.median(w for w, _ in runs), cpu=statistics.median(c for _, c in runs), nll=reached[0], runs=len(runs), recipe=QUICK)
    return dict(loans=len(train[0]), epochs=epochs, truth=bank.true_nll(test[0]), specification=spec, ours=mine, ratio_wall=spec["wall"] / mine["wall"], ratio_cpu=spec["cpu"] / mine["cpu"],
                default_epoch=dict(wall=default[0] / 2, cpu=default[1] / 2, nll_after_2=-two.score(*test)))

def memory(small):
    "What training adds to the memory of its process, beside the arrays it is given."
    from cascade_engine import LSTMCascadeGenerator, simulate_bank
    bank, n = simulate_bank(2_000, 24, seed=1), 20_000 if small else 1_000_000
    LSTMCascadeGenerator(hidden_dim=64, epochs=1).fit(bank.sequences, bank.borrowers, progress=False) # torch and its buffers
    big = simulate_bank(n, 24, seed=3)
    s = big.sequences
    arrays = (s.codes.nbytes + s.lengths.nbytes + sum(x.nbytes + sum(map(sys.getsizeof, x)) for x in (s.loan_id, s.borrower_id)) + big.borrowers.memory_usage(deep=True, index=False).sum()) / 2**20
    before = now()
    peak = Peak()
    LSTMCascadeGenerator(hidden_dim=64, epochs=1).fit(s, big.borrowers, progress=False, max_minutes=.2)
    return dict(loans=n, arrays_mib=arrays, added_mib=peak.stop() - before, ratio=(peak.most - before) / arrays)

def now(): return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20 # MiB resident

class Peak:
    "The most memory resident while it watches."
    def __init__(self):
        import threading
        self.most, self.on = now(), True
        self.thread = threading.Thread(target=self.watch); self.thread.start()
    def watch(self):
        while self.on: self.most = max(self.most, now()); time.sleep(.02)
    def stop(self): self.on = False; self.thread.join(); return self.most

def child(*args):
    done = subprocess.run([sys.executable, __file__, *args], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])

def seconds(x): return f"{x:.2f} s" if x < 10 else f"{x:.0f} s"

def table(r):
    "Markdown from the stored figures; a part that has not run is left out."
    rows = []
    def add(what, figure, target="–"): rows.append((what, figure, target))
    if "sizes" in r:
        z = r["sizes"]
        for n, spec in ((10_000, "~30 s"), (100_000, "~5 min")):
            if f"64x2 {n}" in z:
                for h in (h for h in (64, 128) if f"{h}x2 {n}" in z): add(f"generation, {n:,} × 24 states, {h}×2, public face", f"{seconds(z[f'{h}x2 {n}']['wall_min'])} (median {seconds(z[f'{h}x2 {n}']['wall'])}; CPU {seconds(z[f'{h}x2 {n}']['cpu'])})", f"specification {spec}")
        n = z["counts"][-1]
        if n > 100_000: add(f"generation, {n:,} × 24 states, 64×2", f"{seconds(z[f'64x2 {n}']['wall_min'])} (CPU {seconds(z[f'64x2 {n}']['cpu'])})")
        add(f"growth, log CPU seconds on log loans, {z['counts'][1]:,} to {n:,}", f"slope {z['64x2 slope']:.2f}", "1")
    for name, t in (r.get("sampler") or {}).items():
        if not isinstance(t, dict): continue
        add(f"sampler alone, 10,000 × 24, {name}", f"{seconds(t['ours']['wall_min'])} (median {seconds(t['ours']['wall'])}; CPU {seconds(t['ours']['cpu'])})", "0.35 s on 2 cores" if name.startswith("64") else "–")
        add(f"– against its bare matrix products ({seconds(t['products']['wall_min'])})", f"{t['ratio_wall']:.2f} × (CPU {t['ratio_cpu']:.2f} ×)", "at most 2.5 ×")
        add(f"– a plain torch loop, whole batch to the end", f"{seconds(t['plain']['wall_min'])} (CPU {seconds(t['plain']['cpu'])})")
    if "matrix" in r: add("transition matrix, one thread", f"{r['matrix']['steps_a_second']/1e6:.0f} M steps/s (a CPU second: {r['matrix']['steps_a_cpu_second']/1e6:.0f} M)", "20 M")
    for name, t in (r.get("streaming") or {}).items():
        kind, ending, n = name.split()
        add(f"records into {ending}, {int(n):,} loans × 24, {kind}", f"{seconds(t['wall'])} (CPU {seconds(t['cpu'])}), {t['megabytes']:,.0f} MB; memory +{t['mib']:.0f} MiB", "+1,024 MiB, flat")
    if "reading" in r: add(f"{r['reading']['histories']:,} histories from Parquet to arrays", f"{seconds(r['reading']['wall_min'])} (median {seconds(r['reading']['wall'])}; CPU {seconds(r['reading']['cpu'])})", "10 s")
    if "training" in r:
        t = r["training"]; s, o, d = t["specification"], t["ours"], t["default_epoch"]
        add(f"training, {t['loans']:,} × 24, the specification's recipe, {t['epochs']} epochs", f"{seconds(s['wall'])} (CPU {seconds(s['cpu'])}); held-out {s['nll_last']:.4f}, best {s['nll_best']:.4f} (truth {t['truth']:.4f})", "specification ~2 min on 4 cores")
        add(f"– ours to that loss: 64×2, {o['recipe']['epochs']} epochs, no dropout", f"{seconds(o['wall'])} (CPU {seconds(o['cpu'])}); held-out {o['nll']:.4f}")
        add("– share of the time" + (f" ({t['how']})" if "how" in t else ""), f"1/{t['ratio_wall']:.1f} (CPU 1/{t['ratio_cpu']:.1f})", "at most 1/8")
        add("– the default recipe (128×2, dropout 0.4, 20 epochs), from two epochs", f"{seconds(20*d['wall'])} (CPU {seconds(20*d['cpu'])}); held-out after 2 epochs {d['nll_after_2']:.4f}", "specification ~2 min on 4 cores")
    if "memory" in r: add(f"memory that training adds, {r['memory']['loans']:,} × 24", f"{r['memory']['added_mib']:.0f} MiB, {r['memory']['ratio']:.1f} × histories and borrowers", "at most 3 ×")
    head = (f"{r['machine']}, load average {r['load']:.0f}. Wall seconds are the least of several (median in brackets). Where the load is above the number of cores, others took turns: "
            "CPU seconds, and ratios, taken in turn within one run, then say more. One thread unless said otherwise. A GPU was not at hand.\n\n| what | figure | target |\n| --- | --- | --- |\n")
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\nOther generators on the same task: [fidelity](fidelity-cards.md).\n"

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append"); parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, action="append", help="threads of the sampler part; default: one, and as many as there are cores")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS); parser.add_argument("--stream", help=argparse.SUPPRESS)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    if a.stream: loans, ending, kind = a.stream.split(","); return print(json.dumps(stream(int(loans), ending, kind)))
    if a.part: return print(json.dumps(globals()[a.part](a.small, *[a.threads] * (a.part == "sampler"))))
    os.environ.setdefault("OMP_NUM_THREADS", "1") # the sampler part sets its own
    stored, results = HERE / "results" / "speed.json", {}
    for part in a.only or PARTS:
        figures = child("--part", part, *["--small"] * a.small, *[f"--threads={k}" for k in a.threads or ()])
        if stored.exists() and not a.small: results = json.loads(stored.read_text())
        results |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", "load": os.getloadavg()[2], part: figures}
        if a.small: continue
        stored.write_text(json.dumps({k: results[k] for k in ("machine", "load", *PARTS) if k in results}, indent=1) + "\n")
        stored.with_suffix(".md").write_text(table(results))
    print(table(results))

if __name__ == "__main__": main()
