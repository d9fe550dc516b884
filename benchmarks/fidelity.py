"""Held-out negative log-likelihood per step, and time and memory to get there, of the engine and of what it has to beat.

    python benchmarks/fidelity.py            # every method on the real accounts (../shared) if they are there, else on the simulated bank
    python benchmarks/fidelity.py --panel bank --seeds 0
    python benchmarks/fidelity.py --split time        # learn from the months up to a year before the extract, score and generate the last twelve
    python benchmarks/fidelity.py --panel instalments # a stand-in for a small instalment book: the simulated bank, few columns known
    python benchmarks/fidelity.py --peers             # SDV and mostlyai-engine, each in an environment of its own (made where it is missing)

A fifth of the persons is held out (`split_by_borrower`, seed 123); nothing is tuned on it. With --split time the held-out persons' last twelve months are what counts, and training sees the
other persons' earlier months alone: out of time and of persons. Each method runs in a process of its own, one after another,
so that its peak memory is its own. Results are added to benchmarks/results/fidelity-PANEL.{json,md}: what was not run this time stays.
"""
import argparse, configparser, json, os, platform, resource, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cascade_engine import STATUS, LSTMCascadeGenerator, like, simulate_bank, validate_sequences
from cascade_engine.features import FEATURES, FeatureEncoder
from cascade_engine.generator import pair
from cascade_engine.matrix import TransitionMatrix
from cascade_engine.sequences import PAD, Sequences, split_by_borrower

HERE = Path(__file__).resolve().parent
REAL = HERE.parent.parent / "shared" / "data" / "credit_card_histories"
TINY = 1e-9

def panel(name, split="persons"):
    "(train histories, train borrowers, test histories, test borrowers, (N,) months of each test history known before the test begins)"
    if name == "cards":
        table, people = pd.read_parquet(REAL / "payment_sequences.parquet"), pd.read_parquet(REAL / "borrowers.parquet")
        seqs, borrowers = pair(table, people)
    else:
        bank = simulate_bank(n_loans=15_000 if name == "bank" else 13_125, num_months=48, seed=7)
        known = bank.borrowers if name == "bank" else bank.borrowers[["loan_id", "borrower_id", "income", "employment_months", "principal", "term_months"]]
        seqs, borrowers = pair(bank.sequences, known)
    held = split_by_borrower(seqs.borrower_id, .2, 123)
    early = seqs.lengths
    if split == "time":
        before = table.groupby("loan_id")["months_before_extract"].max().reindex(seqs.loan_id).to_numpy() # of month 1
        early = np.clip(before - LAST + 1, 0, seqs.lengths) # months on book that lie a year or more before the extract
        test = held & (early < seqs.lengths)
        return seqs.take(~held & (early > 0)).truncate(early[~held & (early > 0)]), borrowers[~held & (early > 0)].reset_index(drop=True), seqs.take(test), borrowers[test].reset_index(drop=True), early[test]
    return seqs.take(~held), borrowers[~held].reset_index(drop=True), seqs.take(held), borrowers[held].reset_index(drop=True), np.zeros(int(held.sum()), int)

LAST = 12 # months before the extract that an out-of-time test is about

def counted(seqs, early):
    "(steps,) bool: does the step lead into the test period?"
    loan, t, _ = steps(seqs)
    return t + 1 >= early[loan]

def steps(seqs):
    "Every step of every history: (loan, month index, next code)."
    loan, t = np.nonzero(seqs.mask[:, 1:])
    return loan, t, seqs.codes[loan, t + 1].astype(int)

def contexts(seqs, order):
    "(steps,) the last `order` codes as one number; before the first month stands a code of its own."
    loan, t, _ = steps(seqs)
    padded = np.hstack([np.full((len(seqs), order), 8, np.int64), np.where(seqs.codes == PAD, 0, seqs.codes)])
    return sum(padded[loan, t + order - j] * 9**j for j in range(order))

class BackOff:
    "Markov of order 1..k, each order shrunk to the one below with `strength` pseudo-counts."
    def __init__(self, seqs, order, strength=5.):
        y, self.order, self.strength, self.tables = steps(seqs)[2], order, strength, []
        for k in range(1, order + 1):
            keys, at = np.unique(contexts(seqs, k), return_inverse=True)
            counts = np.zeros((len(keys), 8)); np.add.at(counts, (at, y), 1)
            self.tables.append((keys, counts))

    def probabilities(self, seqs):
        p = np.full((len(steps(seqs)[0]), 8), 1 / 8)
        for k, (keys, counts) in enumerate(self.tables, 1):
            x = contexts(seqs, k); at = np.minimum(np.searchsorted(keys, x), len(keys) - 1)
            n = np.where((keys[at] == x)[:, None], counts[at], 0)
            p = (n + self.strength * p) / (n.sum(1, keepdims=True) + self.strength)
        return p

