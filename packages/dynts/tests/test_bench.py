"""The bench measures what it says, on a stream so short that only its form is checked."""

import numpy as np
import pytest

from septet.dynts.bench import Setting, drifting_stream, measure, play_agent, play_mabwiser, play_vowpal


def test_rows_have_the_form_of_the_contract():
    rows = measure(Setting(rounds=60, seeds=[1]))
    assert {row["peer"] for row in rows} == {"MABWiser LinTS", "Vowpal Wabbit"}
    for row in rows:
        assert set(row) == {"name", "value", "unit", "peer", "peer_value", "ratio", "limit_ratio"}
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
        assert row["limit_ratio"] is None or 0 < row["limit_ratio"] < 1


def test_all_contenders_play_the_same_stream_and_learn_something():
    stream = drifting_stream(600, 3)
    _, probabilities, _ = stream
    blind = float(np.sum(probabilities.max(axis=1) - probabilities.mean(axis=1)))
    for play in (play_agent, play_mabwiser, play_vowpal):
        assert play(stream) < 0.95 * blind
