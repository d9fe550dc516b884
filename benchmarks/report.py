"""The validation report of the default model on the real accounts: every figure with its noise floor, three seeds, and where the differences come from.

    python benchmarks/report.py            # the real accounts in ../shared; ten minutes a seed on one core
    python benchmarks/report.py --seeds 1

Learned from four fifths of the persons, generated for the others (`split_by_borrower`, seed 123). A quarter of the accounts are closed before the extract, nearly all of them in `on_time`. How
accounts leave is counted from the training persons (`Exits`); each held-out account is generated for as long as it could have been seen, and cut that way. Beside it the plainer way, each account cut to the
length of its real twin (`like`), which knows how long an account was watched and not why no longer.
Results go to benchmarks/results/report-cards.{json,md}, with --html the page of the first seed as well.
"""
import argparse, json, os, platform, sys, warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cascade_engine import LSTMCascadeGenerator, like, validation_report
from cascade_engine.exits import Exits
from cascade_engine.figures import Study, dynamics
from cascade_engine.utility import discriminator
from fidelity import REAL, panel

STORE = Path(__file__).resolve().parent / "results" / "report-cards"
SEGMENTS = ["income", "employment_months", "age_years", "education", "income_type", "housing", "family_status", "owns_realty", "children"]

def seen():
    "(months each account could have been seen: from its first one to the extract, months before the extract it was last seen), by loan_id"
    dates = pd.read_parquet(REAL / "payment_sequences.parquet", columns=["loan_id", "months_before_extract"]).groupby("loan_id")["months_before_extract"]
    return dates.max() + 1, dates.min()

def generated(model, real, people, exits, watched, seed):
    "Histories for the accounts of `real`: cut as accounts leave, and to the real lengths."
    months = watched.reindex(real.loan_id).to_numpy()
    full, _ = model.simulate(people, num_months=months, initial_status=like(real)["initial_status"], seed=seed)
    return exits.observe(full, months, seed), model.simulate(people, **like(real), seed=seed)[0]

def examine(seed, model=None):
    "(report, figures of histories cut to the real lengths, discriminator AUC from histories alone by how an account's history ends and how it was cut)"
    train, people, test, others, _ = panel("cards")
    watched, last = seen()
    everyone = pd.concat([people, others], ignore_index=True)
    everyone["opened"] = watched.reindex(everyone["loan_id"]).to_numpy() // 12 # years before the extract
    model = model or LSTMCascadeGenerator(seed=seed).fit(train, people, progress=False)
    synthetic, blind = generated(model, test, others, Exits.fit(train, watched), watched, seed + 1)
    report = validation_report(test, synthetic, everyone, train=train, model=model, segments=SEGMENTS, cohort="opened", watched=watched)
    rows = {r["figure"]: r["ratio"] for r in Study(test, blind, train, seed=seed).rows(dynamics(), 100)}
    open_ = (last.reindex(test.loan_id) == 0).to_numpy()
    auc = {"all, cut as accounts leave": discriminator(test, synthetic)[0], "all, cut to the real lengths": discriminator(test, blind)[0],
           **{f"{name}, cut to the real lengths": discriminator(test.take(m), blind.take(m))[0] for name, m in (("watched to the extract", open_), ("closed before it", ~open_))}}
    return report, rows, auc

def summary(found):
    "A row a figure: mean and range over the seeds, floor, limit, verdicts."
    rows = pd.concat([pd.DataFrame(f["figures"]) for f in found])
    by = rows.groupby("figure", sort=False)
    table = by[["value", "noise_floor", "limit", "ratio", "real", "synthetic"]].mean()
    table.insert(1, "range", by["value"].agg(lambda v: f"{v.min():.4f}–{v.max():.4f}"))
    table["ratio, cut to the real lengths"] = pd.DataFrame([f["cut_to_the_real_lengths"] for f in found]).mean().reindex(table.index)
    return table.assign(inside=by["verdict"].agg(lambda v: f"{(v == 'inside').sum()} of {len(v)}"))

def store(found):
    from fidelity import markdown
    table, where = summary(found), f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    by_end = pd.DataFrame([f["discriminator"] for f in found]).mean()
    STORE.with_suffix(".json").write_text(json.dumps(dict(machine=where, seeds=found), indent=1) + "\n")
    STORE.with_suffix(".md").write_text(f"Held-out fifth of the persons, default settings, {len(found)} seeds; {where}\n\n{markdown(table)}\n\nDiscriminator from histories alone: "
        + "; ".join(f"{k}: {v:.3f}" for k, v in by_end.items()) + "\n\n" + "\n".join(f"- {n}" for n in found[0]["notes"]) + "\n")
    print(STORE.with_suffix(".md").read_text())

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3); parser.add_argument("--html", type=Path)
    parser.add_argument("--models", type=Path, help="folder with default models by seed, already learned from the same persons")
    a = parser.parse_args()
    if not REAL.exists(): sys.exit("the real accounts are not here: this report is about nothing else")
    warnings.simplefilter("ignore")
    found = []
    for seed in range(a.seeds):
        report, blind, auc = examine(seed, LSTMCascadeGenerator.load(a.models / str(seed)) if a.models else None)
        if a.html and not seed: report.to_html(a.html, "Default model, real card accounts", overwrite=True)
        found.append({**report.to_dict(), "cut_to_the_real_lengths": blind, "discriminator": auc}); print(report.headline, auc, flush=True)
    store(found)

if __name__ == "__main__": main()
