"""State trees: what is saved comes back in place, and what has no declared state is named."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch

from septet.errors import NoState
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten


class Networks(NamedTuple):
    actor: np.ndarray
    critic: np.ndarray


@dataclass(frozen=True)
class Moments:
    count: np.ndarray
    mean: np.ndarray


class Ring:
    """Keeps the filled part of its records only."""

    def __init__(self):
        self.records, self.added = np.zeros(4), 0

    @property
    def state(self):
        return {"records": self.records[: self.added]}

    @state.setter
    def state(self, saved):
        self.added = len(saved["records"])
        self.records[: self.added] = saved["records"]


class Agent:
    checkpointed = ("networks", "moments", "ring", "steps", "rate", "noise", "last", "rows", "by_name")

    def __init__(self, value):
        self.networks = Networks(np.full(2, value), np.full(3, value))
        self.moments = Moments(np.full(1, value), np.full((1, 2), value))
        self.ring = Ring()
        self.steps, self.rate = int(value), float(value)
        self.noise = self.last = None
        self.rows = []
        self.by_name = {"w": np.full(1, value)}
        self.scratch = np.full(5, value)


def trained():
    agent = Agent(3.0)
    agent.ring.records[:2], agent.ring.added = (7.0, 8.0), 2
    agent.last = np.array([5.0])
    agent.rows = [(np.zeros(1), 2), (np.ones(4), 3)]
    agent.by_name["later"] = np.array([9])
    return agent


def test_a_tree_comes_back_and_what_is_not_declared_stays():
    first, second = trained(), Agent(0.0)
    saved = state_dict(first)
    assert saved.keys() == {
        "networks/actor", "networks/critic", "moments/count", "moments/mean", "ring/records", "steps", "rate", "last",
        "rows/length", "rows/0/0", "rows/0/1", "rows/1/0", "rows/1/1", "by_name/w", "by_name/later",
    }  # fmt: skip
    second.rows = [(np.zeros(1), 0)] * 2
    load_state_dict(second, saved)
    again = state_dict(second)
    assert again.keys() == saved.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype and not np.shares_memory(again[name], array)
    assert (second.steps, second.rate, second.noise) == (3, 3.0, None) and type(second.steps) is int
    assert (second.scratch == 0.0).all()


def test_what_a_local_variable_holds_is_what_was_loaded():
    agent = Agent(0.0)
    actor, moments, mean, by_name, w = (
        agent.networks.actor, agent.moments, agent.moments.mean, agent.by_name, agent.by_name["w"],
    )  # fmt: skip
    rows = agent.rows = [(np.zeros(1), 0)] * 2
    load_state_dict({"agent": agent}, state_dict({"agent": trained()}))
    assert agent.networks.actor is actor and (actor == 3.0).all()
    assert agent.moments is moments and moments.mean is mean and (mean == 3.0).all()
    assert agent.by_name is by_name and by_name["later"] == 9 and by_name["w"] is w and w == 3.0
    assert agent.rows is rows and rows[1][1] == 3


def test_lists_come_back_with_their_length_and_items_that_are_none_or_empty():
    first, second = {"x": [None, np.ones(2), [], {}]}, {"x": [None, None, [], {}, None]}
    load_state_dict(second, state_dict(first))
    assert len(second["x"]) == 4 and second["x"][0] is None and second["x"][2:] == [[], {}]
    np.testing.assert_array_equal(second["x"][1], np.ones(2))


@pytest.mark.parametrize("value", [2, 2.5, True, np.float32(1.5), np.int64(-7), -1])
def test_numbers_come_back_with_their_value_and_kind(value):
    held = {"x": type(value)(0)}
    load_state_dict(held, state_dict({"x": value}))
    assert held["x"] == value and type(held["x"]) is type(value)


def test_a_number_that_was_whole_when_built_comes_back_unrounded():
    held = {"best": 0}
    load_state_dict(held, state_dict({"best": 2.5}))
    assert held["best"] == 2.5


def test_tensors_are_filled_in_place_as_their_optimiser_holds_them():
    flat = torch.zeros(2, 3, requires_grad=True)
    held = {"flat": flat, "steps": torch.zeros(())}
    load_state_dict(held, {"flat": np.ones((2, 3), "f4"), "steps": np.array(4.0, "f4")})
    assert held["flat"] is flat and (flat == 1).all() and held["steps"] == 4
    longer = [torch.zeros(2)]
    load_state_dict(longer, {"length": np.array(1), "0": np.ones(5, "f4")})
    assert longer[0].shape == (5,)


class One:
    checkpointed = ("x",)

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize(
    ("built", "saved", "message"),
    [
        (One(np.zeros(2)), One(np.zeros(3)), r"state/x: expected float64 \(2,\) as built, found float64 \(3,\)"),
        (One(np.zeros(2)), One(np.zeros(2, "f4")), r"state/x: expected float64 \(2,\) as built, found float32 \(2,\)"),
        (One(1), One(None), "state/x: expected a value, found none"),
        (One(1), One(np.zeros(2)), r"state/x: expected a number, found an array \(2,\)"),
        (One(None), One({"a": np.zeros(1)}), r"state/x: expected the state of a NoneType, found \['a'\]"),
        (
            One(Moments(np.zeros(1), np.zeros(1))),
            One({"other": 1}),
            r"state/x: expected .*, found \['other'\] too|none",
        ),
    ],
)
def test_what_was_built_differently_is_an_error(built, saved, message):
    with pytest.raises((TypeError, KeyError), match=message):
        load_state_dict(built, state_dict(saved))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"one": {"two": object()}}, "state/one/two: expected state, or an object that declares"),
        ({"a/b": np.zeros(1)}, "state: expected names without a slash, found 'a/b'"),
        ({3: np.zeros(1)}, "state: expected names without a slash, found 3"),
        (One("text"), "state/x: expected state"),
    ],
)
def test_what_has_no_declared_state_is_an_error(node, message):
    with pytest.raises(TypeError, match=message):
        state_dict(node)


def test_parts_that_share_an_array_are_found_when_they_are_loaded():
    shared = np.zeros(2)
    with pytest.raises(ValueError, match="state/start: expected the loaded value"):
        load_state_dict({"start": shared, "w": shared}, {"start": np.zeros(2), "w": np.ones(2)})


def test_a_forgotten_name_is_found():
    first, second = trained(), Agent(0.0)
    second.rows = [(np.zeros(1), 0)] * 2
    load_state_dict(second, state_dict(first))
    assert forgotten(first, second) == {"scratch"} and forgotten(first, second, ["scratch"]) == set()
    first.noise, first.ring.records[0], first.rows[1] = Networks(np.ones(1), np.ones(1)), 0.0, (np.zeros(4), 3)
    first.generator, second.generator = np.random.default_rng(0), np.random.default_rng(0)
    first.inner, second.inner = One(One(1.0)), One(One(1.0))
    assert forgotten(first, second) == {"scratch", "noise", "ring.records", "rows.1.0"}
    first.generator.normal()
    first.inner.x.x, second.inner.y = 2.0, 0
    assert forgotten(first, second) == {
        "scratch", "noise", "ring.records", "rows.1.0", "generator.state.state", "inner.x.x", "inner.y",
    }  # fmt: skip


class Closed:
    """A part that cannot return its state."""

    @property
    def state(self):
        raise NoState("part", expected="a state", found="none")

    @state.setter
    def state(self, saved):
        raise AssertionError("there is nothing to load")


def test_a_part_that_cannot_return_its_state_is_left_out_on_request():
    node = {"numbers": np.arange(3.0), "closed": Closed()}
    with pytest.raises(NoState):
        state_dict(node)
    saved = state_dict(node, partial=True)
    assert set(saved) == {"numbers"}
    other = {"numbers": np.zeros(3), "closed": Closed()}
    load_state_dict(other, saved, partial=True)
    np.testing.assert_array_equal(other["numbers"], [0.0, 1.0, 2.0])
