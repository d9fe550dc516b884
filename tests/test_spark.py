"""Spark for real, in local mode: the rows of the pandas path at any partitions and after a killed worker, errors that name the loan, figures from counts."""
import os, re, subprocess, sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import no_spark
from cascade_engine import LSTMCascadeGenerator, Scenario, severely_adverse, simulate_bank, validate_sequences
from cascade_engine.cluster import describe_features, spark_session, transition_counts
from cascade_engine.features import FeatureEncoder
from cascade_engine.matrix import count_transitions
from cascade_engine.scenarios import ExtrapolationWarning, baseline, macro_path, shock
from cascade_engine.sequences import read_table
from cascade_engine.status import STATUS, InputError

needs_spark = pytest.mark.skipif(bool(no_spark()), reason=no_spark() or "-")
CARDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "credit_card_histories"
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

@pytest.fixture(scope="module")
def spark():
    session = spark_session("local[2,4]", spark_sql_shuffle_partitions="2", spark_sql_execution_arrow_maxRecordsPerBatch="150")
    yield session
    session.stop()

@pytest.fixture(scope="module")
def bank(): return simulate_bank(1000, 18, seed=2)

@pytest.fixture(scope="module")
def people(bank): return bank.borrowers.assign(first_due=bank.borrowers.origination_date + pd.DateOffset(months=1), months=1 + bank.borrowers.index % 17,
                                                branch=np.where(bank.borrowers.index % 5, "north", None))

@pytest.fixture(scope="module")
def model(bank, people):
    return LSTMCascadeGenerator(hidden_dim=16, num_layers=2, epochs=2, learning_rate=.01, categorical=["branch"], seed=4).fit(bank.sequences, people, progress=False)

@pytest.fixture(scope="module")
def matrix(bank, people): return LSTMCascadeGenerator(use_lstm=False).fit(bank.sequences, people)

def same_rows(found, expected):
    found = found.toPandas().sort_values(["loan_id", "month"], ignore_index=True)
    assert found["loan_id"].nunique() == expected["loan_id"].nunique()
    pd.testing.assert_frame_equal(found.assign(payment_date=pd.to_datetime(found["payment_date"])), expected.astype({"payment_status": "str"}), check_dtype=False)

@needs_spark
@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_rows_are_those_of_pandas(partitions, spark, model, people):
    from cascade_engine.spark import generate_spark
    kw = dict(start_date="2024-01-31", seed=9)
    made = generate_spark(model, spark.createDataFrame(people).repartition(partitions), 14, **kw)
    assert made.rdd.getNumPartitions() == partitions
    assert [f.dataType.simpleString() for f in made.schema][-3:] == ["double", "bigint", "date"]
    same_rows(made, model.generate_records(people, 14, **kw))

@needs_spark
def test_histories_continued_under_a_scenario_with_arguments_by_loan(spark, bank, people):
    from cascade_engine.spark import generate_spark
    reader = LSTMCascadeGenerator(hidden_dim=8, num_layers=1, epochs=1, learning_rate=.01).fit(bank.sequences, people, progress=False, start_dates="first_due", macro=macro_path(), macro_columns="unemployment_rate")
    seen = bank.sequences.truncate(5)
    table, past = spark.createDataFrame(people).repartition(3), spark.createDataFrame(seen.to_table().sample(frac=1, random_state=1))
    due = people.assign(due=pd.Timestamp("2026-01-31") + pd.to_timedelta(people.index % 200, "D"))
    same_rows(generate_spark(reader, spark.createDataFrame(due).repartition(3).selectExpr("*", "cast(due as date) day").drop("due").withColumnRenamed("day", "due"), "months", "due", history=past, scenario=severely_adverse()),
              reader.generate_records(due, due["months"].to_numpy(), due["due"].to_numpy(), history=seen, scenario=severely_adverse()))
    with pytest.warns(ExtrapolationWarning, match="off the map"): # what a task noticed is said on the driver
        generate_spark(reader, table, 6, "2026-01-31", scenario=shock("unemployment_rate", 25, "2026-02", name="off the map"))

