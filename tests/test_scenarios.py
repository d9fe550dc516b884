"""Scenarios from end to end: neutral is neutral to the bit, order holds, nothing is drawn on bad input, the shipped table is its source."""
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from cascade_engine.generator import LSTMCascadeGenerator
from cascade_engine.portfolio import simulate_bank
from cascade_engine.scenarios import KINDS, Overlay, Scenario, baseline, from_table, half_severe, macro_path, severely_adverse, shock, tilt
from cascade_engine.status import STATUS, InputError
from cascade_engine.stress import attribute, stress_test

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT.parent / "shared" / "macro" / "fed_2026_final.csv"

@pytest.fixture(scope="module")
def bank(): return simulate_bank(1500, 24, seed=2)

@pytest.fixture(scope="module", params=["matrix", "lstm", "calendar", "macro"])
def model(request, bank):
    kw = {"matrix": dict(use_lstm=False)}.get(request.param, dict(hidden_dim=16, num_layers=1, epochs=8, batch_size=32, dropout=0., learning_rate=.01))
    borrowers = bank.borrowers.assign(first_due=bank.borrowers.origination_date + pd.DateOffset(months=1))
    when = {"calendar": dict(start_dates="first_due"), "macro": dict(start_dates="first_due", macro=macro_path(), macro_columns="unemployment_rate")}.get(request.param, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LSTMCascadeGenerator(**kw).fit(bank.sequences, borrowers, progress=False, **when)

@pytest.mark.skipif(not SOURCE.exists(), reason="the Federal Reserve's table is not beside the repository (../shared/macro)")
def test_shipped_table_is_its_source():
    shipped = pd.read_csv(ROOT / "cascade_engine" / "data" / "macro.csv")
    pd.testing.assert_frame_equal(shipped, pd.read_csv(SOURCE)[list(shipped)])

def test_neutral_is_the_unstressed_run_history_by_history(model, bank):
    "Without macro columns the baseline moves nothing; with them an overlay on what was learned is not added again."
    book, kw = bank.borrowers, dict(start_date="2026-06-30")
    wanted = [Scenario("without overlay", baseline().paths), baseline()] if model.calendar_ and model.calendar_.inputs else [None, baseline()]
    plain, neutral = (model.generate_records(book, 18, scenario=s, **kw) for s in wanted)
    pd.testing.assert_frame_equal(plain, neutral)
    past = bank.sequences.take(~STATUS.terminal[bank.sequences.last])
    live = book[book["loan_id"].isin(past.loan_id)]
    plain, neutral = (model.generate(live, 18, history=past, scenario=s, **kw) for s in wanted)
    pd.testing.assert_frame_equal(plain, neutral)

def test_a_stressed_history_does_not_depend_on_the_batch(model, bank):
    kw = dict(num_months=18, start_date=pd.date_range("2026-01-31", periods=len(bank.borrowers), freq="6h"), scenario=severely_adverse())
    whole = model.simulate(bank.borrowers, **kw)[0]
    at = np.array([3, 700, 1499])
    part = model.simulate(bank.borrowers.iloc[at], **{**kw, "start_date": kw["start_date"][at]})[0]
    np.testing.assert_array_equal(part.codes[:, :18], whole.codes[at])

def test_order_and_attribution(model, bank):
    past = bank.sequences.take(np.arange(600)).truncate(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kw = dict(history=past, num_months=20, start_date="2026-09-30", n_paths=4, seed=1)
        test = stress_test(model, bank.borrowers[:600], [baseline(), half_severe(), severely_adverse()], **kw)
        parts = attribute(model, bank.borrowers[:600], severely_adverse(), baseline(), **{**kw, "n_paths": 1, "groups": {"all steps": ~np.eye(8, dtype=bool)}})
        one = stress_test(model, bank.borrowers[:600], [baseline(), severely_adverse()], **{**kw, "n_paths": 2})
    rate = test.table().default_rate["all"]
    assert rate.is_monotonic_increasing and rate.is_unique and rate.iloc[0] > 0
    first = one.mix[:, 0, 0, -1, STATUS.DEFAULT]
    np.testing.assert_allclose(parts.default_rate["all"], first[1] - first[0], atol=1e-9)

@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.integers(0, 4), st.integers(0, 10_000))
def test_tilt_moves_the_odds_it_says(shift, code, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(8))[None]
    moved = tilt(p, np.array([code]), np.array([shift]))
    np.testing.assert_allclose(moved.sum(), 1)
    if not any(shift): np.testing.assert_array_equal(moved, p)
    said = np.log(moved/moved[:, code]) - np.log(p/p[:, code])
    np.testing.assert_allclose(said[0], (np.array(shift)[:, None]*KINDS[:, code]).sum(0), atol=1e-9)

@settings(max_examples=25, deadline=None)
@given(st.floats(0, 6), st.floats(1, 3))
def test_more_shock_never_means_fewer_defaults(size, factor):
    "Exactly, by matrix products: no sampling."
    model = LSTMCascadeGenerator()
    def defaulted(k):
        s = shock("unemployment_rate", k, "2026-01")
        rows, shifts = np.eye(8)[:5], s.overlay.shifts(s, 673, 700)
        for x in shifts: rows = rows @ np.vstack([tilt(model.matrix_.probs[:5], np.arange(5), np.tile(x, (5, 1))), model.matrix_.probs[5:]])
        return rows[:, STATUS.DEFAULT]
    assert (defaulted(size*factor) >= defaulted(size) - 1e-12).all()

@pytest.mark.parametrize("spoil, match", [(lambda t: t.drop(t.index[4]), "missing, the first is 2026-05"), (lambda t: t.assign(unemployment_rate=np.nan), "is nan in 2026-01"),
    (lambda t: t[:6], "ends in 2026-06, and 2026-12 is needed"), (lambda t: t.rename(columns={"unemployment_rate": "u"}), "no column 'unemployment_rate'")])
def test_bad_paths_are_refused_before_any_work(spoil, match, bank, model, monkeypatch):
    monkeypatch.setattr("cascade_engine.generator.walk", lambda *a, **k: pytest.fail("something was drawn"))
    table = macro_path("baseline")[["unemployment_rate", "house_price_index"]][:24]
    with pytest.raises(InputError, match=match): model.generate(bank.borrowers[:5], num_months=12, start_date="2026-01-31", scenario=from_table(spoil(table), "mine", Overlay()))
