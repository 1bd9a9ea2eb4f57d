"""What the bench makes of its measurements, by hand; and one contender from end to end."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix, save_npz

from septet.vrda.bench import BENCH, GRIDS, PEERS, _measure, _write_vw, at_edge, compare, gather, text_like


def found(seconds, processor, error):
    return {"examples": 100, "seconds": seconds, "processor": processor, "error": error, "nonzeros": 8, "memory": 2.0}


def test_rows_set_each_prediction_next_to_each_peer():
    results = dict.fromkeys(PEERS.values(), found(1.0, 2.0, 0.2)) | {
        "vRDA averaged": found(0.25, 0.2, 0.1) | {"at_edge": 1.0},
        "vRDA last": found(0.5, 0.5, 0.3),
    }
    rows = compare(results, limit=0.125)
    assert len(rows) == 1 + 2 * 3 * 5
    assert rows[0]["value"] == 1.0
    at = {(row["name"], row["peer"]): row for row in rows}
    speed = at["examples per second and pass, vRDA averaged", "Vowpal Wabbit"]
    assert (speed["value"], speed["peer_value"], speed["ratio"], speed["limit_ratio"]) == (400.0, 100.0, 4.0, 0.5)
    assert at["examples per processor second and pass, vRDA averaged", "Vowpal Wabbit"]["ratio"] == 10.0
    assert at["test error, vRDA last", "SGDClassifier"]["ratio"] == pytest.approx(1.5)


def test_a_setting_at_an_end_of_its_grid_is_seen():
    grid = [(l1, rate) for l1 in (0.0, 1.0, 2.0) for rate in (3.0, 4.0, 5.0)]
    assert [at_edge(one, grid) for one in [(1.0, 4.0), (0.0, 4.0), (2.0, 4.0), (1.0, 3.0)]] == [0.0, 0.0, 1.0, 1.0]
    assert [at_edge(one, [0.0, 1.0, 2.0]) for one in (0.0, 1.0, 2.0)] == [0.0, 0.0, 1.0]


def test_the_bare_gather_reads_each_non_zero_once():
    rows = csr_matrix(np.array([[5.0, 0.0, 5.0], [0.0, 5.0, 0.0]]))
    weights = np.array([1.0, 10.0, 100.0])
    assert gather((rows.data, rows.indices, rows.indptr), np.array([1, 0, 1]), weights) == 121.0


@pytest.mark.parametrize("name", ["vRDA averaged", "SGDClassifier", "Vowpal Wabbit"])
def test_a_contender_learns_in_a_process_of_its_own(name, tmp_path):
    setting = BENCH.quick.model_copy(update={"examples": 4000, "columns": 1 << 12, "nonzeros": 20})
    X, y = text_like(np.random.default_rng(0), 6000, setting.columns, setting.nonzeros)
    save_npz(tmp_path / "X.npz", X)
    np.save(tmp_path / "y.npy", y)
    _write_vw(tmp_path, X[:4000], y[:4000])
    one = _measure(tmp_path, name, GRIDS[name][1], setting)
    assert one["examples"] == 4000
    assert np.isfinite([one["seconds"], one["processor"]]).all()  # differences of short times: of either sign
    # 5 % of the labels are noise, and the guess is half: what was read back as a model predicts.
    assert 0.05 < one["error"] < 0.4
    assert 0 < one["nonzeros"] <= setting.columns
