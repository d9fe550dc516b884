"""nbs/llms.txt: the site for a reader that is a language model. Usage: llms.py [TARGET]"""
import json, sys
from pathlib import Path

import yaml
from nbdev.config import get_config

root = Path(__file__).resolve().parents[1]
cfg = get_config(path=root)
target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "nbs" / "llms.txt"

def line(name): # - [title](address): description
    title, _, description = "".join(json.loads((root / "nbs" / name).read_text())["cells"][0]["source"]).strip().split("\n")[:3]
    page = Path(name).with_name(Path(name).stem.lstrip("0123456789_") + ".html").as_posix()
    return f"- [{title.removeprefix('# ')}]({cfg.doc_host}{cfg.doc_baseurl}/{page}): {description.removeprefix('> ')}"

def notebooks(x): return [n for v in x for n in ([v] if isinstance(v, str) else notebooks(v["contents"]))]

parts = [f"# {cfg.lib_name}", "", f"> {cfg.description}", "", "A Python library for credit-risk modelling: `pip install \"cascade-engine[torch]\"`. The face is `LSTMCascadeGenerator`: `fit(sequences, borrowers)`, `generate`,",
         "`generate_records`, `simulate`, `score`, `save`, `load`. Histories are a table `loan_id, month, payment_status` or lists of status names; errors are `InputError` and name row, column and remedy.", ""]
for section in yaml.safe_load((root / "_quarto.yml").read_text())["website"]["sidebar"]["contents"]:
    if "section" in section: parts += [f"## {section['section']}", "", *map(line, notebooks(section["contents"])), ""]
target.write_text("\n".join(parts), encoding="utf-8")
