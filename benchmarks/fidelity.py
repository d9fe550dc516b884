"""Held-out negative log-likelihood per step, and time and memory to get there, of the engine and of what it has to beat.

    python benchmarks/fidelity.py            # every method on the real accounts (../shared) if they are there, else on the simulated bank
    python benchmarks/fidelity.py --panel bank --seeds 1

A fifth of the persons is held out (`split_by_borrower`, seed 123); nothing is tuned on it. Each method runs in a process of its own, one after another,
so that its peak memory is its own. Results go to benchmarks/results/fidelity-PANEL.{json,md}.
"""
import argparse, json, os, platform, resource, subprocess, sys, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cascade_engine import LSTMCascadeGenerator, simulate_bank, validate_sequences
from cascade_engine.features import FeatureEncoder
from cascade_engine.generator import pair
from cascade_engine.matrix import TransitionMatrix
from cascade_engine.sequences import PAD, Sequences, split_by_borrower

HERE = Path(__file__).resolve().parent
REAL = HERE.parent.parent / "shared" / "data" / "credit_card_histories"
TINY = 1e-9

def panel(name):
    "(train histories, train borrowers, test histories, test borrowers, extra columns to declare)"
    if name == "cards":
        table, people = pd.read_parquet(REAL / "payment_sequences.parquet"), pd.read_parquet(REAL / "borrowers.parquet")
        seqs, borrowers = pair(table, people)
    else:
        bank = simulate_bank(n_loans=15_000, num_months=48, seed=7)
        seqs, borrowers = pair(bank.sequences, bank.borrowers)
    held = split_by_borrower(seqs.borrower_id, .2, 123)
    return seqs.take(~held), borrowers[~held].reset_index(drop=True), seqs.take(held), borrowers[held].reset_index(drop=True)

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

def nll(p, seqs): y = steps(seqs)[2]; return float(-np.log(np.maximum(p[np.arange(len(y)), y], TINY)).mean())

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
    return np.column_stack([*columns, t + 1, features[loan]]).astype(np.float32), y

def method(name, train, people, test, others, seed):
    "Fit, score; a dict of figures."
    start = time.perf_counter()
    def done(score, generate=None, **more):
        out = dict(nll=score, train_seconds=time.perf_counter() - start, **more)
        if generate is not None:
            start2 = time.perf_counter(); synthetic = generate(); out["generation_seconds"] = time.perf_counter() - start2
            found = validate_sequences(test, synthetic)
            out |= {k: found[k] for k in ("transition_error", "default_rate_match", "avg_length_error", "status_mix_error")} | {"noise_floor": found["noise_floor"].get("transition_error")}
        return out
    if name in ("matrix", "lstm"):
        lstm = LSTMCascadeGenerator(seed=seed, use_lstm=None if name == "lstm" else False).fit(train, people, progress=False)
        fitted = time.perf_counter() - start
        from cascade_engine.status import STATUS
        def generate(): return lstm.generate(others, num_months=test.lengths, initial_status=np.array(STATUS.labels)[test.codes[:, 0]], seed=seed + 1)
        return {**done(-lstm.score(test, others), generate), "train_seconds": fitted}
    if name == "markov":
        held = split_by_borrower(train.borrower_id, .1, seed)
        def tried(k): return nll(BackOff(train.take(~held), k).probabilities(train.take(held)), train.take(held))
        order = min(range(1, 13), key=tried)
        return done(nll(BackOff(train, order).probabilities(test), test), order=order)
    encoder = FeatureEncoder().fit(people)
    (x, y), (u, v) = engineered(train, encoder.transform(people)), engineered(test, encoder.transform(others))
    if name == "trees":
        from sklearn.ensemble import HistGradientBoostingClassifier
        model = HistGradientBoostingClassifier(max_iter=400, learning_rate=.05, l2_regularization=1., early_stopping=True, n_iter_no_change=20, random_state=seed).fit(x, y)
    else:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.compose import make_column_transformer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler
        rest = list(range(3, x.shape[1]))
        model = make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0, 1, 2]), (StandardScaler(), rest)), LogisticRegression(max_iter=200)).fit(x, y)
    p = np.zeros((len(v), 8)); p[:, model.classes_] = model.predict_proba(u)
    return done(float(-np.log(np.maximum(p[np.arange(len(v)), v], TINY)).mean()))

METHODS = {"matrix": "transition matrix (order 1)", "logit": "multinomial logit, engineered history", "markov": "Markov with back-off, order by held-out",
           "trees": "boosted trees, engineered history", "lstm": "cascade_engine, default settings"}

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panel", choices=["cards", "bank"], default="cards" if REAL.exists() else "bank")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=list(METHODS)); parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    if a.only:
        figures = method(a.only, *panel(a.panel), a.seed)
        print(json.dumps({**figures, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    if a.panel == "bank" and not REAL.exists(): print("note: the real accounts are not here; the simulated bank says nothing about fidelity on real data")
    rows = []
    for name, title in METHODS.items():
        for seed in range(a.seeds if name == "lstm" else 1):
            out = subprocess.run([sys.executable, __file__, "--only", name, "--panel", a.panel, "--seed", str(seed)], capture_output=True, text=True)
            if out.returncode: sys.exit(out.stderr)
            rows.append(dict(method=title, seed=seed, **json.loads(out.stdout.splitlines()[-1]))); print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    mean = table.drop(columns="seed").groupby("method", sort=False).mean().sort_values("nll", ascending=False)
    mean.insert(1, "nll_range", table.groupby("method")["nll"].agg(lambda s: f"{s.min():.4f}–{s.max():.4f}" if len(s) > 1 else ""))
    stem = HERE / "results" / f"fidelity-{a.panel}"
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    stem.with_suffix(".json").write_text(json.dumps(dict(machine=where, rows=rows), indent=1) + "\n")
    stem.with_suffix(".md").write_text(f"Held-out fifth of the persons, nats a step; {where}\n\n" + markdown(mean) + "\n")
    print(markdown(mean))

def markdown(table):
    def cell(v): return "–" if isinstance(v, float) and np.isnan(v) else f"{v:.4f}" if isinstance(v, float) and abs(v) < 10 else f"{v:.0f}" if isinstance(v, float) else str(v)
    lines = [["method", *table.columns], ["---"] * (1 + len(table.columns)), *([i, *map(cell, r)] for i, r in zip(table.index, table.itertuples(index=False, name=None)))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

if __name__ == "__main__": main()
