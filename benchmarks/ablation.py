"""What each part of the default model is worth: leave one out, or add one that others recommend.

    python benchmarks/ablation.py                       # every variant, one seed; three for the default: two hours on one core
    python benchmarks/ablation.py --only "no weight averaging" --seeds 0 1 2

On the real accounts. The persons that other benchmarks report on take no part: a fifth of the *training* persons is held out here (`split_by_borrower`, seed 321), variants learn from the rest.
Histories are generated four times for the held-out accounts, cut as accounts leave (`Exits`); errors are given in units of their noise floor (1 is a perfect generator).
Results are added to benchmarks/results/ablation.json as they come; the table is drawn from it.
"""
import argparse, json, os, platform, subprocess, sys, tempfile, time, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cascade_engine import LSTMCascadeGenerator
from cascade_engine import training as T
from cascade_engine.exits import Exits
from cascade_engine.figures import Study, dynamics
from cascade_engine.sequences import split_by_borrower
from fidelity import REAL, TINY, BackOff, markdown, panel, steps
from report import generated, seen

STORE = Path(__file__).resolve().parent / "results" / "ablation"
COLUMNS = dict(numeric=["age_years", "children"], categorical=["education", "income_type", "housing", "family_status", "owns_realty"])

def inner():
    "(histories to learn from, their borrowers, held-out histories, theirs)"
    seqs, people, *_ = panel("cards")
    held = split_by_borrower(seqs.borrower_id, .2, 321)
    return seqs.take(~held), people[~held].reset_index(drop=True), seqs.take(held), people[held].reset_index(drop=True)

def columns(name, seqs, people, test, others):
    "What a variant sees of the borrowers."
    if name == "no borrower columns": people, others = (t[["loan_id", "borrower_id"]] for t in (people, others))
    return seqs, people, test, others

# --- variants: each changes the training loop for this process, and returns arguments of the generator
def instead(**args):
    "Other arguments of `fit_lstm`."
    fit = T.fit_lstm
    T.fit_lstm = lambda panel, recipe, matrix=None, **kw: fit(panel, recipe, **{"matrix": matrix, **kw, **args})

def run_with(change):
    "Another optimiser, schedule or average."
    begin = T._Run.__init__
    def init(self, model, recipe, total): begin(self, model, recipe, total); change(self, total)
    T._Run.__init__ = init

def decay(weight, everywhere=True):
    def change(run, total):
        small = [p for n, p in run.model.named_parameters() if not everywhere and (n.startswith(("prior", "status_embedding", "time_tables")) or "bias" in n)]
        rest = [p for p in run.model.parameters() if not any(p is s for s in small)]
        run.optimiser = torch.optim.AdamW([dict(params=rest, weight_decay=weight), *([dict(params=small, weight_decay=0.)] if small else [])], lr=run.recipe.learning_rate)
        run.schedule = torch.optim.lr_scheduler.OneCycleLR(run.optimiser, run.recipe.learning_rate, total_steps=total, pct_start=.2)
    run_with(change)

def constant_rate():
    def change(run, total):
        for g in run.optimiser.param_groups: g.update(lr=.001)
        run.schedule = torch.optim.lr_scheduler.LambdaLR(run.optimiser, lambda step: 1.); run.schedule.total_steps = total
        for g in run.optimiser.param_groups: g["lr"] = g["initial_lr"] = .001
        run.schedule.base_lrs = [.001 for _ in run.optimiser.param_groups]
    run_with(change)

def no_average(): run_with(lambda run, total: setattr(run, "average", T.AveragedModel(run.model, multi_avg_fn=lambda average, now, k: [a.copy_(b) for a, b in zip(average, now)])))

def smoothing():
    "In training; what is held out is scored as ever."
    plain = T.cross_entropy
    T.cross_entropy = lambda *x, **kw: plain(*x, **kw, label_smoothing=.01 if torch.is_grad_enabled() else 0.)

def engineered():
    "Months in status, and the worst status so far, as tables like the months on book."
    plain, fit = T.Panel.batch, T.fit_lstm
    def batch(self, at):
        inputs, features, times, targets = plain(self, at)
        codes, month = inputs.numpy(), np.arange(inputs.shape[1])
        changed = np.hstack([np.ones((len(codes), 1), bool), codes[:, 1:] != codes[:, :-1]])
        run, worst = month - np.maximum.accumulate(np.where(changed, month, 0), 1), np.maximum.accumulate(np.where(codes < 6, codes, 0), 1)
        return inputs, features, torch.cat([times, torch.as_tensor(np.stack([run, worst], -1))], -1), targets
    T.Panel.batch = batch
    T.fit_lstm = lambda panel, recipe, matrix=None, **kw: fit(panel, recipe, matrix, **{**kw, "time_sizes": (*kw["time_sizes"], 62, 6)})

