"""The installed command, as a user types it: the whole path, the same bytes from the same seed, and every bad input in plain words."""
import json, os, resource, shutil, subprocess, sys
from pathlib import Path

import pandas as pd
import pytest

COMMAND = Path(sys.executable).with_name("cascade-engine")
RECORD_COLUMNS = ["loan_id", "borrower_id", "month", "payment_status", "payment_amount", "principal_remaining", "days_past_due", "payment_date"]

def call(*args, cwd, **kw):
    return subprocess.run([COMMAND, *map(str, args)], cwd=cwd, capture_output=True, text=True, **kw)

def ok(*args, cwd):
    done = call(*args, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("Wrote "), done.stdout
    return done

def snapshot(folder): return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}

def refused(*args, cwd, match, **kw):
    "Exit code 2, one `error:` line that says why, no traceback, and the folder as it was."
    before = snapshot(cwd)
    done = call(*args, cwd=cwd, **kw)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and match in errors[0], done.stderr
    assert done.stderr.strip().splitlines()[-1] == errors[0] and "Traceback" not in done.stderr, done.stderr
    assert "Wrote" not in done.stdout and snapshot(cwd) == before

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A small bank in both formats, an LSTM of one epoch and a matrix."
    folder = tmp_path_factory.mktemp("cli")
    ok("simulate", "--loans", 1200, "--months", 12, "--seed", 1, "--out", "bank/", cwd=folder)
    ok("simulate", "--loans", 60, "--months", 8, "--seed", 2, "--out", "small", "--format", "csv", cwd=folder)
    bank = ["bank/payment_sequences.parquet", "bank/borrowers.parquet"]
    ok("fit", *bank, "--out", "lstm/", "--epochs", 1, "--hidden-dim", 8, "--num-layers", 1, "--seed", 3, cwd=folder)
    ok("fit", *bank, "--out", "matrix/", "--matrix", cwd=folder)
    return folder

@pytest.fixture
def work(made, tmp_path):
    "The small bank and the matrix, to spoil."
    for name in ("small", "matrix"): shutil.copytree(made / name, tmp_path / name)
    return tmp_path

