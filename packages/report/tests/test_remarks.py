"""Corrections for many verdicts: by hand, and next to SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from septet.report.remarks import all_remarks, false_discovery, holm
from septet.report.verdicts import Verdict

ONE = Verdict(
    paper="dynts", claim="c", statement="", source="", reported="", ours=False, unit="", line="> 0", estimate=1.0,
    low=0.5, high=1.5, verdict="reproduced", reason="", scale="laptop", seeds=20, runs=[],
)  # fmt: skip


def of(values):
    return [ONE.model_copy(update={"claim": str(place), "p": p}) for place, p in enumerate(values)]


def names(found):
    return sorted(claim for _, claim in found)


def test_by_hand():
    """0.05 / 4 = .0125, / 3 = .0167, / 2 = .025; 0.05 times 1/4, 2/4, 3/4, 4/4 = .0125, .025, .0375, .05."""
    verdicts = of([0.03, 0.01, 0.016, 0.2])
    assert names(holm(verdicts)) == ["1", "2"]
    assert names(false_discovery(verdicts)) == ["0", "1", "2"]


def test_a_large_value_does_not_stop_the_step_up():
    assert names(false_discovery(of([0.04, 0.045, 0.049]))) == ["0", "1", "2"]
    assert names(holm(of([0.04, 0.045, 0.049]))) == []


def test_only_judged_verdicts_that_could_have_failed_count():
    open_, certain = ONE.model_copy(update={"estimate": None}), ONE.model_copy(update={"by_construction": "always"})
    assert holm([open_, certain]) == false_discovery([open_, certain]) == set()
    assert names(holm([open_, certain, *of([0.05])])) == ["0"]


@pytest.mark.parametrize("found", [holm, false_discovery])
def test_no_verdict_at_all(found):
    assert found([]) == set()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_the_rate_of_false_discoveries_is_scipys(values):
    adjusted = false_discovery_control(np.array(values))
    near = np.isclose(adjusted, 0.05, rtol=1e-12)
    kept = {claim for _, claim in false_discovery(of(values))}
    assert all((str(place) in kept) == (p <= 0.05) for place, p in enumerate(adjusted) if not near[place])


def test_the_sentences_say_which_correction_a_verdict_survives():
    said = all_remarks(of([1e-6, 0.03, 0.9]))
    assert any("Holm's correction for all" in one for one in said["dynts", "0"])
    assert any("not Holm's" in one for one in said["dynts", "1"])
    assert not any("Holm" in one for one in said["dynts", "2"])