@needs_spark
def test_an_overlay_moves_the_matrix_alike(spark, matrix, people):
    from cascade_engine.spark import generate_spark
    kw = dict(num_months=12, start_date="2026-01-31", scenario=severely_adverse(), seed=3, extra=["charged_off", "recovery"], lgd=.6)
    people = people.assign(months_on_book=people.index % 10) # and loans in mid-life
    same_rows(generate_spark(matrix, spark.createDataFrame(people).repartition(2), **kw), matrix.generate_records(people, **kw))

@needs_spark
def test_a_killed_worker_changes_nothing(spark, model, people, tmp_path, monkeypatch):
    from cascade_engine import spark as module
    marker = tmp_path / "killed"
    def dying(batch, payload, kw): # nested, so it travels by value
        import os, signal
        from cascade_engine.spark import _records as real
        if "L0000500" in set(batch["loan_id"]) and not marker.exists(): marker.write_text(str(os.getpid())); os.kill(os.getpid(), signal.SIGKILL)
        return real(batch, payload, kw)
    monkeypatch.setattr(module, "_records", dying)
    made = module.generate_spark(model, spark.createDataFrame(people).repartition(2), 14, "2024-01-31", seed=9)
    made = made.persist() # one run
    try: same_rows(made, model.generate_records(people, 14, "2024-01-31", seed=9))
    finally: made.unpersist()
    assert int(marker.read_text()) != os.getpid()

@needs_spark
def test_few_large_partitions_are_spread(spark, matrix, people, monkeypatch):
    from cascade_engine import spark as module
    monkeypatch.setattr(module, "PER_TASK", 300)
    made = module.generate_spark(matrix, spark.createDataFrame(people).coalesce(1), 3)
    assert made.rdd.getNumPartitions() == 4
    same_rows(made, matrix.generate_records(people, 3))

def spoilt(people, column, value, loan="L0000321"): return people.assign(**{column: people[column].astype(object).where(people["loan_id"] != loan, value)})

BAD = {"dti": (-1., "Column 'dti', loan 'L0000321': -1. Allowed: 0 to 5"), "income": (float("inf"), "Column 'income', loan 'L0000321': "),
       "risk_grade": ("F", "Column 'risk_grade', loan 'L0000321': 'F'. Allowed: A, B, C, D, E"), "term_months": (7.5, "term_months = 7.5 in loan L0000321"),
       "loan_id": ("L0000005", "Duplicate loan_id 'L0000005'"), "months": (0, "num_months is 0. Allowed: whole numbers from 1")}

@needs_spark
@pytest.mark.parametrize("column", BAD)
def test_one_bad_row_is_one_clear_message(column, spark, model, people):
    from cascade_engine.spark import generate_spark
    value, words = BAD[column]
    table = spoilt(people, column, value)
    with pytest.raises(InputError) as said: generate_spark(model, spark.createDataFrame(table.astype({column: "str"}) if isinstance(value, str) else table.assign(**{column: pd.to_numeric(table[column])})), "months", "first_due")
    assert words in str(said.value) and "\n" not in str(said.value)
    with pytest.raises(InputError) as here: model.generate_records(table, table["months"].to_numpy(), table["first_due"].to_numpy())
    assert str(said.value).split(":")[0].rstrip(" in the borrowers") == re.sub(r"(,| in) row \d+ \(loan (.+?)\)", r"\1 loan \2", str(here.value)).split(":")[0], "pandas says it otherwise"

