"""The REST service as its callers meet it: a real server on loopback, real clients, and everything a stranger may send."""
import asyncio, io, json, os, re, shutil, signal, socket, subprocess, sys, threading, time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_engine import LSTMCascadeGenerator, simulate_bank, validate_sequences, write_table
from cascade_engine.sequences import read_table
from cascade_engine.status import STATUS

API, TOKEN = "/api/fintech", "a-token-of-some-length"
STOPPED = (0, -signal.SIGTERM) # in good order
pytestmark = pytest.mark.xdist_group("service") # its servers are shared
RUN = "from cascade_engine.backend import Limits, Service; from cascade_engine.service import serve; import sys, json; serve(Service(sys.argv[1], model=sys.argv[2] or None, workers=1, token=sys.argv[3] or None, limits=Limits(**json.loads(sys.argv[4]))), port=0)"

class Server:
    "A server in a process of its own, at any free port of the loopback interface."
    def __init__(self, folder, *command, env={}):
        self.log = folder / f"log-{time.monotonic_ns()}"
        with self.log.open("w") as log: self.process = subprocess.Popen(command, stderr=log, stdout=subprocess.DEVNULL, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **env})
        for _ in range(600):
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", self.log.read_text()): break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(.1)
        self.url = found[1]
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def call(self, method, path, code=200, **kw):
        answer = self.client.request(method, path, **kw)
        assert answer.status_code == code, (method, path, answer.status_code, answer.text[:500], self.log.read_text()[-3000:])
        if code >= 400:
            assert answer.headers["content-type"] == "application/problem+json" and answer.json()["status"] == code
            assert "Traceback" not in answer.text and ".py" not in answer.text
        return answer

    def portfolio(self, **kw): return self.call("POST", f"{API}/portfolios", 201, **kw).json()["portfolio_id"]
    def generate(self, portfolio, code=200, **kw): return self.call("POST", f"{API}/generate-payment-sequences", code, json=dict(portfolio_id=portfolio, **kw))
    def file(self, portfolio, name="payment_sequences.csv", code=200, **headers): return self.call("GET", f"{API}/download/{portfolio}/{name}", code, headers=headers)

    def finished(self, job):
        "The job's last word."
        for _ in range(1200):
            if (now := self.call("GET", job["status_url"]).json())["state"] != "running": return now
            time.sleep(.05)
        raise AssertionError(now)

    def raw(self, request:bytes)->bytes: # The whole answer to bytes sent as they are
        with socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])), timeout=20) as s:
            s.sendall(request)
            parts = []
            while piece := s.recv(65536): parts.append(piece)
        return b"".join(parts)

    def stop(self, how=signal.SIGTERM):
        self.client.close()
        self.process.send_signal(how)
        return self.process.wait(20)

def cli(folder, *args, **kw): return Server(folder, Path(sys.executable).with_name("cascade-engine"), "serve", "--port", "0", "--workers", "2", *map(str, args), **kw)

def small(folder, model="", token="", **limits): return Server(folder, sys.executable, "-c", RUN, str(folder / "data"), str(model), token, json.dumps(limits))

@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "Borrowers, and an LSTM of one epoch."
    folder = tmp_path_factory.mktemp("service")
    bank = simulate_bank(1200, 18, seed=1)
    write_table(bank.borrowers, folder / "borrowers.csv")
    write_table(bank.borrowers, folder / "borrowers.parquet")
    write_table(bank.sequences.to_table(), folder / "real.csv")
    LSTMCascadeGenerator(hidden_dim=16, num_layers=1, epochs=1, seed=3).fit(bank.sequences, bank.borrowers, progress=False).save(folder / "model")
    return folder

@pytest.fixture(scope="module")
def server(place):
    made = cli(place, "--data-dir", "data", "--model", "model")
    yield made
    assert made.stop() in STOPPED, made.log.read_text()[-2000:]
    lines = [json.loads(line) for line in made.log.read_text().splitlines()]
    assert {"time", "level", "message"} <= set.intersection(*map(set, lines)) and not [line for line in lines if line["level"] == "error"]

def bytes_of_library(place, months, seed, model="model", borrowers="borrowers.csv", start="2024-01-01"):
    lstm = LSTMCascadeGenerator.load(place / model) if model else LSTMCascadeGenerator()
    return write_table(lstm.generate_records(read_table(place / borrowers), months, start, seed=seed), place / "library.csv", overwrite=True).read_bytes()

