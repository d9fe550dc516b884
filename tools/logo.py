"""The logo, drawn: bars that fall from bucket to bucket, in the colours of the statuses. Writes nbs/logo.svg and nbs/favicon.png."""
from pathlib import Path

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

from cascade_engine.plots import PALETTE

FOLDER = Path(__file__).resolve().parents[1] / "nbs"
STEPS = ["on_time", "30_days", "60_days", "90_days"]

def draw(path, **kw):
    with plt.rc_context({"svg.hashsalt": "cascade_engine"}): # the same file every time
        fig = plt.figure(figsize=(1, 1))
        ax = fig.add_axes([0, 0, 1, 1], xlim=(0, 100), ylim=(0, 100))
        ax.axis("off")
        for k, s in enumerate(STEPS):
            ax.add_patch(plt.matplotlib.patches.FancyBboxPatch((7 + 23*k, 8), 15, 76 - 20*k, boxstyle="round,pad=0,rounding_size=4", facecolor=PALETTE[s], linewidth=0))
            if k < 3: ax.plot([16 + 23*k, 37.5 + 23*k, 37.5 + 23*k], [92 - 20*k, 92 - 20*k, 74 - 20*k], color="#8a9bb0", linewidth=3, solid_capstyle="round", solid_joinstyle="round")
        fig.savefig(path, transparent=True, **kw)
        plt.close(fig)

draw(FOLDER / "logo.svg", metadata={"Date": None})
draw(FOLDER / "favicon.png", dpi=64, metadata={"Software": None})
