"""Does the network learn the calendar and the economy? Run from the repository root: python benchmarks/scenarios.py [part ...]

Parts (default: all), each stored in benchmarks/results/scenarios.json when it is done, then written to scenarios.md:
effects   the simulated bank: effects of month and unemployment as the network learned them, beside the true ones and beside the best any estimate could do
seasons   rates of a missed payment by calendar month: data, truth, generated
crisis    trained on calm years, judged in 2008-2010
accounts  the real card accounts of ../shared: is there a calendar effect beyond age? Skipped where they are absent
"""
import json, os, sys, time, warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"): os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pandas as pd

from cascade_engine.generator import LSTMCascadeGenerator, _term, pair
from cascade_engine.portfolio import CURE_ODDS, MISS_ODDS, PER_POINT, STRESS, simulate_bank
from cascade_engine.scenarios import macro_path, month_number
from cascade_engine.sequences import PAD, Sequences, split_by_borrower
from cascade_engine.status import STATUS

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results"
LOANS, BANKS, MONTHS = int(os.environ.get("LOANS", 50_000)), int(os.environ.get("BANKS", 4)), 36
FIRST = 10 # seed of the first bank: banks 0 to 3 were used to choose how the calendar enters the network, so they are not reported
NETWORK = dict(hidden_dim=48, num_layers=1, dropout=0., epochs=14, batch_size=256, learning_rate=.01)
ECONOMY = macro_path()

def started(borrowers): # month 1 of a bank's history is the month after origination
    return borrowers.assign(first_due=borrowers["origination_date"] + pd.DateOffset(months=1))

def fitted(seqs, borrowers, seed, calendar=True, **kw):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        when = dict(start_dates="first_due", macro=ECONOMY, macro_columns="unemployment_rate") if calendar else {}
        return LSTMCascadeGenerator(**{**NETWORK, **kw}, seed=seed).fit(seqs, borrowers, progress=False, **when)