VARIANTS = {
    "default": lambda: {},
    "no time inputs": lambda: dict(time_inputs=False),
    "no borrower columns": lambda: {},
    "all borrower columns declared": lambda: COLUMNS,
    "features not standardised": lambda: setattr(T, "standard", lambda sums: (np.zeros(sums.shape[1]), np.ones(sums.shape[1]))),
    "plain start, not from the matrix": lambda: instead(matrix=None),
    "dropout 0.2 between the layers alone": lambda: instead(dropout=.2, output_dropout=0., input_dropout=0.),
    "no dropout on the inputs": lambda: instead(input_dropout=0.),
    "dropout 0.3": lambda: dict(dropout=.3),
    "dropout 0.5": lambda: dict(dropout=.5),
    "width 64": lambda: dict(hidden_dim=64),
    "width 192": lambda: dict(hidden_dim=192),
    "one layer": lambda: dict(num_layers=1),
    "constant learning rate 0.001": constant_rate,
    "no weight averaging": no_average,
    "weight decay 0.01": lambda: decay(.01),
    "no weight decay on tables and biases": lambda: decay(.1, False),
    "40 epochs": lambda: dict(epochs=40),
    "label smoothing 0.01": smoothing,
    "months in status and worst status as inputs": engineered,
    "the specification's recipe": lambda: instead(matrix=None, dropout=.2, output_dropout=0., input_dropout=0.) or constant_rate() or dict(hidden_dim=64, batch_size=32, epochs=50, time_inputs=False),
}
NO_GENERATION = {"months in status and worst status as inputs"} # the sampler knows nothing of these inputs

def errors(model, name)->dict:
    "Errors of generated histories, in noise floors: means over four generations."
    seqs, people, test, others = columns(name, *inner())
    watched, _ = seen()
    exits = Exits.fit(seqs, watched)
    figures = [f for f in dynamics() if f.name.startswith(("transition_error", "time_in", "status_mix"))]
    def once(seed): return {r["figure"]: r["ratio"] for r in Study(test, generated(model, test, others, exits, watched, seed)[0], seqs).rows(figures, 20)}
    return pd.DataFrame([once(s) for s in (1, 2, 3, 4)]).mean().to_dict()

def learn(name, seed):
    "(row of figures, model)"
    seqs, people, test, others = columns(name, *inner())
    start, args = time.perf_counter(), VARIANTS[name]() or {}
    model = LSTMCascadeGenerator(seed=seed, **args).fit(seqs, people, progress=False)
    row = dict(variant=name, seed=seed, seconds=time.perf_counter() - start, epoch=int(model.training_table_["held_out"].idxmin()) + 1, nll=-model.score(test, others))
    return row, model

# --- what needs no other training: default models of several seeds, put right or put together afterwards
def matched(model, seqs, people, pseudo=20.):
    "The matrix inside the network moved until it expects as many steps of each kind as the training histories hold, give or take some pseudo-counts a row."
    p, (loan, t, y) = model.step_probabilities(seqs, people), steps(seqs)
    now, p, table = seqs.codes[loan, t].astype(int), p[loan, t], model.model_.prior.weight.detach().numpy().astype(float).copy()
    said = np.zeros((8, 8)); np.add.at(said, now, p)
    seen = np.zeros((8, 8)); np.add.at(seen, (now, y), 1)
    there = said.sum(1) > 0
    wanted = (seen + pseudo * said / np.maximum(said.sum(1, keepdims=True), TINY))[there]; wanted *= said.sum(1)[there, None] / wanted.sum(1, keepdims=True)
    shift = np.zeros((8, 8))
    for _ in range(30):
        q = p * np.exp(shift[now]); q /= q.sum(1, keepdims=True)
        said = np.zeros((8, 8)); np.add.at(said, now, q)
        shift[there] += np.log(np.maximum(wanted, TINY) / np.maximum(said[there], TINY))
    with torch.no_grad(): model.model_.prior.weight.copy_(torch.as_tensor(table + shift))
    return model