@needs_spark
def test_bad_arguments_and_histories(spark, bank, model, people):
    from cascade_engine.spark import fit_spark, generate_spark
    people, past = people[:200], bank.sequences.take(np.arange(200)).truncate(4).to_table()
    table = spark.createDataFrame(people).coalesce(1)
    def refused(words, **kw):
        with pytest.raises(InputError, match=words): generate_spark(model, table, **kw)
    with pytest.raises(InputError, match="No histories"): fit_spark(LSTMCascadeGenerator(), table.selectExpr("loan_id", "1 month", "'on_time' payment_status").limit(0))
    refused("seed=-1", seed=-1)
    refused("num_months is 0", num_months=0)
    refused("not a date", start_date="soon")
    refused("terminal", initial_status="default")
    refused("would change nothing", scenario=Scenario("bare", baseline().paths), start_date="2026-01-31")
    refused("is needed", scenario=severely_adverse(), start_date="2031-01-31")
    refused("No history for loan 'L0000009'", history=spark.createDataFrame(past[past["loan_id"] != "L0000009"]))
    refused("Loan 'L0000010' has month 3 where month 2 is due", history=spark.createDataFrame(past[(past["loan_id"] != "L0000010") | (past["month"] != 2)]))
    refused("'late' of loan 'L0000011'", history=spark.createDataFrame(past.assign(payment_status=past["payment_status"].astype(str).where(past["loan_id"] != "L0000011", "late"))))
    with pytest.raises(InputError, match="Missing column 'loan_id'"): generate_spark(model, table.drop("loan_id"))
    with pytest.raises(InputError, match="Categorical column 'branch' is bigint"): generate_spark(model, spark.createDataFrame(people.assign(branch=people.index % 5)))
    with pytest.raises(InputError, match="No borrowers"): generate_spark(model, table.limit(0))
    with pytest.warns(UserWarning, match="Loan terms unknown, medians used: principal of 200"): generate_spark(model, table.drop("principal"))

@needs_spark
def test_counts_of_any_order_and_features(spark, bank, people):
    table = spark.createDataFrame(bank.sequences.to_table()).repartition(4)
    assert (transition_counts(table).reindex(STATUS.labels, fill_value=0).to_numpy() == count_transitions(bank.sequences)).all()
    lists = bank.sequences.to_lists()
    pairs = pd.Series([tuple(h[i:i + 3]) for h in lists for i in range(len(h) - 2)]).value_counts()
    second = transition_counts(table, 2)
    assert second.to_numpy().sum() == pairs.sum() and all(second.loc[(a, b), c] == n for (a, b, c), n in pairs.items())
    gappy = people.assign(income=people["income"].where(people.index % 3 > 0), dti=np.nan)
    found, here = describe_features(spark.createDataFrame(gappy).repartition(4)), FeatureEncoder().fit(gappy)
    for name in found.index.drop("dti"): assert found.loc[name, "median"] == pytest.approx(here.medians_[name], rel=1e-14) and found.loc[name, "missing"] == pytest.approx(here.missing_[name])
    assert found.loc["dti", "missing"] == 1 and found.loc["credit_score", "max"] == people["credit_score"].max()

@needs_spark
def test_fit_is_that_of_one_machine(spark, bank, people):
    from cascade_engine.spark import fit_spark
    settings = dict(hidden_dim=8, num_layers=1, epochs=1, learning_rate=.01, categorical=["branch"], numeric=["months"])
    some = people.drop(index=[3, 4]) # two loans are in no borrower table
    with pytest.warns(UserWarning, match="2 of 1,000 loans have no row"):
        there = fit_spark(LSTMCascadeGenerator(**settings), spark.createDataFrame(bank.sequences.to_table()).repartition(5), spark.createDataFrame(some), progress=False)
    here = LSTMCascadeGenerator(**settings).fit(bank.sequences, some, progress=False)
    assert there.encoder_.to_dict() == here.encoder_.to_dict() and (there.counts_ == here.counts_).all() and there.n_sequences_ == 1000
    pd.testing.assert_frame_equal(there.generate(people, 12), here.generate(people, 12))