# The way through

def test_specification(server):
    assert server.call("GET", f"{API}/cascade-probabilities/30_days").json() == {"current_status": "30_days",
        "transitions": {"on_time": 0.35, "grace_period": 0.10, "30_days": 0.15, "60_days": 0.38, "paid_off": 0.01, "prepaid": 0.01}}
    pid = server.portfolio(json={"simulate": 300, "seed": 2})
    assert re.fullmatch(r"SYNTH_\d{8}_\d{6}_[0-9a-f]{4}", pid)
    answer = server.generate(pid, num_months=24, use_lstm=True).json()
    rows = len(pd.read_csv(io.BytesIO(server.file(pid).content)))
    assert answer == {"portfolio_id": pid, "sequences_generated": 300, "total_records": rows, "months_per_sequence": 24, "cascade_model": "LSTM",
                      "download_url": f"{API}/download/{pid}/payment_sequences.csv"}
    assert server.generate(pid, num_months=24, use_lstm=False).json()["cascade_model"] == "MATRIX"

@pytest.mark.parametrize("kind", ["form", "csv", "parquet"])
def test_upload_generate_download_validate(kind, server, place):
    if kind == "form": pid = server.portfolio(files={"file": ("any name.csv", (place / "borrowers.csv").read_bytes())})
    else: pid = server.portfolio(content=(place / f"borrowers.{kind}").read_bytes(), headers={"content-type": {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}[kind]})
    answer = server.generate(pid, num_months=18, use_lstm=True, seed=7, start_date="2024-01-31").json()
    csv = server.file(pid)
    assert csv.content == bytes_of_library(place, 18, 7, start="2024-01-31") and csv.headers["content-type"].startswith("text/csv")
    table = pd.read_parquet(io.BytesIO(server.file(pid, "payment_sequences.parquet").content))
    assert len(table) == answer["total_records"] == csv.text.count("\n") - 1
    assert validate_sequences(pd.read_csv(place / "real.csv"), table)["transition_error"] < .25
    assert server.file(pid, "borrowers.csv").content == (place / "borrowers.csv").read_bytes()
    server.call("DELETE", f"{API}/portfolios/{pid}", 204)
    server.file(pid, code=404)

@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_with_curl(server, place, tmp_path):
    def curl(*args): return subprocess.run(["curl", "-sS", "--fail-with-body", *args], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    pid = json.loads(curl("-F", f"file=@{place}/borrowers.csv", f"{server.url}{API}/portfolios"))["portfolio_id"]
    answer = json.loads(curl("-X", "POST", f"{server.url}{API}/generate-payment-sequences", "-H", "Content-Type: application/json", "-d", json.dumps(dict(portfolio_id=pid, num_months=24, use_lstm=True))))
    curl("-O", server.url + answer["download_url"])
    assert (tmp_path / "payment_sequences.csv").read_bytes() == bytes_of_library(place, 24, 3) # no seed asked for: the model's
    half = (tmp_path / "payment_sequences.csv").read_bytes()[:1000]
    (tmp_path / "resumed.csv").write_bytes(half)
    curl("-C", "-", "-o", "resumed.csv", server.url + answer["download_url"])
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "payment_sequences.csv").read_bytes()

def test_scenario_and_format(server):
    pid = server.portfolio(json={"simulate": 4000, "seed": 5})
    rates = []
    for scenario in ("baseline", "half_severe", "severely_adverse"):
        server.generate(pid, num_months=30, use_lstm=False, start_date="2026-01-31", scenario=scenario, format="parquet", seed=1)
        table = pd.read_parquet(io.BytesIO(server.file(pid, "payment_sequences.parquet").content))
        rates.append((table["payment_status"] == "default").sum())
    assert rates == sorted(rates) and rates[0] < rates[2]
    assert "no payment_sequences.csv" in server.file(pid, code=404).json()["detail"]

def test_fitted_probabilities(server, place):
    lstm = LSTMCascadeGenerator.load(place / "model")
    for status in STATUS.labels:
        got = server.call("GET", f"{API}/cascade-probabilities/{status}", params=dict(model="lstm", credit_score=620, risk_grade="D")).json()["transitions"]
        np.testing.assert_allclose(list(got.values()), list(lstm.transition_probabilities(status, {"credit_score": 620, "risk_grade": "D"}).values()), rtol=1e-6)

