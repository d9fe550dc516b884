"""Distance to the truth against the number of histories: Kullback–Leibler divergence per step on the simulated bank, whose true probabilities are known.

    python benchmarks/learning_curve.py                       # everything, an hour or two on one core
    python benchmarks/learning_curve.py --only lstm --sizes 300 1000

The methods learn from the first n loans of one bank and are judged on 4,000 loans of another one, drawn from the same process. KL = mean over steps of sum p log(p/q), p the truth;
the entropy rate is what the truth itself scores. "calendar" gives the LSTM the due dates and the unemployment path, which the truth reads as well; without them some distance must stay.
Results are added to benchmarks/results/learning-curve.json as they come; the picture and the table are drawn from it.
"""
import argparse, json, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cascade_engine import LSTMCascadeGenerator, simulate_bank
from cascade_engine.matrix import TransitionMatrix, count_transitions
from cascade_engine.scenarios import macro_path
from fidelity import BackOff, steps

STORE = Path(__file__).resolve().parent / "results" / "learning-curve.json"
SIZES, MONTHS = [300, 1_000, 3_000, 10_000, 50_000, 100_000], 24
STRENGTHS = [1, 5, 20, 50, 100, 300]

def divergence(truth, model, seqs):
    "(KL a step, nats; entropy rate, nats)"
    loan, t, _ = steps(seqs)
    p = truth[loan, t]
    q = np.maximum(model[loan, t] if model.ndim == 3 else model, 1e-12)
    part = np.where(p > 0, p * (np.log(np.maximum(p, 1e-300)) - np.log(q)), 0)
    return float(part.sum(1).mean()), float(-np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0).sum(1).mean())

def learn(method, bank, n, test, seed):
    "Predicted probabilities on the test bank, and seconds to learn."
    seqs, people = bank.sequences.take(slice(0, n)), bank.borrowers[:n]
    start = time.perf_counter()
    if method == "back-off":
        order = min(range(1, 9), key=lambda k: -np.log(BackOff(seqs.take(slice(0, n * 9 // 10)), k).probabilities(seqs.take(slice(n * 9 // 10, n)))[np.arange(len(y := steps(seqs.take(slice(n * 9 // 10, n)))[2])), y]).mean())
        model = BackOff(seqs, order)
        return model.probabilities(test.sequences), time.perf_counter() - start, dict(order=order)
    kw = {}
    if method == "lstm, calendar": kw = dict(start_dates="origination_date", macro=macro_path("actual"), macro_columns=["unemployment_rate"])
    lstm = LSTMCascadeGenerator(seed=seed, use_lstm=True).fit(seqs, people, progress=False, **kw)
    took = time.perf_counter() - start
    kw.pop("macro_columns", None)
    return lstm.step_probabilities(test.sequences, test.borrowers, **kw), took, {}

def strengths(bank, n, truth, test):
    "KL of the shrunk matrix by strength."
    counts = count_transitions(bank.sequences.take(slice(0, n)))
    table = lambda s: TransitionMatrix.from_counts(counts, strength=s).probs[np.where(test.codes == 255, 0, test.codes)[:, :-1]]
    return {s: divergence(truth, table(s), test)[0] for s in STRENGTHS}

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["matrix", "back-off", "lstm", "lstm, calendar"]); parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = json.loads(STORE.read_text()) if STORE.exists() else []
    test = simulate_bank(4000, MONTHS, seed=99)
    truth = test.true_probabilities()
    bank = {seed: simulate_bank(max(a.sizes) if seed == 0 else 3000, MONTHS, seed=seed) for seed in range(3)}
    def store(**row):
        rows[:] = [r for r in rows if (r["method"], r["histories"], r["seed"]) != (row["method"], row["histories"], row["seed"])] + [row]
        STORE.write_text(json.dumps(rows, indent=1) + "\n"); print(row, flush=True)
    for n in a.sizes:
        for seed in range(3 if n <= 3000 else 1): # small samples differ much: three banks
            if a.only in (None, "matrix"):
                for s, kl in strengths(bank[seed], n, truth, test.sequences).items(): store(method=f"matrix, {s} pseudo-counts", histories=n, seed=seed, kl=kl, entropy=divergence(truth, truth, test.sequences)[1])
            for method in ("back-off", "lstm", "lstm, calendar"):
                if a.only not in (None, method): continue
                model, seconds, more = learn(method, bank[seed], n, test, seed)
                kl, entropy = divergence(truth, model, test.sequences)
                store(method=method, histories=n, seed=seed, kl=kl, entropy=entropy, share=kl / entropy, seconds=round(seconds, 1), **more)

if __name__ == "__main__": main()