@needs_spark
def test_a_sample_keeps_the_shares_and_the_whole_keeps_the_counts(spark, bank, people):
    from cascade_engine.spark import _paired, _stratified, fit_spark
    table, borrowers = spark.createDataFrame(bank.sequences.to_table()), spark.createDataFrame(people)
    loans = _paired(table, borrowers)
    def strata(rows): return pd.Series([max(np.where(c <= 5, c, 0)) for c in rows["_codes"]], rows["borrower_id"]).groupby(level=0).max().value_counts()
    part = _stratified(loans, .4, 0).toPandas()
    whole, drawn = strata(loans.toPandas()), strata(part)
    assert (abs(drawn.reindex(whole.index, fill_value=0) - .4*whole) <= .51).all() and len(whole) > 3
    assert set(part["loan_id"]) == set(_stratified(loans.repartition(6), .4, 0).toPandas()["loan_id"]) != set(_stratified(loans, .4, 1).toPandas()["loan_id"])
    assert not set(people["borrower_id"][people["loan_id"].isin(part["loan_id"])]) & set(people["borrower_id"][~people["loan_id"].isin(part["loan_id"])])
    fitted = fit_spark(LSTMCascadeGenerator(hidden_dim=8, num_layers=1, epochs=1, use_lstm=True), table, borrowers, sample=400, progress=False)
    assert fitted.n_sequences_ == 1000 and (fitted.counts_ == count_transitions(bank.sequences)).all()
    with pytest.raises(InputError, match="workers need shards"): fit_spark(fitted, table, borrowers, workers=2)

@needs_spark
def test_two_processes_train_one_network(spark, bank, people, tmp_path, monkeypatch):
    from cascade_engine import spark as module
    def watched(*args): # nested, so it travels by value
        import hashlib, os
        from pathlib import Path
        from cascade_engine.cluster import from_bytes
        from cascade_engine.spark import _learn_shard
        done = _learn_shard(*args)
        weights = b"".join(p.detach().numpy().tobytes() for p in from_bytes(done).model_.parameters())
        Path(tmp_path, f"rank{os.environ['RANK']}").write_text(f"{os.getpid()} {hashlib.sha256(weights).hexdigest()}")
        return done
    monkeypatch.setattr(module, "_learn_shard", watched)
    settings = dict(hidden_dim=16, num_layers=1, epochs=4, learning_rate=.01, dropout=0., categorical=["branch"])
    fitted = module.fit_spark(LSTMCascadeGenerator(**settings), spark.createDataFrame(bank.sequences.to_table()), spark.createDataFrame(people), workers=2, shards=tmp_path / "shards")
    (one, a), (two, b) = ((tmp_path / f"rank{r}").read_text().split() for r in (0, 1))
    assert one != two and a == b, "two processes end with the same weights"
    assert not (tmp_path / "shards").exists() and len(fitted.training_table_) == 4
    later = simulate_bank(2000, 18, seed=3)
    assert fitted.score(later.sequences, later.borrowers.assign(branch="north")) > fitted.matrix_.score(later.sequences), "it learned more than the matrix it started from"

def figures_agree(spark, real, synthetic, tables):
    from cascade_engine.spark import validate_spark
    there, here = validate_spark(*(spark.createDataFrame(t).repartition(3) for t in tables)), validate_sequences(real, synthetic)
    floor, other = there.pop("noise_floor"), here.pop("noise_floor")
    assert there == here
    assert floor.keys() == other.keys() and floor["transition_error"] == pytest.approx(other["transition_error"], rel=.5) # other random halves

@needs_spark
def test_figures_are_those_of_pandas(spark, bank, matrix, people):
    made = matrix.generate(people, 24) # a longer horizon than the real one
    figures_agree(spark, bank.sequences, made, [bank.sequences.to_table(), made])

@needs_spark
@pytest.mark.skipif(not CARDS.exists(), reason="the card accounts are not beside the repository (../shared/data/credit_card_histories)")
def test_real_card_accounts(spark):
    from cascade_engine.spark import fit_spark, generate_spark
    table = read_table(CARDS / "payment_sequences.parquet")[["loan_id", "borrower_id", "month", "payment_status"]]
    table = table[table["loan_id"].isin(table["loan_id"].unique()[:4000])]
    real, people = spark.createDataFrame(table), spark.createDataFrame(table.groupby("loan_id").agg(months=("month", "size")).reset_index())
    cards = fit_spark(LSTMCascadeGenerator(use_lstm=False), real)
    made = generate_spark(cards, people.repartition(5), "months").toPandas()
    figures_agree(spark, table, made, [table, made])