def said(model, seqs, borrowers, first_due=None, economy=None):
    "What the network says of every step, (N, T-1, 8), given the observed past."
    import torch
    from cascade_engine.training import Panel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calendar = model._calendar(borrowers, first_due, economy, np.ones(len(seqs), int), np.maximum(seqs.lengths - 1, 0), 0)[0] if model.calendar_ else None
    panel = Panel(seqs, model.encoder_.transform(borrowers), _term(borrowers), model.model_.config["time_sizes"][0] - 1, "cpu", calendar)
    out = np.full((len(seqs), seqs.num_months - 1, 8), np.nan)
    with torch.no_grad():
        for at in np.array_split(np.arange(len(seqs)), -(-len(seqs) // 2000)):
            *inputs, _ = panel.batch(at)
            p = torch.softmax(model.model_(*inputs), -1).double().numpy()
            out[at, :p.shape[1]] = p
    return out

# ---- effects

STEPS = {"on_time → grace_period": (0, 1), "on_time → 30_days": (0, 2), "30_days → 60_days": (2, 3), "30_days → on_time": (2, 0)}
GROUPS = {"November–January": [10, 11, 0], "March–April": [2, 3], "February–April": [1, 2, 3]}
REST = [4, 5, 6, 7, 8, 9]
WANTED = [(step, "a point of unemployment") for step in STEPS] + [("missed payment", "November–January"), ("missed payment", "March–April"), ("cure", "February–April")]
POOLED = {"missed payment": [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)], "cure": [(i, j) for i in (2, 3, 4) for j in range(i)]} # steps that feel the season of missing, of curing

def truth_of(step, effect):
    if effect == "a point of unemployment": return PER_POINT*STRESS.to_numpy()[STEPS[step]]
    return float(np.log((MISS_ODDS if step == "missed payment" else CURE_ODDS)[GROUPS[effect]].mean()))

def steps_of(seqs, borrowers):
    "Codes now, calendar month 0..11 of the next, unemployment of the next, all (N, T-1); which steps count (live, observed, before maturity)."
    month = month_number(borrowers["first_due"])[:, None] + np.arange(1, seqs.num_months)
    path = ECONOMY["unemployment_rate"].to_numpy()[month - month_number(ECONOMY.index[0])]
    counts = seqs.mask[:, 1:] & (np.arange(2, seqs.num_months + 1) < borrowers["term_months"].to_numpy()[:, None])
    return seqs.codes[:, :-1], month % 12, path, counts

def log_odds(p, now, i, j):
    with np.errstate(divide="ignore"): return (np.log(p[..., j]) - np.log(p[..., i]))[now == i]

def learned(model, bank):
    "Effects as the network says them: the same histories, told another month or another economy."
    seqs, borrowers = bank.sequences, started(bank.borrowers)
    now, season, _, counts = steps_of(seqs, borrowers)
    now = np.where(counts, now, PAD)
    found = {}
    up, down = (said(model, seqs, borrowers, "first_due", ECONOMY.assign(unemployment_rate=ECONOMY.unemployment_rate + d)) for d in (1, -1))
    for step, (i, j) in STEPS.items(): found[step, "a point of unemployment"] = float((log_odds(up, now, i, j) - log_odds(down, now, i, j)).mean()/2)
    curves = {ij: np.zeros(12) for ij in sum(POOLED.values(), [])}
    for k in range(12): # every loan is told every month once; the economy goes with it
        moved = ECONOMY.set_axis(ECONOMY.index + pd.DateOffset(months=k))
        p = said(model, seqs, borrowers.assign(first_due=borrowers["first_due"] + pd.DateOffset(months=k)), "first_due", moved)
        for (i, j), curve in curves.items():
            told = ((season + k) % 12)[now == i]
            curve += np.bincount(told, log_odds(p, now, i, j), 12)
    weight = {ij: (now == ij[0]).sum() for ij in curves} # every step adds to each of the twelve once
    events = {ij: ((seqs.codes[:, 1:] == ij[1]) & (now == ij[0])).sum() for ij in curves}
    pooled = {name: sum(events[ij]*curves[ij]/weight[ij] for ij in pairs)/sum(events[ij] for ij in pairs) for name, pairs in POOLED.items()}
    pooled = {name: x - x[REST].mean() for name, x in pooled.items()}
    for name, effect in WANTED:
        if name in pooled: found[name, effect] = float(pooled[name][GROUPS[effect]].mean())
    return found, pooled["missed payment"]

def best_possible(bank):
    "One Newton step from the truth, everything known but the effect and the level it is measured from: an efficient estimate from these histories, and its standard error (the Cramér-Rao bound)."
    seqs, borrowers = bank.sequences, started(bank.borrowers)
    now, season, path, counts = steps_of(seqs, borrowers)
    p, new = bank.true_probabilities(), seqs.codes[:, 1:]
    out = {}
    for step, effect in WANTED:
        pairs, gradient, fisher = POOLED.get(step) or [STEPS[step]], np.zeros(2), np.zeros((2, 2))
        for i in {a for a, _ in pairs}:
            at, to = counts & (now == i), [b for a, b in pairs if a == i]
            if effect in GROUPS: at &= np.isin(season, GROUPS[effect] + REST) # against May to October, as `learned` is
            x = path[at] if effect not in GROUPS else np.isin(season[at], GROUPS[effect]).astype(float)
            x, share = np.stack([x, np.ones_like(x)]), p[at][:, to].sum(1) # (2, steps): the effect, the level
            gradient += x @ (np.isin(new[at], to) - share); fisher += (x*share*(1 - share)) @ x.T
        inverse = np.linalg.inv(fisher)
        out[step, effect] = truth_of(step, effect) + (inverse @ gradient)[0], inverse[0, 0]**.5
    return out

def effects():
    rows, curves, told = {w: [] for w in WANTED}, [], {}
    for k in range(BANKS):
        start = time.monotonic()
        bank = simulate_bank(LOANS, MONTHS, seed=FIRST + k)
        model = fitted(bank.sequences, started(bank.borrowers), seed=FIRST + k)
        minutes, fresh = (time.monotonic() - start)/60, simulate_bank(6000, MONTHS, seed=100 + k)
        found, curve = learned(model, fresh)
        best = best_possible(bank)
        curves.append(curve.tolist())
        for w in WANTED: rows[w].append((found[w], *best[w]))
        told[k] = dict(minutes=round(minutes, 1), epochs=len(model.training_table_), above_truth=-model.score(fresh.sequences, started(fresh.borrowers), "first_due", ECONOMY) - fresh.true_nll())
        print(k, told[k], flush=True)
        if k == 0: model.save(OUT / ".model", overwrite=True)
    def row(w):
        x = np.array(rows[w]) # (banks, 3): network, best possible, its standard error
        return dict(step=w[0], effect=w[1], true=truth_of(*w), learned=x[:, 0].mean(), each=x[:, 0].tolist(), ratio=x[:, 0].mean()/truth_of(*w), spread=x[:, 0].std(ddof=1) if BANKS > 1 else None,
                    best=x[:, 1].tolist(), best_se=x[:, 2].mean(), noise_share=x[:, 2].mean()/abs(truth_of(*w)), z=((x[:, 0] - truth_of(*w))/x[:, 2]).tolist())
    return dict(loans=LOANS, banks=BANKS, months=MONTHS, network=NETWORK, runs=told, rows=[row(w) for w in WANTED], missed_by_month=np.mean(curves, 0).tolist(), true_by_month=np.log(MISS_ODDS).tolist())

# ---- seasons

def seasons():
    "Share of on_time loan-months that miss the next payment, by calendar month of the next."
    bank, model = simulate_bank(LOANS, MONTHS, seed=FIRST), LSTMCascadeGenerator.load(OUT / ".model")
    borrowers = started(bank.borrowers)
    def rates(seqs, p=None):
        now, season, _, counts = steps_of(seqs, borrowers)
        at = counts & (now == STATUS.ON_TIME)
        hit = p[at][:, [1, 2]].sum(1) if p is not None else np.isin(seqs.codes[:, 1:][at], [1, 2])
        n = np.bincount(season[at], minlength=12)
        return np.bincount(season[at], hit, 12)/n, n
    data, n = rates(bank.sequences)
    true, _ = rates(bank.sequences, bank.true_probabilities())
    first = list(STATUS.decode(bank.sequences.first))
    made, _ = rates(model.simulate(borrowers, MONTHS, first, seed=7, start_date="first_due", scenario=ECONOMY)[0])
    noise = np.sqrt(true*(1 - true)/n)
    return dict(loans=LOANS, data=data.tolist(), true=true.tolist(), generated=made.tolist(), standard_error=noise.tolist(),
                z_of_difference=((made - data)/noise/np.sqrt(2)).tolist(), mean_z2=float((((made - data)/noise)**2/2).mean()))

# ---- crisis

def crisis():
    "Train on steps of 2005-2007 and of loans granted 2012-2016 until 2019; judge steps of 2008-2010."
    bank = simulate_bank(LOANS, MONTHS, seed=0)
    borrowers = started(bank.borrowers)
    due, year = month_number(borrowers["first_due"]), borrowers["origination_date"].dt.year.to_numpy()
    def until(date): return np.clip(int(month_number([date])[0]) - due + 1, 0, MONTHS)
    keep = np.where(year <= 2007, until("2007-12-01"), np.where(year >= 2012, until("2019-12-01"), 0))
    lengths = np.minimum(bank.sequences.lengths, keep)
    use = lengths >= 2
    s = bank.sequences
    calm = Sequences(np.where(np.arange(MONTHS) < lengths[:, None], s.codes, PAD)[use], lengths[use], s.loan_id[use], s.borrower_id[use], check=False)
    models = {"with unemployment": fitted(calm, borrowers[use], 0), "without the calendar": fitted(calm, borrowers[use], 0, calendar=False)}
    test = simulate_bank(20_000, MONTHS, seed=50)
    them = started(test.borrowers)
    now, season, path, counts = steps_of(test.sequences, them)
    when = month_number(them["first_due"])[:, None] + np.arange(1, MONTHS)
    inside = test.sequences.mask[:, 1:] & (when >= month_number(["2008-01-01"])[0]) & (when <= month_number(["2010-12-31"])[0])
    new, quarter = test.sequences.codes[:, 1:], (when // 3)
    out = dict(loans=int(use.sum()), steps=int((lengths[use] - 1).sum()), seen=list(map(float, (models["with unemployment"].calendar_.low[0], models["with unemployment"].calendar_.high[0]))), judged=int(inside.sum()), tables={})
    claims = {"truth": test.true_probabilities(), **{k: said(m, test.sequences, them, "first_due", ECONOMY) for k, m in models.items()}}
    at = inside & (now == STATUS.ON_TIME) & counts
    for name, p in claims.items():
        nll = -np.log(np.take_along_axis(p[inside], new[inside][:, None].astype(int), 1)).mean()
        miss = p[at][:, [1, 2]].sum(1)
        out["tables"][name] = dict(nats=float(nll), missed_said=float(miss.mean()), by_quarter=(np.bincount(quarter[at] - quarter[at].min(), miss)/np.bincount(quarter[at] - quarter[at].min())).tolist())
    hit = np.isin(new[at], [1, 2])
    out |= dict(missed_happened=float(hit.mean()), missed_se=float(np.sqrt(hit.mean()*(1 - hit.mean())/at.sum())), by_quarter=(np.bincount(quarter[at] - quarter[at].min(), hit)/np.bincount(quarter[at] - quarter[at].min())).tolist())
    low = {k: v for k, v in ((k, v["missed_said"]/hit.mean() - 1) for k, v in out["tables"].items())}
    return out | dict(missed_bias=low)

# ---- accounts

def accounts():
    "Real card accounts, aligned by months before the extract; which calendar month that was is unknown, so a season would show as a wave of period 12 in it."
    folder = ROOT.parent / "shared" / "data" / "credit_card_histories"
    if not folder.exists(): return dict(skipped=f"{folder.relative_to(ROOT.parent)} is absent")
    raw = pd.read_parquet(folder / "payment_sequences.parquet")
    seqs, people = pair(raw[["loan_id", "borrower_id", "month", "payment_status"]], pd.read_parquet(folder / "borrowers.parquet"))
    end = raw.groupby("loan_id")["months_before_extract"].min().reindex(seqs.loan_id).to_numpy()
    extract = 50*12 # any January: only differences count
    people = people.assign(first_due=(extract - end - seqs.lengths + 1).astype("datetime64[M]").astype("datetime64[ns]"))
    return dict(accounts=len(seqs), steps=int((seqs.lengths - 1).sum()), **wave(seqs, people), **likelihood(seqs, people))

def wave(seqs, people, draws=2000):
    "Do rates within (status, age) go with the month of a cycle of 12? Chi-square against the same persons, each turned by a random phase, which keeps their histories whole."
    loan, t = np.nonzero(seqs.mask[:, 1:])
    now, new = seqs.codes[loan, t], seqs.codes[loan, t + 1]
    calendar = month_number(people["first_due"])[loan] + t + 1
    who, out, rng = pd.factorize(people["borrower_id"])[0], {}, np.random.default_rng(0)
    for name, status, to in (("on_time → grace_period", 0, [1]), ("grace_period → 30_days", 1, [2]), ("30_days → on_time or grace_period", 2, [0, 1])):
        at = now == status
        hit, age = np.isin(new[at], to).astype(float), t[at] // 3
        person, month = who[loan[at]], calendar[at]
        expected = (np.bincount(age, hit)/np.maximum(np.bincount(age), 1))[age] # by age alone
        def chi2(month):
            n = np.bincount(month % 12, expected*(1 - expected), 12)
            return ((np.bincount(month % 12, hit - expected, 12))**2/np.maximum(n, 1e-9)).sum()
        seen, turned = chi2(month), [chi2(month + rng.integers(0, 12, who.max() + 1)[person]) for _ in range(draws)]
        curve = np.bincount(month % 12, hit, 12)/np.bincount(month % 12, expected, 12)
        out[name] = dict(steps=int(at.sum()), chi2=float(seen), turned_mean=float(np.mean(turned)), turned_95=float(np.quantile(turned, .95)), p=float((1 + (np.array(turned) >= seen).sum())/(1 + draws)), rate_to_age_alone=curve.tolist())
    return dict(wave=out)

def likelihood(seqs, people, seeds=(0, 1)):
    "Held-out loss of the same network with and without the month of the cycle, and with the calendar month itself as a trend; persons resampled for the interval."
    held = split_by_borrower(seqs.borrower_id, .25, 9)
    line = pd.DataFrame({"trend": np.arange(-200., 1)}, pd.DatetimeIndex((600 + np.arange(-200, 1)).astype("datetime64[M]").astype("datetime64[ns]"), name="month"))
    kinds = {"without": {}, "month of the cycle": dict(start_dates="first_due"), "and a trend": dict(start_dates="first_due", macro=line)}
    test, them, loss = seqs.take(held), people[held].reset_index(drop=True), {k: [] for k in kinds}
    for seed in seeds:
        for kind, kw in kinds.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = LSTMCascadeGenerator(hidden_dim=48, num_layers=1, dropout=0., epochs=12, batch_size=128, learning_rate=.008, seed=seed,
                    numeric=("age_years", "children")).fit(seqs.take(~held), people[~held].reset_index(drop=True), progress=False, **kw)
            p = said(model, test, them, kw.get("start_dates"), kw.get("macro"))
            on = test.mask[:, 1:]
            nats = np.where(on, -np.log(np.take_along_axis(p, np.where(on, test.codes[:, 1:], 0)[..., None].astype(int), 2)[..., 0]), 0)
            loss[kind].append(nats.sum(1)); print(seed, kind, nats.sum()/on.sum(), flush=True)
    steps, who, rng = on.sum(1), pd.factorize(them["borrower_id"])[0], np.random.default_rng(0)
    out, base = {}, np.mean(loss["without"], 0)
    weights = [np.bincount(rng.integers(0, who.max() + 1, who.max() + 1), minlength=who.max() + 1)[who] for _ in range(400)]
    for kind in kinds:
        gain = base - np.mean(loss[kind], 0)
        resampled = [(w*gain).sum()/(w*steps).sum() for w in weights]
        out[kind] = dict(nats=float(np.mean(loss[kind], 0).sum()/steps.sum()), gain=float(gain.sum()/steps.sum()), low=float(np.quantile(resampled, .025)), high=float(np.quantile(resampled, .975)))
    return dict(held_out_persons=int(who.max() + 1), held_out_steps=int(steps.sum()), seeds=len(seeds), likelihood=out)

# ---- the page

def page(r):
    import platform
    lines = ["# Does it learn the calendar and the economy?", "", f"Made by `python benchmarks/scenarios.py` on {r['machine']}. Figures of the simulated bank are about a made-up process, no evidence about real loans.", ""]
    def table(head, rows): lines.extend(["| " + " | ".join(head) + " |", "|" + "---|"*len(head), *("| " + " | ".join(row) + " |" for row in rows), ""])
    if e := r.get("effects"):
        lines.extend([f"## Effects: {e['loans']:,} histories of {e['months']} months, {e['banks']} banks", "", "The banks were not used in choosing how the calendar enters the network.", "",
            "Log-odds against staying. *Learned*: what the network says when the same histories are told another month, or another economy. *Noise*: the standard error, from one bank, of the best estimate there can be when all but the effect and its level is known (Cramér-Rao), and *that estimate*, mean of the banks, beside; "
            "no method can be trusted to come closer than about twice it.", ""])
        table(["step", "effect", "true", "learned (mean of banks)", "learned / true", "each bank", "best estimate", "noise of one bank, share of the effect"],
            [[x["step"], x["effect"], f"{x['true']:+.3f}", f"{x['learned']:+.3f}" + (f" ± {2*x['spread']/len(x['each'])**.5:.3f}" if x["spread"] else ""), f"{x['ratio']:.2f}", ", ".join(f"{v:+.3f}" for v in x["each"]), f"{np.mean(x['best']):+.3f}", f"{x['noise_share']:.0%}"] for x in e["rows"]])
        above = [v["above_truth"] for v in e["runs"].values()]
        lines.extend([f"± is twice the standard error over banks. Held-out loss above the truth: {np.mean(above):.4f} nats a step; training took {', '.join(str(v['minutes']) for v in e['runs'].values())} minutes on one thread.", ""])
    if s := r.get("seasons"):
        lines.extend([f"## Seasons: on_time loans that miss the next payment, {s['loans']:,} histories", "", "![](seasons.png)", ""])
        table(["", *"JFMAMJJASOND"], [[k, *(f"{100*v:.2f}" for v in s[k])] for k in ("data", "true", "generated")] + [["z of generated − data", *(f"{v:+.1f}" for v in s["z_of_difference"])]])
        lines.extend([f"Percent a month. Mean z²: {s['mean_z2']:.2f} (1 is noise alone).", ""])
    if c := r.get("crisis"):
        lines.extend(["## Out of time: trained on calm years, judged in 2008–2010", "", f"{c['loans']:,} histories, {c['steps']:,} steps of 2005–2007 and 2012–2019, unemployment {c['seen'][0]:.1f} to {c['seen'][1]:.1f} %; judged on {c['judged']:,} steps, unemployment to 9.9 %.", ""])
        table(["", "nats a step", "above the truth", "on_time loans that miss, said", "said / happened − 1"], [[k, f"{v['nats']:.4f}", f"{v['nats'] - c['tables']['truth']['nats']:.4f}", f"{v['missed_said']:.2%}", f"{c['missed_bias'][k]:+.1%}"] for k, v in c["tables"].items()])
        lines.extend([f"Happened: {c['missed_happened']:.2%} ± {2*c['missed_se']:.2%}.", "", "![](crisis.png)", ""])
    if a := r.get("accounts"):
        lines.extend(["## Real card accounts: a calendar effect beyond age?", ""])
        if "skipped" in a: lines.extend([f"Skipped: {a['skipped']}.", ""])
        else:
            lines.extend([f"{a['accounts']:,} accounts, {a['steps']:,} steps, aligned by months before the extract. Rates by month of a cycle of twelve against rates by age alone; the null turns every person by a random phase.", ""])
            table(["step", "steps", "chi² (11 + 1 cells)", "turned: mean, 95 %", "p", "smallest and largest rate / rate by age"], [[k, f"{v['steps']:,}", f"{v['chi2']:.0f}", f"{v['turned_mean']:.0f}, {v['turned_95']:.0f}", f"{v['p']:.4f}", f"{min(v['rate_to_age_alone']):.2f}, {max(v['rate_to_age_alone']):.2f}"] for k, v in a["wave"].items()])
            lines.extend([f"Held-out loss of the same network, {a['held_out_persons']:,} persons, {a['held_out_steps']:,} steps, mean of {a['seeds']} seeds; 95 % intervals from resampled persons.", ""])
            table(["inputs", "nats a step", "gain", "95 %"], [[k, f"{v['nats']:.4f}", f"{v['gain']:+.4f}", f"{v['low']:+.4f} to {v['high']:+.4f}"] for k, v in a["likelihood"].items()])
    return "\n".join(lines)

def pictures(r):
    import matplotlib.pyplot as plt
    if s := r.get("seasons"):
        ax = plt.subplots(figsize=(7, 3.2), layout="constrained")[1]
        months, noise = np.arange(1, 13), 2*np.array(s["standard_error"])
        ax.fill_between(months, np.array(s["true"]) - noise, np.array(s["true"]) + noise, color="0.85", label="true ± 2 standard errors")
        ax.plot(months, s["true"], color="0.5"); ax.plot(months, s["data"], "o", color="#4a7fb0", label="data"); ax.plot(months, s["generated"], "x", color="#b2182b", label="generated")
        ax.set(xticks=months, xticklabels=list("JFMAMJJASOND"), title="on_time loans that miss the next payment", xlabel="calendar month"); ax.yaxis.set_major_formatter("{x:.1%}"); ax.legend(frameon=False, fontsize=8)
        ax.figure.savefig(OUT / "seasons.png", dpi=90)
    if c := r.get("crisis"):
        ax = plt.subplots(figsize=(7, 3.2), layout="constrained")[1]
        ax.plot(c["by_quarter"], "o", color="k", label="happened")
        for (name, v), look in zip(c["tables"].items(), ("0.5", "#b2182b", "#4a7fb0")): ax.plot(v["by_quarter"], color=look, label=name)
        ax.set(xticks=range(0, 12, 4), xticklabels=["2008", "2009", "2010"], title="on_time loans that miss the next payment, given the unemployment that came"); ax.yaxis.set_major_formatter("{x:.1%}"); ax.legend(frameon=False, fontsize=8)
        ax.figure.savefig(OUT / "crisis.png", dpi=90)

def main(parts):
    import platform, torch
    OUT.mkdir(exist_ok=True)
    file = OUT / "scenarios.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    for part in parts:
        start = time.monotonic()
        found[part] = globals()[part]()
        found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores (one thread, shared machine), Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
        found[part]["minutes"] = round((time.monotonic() - start)/60, 1)
        found = json.loads(json.dumps(found, default=float))
        file.write_text(json.dumps(found, indent=1) + "\n"); (OUT / "scenarios.md").write_text(page(found)); pictures(found)
        print(part, "done in", found[part]["minutes"], "minutes", flush=True)

if __name__ == "__main__": main(sys.argv[1:] or ["effects", "seasons", "crisis", "accounts"])