def test_fifty_clients(server):
    "Nobody gets an error, everybody gets their own file."
    async def client(k, url):
        async with httpx.AsyncClient(base_url=url, timeout=120) as c:
            made = await c.post(f"{API}/portfolios", **(dict(json={"simulate": 20 + k, "seed": k}) if k % 3 else dict(files={"file": ("b.csv", "loan_id\n" + "\n".join(map(str, range(20 + k))))})))
            answer = await c.post(f"{API}/generate-payment-sequences", json=dict(portfolio_id=made.json()["portfolio_id"], num_months=6, use_lstm=bool(k % 2)))
            csv = await c.get(answer.json()["download_url"])
            health = await c.get("/health")
            gone = await c.delete(f"{API}/portfolios/{made.json()['portfolio_id']}")
            codes = [r.status_code for r in (made, answer, csv, health, gone)]
            return codes, answer.json()["sequences_generated"] == pd.read_csv(io.BytesIO(csv.content))["loan_id"].nunique() == 20 + k
    async def all_of_them(): return await asyncio.gather(*[client(k, server.url) for k in range(50)])
    assert all(found == ([201, 200, 200, 200, 204], True) for found in asyncio.run(all_of_them()))

def test_metrics_and_docs(server):
    server.call("GET", f"{API}/cascade-probabilities/on_time")
    text = server.call("GET", "/metrics").text
    assert 'http_requests_total{method="GET",route="/api/fintech/cascade-probabilities/{status}",status="200"}' in text and "process_resident_memory_bytes" in text
    page = server.call("GET", "/docs").text
    assert not re.search(r'(?:src|href)="https?:', page), "the page is complete without the internet"
    assert server.call("GET", re.search(r'src="(/[^"]+\.js)"', page)[1]).status_code == 200

# What a stranger may send

ID = "SYNTH_20260202_163045_a1b2"
TRAVERSALS = ["../../register.sqlite", "..%2f..%2fregister.sqlite", "%2e%2e/%2e%2e/register.sqlite", "....//register.sqlite", f"{ID}/../../register.sqlite", f"{ID}/..%2fregister.sqlite",
              f"{ID}%00/payment_sequences.csv", f"{ID}%0a/payment_sequences.csv", f"{ID}/payment_sequences.csv%00.parquet", "/etc/passwd", "..\\..\\register.sqlite", f"{ID}/REGISTER"]

@pytest.mark.parametrize("path", TRAVERSALS)
def test_traversal(path, server):
    answer = server.raw(f"GET {API}/download/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 (404|422|307) ", answer) and b"SQLite" not in answer and b"root:" not in answer

SQL = [f"{ID}' OR '1'='1", "'; DROP TABLE portfolio; --", f"{ID}\" UNION SELECT * FROM meta", "%25", "_" * 26]

@pytest.mark.parametrize("text", SQL)
def test_sql_in_ids(text, server):
    quoted = httpx.URL("/x", params={"x": text}).query.decode()[2:].replace("+", "%20")
    pid = server.portfolio(json={"simulate": 1})
    for method, path in (("GET", f"{API}/portfolios/{quoted}"), ("DELETE", f"{API}/portfolios/{quoted}"), ("GET", f"{API}/jobs/{quoted}"), ("GET", f"{API}/portfolios?after={quoted}")):
        assert server.client.request(method, path).status_code in (404, 422)
    server.generate(text, 422)
    assert server.call("GET", f"{API}/portfolios/{pid}").json()["loans"] == 1, "everything is still there"