@needs_spark
def test_command_line(bank, people, matrix, tmp_path):
    matrix.save(tmp_path / "model")
    spark_folder = tmp_path / "borrowers"; spark_folder.mkdir()
    people.drop(columns="branch")[:500].to_parquet(spark_folder / "a.parquet"); people.drop(columns="branch")[500:].to_parquet(spark_folder / "b.parquet")
    command = [Path(sys.executable).with_name("cascade-engine"), "generate", "model", "borrowers", "--engine", "spark", "--master", "local[2]", "--months", "9", "--out", "records", "--seed", "5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("Wrote records ("), done.stderr
    made, expected = pd.read_parquet(tmp_path / "records"), matrix.generate_records(people, 9, seed=5)
    assert f"{len(expected):,} rows" in done.stdout
    for part in (tmp_path / "records").glob("*.parquet"): assert pd.read_parquet(part).groupby("loan_id", sort=False)["month"].is_monotonic_increasing.all()
    made = made.sort_values(["loan_id", "month"], ignore_index=True).assign(payment_date=lambda t: pd.to_datetime(t["payment_date"]))
    pd.testing.assert_frame_equal(made, expected.astype({"payment_status": "str"}), check_dtype=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["borrowers", "model", "records"]

@needs_spark
def test_command_line_refuses(spark, bank, people, matrix, tmp_path, monkeypatch):
    from typer.testing import CliRunner
    from cascade_engine.cli import app
    monkeypatch.setattr(type(spark), "stop", lambda self: None) # the command would end the session of the tests
    matrix.save(tmp_path / "model")
    spoilt(people, "term_months", 7.5).astype({"term_months": float}).to_parquet(tmp_path / "bad.parquet")
    people.to_parquet(tmp_path / "good.parquet"); past = bank.sequences.truncate(6).to_table(); past.to_parquet(tmp_path / "past.parquet")
    (tmp_path / "broken.parquet").write_text("no parquet"); (tmp_path / "out.csv").write_text("mine")
    before = sorted(tmp_path.iterdir())
    def refused(words, borrowers, *more, out="records"):
        done = CliRunner().invoke(app, ["generate", *map(str, [tmp_path / "model", tmp_path / borrowers, "--engine", "spark", "--master", "local[2]", "--out", tmp_path / out, *more])])
        error, = [line for line in done.output.splitlines() if line.startswith("error: ")]
        assert done.exit_code == 2 and words in error and "Traceback" not in done.output and sorted(tmp_path.iterdir()) == before
    refused("term_months = 7.5 in loan L0000321", "bad.parquet")
    refused("Cannot read", "broken.parquet")
    refused("No such file", "absent")
    refused("exists", "good.parquet", out="out.csv")
    refused("is a file", "good.parquet", "--overwrite", out="out.csv")
    refused("is not replaced", "good.parquet", "--overwrite", out="model")
    refused("--like is not there", "good.parquet", "--like", tmp_path / "past.parquet")
    done = CliRunner().invoke(app, ["generate", *map(str, [tmp_path / "model", tmp_path / "good.parquet", "--engine", "spark", "--history", tmp_path / "past.parquet", "--months", 3, "--out", tmp_path / "on"])])
    assert done.exit_code == 0, done.output
    made = pd.read_parquet(tmp_path / "on")
    assert made.groupby("loan_id")["month"].min().sub(past.groupby("loan_id").size()[made["loan_id"].unique()].sort_index()).eq(1).all()

def test_without_java_the_message_says_so(monkeypatch):
    monkeypatch.setenv("PATH", ""); monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(InputError, match="Java 17"): spark_session()

def test_an_unknown_engine_is_refused(tmp_path):
    done = subprocess.run([Path(sys.executable).with_name("cascade-engine"), "generate", "m", "b", "--out", "o", "--engine", "flink"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "--engine is 'flink'. Allowed: pandas, spark." in done.stderr
