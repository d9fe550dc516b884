"""One peer, in its own environment: learn from the folder's train tables, generate for its test borrowers. Called by fidelity.py; imports nothing of cascade_engine.

    python peers.py sdv|mostlyai FOLDER MINUTES LOANS

FOLDER holds train.parquet, train_borrowers.parquet and test_borrowers.parquet; synthetic.parquet and peer.json are written there. Training is cut off by MINUTES where the library can do so;
where it cannot (PARSynthesizer), the number of training loans is what a trial on 300 loans says will fit. Generation is for the first LOANS test borrowers.
"""
import json, resource, sys, time, warnings
from pathlib import Path

import pandas as pd

def sdv(train, people, wanted, minutes, **_):
    from sdv.metadata import Metadata
    from sdv.sequential import PARSynthesizer
    context = [c for c in people if c != "loan_id"]
    def fit(loans):
        table = train[train["loan_id"].isin(loans)].merge(people, on="loan_id")
        kinds = {c: "numerical" if pd.api.types.is_numeric_dtype(table[c]) else "categorical" for c in context}
        columns = {c: {"sdtype": k} for c, k in {"loan_id": "id", "month": "numerical", "payment_status": "categorical", **kinds}.items()}
        metadata = Metadata.load_from_dict({"tables": {"accounts": {"columns": columns, "sequence_key": "loan_id", "sequence_index": "month"}}})
        start = time.perf_counter()
        model = PARSynthesizer(metadata, context_columns=context, cuda=False)
        model.fit({"accounts": table})
        return model, time.perf_counter() - start
    loans = people["loan_id"].sample(frac=1, random_state=0)
    _, trial = fit(loans[:300])
    fits = min(len(loans), int(300 * 60 * minutes / trial))
    model, took = fit(loans[:fits])
    start = time.perf_counter()
    out = model.sample_sequential_columns(context_columns=wanted)
    out = out["accounts"] if isinstance(out, dict) else out
    return out[["loan_id", "month", "payment_status"]], took, time.perf_counter() - start, fits

def mostlyai(train, people, wanted, minutes, folder):
    from mostlyai import engine
    space = folder / "space"
    start = time.perf_counter()
    engine.split(workspace_dir=space, tgt_data=train, ctx_data=people, tgt_context_key="loan_id", ctx_primary_key="loan_id", model_type="TABULAR",
                 tgt_encoding_types={"payment_status": "TABULAR_CATEGORICAL", "month": "TABULAR_NUMERIC_AUTO"})
    engine.analyze(workspace_dir=space); engine.encode(workspace_dir=space)
    engine.train(workspace_dir=space, max_training_time=minutes)
    took = time.perf_counter() - start
    start = time.perf_counter()
    engine.generate(workspace_dir=space, ctx_data=wanted)
    out = pd.concat([pd.read_parquet(p) for p in sorted((space / "SyntheticData").glob("*.parquet"))])
    return out[["loan_id", "month", "payment_status"]], took, time.perf_counter() - start, len(people)

if __name__ == "__main__":
    if len(sys.argv) != 5: print(__doc__); sys.exit()
    warnings.simplefilter("ignore")
    name, folder, minutes, loans = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    train, people, wanted = (pd.read_parquet(folder / f"{n}.parquet") for n in ("train", "train_borrowers", "test_borrowers"))
    out, took, generation, fits = dict(sdv=sdv, mostlyai=mostlyai)[name](train, people, wanted.head(loans), minutes, folder=folder)
    out.to_parquet(folder / "synthetic.parquet", index=False)
    (folder / "peer.json").write_text(json.dumps(dict(train_seconds=took, generation_seconds=generation, trained_on=fits, generated=min(loans, len(wanted)),
                                                      peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))
