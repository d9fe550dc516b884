"""The ledger against a plain loop over loans: equal to the cent on random histories, and how much faster.

    python benchmarks/ledger.py              # 10,000 random examples, then 100,000 loans × 36 months
    python benchmarks/ledger.py --examples 500 --loans 5000

The loop is written from the rules in prose, one loan and one month at a time, in whole cents and exact fractions; it shares no code with the package.
Results go to benchmarks/results/ledger.{json,md}.
"""
import argparse, json, os, platform, statistics, time
from decimal import Decimal, getcontext
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings, strategies as st

from cascade_engine import simulate_bank
from cascade_engine.amortization import ledger, reconcile, records
from cascade_engine.sequences import Sequences
from cascade_engine.terms import Conventions

HERE = Path(__file__).resolve().parent
getcontext().prec = 60
UNPAID = {"MBA": {"on_time": 0, "grace_period": 0, "30_days": 1, "60_days": 2, "90_days": 3}, "OTS": {"on_time": 0, "grace_period": 1, "30_days": 2, "60_days": 3, "90_days": 4}}

def cents(x): return floor(x + Fraction(1, 2)) # half up

def level(principal, rate, term):
    "Annuity P·r/(1 − (1+r)^−n), r a month; P/n without interest."
    if rate == 0: return cents(Fraction(principal, term))
    r = Decimal(rate.numerator) / Decimal(rate.denominator) / 12
    return cents(Fraction(Decimal(principal) * r / (1 - (1 + r) ** -term)))

def loop(statuses, principal, rate, term, custom=Conventions(), age=0):
    "One loan, month by month, `age` months after its first: (paid, interest, remaining, charged off) in cents."
    interest_only, pay = custom.payment == "interest_only", level(principal, rate, term)
    if interest_only: pay = cents(principal * rate / 12)
    balance, accrued, unpaid, rows = principal, 0, 0, []
    for month in range(1, age + 1): balance = 0 if month >= term else max(balance + cents(balance * rate / 12) - pay, 0) # paid as agreed so far
    if interest_only: pay = cents(balance * rate / 12)
    for month, status in enumerate(statuses, age + 1):
        accrued += cents(balance * rate / 12)
        owed = balance + accrued
        if status == "default":
            rows.append((0, 0, 0, balance)); balance = accrued = 0
            continue
        now = UNPAID[custom.delinquency].get(status, 0)
        due = unpaid + (month <= term) # instalments asked for so far and not paid
        paid = min(max(due - now, 0) * pay, owed)
        if status in ("paid_off", "prepaid") or (month >= term and now == 0): paid = owed
        interest = min(paid, accrued)
        accrued -= interest; balance -= paid - interest; unpaid = now
        if custom.interest == "capitalised": balance += accrued; accrued = 0
        rows.append((paid, interest, balance, 0))
    return rows

MORE = ["scheduled_payment", "interest_paid", "principal_paid", "arrears", "charged_off", "recovery", "capitalised_interest"]

def compare(histories, contracts, custom=Conventions(), ages=None):
    "Vectorised and looped, cent by cent; and the identities an auditor asks for."
    ages = [0] * len(histories) if ages is None else ages
    table = pd.DataFrame([dict(principal=p / 100, interest_rate=float(r), term_months=n, months_on_book=a) for (p, r, n), a in zip(contracts, ages)])
    seqs = Sequences.from_lists(histories)
    book = ledger(seqs, table, custom)
    for i, (history, contract) in enumerate(zip(histories, contracts)):
        for t, (paid, interest, remaining, lost) in enumerate(loop(history, *contract, custom, ages[i])):
            got = book.payment[i, t], book.interest[i, t], book.remaining[i, t], book.charged_off[i, t]
            assert got == (paid, interest, remaining, lost), f"{history} {contract} {custom} month {t + 1}: {got}, loop {(paid, interest, remaining, lost)}"
        if not ages[i]: assert book.principal_paid[i].sum() + book.remaining[i, -1] + book.charged_off[i].sum() == contract[0] + book.capitalised[i].sum()
    assert min(x.min() for x in vars(book).values()) >= 0
    if custom.interest == "simple": assert (np.diff(book.remaining, axis=1) <= 0).all()
    return seqs, table

LIVE = list(UNPAID["MBA"])
histories = st.tuples(st.lists(st.sampled_from(LIVE), min_size=1, max_size=60), st.sampled_from([[], ["default"], ["paid_off"], ["prepaid"]])).map(lambda x: x[0] + x[1])
contracts = st.tuples(st.integers(1, 10**9), st.integers(0, 10_000).map(lambda x: Fraction(x, 10_000)), st.integers(1, 480))

customs = st.one_of(st.just(Conventions()), st.builds(Conventions, st.sampled_from(["MBA", "OTS"]), st.sampled_from(["level", "interest_only"]), st.sampled_from(["simple", "capitalised"])))

def examples(n):
    seen = []
    @settings(max_examples=n, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(history=histories, contract=contracts, custom=customs, age=st.one_of(st.just(0), st.integers(0, 60)))
    def check(history, contract, custom, age):
        seen.append(1)
        seqs, table = compare([history], [contract], custom, [age])
        found = reconcile(records(seqs, table, "2024-01-31", MORE, conventions=custom), table.assign(loan_id=seqs.loan_id), custom)
        assert found.empty, found.to_string()
    check()
    return len(seen)

def timed(f, repeats): return statistics.median([(lambda t: (f(), time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(repeats)])

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10_000); parser.add_argument("--loans", type=int, default=100_000)
    a = parser.parse_args()
    n = examples(a.examples)
    bank = simulate_bank(n_loans=a.loans, num_months=36, seed=11)
    seqs, table = bank.sequences, bank.borrowers
    few = min(2000, len(seqs)); part = seqs.take(np.arange(few)); terms = table.head(few)
    lists, plan = part.to_lists(), [(round(p * 100), Fraction(str(r)), int(k)) for p, r, k in terms[["principal", "interest_rate", "term_months"]].itertuples(index=False)]
    compare(lists, plan)
    figures = dict(examples=n, loans=a.loans, months=36, ledger_seconds=timed(lambda: ledger(seqs, table), 5), records_seconds=timed(lambda: records(seqs, table), 3),
                   loop_seconds_per_loan=timed(lambda: [loop(h, *c) for h, c in zip(lists, plan)], 3) / few)
    figures["loop_seconds"] = figures["loop_seconds_per_loan"] * a.loans
    figures["times_faster"] = figures["loop_seconds"] / figures["ledger_seconds"]
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = (f"{where}\n\n| what | figure | target |\n| --- | --- | --- |\n"
        f"| random loans, histories and conventions equal to the loop, to the cent, every identity holds | {n:,} of {n:,} | 10,000 |\n"
        f"| statuses to money, {a.loans:,} loans × 36 months | {figures['ledger_seconds']:.2f} s | 2 s |\n"
        f"| the same with the 8-column table | {figures['records_seconds']:.2f} s | 2 s |\n"
        f"| plain loop over loans (timed on {few:,}, scaled) | {figures['loop_seconds']:.0f} s | – |\n| ledger against loop | {figures['times_faster']:.0f} × faster | – |\n")
    if (a.examples, a.loans) == (10_000, 100_000):
        (HERE / "results" / "ledger.json").write_text(json.dumps(dict(machine=where, **figures), indent=1) + "\n")
        (HERE / "results" / "ledger.md").write_text(text)
    print(text)

if __name__ == "__main__": main()