def afterwards(models)->list:
    "Rows of figures."
    seqs, people, test, others = inner()
    loan, t, y = steps(test)
    def nll(p): return float(-np.log(np.maximum(p[np.arange(len(y)), y], TINY)).mean())
    held = {s: split_by_borrower(seqs.borrower_id, .1, s) for s in models}
    ours = {s: m.step_probabilities(test, others)[loan, t] for s, m in models.items()}
    rows = [dict(variant="three networks averaged", seed=-1, nll=nll(np.mean(list(ours.values()), 0)))]
    counts = BackOff(seqs, 7)
    for s, m in models.items():
        inside = seqs.take(held[s]); a, b, z = steps(inside)
        p = m.step_probabilities(inside, people[held[s]].reset_index(drop=True))[a, b]
        def tempered(p, k): q = p**k; return q / q.sum(1, keepdims=True)
        def loss(p): return -np.log(np.maximum(p[np.arange(len(z)), z], TINY)).mean()
        best = min(np.arange(.9, 1.1, .01), key=lambda k: loss(tempered(p, k)))
        rows.append(dict(variant="temperature, set on the early-stopping tenth", seed=s, nll=nll(tempered(ours[s], best)), chosen=float(best)))
        before = BackOff(seqs.take(~held[s]), 7).probabilities(inside)
        share = min(np.arange(0, .31, .02), key=lambda w: loss((1 - w) * p + w * before))
        rows.append(dict(variant="mixed with back-off counts, share set on the early-stopping tenth", seed=s, nll=nll((1 - share) * ours[s] + share * counts.probabilities(test)), chosen=float(share)))
        m = matched(m, seqs, people)
        rows.append(dict(variant="matrix inside moved to the training counts", seed=s, nll=-m.score(test, others), **errors(m, "default")))
    return rows

def table(rows)->pd.DataFrame:
    by = pd.DataFrame(rows).groupby("variant", sort=False)
    out = by.mean(numeric_only=True).drop(columns=["seed", "chosen"], errors="ignore")
    out.insert(0, "seeds", by.size())
    out.insert(2, "range", by["nll"].agg(lambda v: f"{v.min():.4f}–{v.max():.4f}" if len(v) > 1 else ""))
    base = out.loc["default", "nll"] if "default" in out.index else np.nan
    out.insert(2, "against default", [f"{v - base:+.4f}" for v in out["nll"]])
    return out[["seeds", "nll", "against default", "range", *(c for c in out if c not in ("seeds", "nll", "against default", "range"))]]

def store(new):
    rows = json.loads(STORE.with_suffix(".json").read_text())["rows"] if STORE.with_suffix(".json").exists() else []
    rows = [r for r in rows if (r["variant"], r["seed"]) not in {(n["variant"], n["seed"]) for n in new}] + new
    order = [*VARIANTS, *(r["variant"] for r in rows)]
    rows.sort(key=lambda r: (order.index(r["variant"]), r["seed"]))
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    STORE.with_suffix(".json").write_text(json.dumps(dict(machine=where, rows=rows), indent=1) + "\n")
    STORE.with_suffix(".md").write_text(f"A fifth of the training persons, nats a step; errors of generated histories in noise floors; {where}\n\n{markdown(table(rows))}\n")

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*VARIANTS, "afterwards"]); parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--models", type=Path, help="folder to keep the default models in"); parser.add_argument("--one", nargs=2, metavar=("VARIANT", "SEED"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if not REAL.exists(): sys.exit("the real accounts are not here: this table is about nothing else")
    warnings.simplefilter("ignore")
    if a.one: # a process of its own: variants change the loop for good
        row, model = learn(a.one[0], int(a.one[1]))
        if a.one[0] not in NO_GENERATION: model.save(a.models / f"{a.one[0]}@{a.one[1]}", overwrite=True)
        return print(json.dumps(row))
    with tempfile.TemporaryDirectory() as folder:
        models = a.models or Path(folder); models.mkdir(exist_ok=True)
        for name in a.only or [*VARIANTS, "afterwards"]:
            if name == "afterwards": store(afterwards({int(p.name.split("@")[1]): LSTMCascadeGenerator.load(p) for p in sorted(models.glob("default@*"))})); continue
            for seed in a.seeds or (range(3) if name == "default" else [0]):
                out = subprocess.run([sys.executable, __file__, "--one", name, str(seed), "--models", str(models)], capture_output=True, text=True)
                if out.returncode: sys.exit(out.stderr)
                row, kept = json.loads(out.stdout.splitlines()[-1]), models / f"{name}@{seed}"
                store([row | (errors(LSTMCascadeGenerator.load(kept), name) if kept.exists() else {})]); print(row, flush=True)
    print(STORE.with_suffix(".md").read_text())

if __name__ == "__main__": main()
