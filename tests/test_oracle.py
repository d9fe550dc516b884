"""Exits by month on book equal lifelines', where it is installed (it wants pandas below 3: an environment of its own with cascade_engine and lifelines)."""
import numpy as np
import pytest

from cascade_engine.matrix import TransitionMatrix, exits
from cascade_engine.sampling import walk  # noqa: F401  gives the matrix its `sample`
from cascade_engine.status import STATUS

def test_exits_equal_lifelines():
    lifelines = pytest.importorskip("lifelines", reason="lifelines is not installed; nbs/03_matrix.ipynb holds its figures")
    short = TransitionMatrix.industry().sample(3000, 36, seed=1).truncate(np.random.default_rng(0).integers(2, 60, 3000))
    kind, duration = np.where(STATUS.terminal[short.last], short.last - 4, 0), short.lengths - 1.
    left = exits(short)
    for code, name in ((1, "default"), (2, "paid_off"), (3, "prepaid")):
        theirs = lifelines.AalenJohansenFitter(jitter_level=0, calculate_variance=False).fit(duration, kind, event_of_interest=code).cumulative_density_.iloc[:, 0]
        np.testing.assert_allclose(left[name].to_numpy()[theirs.index.astype(int)], theirs, atol=1e-9)
    theirs = lifelines.KaplanMeierFitter().fit(duration, kind > 0).survival_function_.iloc[:, 0]
    np.testing.assert_allclose(1 - left.sum(axis=1).to_numpy()[theirs.index.astype(int)], theirs, atol=1e-9)