def nll(p, seqs, on=slice(None)): y = steps(seqs)[2]; return float(-np.log(np.maximum(p[np.arange(len(y)), y], TINY))[on].mean())

def engineered(seqs, features, lags=12):
    "What a scorecard team would build: lags, age, months in status, counts, worst status, months since 30+; then the borrower."
    codes = np.where(seqs.codes == PAD, 0, seqs.codes).astype(int)
    late = (codes >= 2) & (codes <= 4); month = np.arange(codes.shape[1])
    changed = np.hstack([np.ones((len(codes), 1), bool), codes[:, 1:] != codes[:, :-1]])
    run = month - np.maximum.accumulate(np.where(changed, month, 0), 1)
    since = month - np.maximum.accumulate(np.where(late, month, -99), 1)
    loan, t, y = steps(seqs)
    padded = np.hstack([np.full((len(codes), lags), 9), codes])
    columns = [padded[loan, t + lags - j] for j in range(lags)] + [a[loan, t] for a in
        (run, np.minimum(since, 99), late.cumsum(1), (codes == 1).cumsum(1), np.maximum.accumulate(np.where(codes < 5, codes, 0), 1), changed.cumsum(1))]
    left = np.nan_to_num(features[loan, -1] - (t + 1), nan=-99) # months to maturity, from the term in the last column; -99 where unknown
    return np.column_stack([*columns, t + 1, left, features[loan, :-1]]).astype(np.float32), y

def rest_of(seqs, early):
    "The test period of each history, after the last status known before it."
    keep = np.flatnonzero(early > 0)
    at = early[keep, None] - 1 + np.arange(LAST + 1)
    codes = np.where(at < seqs.lengths[keep, None], np.take_along_axis(seqs.codes[keep], np.minimum(at, seqs.num_months - 1), 1), PAD)
    return Sequences(codes, (codes != PAD).sum(1), seqs.loan_id[keep], seqs.borrower_id[keep])

def continued(probabilities, seqs, early, seed):
    "Histories continued month by month by a function from histories to the probabilities after their last month (for the trees)."
    from cascade_engine.sampling import draw, loan_keys, uniforms
    keep = np.flatnonzero(early > 0)
    known, watched = seqs.take(keep).truncate(early[keep]), np.where(STATUS.terminal[seqs.last[keep]], early[keep] + LAST, seqs.lengths[keep])
    codes, lengths = np.full((len(keep), int(watched.max())), PAD, np.uint8), known.lengths.copy()
    codes[:, :known.num_months] = known.codes
    for k in range(LAST):
        at = np.flatnonzero((lengths < watched) & ~STATUS.terminal[codes[np.arange(len(codes)), lengths - 1]])
        codes[at, lengths[at]] = draw(probabilities(codes[at], lengths[at], keep[at]), uniforms(seed, loan_keys(known.loan_id[at]), lengths[at] + 1)); lengths[at] += 1
    return Sequences(codes, lengths, known.loan_id, known.borrower_id)

def method(name, train, people, test, others, early, seed, split):
    "Fit, score; a dict of figures."
    start, on = time.perf_counter(), counted(test, early)
    def done(p, generate=None, fitted=None, **more):
        out = dict(nll=nll(p, test, on), train_seconds=fitted or time.perf_counter() - start, **more)
        if generate is not None:
            start2 = time.perf_counter(); synthetic = generate(); out["generation_seconds"] = time.perf_counter() - start2
            out |= figures(rest_of(test, early), rest_of(synthetic, early[early > 0])) if split == "time" else figures(test, synthetic)
        return out
    if name in ("matrix", "lstm"):
        lstm = LSTMCascadeGenerator(seed=seed, use_lstm=None if name == "lstm" else False).fit(train, people, progress=False)
        fitted = time.perf_counter() - start
        loan, t, _ = steps(test)
        def generate():
            if split == "persons": return lstm.simulate(others, **like(test), seed=seed + 1)[0]
            keep = early > 0
            watched = np.where(STATUS.terminal[test.last], LAST, test.lengths - early)
            return lstm.simulate(others[keep], num_months=watched[keep], history=test.take(keep).truncate(early[keep]), seed=seed + 1)[0]
        return done(lstm.step_probabilities(test, others)[loan, t], generate, fitted)
    if name == "markov":
        held = split_by_borrower(train.borrower_id, .1, seed)
        def tried(k): return nll(BackOff(train.take(~held), k).probabilities(train.take(held)), train.take(held))
        order = min(range(1, 13), key=tried)
        return done(BackOff(train, order).probabilities(test), order=order)
    encoder = FeatureEncoder().fit(people)
    def known(borrowers): # maturity must be visible to the trees as well, where terms are known
        term = borrowers["term_months"].to_numpy(float) if "term_months" in borrowers else np.full(len(borrowers), np.nan)
        return np.column_stack([encoder.transform(borrowers), term])
    f, g = known(people), known(others)
    (x, y), (u, _) = engineered(train, f), engineered(test, g)
    if name == "trees":
        from sklearn.ensemble import HistGradientBoostingClassifier
        model = HistGradientBoostingClassifier(max_iter=400, learning_rate=.05, l2_regularization=1., early_stopping=True, n_iter_no_change=20, random_state=seed).fit(x, y)
    else:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.compose import make_column_transformer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler
        rest, (x, u) = list(range(3, x.shape[1])), (np.nan_to_num(z) for z in (x, u))
        model = make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0, 1, 2]), (StandardScaler(), rest)), LogisticRegression(max_iter=200)).fit(x, y)
    def predict(z): p = np.zeros((len(z), 8)); p[:, model.classes_] = model.predict_proba(z); return p
    def after(codes, lengths, at): # a made-up next month makes the last one a step
        padded = np.pad(codes, ((0, 0), (0, 1)), constant_values=PAD); padded[np.arange(len(codes)), lengths] = 0
        z, _ = engineered(Sequences(padded, lengths + 1, check=False), g[at])
        return predict(z[np.cumsum(lengths) - 1])
    return done(predict(u), (lambda: continued(after, test, early, seed + 1)) if split == "time" and name == "trees" else None)

