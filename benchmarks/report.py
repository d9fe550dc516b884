"""The validation report of the default model on the real accounts: every figure with its noise floor, three seeds, and where the differences come from.

    python benchmarks/report.py            # the real accounts in ../shared; ten minutes a seed on one core
    python benchmarks/report.py --seeds 1

Learned from four fifths of the persons, generated for the others (`split_by_borrower`, seed 123), each account watched as long as its real twin: `simulate(borrowers, **like(real))`.
Results go to benchmarks/results/report-cards.{json,md}, with --html the page of the first seed as well. A quarter of the accounts are closed before the extract, nearly all of them in `on_time`; the engine
is told when to stop and cannot know why. So the discriminator is shown for accounts watched to the extract and for closed ones as well.
"""
import argparse, json, os, platform, sys, warnings
from pathlib import Path

import numpy as np
import pandas as pd

from cascade_engine import LSTMCascadeGenerator, like, validation_report
from cascade_engine.utility import discriminator
from fidelity import REAL, panel

STORE = Path(__file__).resolve().parent / "results" / "report-cards"
SEGMENTS = ["income", "employment_months", "age_years", "education", "income_type", "housing", "family_status", "owns_realty", "children"]

def examine(seed, model=None):
    "(report, discriminator AUC by how the account's history ends)"
    train, people, test, others, _ = panel("cards")
    dates = pd.read_parquet(REAL / "payment_sequences.parquet", columns=["loan_id", "months_before_extract"]).groupby("loan_id")["months_before_extract"]
    everyone = pd.concat([people, others], ignore_index=True)
    everyone["opened"] = dates.max().reindex(everyone["loan_id"]).to_numpy() // 12 # years before the extract
    model = model or LSTMCascadeGenerator(seed=seed).fit(train, people, progress=False)
    synthetic, _ = model.simulate(others, **like(test), seed=seed + 1)
    report = validation_report(test, synthetic, everyone, train=train, model=model, segments=SEGMENTS, cohort="opened")
    open_ = (dates.min().reindex(test.loan_id) == 0).to_numpy()
    return report, {name: discriminator(test.take(m), synthetic.take(m))[0] for name, m in (("watched to the extract", open_), ("closed before", ~open_))}

def summary(found):
    "A row a figure: mean and range over the seeds, floor, limit, verdicts."
    rows = pd.concat([pd.DataFrame(f["figures"]) for f in found])
    by = rows.groupby("figure", sort=False)
    table = by[["value", "noise_floor", "limit", "ratio", "real", "synthetic"]].mean()
    table.insert(1, "range", by["value"].agg(lambda v: f"{v.min():.4f}–{v.max():.4f}"))
    return table.assign(inside=by["verdict"].agg(lambda v: f"{(v == 'inside').sum()} of {len(v)}"))

def store(found):
    from fidelity import markdown
    table, where = summary(found), f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    by_end = pd.DataFrame([f["by_end"] for f in found]).mean()
    STORE.with_suffix(".json").write_text(json.dumps(dict(machine=where, seeds=found), indent=1) + "\n")
    STORE.with_suffix(".md").write_text(f"Held-out fifth of the persons, default settings, {len(found)} seeds; {where}\n\n{markdown(table)}\n\nDiscriminator from histories alone: "
        + ", ".join(f"{v:.3f} for accounts {k}" for k, v in by_end.items()) + "\n\n" + "\n".join(f"- {n}" for n in found[0]["notes"]) + "\n")
    print(STORE.with_suffix(".md").read_text())

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3); parser.add_argument("--html", type=Path)
    a = parser.parse_args()
    if not REAL.exists(): sys.exit("the real accounts are not here: this report is about nothing else")
    warnings.simplefilter("ignore")
    found = []
    for seed in range(a.seeds):
        report, by_end = examine(seed)
        if a.html and not seed: report.to_html(a.html, "Default model, real card accounts", overwrite=True)
        found.append({**report.to_dict(), "by_end": by_end})
    store(found)

if __name__ == "__main__": main()