def test_ten_gigabytes_announced(server):
    for path in ("portfolios", "generate-payment-sequences"):
        answer = server.raw(f"POST {API}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 10737418240\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer # and the socket was closed: `raw` came to an end

def bombs():
    zeros, out = pa.table({"x": pa.array([b"\0"*2**24], pa.binary())}), io.BytesIO()
    with pq.ParquetWriter(out, zeros.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(65): writer.write_table(zeros)
    yield out.getvalue() # a gigabyte of zeros
    text = pa.DictionaryArray.from_arrays(pa.array([0]*1000, pa.int8()), ["a"*40_000_000])
    pq.write_table(pa.table({"loan_id": [str(i) for i in range(1000)], "x": text}), out := io.BytesIO(), compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    yield out.getvalue() # forty gigabytes, stored as one text

def test_bombs(server):
    for body in bombs():
        assert len(body) < 100_000
        assert server.client.post(f"{API}/portfolios", content=body, headers={"content-type": "application/vnd.apache.parquet"}).status_code in (413, 422)
    server.call("POST", f"{API}/portfolios", 415, content=b"\x1f\x8b" + b"\0"*50, headers={"content-type": "text/csv", "content-encoding": "gzip"})
    assert server.call("GET", "/health").json()["workers"] == 2

BODIES = {"nesting": b"["*50_000, "nesting in a form": b'{"portfolio_id": ' + b'{"a":'*10_000, "huge number": b'{"portfolio_id": "' + ID.encode() + b'", "num_months": ' + b"9"*5000 + b"}",
          "not a number": b'{"portfolio_id": "' + ID.encode() + b'", "seed": NaN}', "half a surrogate": b'{"portfolio_id": "\\ud800"}', "no unicode": b'{"portfolio_id": "\xff\xfe"}', "nothing": b"", "null": b"null",
          "zero byte": b'{"portfolio_id": "' + ID.encode() + b'\\u0000"}', "key twice and odd": b'{"portfolio_id": 1, "\\ud800": 2}'}

@pytest.mark.parametrize("case", BODIES)
def test_malformed_json(case, server):
    for path in ("generate-payment-sequences", "portfolios"):
        answer = server.client.post(f"{API}/{path}", content=BODIES[case], headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422) and answer.json()["detail"], answer.text

@pytest.mark.parametrize("text, field", [("loan_id,credit_score\na,5000\n", "credit_score"), ("loan_id,dti\na,high\n", "dti"), ("loan_id\na\na\n", "loan_id"), ("loan_id,term_months\na,7.5\n", "term_months"),
    ("", "file"), ("loan_id\n", "file"), ("loan_id,dti\n" + "x"*65 + ",0.1\n", "loan_id"), ('loan_id,dti\n"a\nb",0.1\n', "loan_id"), ("x"*70_000, "file"), (",".join(f"c{i}" for i in range(300)), "file")])
def test_bad_uploads_name_the_column(text, field, server):
    assert server.call("POST", f"{API}/portfolios", 422, content=text.encode(), headers={"content-type": "text/csv"}).json()["errors"][0]["field"] == field

def test_other_sites_are_kept_out(server):
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}):
        server.call("POST", f"{API}/portfolios", 403, json={"simulate": 1}, headers=headers)

@pytest.fixture(scope="module")
def strict(tmp_path_factory, place):
    "A server with a token, no model, and tight limits."
    made = small(tmp_path_factory.mktemp("strict"), token=TOKEN, upload=200_000, loans=500, records=100_000, idle=1)
    made.client.headers["authorization"] = f"Bearer {TOKEN}"
    yield made
    assert made.stop() in STOPPED

@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", TOKEN, "Bearer " + "x"*10_000])
def test_wrong_token(given, strict):
    for method, path in (("GET", f"{API}/portfolios"), ("POST", f"{API}/generate-payment-sequences"), ("GET", f"{API}/download/{ID}/payment_sequences.csv"), ("GET", "/metrics"), ("GET", "/nowhere")):
        answer = httpx.request(method, strict.url + path, headers={} if given is None else {"authorization": given})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer" and answer.json()["status"] == 401
    assert httpx.get(f"{strict.url}/health").status_code == 200
    assert TOKEN not in strict.log.read_text()

def test_limits(strict):
    endless = (b"L%d,0.1\n" % i for i in range(10**9)) # stops by itself when the server hangs up
    for content, code in ((b"x"*300_000, 413), (b"loan_id\n" + b"\n".join(b"%d" % i for i in range(502)), 413), (endless, 413)):
        try: assert strict.client.post(f"{API}/portfolios", content=content, headers={"content-type": "text/csv"}).status_code == code
        except (httpx.WriteError, httpx.RemoteProtocolError): assert content is endless # the server hung up before all was sent
    strict.call("POST", f"{API}/portfolios", 422, json={"simulate": 501})
    strict.call("POST", f"{API}/portfolios", 413, files={"file": ("b.csv", b"x"*300_000)})
    pid = strict.portfolio(json={"simulate": 500})
    assert strict.generate(pid, 422, num_months=201).json()["errors"][0]["field"] == "num_months"
    assert not list((strict.log.parent / "data" / "incoming").iterdir()), "what was refused is not kept"

def test_slow_requests_are_cut_off(strict):
    auth = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: text/csv\r\n"
    assert strict.raw(f"POST {API}/portfolios HTTP/1.1\r\n{auth}Content-Length: 100\r\n\r\nloan_id".encode()).startswith(b"HTTP/1.1 408") # and no more comes
    assert strict.raw(b"GET /health HTTP/1.1\r\nHost") == b"" # a head that never ends
    whole = strict.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
    assert whole.count(b"HTTP/1.1 200") == 1

def test_no_model(strict):
    pid = strict.portfolio(json={"simulate": 40})
    answer = strict.generate(pid, num_months=6, use_lstm=True).json()
    assert answer["cascade_model"] == "MATRIX" and any("No LSTM is served here" in n for n in answer["notes"])
    assert strict.call("GET", f"{API}/cascade-probabilities/30_days?model=lstm", 409).json()["errors"][0]["field"] == "model"

@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_worker_killed(strict):
    "Whoever waits is served by a new worker."
    pid = strict.portfolio(json={"simulate": 500, "seed": 3})
    def workers(): return [int(p) for p in Path(f"/proc/{strict.process.pid}/task/{strict.process.pid}/children").read_text().split()]
    before = workers()
    for worker in before: os.kill(worker, signal.SIGSTOP) # whatever is asked now, hangs
    codes = []
    asking = threading.Thread(target=lambda: codes.append(strict.client.post(f"{API}/generate-payment-sequences", json=dict(portfolio_id=pid, num_months=12)).status_code))
    asking.start()
    while strict.call("GET", "/health").json()["busy"] == 0: time.sleep(.02)
    for worker in before: os.kill(worker, signal.SIGKILL)
    asking.join()
    assert codes == [200]
    assert strict.generate(pid, num_months=13).json()["total_records"] > 500 and not set(before) & set(workers())

# What it must survive

def test_killed_in_mid_job(place, tmp_path):
    "SIGKILL while a job runs: the old file is served, the job is resumed, and the new file is the library's to the byte."
    first = cli(tmp_path, "--data-dir", "data")
    pid = first.portfolio(json={"simulate": 15_000, "seed": 4})
    first.generate(pid, num_months=3, use_lstm=False)
    old, borrowers = first.file(pid), first.file(pid, "borrowers.csv").content
    job = first.generate(pid, 202, num_months=96, use_lstm=False, seed=9).json()
    while first.call("GET", job["status_url"]).json()["progress"] == 0: time.sleep(.02)
    first.stop(signal.SIGKILL)
    refused = subprocess.run([sys.executable, "-c", "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])", tmp_path / "data" / "register.sqlite"], capture_output=True, text=True)
    assert refused.stdout.strip() == "ok"
    second = cli(tmp_path, "--data-dir", "data")
    seen = []
    while (now := second.call("GET", job["status_url"]).json())["state"] == "running": seen.append(second.file(pid).content)
    new = second.file(pid).content
    assert now["state"] == "done" and all(content in (old.content, new) for content in seen)
    (tmp_path / "borrowers.csv").write_bytes(borrowers)
    assert new == bytes_of_library(tmp_path, 96, 9, model=None)
    left = [p for p in (tmp_path / "data" / "files" / pid).rglob("*") if p.is_file()]
    assert len(left) == 4 and "parts" not in str(left)
    again = subprocess.run([Path(sys.executable).with_name("cascade-engine"), "serve", "--data-dir", "data", "--port", "0"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "another server uses this folder" in again.stderr and "Traceback" not in again.stderr
    second.call("DELETE", f"{API}/portfolios/{pid}", 204)
    assert second.stop() in STOPPED and not (tmp_path / "data" / "files" / pid).exists()

def test_deleted_in_mid_job(strict):
    pid = strict.portfolio(json={"simulate": 500, "seed": 3})
    strict.generate(pid, num_months=2)
    strict.call("DELETE", f"{API}/portfolios/{pid}", 204)
    strict.generate(pid, 404, num_months=2)

@pytest.fixture(scope="module")
def bucket():
    "An S3 server on loopback, with one bucket."
    from moto.server import ThreadedMotoServer
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    s3.start()
    url = "http://{}:{}".format(*s3.get_host_and_port())
    httpx.put(f"{url}/bank", headers={"authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}).raise_for_status()
    yield dict(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
    s3.stop()

def test_files_in_s3(place, tmp_path, bucket):
    first = cli(tmp_path, "--data-dir", "data", "--files", "s3://bank/cascade", "--model", place / "model", env=bucket)
    pid = first.portfolio(files={"file": (place / "borrowers.csv").open("rb")})
    answer = first.generate(pid, num_months=18, use_lstm=True, seed=7).json()
    expected = bytes_of_library(place, 18, 7)
    assert first.file(pid).content == expected and len(pq.read_table(io.BytesIO(first.file(pid, "payment_sequences.parquet").content))) == answer["total_records"]
    assert first.file(pid, code=206, range="bytes=1000-1999").content == expected[1000:2000]
    assert not (tmp_path / "data" / "files").exists()
    first.stop(signal.SIGKILL)
    second = cli(tmp_path, "--data-dir", "data", "--files", "s3://bank/cascade", env=bucket)
    assert second.file(pid).content == expected
    second.generate(pid, num_months=3, use_lstm=False)
    assert len(second.file(pid).content) < len(expected)
    second.call("DELETE", f"{API}/portfolios/{pid}", 204)
    assert second.stop() in STOPPED
    keys = re.findall(r"<Key>([^<]+)", httpx.get(f"{bucket['AWS_ENDPOINT_URL']}/bank?list-type=2", headers={"authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}).text)
    assert keys == ["cascade/REGISTER"]

def test_openapi_is_kept(strict, tmp_path):
    "schemathesis: whatever the document allows, and much it does not: no 5xx, no answer that is not in the document. (Not checked: that all it allows is accepted. This server's limits are tighter.)"
    done = subprocess.run([Path(sys.executable).with_name("schemathesis"), "run", f"{strict.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "15", "--seed", "1", "--phases", "examples,coverage,fuzzing",
        "--workers", "2", "--request-timeout", "60",
        "--checks", "all", "--exclude-checks", "positive_data_acceptance"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout[-5000:]

# Without what only the service needs

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, *a):
        if name.split(".")[0] in ("fastapi", "starlette", "uvicorn", "prometheus_client", "fsspec", "fastapi_offline"): raise ImportError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from cascade_engine.cli import main
main()
"""

def test_the_rest_works_without_the_extra(tmp_path):
    def run(*args): return subprocess.run([sys.executable, "-c", BLOCKED, *args], cwd=tmp_path, capture_output=True, text=True)
    assert run("simulate", "--loans", "20", "--months", "3", "--out", "bank").returncode == 0
    serve = run("serve")
    assert serve.returncode == 2 and "pip install 'cascade-engine[api]'" in serve.stderr and "Traceback" not in serve.stderr

@pytest.mark.parametrize("options, words", [(["--host", "0.0.0.0"], "needs a bearer token"), (["--model", "absent"], "no model folder"), (["--token-file", "absent"], "absent")])
def test_serve_refuses(options, words, tmp_path):
    done = subprocess.run([Path(sys.executable).with_name("cascade-engine"), "serve", "--data-dir", "d", *options], cwd=tmp_path, capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "CASCADE_ENGINE_TOKEN"})
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr and not (tmp_path / "d").exists()

def test_two_portfolios_never_share_an_id(tmp_path, monkeypatch):
    "Four random digits a second do meet once in a while: the second comer takes another id, and the first keeps its files."
    from cascade_engine.backend import Service
    ids = [f"SYNTH_20260101_000000_{k}" for k in ["aaaa"]*3 + ["bbbb", "aaaa", "bbbb", "cccc"]]
    monkeypatch.setattr("cascade_engine.backend.portfolio_id", iter(ids).__next__)
    async def made():
        service = Service(tmp_path / "data", workers=1)
        await service.start()
        try:
            together = await asyncio.gather(*[service.keep("simulate", "simulate", loans=20, seed=k) for k in (1, 2)])
            later = await service.keep("simulate", "simulate", loans=20, seed=3)
            return [p["id"][-4:] for p in [*together, later]], service.taken
        finally: await service.stop()
    assert asyncio.run(made()) == (["aaaa", "bbbb", "cccc"], set())
    assert len({(d / "borrowers.parquet").read_bytes() for d in (tmp_path / "data" / "files").glob("SYNTH*")}) == 3
