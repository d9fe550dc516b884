"""The main job end to end: simulate a bank, learn it, generate, price, judge. Results go to demo/."""
import json, os, shutil, time, warnings
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pandas as pd

from cascade_engine.amortization import reconcile
from cascade_engine.generator import LSTMCascadeGenerator, pair
from cascade_engine.plots import compare, plot_index, plot_loss, plot_matrix, plot_roll_rates, plot_status_mix
from cascade_engine.portfolio import simulate_bank
from cascade_engine.sequences import Sequences, split_by_borrower, write_table
from cascade_engine.status import STATUS
from cascade_engine.validation import validate_sequences

OUT = Path(__file__).resolve().parents[1] / "demo"

def figure(name, axes):
    first = np.ravel(axes)[0]
    first.figure.savefig(OUT / name, dpi=110, bbox_inches="tight")

def main(loans=10_000, months=36, seed=1):
    start = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    bank = simulate_bank(loans, months, seed)
    print(bank)
    held = split_by_borrower(bank.sequences.borrower_id, .2, seed)
    train, test = bank.sequences.take(~held), bank.sequences.take(held)
    lstm = LSTMCascadeGenerator(seed=seed).fit(train, bank.borrowers, max_minutes=3)
    print(lstm)
    _, people = pair(test, bank.borrowers)
    first = list(STATUS.decode(test.first))
    records = lstm.generate_records(people, num_months=test.lengths, initial_status=first, start_date="2024-01-01", seed=seed)
    synthetic = Sequences.from_table(records)
    problems = reconcile(records, people)
    # a history that ends by itself early in the data would cut its twin short: compare over the whole window instead
    full, _ = lstm.simulate(people, months, first, seed=seed)
    results = validate_sequences(test, full)
    write_table(records, OUT / "payment_sequences.csv")
    (OUT / "validation.json").write_text(json.dumps(results, indent=1))
    figure("loss.png", plot_loss(lstm.training_table_))
    figure("matrix.png", plot_matrix(lstm.matrix_))
    for plot in (plot_status_mix, plot_roll_rates, plot_index): figure(f"{plot.__name__[5:]}.png", compare(test, full, plot=plot))
    scores = pd.Series({"LSTM": lstm.score(test, bank.borrowers), "first-order matrix": lstm.matrix_.score(test), "the truth": -bank.true_nll(test)})
    summary = "\n".join(["# Demo", "", repr(bank), "", repr(lstm), "", "Held-out mean log-likelihood, nats a step:", "",
        *(f"- {k}: {v:.4f}" for k, v in scores.items()), "", "Generated against held-out histories, same horizon:", "", "```", repr(results), "```", "",
        f"{len(records):,} records written, {len(problems)} of them break an accounting identity. {time.monotonic() - start:.0f} s in all."])
    (OUT / "summary.md").write_text(summary + "\n")
    print(f"\n{summary}\n\nWritten to demo/: {', '.join(sorted(os.listdir(OUT)))}")

if __name__ == "__main__":
    warnings.formatwarning = lambda message, *args, **kw: f"note: {message}\n"
    main()