def figures(real, synthetic):
    found = validate_sequences(real, synthetic)
    out = {k: found[k] for k in ("transition_error", "default_rate_match", "avg_length_error", "status_mix_error")} | {"noise_floor": found["noise_floor"].get("transition_error")}
    late = [float(((s.codes >= STATUS.DPD_30) & (s.codes <= STATUS.DEFAULT))[:, 1:].any(1).mean()) for s in (real, synthetic)]
    return out | dict(real_late=late[0], late=late[1]) # share of histories 30 or more days late at some time after the first month

METHODS = {"matrix": "transition matrix (order 1)", "logit": "multinomial logit, engineered history", "markov": "Markov with back-off, order by held-out",
           "trees": "boosted trees, engineered history", "lstm": "cascade_engine, default settings"}

PEERS = {"sdv": "SDV PARSynthesizer", "mostlyai": "mostlyai-engine"}

def environment(name):
    "The peer's Python, its environment made from the extra `peers-NAME` of settings.ini where it is missing."
    home = HERE / ".envs" / name
    python = home / "bin" / "python"
    if python.exists(): return python
    parser = configparser.ConfigParser(delimiters=["="]); parser.read(HERE.parent / "settings.ini", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", HERE.parent / "constraints.txt", *parser["DEFAULT"][f"peers_{name}_requirements"].split()], check=True)
    # builds of torchvision and torchaudio for another torch keep transformers from importing; neither is used here
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchvision", "torchaudio"], check=True)
    return python

def peer(name, train, people, test, others, minutes, loans):
    "Train and generate in the peer's environment; the figures of a method."
    with tempfile.TemporaryDirectory() as folder:
        folder, columns = Path(folder), ["loan_id", *(c for c in FEATURES if c in people and people[c].notna().any())]
        train.to_table()[["loan_id", "month", "payment_status"]].astype({"payment_status": str}).to_parquet(folder / "train.parquet", index=False)
        people[columns].to_parquet(folder / "train_borrowers.parquet", index=False); others[columns].to_parquet(folder / "test_borrowers.parquet", index=False)
        out = subprocess.run([environment(name), HERE / "peers.py", name, folder, str(minutes), str(loans)], capture_output=True, text=True)
        if not (folder / "peer.json").exists(): return dict(failed=out.stderr.strip().splitlines()[-1][:200] if out.stderr.strip() else f"exit {out.returncode}")
        return judged(folder, test)

def ours(train, people, test, others):
    "The engine's default model, judged as the peers are."
    start = time.perf_counter()
    model = LSTMCascadeGenerator(seed=0).fit(train, people, progress=False)
    took, start = time.perf_counter() - start, time.perf_counter()
    synthetic, _ = model.simulate(others, **like(test), seed=1)
    return dict(train_seconds=took, generation_seconds=time.perf_counter() - start, trained_on=len(train), generated=len(test), peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, events_after_the_end=0.) | figures(test, synthetic)

def judged(folder, test):
    "A peer's histories against the same loans' real ones; statuses in the order they came, whatever the months are called."
    table, more = pd.read_parquet(folder / "synthetic.parquet"), json.loads((folder / "peer.json").read_text())
    table["month"] = table.groupby("loan_id").cumcount() + 1
    raw = table.pivot(index="loan_id", columns="month", values="payment_status")
    codes = np.where(raw.notna(), pd.Categorical(raw.to_numpy().ravel(), categories=STATUS.labels).codes.reshape(raw.shape), PAD).astype(np.uint8)
    lengths = np.where((ends := STATUS.terminal[np.minimum(codes, 7)] & (codes != PAD)).any(1), ends.argmax(1) + 1, (codes != PAD).sum(1)) # what follows a terminal status is cut off, and counted
    more["events_after_the_end"] = float((lengths < (codes != PAD).sum(1)).mean())
    return more | figures(test.take(np.isin(test.loan_id, raw.index)), Sequences(codes, lengths, raw.index.to_numpy(object)))

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panel", choices=["cards", "bank", "instalments"], default="cards" if REAL.exists() else "bank")
    parser.add_argument("--split", choices=["persons", "time"], default="persons")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the engine; the other methods are run with the first one")
    parser.add_argument("--peers", nargs="*", choices=[*PEERS, "ours"], help="only the peers and the engine beside them, or those named; stored beside the table of the methods")
    parser.add_argument("--minutes", type=float, default=10, help="training time of a peer"); parser.add_argument("--loans", type=int, default=2000, help="loans a peer generates")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--only", choices=list(METHODS)); parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    if a.only:
        found = method(a.only, *panel(a.panel, a.split), a.seed, a.split)
        print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    if a.split == "time" and a.panel != "cards": sys.exit("--split time needs the real accounts: months_before_extract")
    if a.peers is not None:
        train, people, test, others, _ = panel(a.panel)
        stored = HERE / "results" / f"peers-{a.panel}.json"
        rows = json.loads(stored.read_text())["rows"] if stored.exists() else {}
        for n in a.peers or [*PEERS, "ours"]:
            if n == "ours": rows[METHODS["lstm"]] = ours(train, people, test.take(slice(0, a.loans)), others[:a.loans])
            else: rows[PEERS[n]] = peer(n, train, people, test, others, a.minutes, a.loans)
        return write(stored.stem, pd.DataFrame(rows).T, rows, f"Trained on borrower columns the engine knows, peers for {a.minutes:g} minutes of a quiet machine at most; histories for the first {a.loans:,} held-out loans, the engine's watched as long as the real ones")
    if a.panel == "bank" and not REAL.exists(): print("note: the real accounts are not here; the simulated bank says nothing about fidelity on real data")
    stored, rows = HERE / "results" / f"fidelity-{a.panel}{'-time' if a.split == 'time' else ''}", []
    if stored.with_suffix(".json").exists(): rows = json.loads(stored.with_suffix(".json").read_text())["rows"]
    for name in a.methods:
        for seed in a.seeds if name == "lstm" else a.seeds[:1]:
            out = subprocess.run([sys.executable, __file__, "--only", name, "--panel", a.panel, "--split", a.split, "--seed", str(seed)], capture_output=True, text=True)
            if out.returncode: sys.exit(out.stderr)
            row = dict(method=METHODS[name], seed=seed, **json.loads(out.stdout.splitlines()[-1])); print(row, flush=True)
            rows = [r for r in rows if (r["method"], r["seed"]) != (row["method"], seed)] + [row]
    table = pd.DataFrame(rows)
    mean = table.drop(columns="seed").groupby("method", sort=False).mean().sort_values("nll", ascending=False)
    mean.insert(1, "nll_range", table.groupby("method")["nll"].agg(lambda s: f"{s.min():.4f}–{s.max():.4f}" if len(s) > 1 else ""))
    what = "Last twelve months of the held-out fifth of the persons, learned from the others' earlier months" if a.split == "time" else "Held-out fifth of the persons"
    if a.panel == "instalments": what = f"Simulated bank as a small instalment book (income, employment_months, principal, term_months known), {what[0].lower()}{what[1:]}"
    write(stored.name, mean, rows, f"{what}, nats a step; where there are several seeds, means")

def write(name, table, rows, title):
    "Store the table and what it was made of."
    stem, where = HERE / "results" / name, f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    stem.with_suffix(".json").write_text(json.dumps(dict(machine=where, rows=rows), indent=1) + "\n")
    stem.with_suffix(".md").write_text(f"{title}; {where}, other jobs at the same time in part\n\n" + markdown(table) + "\n")
    print(markdown(table))

def markdown(table):
    def cell(v): return "–" if isinstance(v, float) and np.isnan(v) else f"{v:.4f}" if isinstance(v, float) and abs(v) < 10 else f"{v:.0f}" if isinstance(v, float) else str(v)
    lines = [["method", *table.columns], ["---"] * (1 + len(table.columns)), *([i, *map(cell, r)] for i, r in zip(table.index, table.itertuples(index=False, name=None)))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

if __name__ == "__main__": main()
