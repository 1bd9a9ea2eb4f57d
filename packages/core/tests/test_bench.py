"""Rows, turns and the file of a bench, on made-up numbers."""

import json

import pytest

from septet.bench import Bench, in_turns, row, seconds
from septet.config import Settings
from septet.errors import InputError


class Toy(Settings):
    speed: float
    seeds: list[int]


def test_a_row_compares_with_its_peer_if_there_is_one():
    both = row("steps per second", 30.0, "1/s", "peer", 10.0, 0.5)
    assert (both["ratio"], both["limit_ratio"]) == (3.0, 0.5)
    alone = row("memory", 30.0, "MB")
    assert alone == {
        "name": "memory", "value": 30.0, "unit": "MB", "peer": None, "peer_value": None, "ratio": None,
        "limit_ratio": None,
    }  # fmt: skip


def test_contenders_take_turns_and_the_median_counts():
    order, values = [], {"ours": iter([1.0, 9.0, 2.0]), "peer": iter([5.0, 5.0, 5.0])}

    def measure(name):
        order.append(name)
        return next(values[name])

    found = in_turns({name: lambda name=name: measure(name) for name in values}, 3)
    assert found == {"ours": 2.0, "peer": 5.0}
    assert order == ["ours", "peer"] * 3


def test_seconds_are_those_of_the_call(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("septet.bench.time.perf_counter", lambda: next(clock))
    assert seconds(lambda: None)() == 2.5


def test_the_file_holds_rows_and_card_and_the_table_is_printed(tmp_path, capsys):
    bench = Bench(
        measure=lambda setting: [row("speed", setting.speed, "1/s", "peer", 10.0, 0.5), row("memory", 2.0, "MB")],
        full=Toy(speed=30.0, seeds=[1, 2]), quick=Toy(speed=20.0, seeds=[1]), packages=["septet"], libraries=["numpy"],
        peers=["json"],
    )  # fmt: skip
    bench(False, tmp_path / "b.json")
    found = json.loads((tmp_path / "b.json").read_text())
    assert [one["name"] for one in found["rows"]] == ["speed", "memory"]
    card = found["card"]
    assert (card["paper"], card["verb"], card["seeds"]) == ("septet", "bench", [1, 2])
    assert (card["config"], "numpy" in card["versions"]) == ({"speed": 30.0, "seeds": [1, 2]}, True)
    speed, memory = capsys.readouterr().out.splitlines()
    assert speed.split() == ["speed", "30", "1/s", "peer", "10", "ratio", "3.00", "of", "the", "limit", "0.50"]
    assert memory.split() == ["memory", "2", "MB"]
    bench(True, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["rows"][0]["value"] == 20.0


def test_a_bench_without_its_peer_writes_nothing(tmp_path):
    setting = Toy(speed=1.0, seeds=[])
    bench = Bench(
        measure=lambda setting: [],
        full=setting,
        quick=setting,
        packages=["septet"],
        libraries=[],
        peers=["no_such_peer"],
    )
    with pytest.raises(InputError, match="the peer no_such_peer"):
        bench(True, tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_peer_is_one_line_and_nothing_is_written(tmp_path):
    toy = Toy(speed=1.0, seeds=[])
    bench = Bench(lambda setting: [], full=toy, quick=toy, packages=[], libraries=[], peers=["json", "no_such_peer"])
    with pytest.raises(InputError, match=r"bench: expected the peer no_such_peer \(make setup-dev\)"):
        bench(True, tmp_path / "b.json")
    assert not list(tmp_path.iterdir())