def test_whole_path(made, tmp_path):
    people = made / "bank/borrowers.parquet"
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = ok("generate", made / "lstm", people, "--months", 12, "--start", "2024-01-31", "--seed", seed, "--out", f"{out}.csv", cwd=tmp_path)
    a, b, c = [(tmp_path / f"{x}.csv").read_bytes() for x in "abc"]
    assert a == b != c
    records = pd.read_csv(tmp_path / "a.csv")
    assert list(records) == RECORD_COLUMNS and records["loan_id"].nunique() == 1200
    assert records["payment_date"].min() == "2024-01-31" and records["payment_date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    assert f"{len(pd.read_csv(tmp_path / 'c.csv')):,} rows" in done.stdout
    shown = ok("validate", made / "bank/payment_sequences.parquet", "a.csv", "--json", "out.json", cwd=tmp_path).stdout
    results = json.loads((tmp_path / "out.json").read_text())
    assert {"transition_error", "default_rate_match", "avg_length_error"} <= set(results) and len(shown.splitlines()) > 5

def test_same_seed_same_bank_and_model(made, tmp_path):
    for name, seed in (("again", 1), ("other", 5)): ok("simulate", "--loans", 1200, "--months", 12, "--seed", seed, "--out", name, cwd=tmp_path)
    first = pd.read_parquet(made / "bank/payment_sequences.parquet")
    pd.testing.assert_frame_equal(first, pd.read_parquet(tmp_path / "again/payment_sequences.parquet"))
    assert not first.equals(pd.read_parquet(tmp_path / "other/payment_sequences.parquet"))
    ok("fit", "again/payment_sequences.parquet", "again/borrowers.parquet", "--out", "lstm", "--epochs", 1, "--hidden-dim", 8, "--num-layers", 1, "--seed", 3, "--checkpoint", "training.safetensors", cwd=tmp_path)
    assert (tmp_path / "training.safetensors").is_file()
    for model in (made / "lstm", "lstm"): ok("generate", model, "again/borrowers.parquet", "--months", 6, "--seed", 1, "--out", f"{Path(model).parent.name or 'new'}.csv", cwd=tmp_path)
    one, two = sorted(tmp_path.glob("*.csv"))
    assert one.read_bytes() == two.read_bytes()

def test_like_takes_first_status_and_time_watched(made, tmp_path):
    real = pd.read_csv(made / "small/payment_sequences.csv")
    ok("generate", made / "matrix", made / "small/borrowers.csv", "--like", made / "small/payment_sequences.csv", "--out", "like.parquet", cwd=tmp_path)
    like = pd.read_parquet(tmp_path / "like.parquet")
    first = lambda t: t[t["month"] == 1].astype({"loan_id": str, "payment_status": str}).set_index("loan_id")["payment_status"].sort_index()
    assert first(like).to_dict() == first(real).to_dict()
    longest = real.groupby("loan_id")["month"].max()
    ended = real.groupby("loan_id")["payment_status"].last().isin(["default", "paid_off", "prepaid"])
    drawn = like.groupby("loan_id")["month"].max()
    assert (drawn <= longest)[~ended].all() and drawn.max() <= longest.max() # cut-off histories were watched just so long
    assert ended.any() and (drawn > longest)[ended].any() # the others would have been watched longer

def test_history_is_continued(made, tmp_path):
    real = pd.read_csv(made / "small/payment_sequences.csv")
    ok("generate", made / "matrix", made / "small/borrowers.csv", "--history", made / "small/payment_sequences.csv", "--months", 3, "--out", "next.csv", cwd=tmp_path)
    later = pd.read_csv(tmp_path / "next.csv")
    last = real.sort_values("month").groupby("loan_id").tail(1).set_index("loan_id")
    alive = last.index[~last["payment_status"].isin(["default", "paid_off", "prepaid"])]
    assert set(later["loan_id"]) == set(alive)
    np_first = later.groupby("loan_id")["month"].min()
    assert (np_first == last.loc[np_first.index, "month"] + 1).all()

def test_overwrite_replaces(work):
    ok("simulate", "--loans", 5, "--months", 3, "--out", "small", "--format", "csv", "--overwrite", cwd=work)
    assert len(pd.read_csv(work / "small/borrowers.csv")) == 5

@pytest.mark.parametrize("command", ["simulate", "fit", "generate", "validate"])
def test_help_says_what_each_argument_is(command, tmp_path):
    done = call(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--overwrite" in done.stdout and len(done.stdout.splitlines()) > 12

# Bad histories and bad borrowers: what is spoilt, and the words of the refusal.

def edit(name, **cells):
    "Change cells of a table of the small bank: column=(row, value)."
    def change(folder):
        path = folder / "small" / name
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column, (row, value) in cells.items(): table.loc[row, column] = value
        table.to_csv(path, index=False)
    return change

def rewrite(name, make):
    "Replace a table of the small bank by what `make` does to it."
    def change(folder):
        path = folder / "small" / name
        make(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    return change

def after_the_end(table):
    last = table[table["loan_id"] == table["loan_id"].iloc[0]].iloc[-1:]
    end, beyond = last.assign(payment_status="prepaid"), last.assign(month=str(int(last["month"].iloc[0]) + 1), payment_status="on_time")
    return pd.concat([table.drop(last.index), end, beyond])

SEQ, WHO = "payment_sequences.csv", "borrowers.csv"
BAD_INPUT = {
    "unknown status": (edit(SEQ, payment_status=(3, "late")), "Unknown payment status 'late'"),
    "status after a terminal one": (rewrite(SEQ, after_the_end), "after the terminal status 'prepaid'"),
    "gap in month": (rewrite(SEQ, lambda t: t.drop(index=1)), "where month 2 is due"),
    "duplicate month": (rewrite(SEQ, lambda t: pd.concat([t, t.iloc[:1]])), "month 1 twice"),
    "missing column": (rewrite(SEQ, lambda t: t.drop(columns="month")), "'month'"),
    "empty histories": (rewrite(SEQ, lambda t: t.iloc[:0]), "no rows"),
    "empty borrowers": (rewrite(WHO, lambda t: t.iloc[:0]), ""),
    "duplicate loan_id": (rewrite(WHO, lambda t: pd.concat([t, t.iloc[:1]])), "loan_id"),
    "infinite feature": (edit(WHO, income=(2, "inf")), "income"),
    "text feature": (edit(WHO, dti=(2, "high")), "dti"),
    "score out of its domain": (edit(WHO, credit_score=(2, "5000")), "credit_score"),
    "unreadable file": (lambda folder: (folder / "small" / SEQ).write_bytes(b"\xff\xfe\x00\x81 no table"), "Cannot read"),
    "empty file": (lambda folder: (folder / "small" / WHO).write_bytes(b""), "Cannot read"),
    "absent file": (lambda folder: (folder / "small" / WHO).unlink(), "No such file"),
}

@pytest.mark.parametrize("case", BAD_INPUT)
def test_fit_refuses(case, work):
    spoil, words = BAD_INPUT[case]
    spoil(work)
    refused("fit", "small/payment_sequences.csv", "small/borrowers.csv", "--matrix", "--out", "new_model", cwd=work, match=words)

@pytest.mark.parametrize("options, words", [
    (["--months", 0], "num_months"), (["--initial-status", "late"], "late"), (["--initial-status", "default"], "default"),
    (["--start", "2024-02-30"], "2024-02-30"), (["--like", "small/payment_sequences.csv", "--history", "small/payment_sequences.csv"], "--like"),
], ids=str)
def test_generate_refuses(options, words, work):
    refused("generate", "matrix", "small/borrowers.csv", *options, "--out", "out.csv", cwd=work, match=words)

def test_unknown_ending_is_refused(work):
    refused("generate", "matrix", "small/borrowers.csv", "--out", "out.xlsx", cwd=work, match=".xlsx")
    refused("validate", "small/payment_sequences.csv", "matrix", cwd=work, match="ending")

def test_existing_output_is_refused_before_work(work):
    (work / "out.csv").write_text("mine")
    absent = "absent.csv" # never looked at: the target is refused first
    refused("generate", "matrix", absent, "--out", "out.csv", cwd=work, match="out.csv exists")
    refused("fit", absent, absent, "--out", "matrix", cwd=work, match="matrix exists")
    refused("validate", absent, absent, "--json", "out.csv", cwd=work, match="out.csv exists")
    refused("simulate", "--loans", 5, "--out", "small", "--format", "csv", cwd=work, match="exists")
    refused("generate", "matrix", "small/borrowers.csv", "--out", "nowhere/out.csv", cwd=work, match="No such folder")

@pytest.mark.parametrize("size, out", [(0, "bank"), (-3, "bank")])
def test_simulate_refuses(size, out, work):
    refused("simulate", "--loans", size, "--out", out, cwd=work, match="n_loans")
    refused("simulate", "--months", size, "--out", out, cwd=work, match="num_months")

def newer(folder):
    path, = (folder / "matrix").glob("*.json")
    text = json.loads(path.read_text())
    key = next(k for k in text if "version" in k or "format" in k)
    path.write_text(json.dumps(text | {key: 999}))

def tampered(folder):
    path, = (folder / "matrix").glob("*.json")
    text = path.read_text()
    at = next(i for i, c in enumerate(text) if c in "12345678" and text[i-1] == ".")
    path.write_text(text[:at] + "9" + text[at+1:])

@pytest.mark.parametrize("spoil, words", [(newer, "999"), (tampered, ""), (lambda f: shutil.rmtree(f / "matrix"), "matrix")], ids=["newer", "tampered", "absent"])
def test_spoilt_model_is_refused(spoil, words, work):
    spoil(work)
    refused("generate", "matrix", "small/borrowers.csv", "--out", "out.csv", cwd=work, match=words)

def full_disk(): resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)) # a write beyond it fails as one on a full disk does

def test_no_room_leaves_nothing(work):
    for out in ("out.csv", "out.parquet"):
        refused("generate", "matrix", "small/borrowers.csv", "--out", out, cwd=work, match="Error", preexec_fn=full_disk)
    refused("simulate", "--loans", 500, "--out", "bank", cwd=work, match="Error", preexec_fn=full_disk)
    refused("fit", "small/payment_sequences.csv", "small/borrowers.csv", "--matrix", "--out", "new_model", cwd=work, match="Error",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)))
