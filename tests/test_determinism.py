"""One seed, one loan id, one history: at any chunk size, order of loans and number of threads, in one process or four."""
import multiprocessing, warnings

import numpy as np
import pandas as pd
import pytest

from cascade_engine import LSTMCascadeGenerator, simulate_bank

context = multiprocessing.get_context("forkserver") # clean processes: a fork of this one would inherit its threads
context.set_forkserver_preload(["cascade_engine.generator", "cascade_engine.model", "pyarrow.parquet", "pyarrow.csv"])

def draw(folder, out, rows, threads, chunk):
    import torch
    from cascade_engine import generator
    torch.set_num_threads(threads)
    generator.CHUNK = chunk
    lstm = LSTMCascadeGenerator.load(folder / "model")
    people = pd.read_parquet(folder / "people.parquet").iloc[rows]
    history = lstm.simulate(people, num_months=18)[0]
    np.savez(folder / out, loan_id=history.loan_id.astype(str), codes=history.codes, lengths=history.lengths)

@pytest.fixture(scope="module", params=[(8, 1), (64, 2)], ids=["1x8", "2x64"])
def folder(request, tmp_path_factory):
    folder, bank = tmp_path_factory.mktemp("determinism"), simulate_bank(1100, 18, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LSTMCascadeGenerator(hidden_dim=request.param[0], num_layers=request.param[1], epochs=1).fit(bank.sequences, bank.borrowers, progress=False).save(folder / "model")
    bank.borrowers.to_parquet(folder / "people.parquet")
    return folder

def test_same_history_however_it_is_drawn(folder):
    everyone = np.arange(1100)
    runs = {"whole.npz": (everyone, 1, 50_000), "threads.npz": (everyone, 2, 50_000), "more_threads.npz": (everyone, 5, 700), "shuffled.npz": (np.random.default_rng(0).permutation(1100), 1, 333),
            "alone.npz": (everyone[17:18], 1, 50_000)} | {f"part{k}.npz": (rows, 1, 50_000) for k, rows in enumerate(np.array_split(everyone, 4))}
    processes = [context.Process(target=draw, args=(folder, out, *how)) for out, how in runs.items()]
    for p in processes: p.start()
    for p in processes: p.join()
    assert not any(p.exitcode for p in processes)
    whole = np.load(folder / "whole.npz")
    for out, (rows, *_) in runs.items():
        got = np.load(folder / out)
        assert (got["loan_id"] == whole["loan_id"][rows]).all()
        np.testing.assert_array_equal(got["lengths"], whole["lengths"][rows], err_msg=out)
        np.testing.assert_array_equal(got["codes"], whole["codes"][rows, :got["codes"].shape[1]], err_msg=out)
    assert len(np.unique(whole["codes"], axis=0)) > 100 # histories, not one history
