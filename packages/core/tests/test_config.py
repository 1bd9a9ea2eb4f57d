"""Configuration: what is refused, in which words, and the files that are made from the models."""

import re
import subprocess
import sys
import time
import tracemalloc
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from septet.config import PLACE, Settings, default_yaml, validate, without_places
from septet.errors import InputError
from septet.reading import parse_scalar, read_mapping


class Walk(Settings):
    kind: Literal["walk"]
    period: int = 1


class Jump(Settings):
    kind: Literal["jump"]
    height: float = 1.0


class Part(Settings):
    name: str = "part"
    """Its name."""
    width: float = Field(default=1.0, gt=0)


class Machine(Settings):
    rows: Annotated[int, PLACE] = Field(default=8, ge=1)
    steps: int = 3


class OnMachine(Settings):
    file: Annotated[str | None, PLACE] = None
    machine: Machine = Machine()
    more: dict[str, int] = {"rows": 1}


def test_keys_that_say_where_a_job_computes_are_left_out_at_any_depth():
    one = OnMachine(file="here", machine=Machine(rows=2, steps=4))
    assert without_places(one) == {"machine": {"steps": 4}, "more": {"rows": 1}}
    assert one.model_dump() == {"file": "here", "machine": {"rows": 2, "steps": 4}, "more": {"rows": 1}}
    with pytest.raises(InputError, match="rows: expected greater than or equal to 1, found 0"):
        validate(Machine, {"rows": 0}, "job")


class Toy(Settings):
    seeds: list[int] = [0, 1]
    """Replicates.
    A second line."""
    rate: float = Field(default=0.5, ge=0, le=1)
    """Learning rate."""
    label: str = ""
    note: str | None = None
    part: Part = Part()
    parts: dict[str, Part] = {"a": Part(width=2.0), "b": Part()}
    """Parts by name."""
    spare: Part | None = None
    row: list[Part] = []
    pair: tuple[Part, int] = (Part(), 1)
    task: Annotated[Walk | Jump, Field(discriminator="kind")] = Walk(kind="walk")
    tasks: dict[str, Annotated[Walk | Jump, Field(discriminator="kind")]] = {"j": Jump(kind="jump", height=2.0)}

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("different seeds")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Toy":
        if self.label == "walk" and self.task.kind != "walk":
            raise ValueError("the label of its task")
        return self


class Tree(Settings):
    name: str = ""
    below: "list[Tree]" = []


class Choice(Settings):
    either: Part | Tree | None = None


class Needy(Settings):
    needed: int


def refusal(data, model=Toy):
    with pytest.raises(InputError) as error:
        validate(model, data, "job.yaml")
    assert "\n" not in str(error.value)
    return str(error.value)


PART = "expected one of the keys name, width"
TOY = "label, note, pair, part, parts, rate, row, seeds, spare, task, tasks"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"seed": 1}, f"job.yaml: expected one of the keys {TOY}, found the unknown key seed"),
        ({"part": {"q": 1}}, f"job.yaml: part: {PART}, found the unknown key q"),
        ({"parts": {"x": {"q": 1}}}, f"job.yaml: parts.x: {PART}, found the unknown key q"),
        ({"row": [{}, {"q": 1}]}, f"job.yaml: row.1: {PART}, found the unknown key q"),
        ({"spare": {"q": 1}}, f"job.yaml: spare: {PART}, found the unknown key q"),
        ({"pair": [{"q": 1}, 1]}, f"job.yaml: pair.0: {PART}, found the unknown key q"),
        (
            {"task": {"kind": "jump", "q": 1}},
            "job.yaml: task: expected one of the keys height, kind, found the unknown key q",
        ),
        (
            {"tasks": {"x": {"kind": "walk", "q": 1}}},
            "job.yaml: tasks.x: expected one of the keys kind, period, found the unknown key q",
        ),
    ],
)
def test_an_unknown_key_names_the_known_ones(data, message):
    assert refusal(data) == message


def test_an_unknown_key_of_a_variant_without_a_tag_names_the_known_ones():
    message = refusal({"either": {"width": 2, "q": 1}}, Choice)
    assert message == f"job.yaml: either: {PART}, found the unknown key q"


def test_an_unknown_key_of_a_model_that_holds_itself_names_the_known_ones():
    assert refusal({"nam": 1}, Tree) == "job.yaml: expected one of the keys below, name, found the unknown key nam"
    deep = refusal({"below": [{"below": [{"nam": 1}]}]}, Tree)
    assert deep == "job.yaml: below.0.below.0: expected one of the keys below, name, found the unknown key nam"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"seeds": 3}, "job.yaml: seeds: expected a valid list, found 3"),
        ({"rate": "fast"}, "job.yaml: rate: expected a valid number, unable to parse string as a number, found fast"),
        ({"rate": 2}, "job.yaml: rate: expected less than or equal to 1, found 2"),
        ({"part": {"width": float("nan")}}, "job.yaml: part.width: expected a finite number, found nan"),
        ({"label": None}, "job.yaml: label: expected a valid string, found None"),
        ({"seeds": [1, None]}, "job.yaml: seeds.1: expected a valid integer, found None"),
        ({"seeds": [1, 1]}, "job.yaml: seeds: expected different seeds, found [1, 1]"),
        ({"parts": {"x": {"width": 0}}}, "job.yaml: parts.x.width: expected greater than 0, found 0"),
        ({"part": 3}, "job.yaml: part: expected a valid dictionary or instance of Part, found 3"),
        ({"label": ["a\nb"]}, "job.yaml: label: expected a valid string, found ['a\\nb']"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_was_found(data, message):
    assert refusal(data) == message


def test_a_missing_value_is_said():
    assert refusal({}, Needy) == "job.yaml: needed: expected a value, found nothing"


def test_a_fault_of_the_whole_names_the_file_and_the_keys_that_are_mentioned():
    message = refusal({"label": "walk", "task": {"kind": "jump"}})
    assert message == "job.yaml: expected the label of its task, found label: walk"


def test_a_wrong_kind_names_the_kinds():
    assert refusal({"task": {"kind": "run"}}) == "job.yaml: task.kind: expected one of 'walk', 'jump', found run"
    assert refusal({"task": {}}) == "job.yaml: task.kind: expected a value, found nothing"


def test_a_long_value_is_cut():
    assert len(refusal({"rate": "x" * 10_000})) < 400


def test_a_key_that_is_no_text_is_one_line():
    assert refusal({1: 2}).startswith("job.yaml: 1: expected ")


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Toy().rate = 0.1


# reading


@pytest.fixture
def file(tmp_path):
    return tmp_path / "job.yaml"


@pytest.mark.parametrize(
    "text", ["seeds: [1, 2]\nlabel: ü", '{"seeds": [1, 2], "label": "ü"}', "\ufeffseeds: [1, 2]\nlabel: ü"]
)
def test_yaml_and_json_are_read(text, file):
    file.write_text(text, encoding="utf-8")
    assert read_mapping(str(file)) == {"seeds": [1, 2], "label": "ü"}


def test_standard_input_is_read():
    code = "from septet.reading import *; print(read_mapping('-'))"
    done = subprocess.run([sys.executable, "-c", code], input="a: 1", capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': 1}\n"


def unreadable(text, file):
    file.write_bytes(text)
    with pytest.raises(InputError) as error:
        read_mapping(str(file))
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{file}: expected ")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "a mapping"),
        (b"- 1", "a mapping"),
        (b"3", "a mapping"),
        (b"just text", "a mapping"),
        (b"a: [", "YAML or JSON"),
        (b"a: 1\n b: 2", "YAML or JSON"),
        (b"\t", "YAML or JSON"),
        (b"a: !!python/object/apply:os.system [ls]", "YAML or JSON"),
        (b"a: 1\n---\nb: 2", "YAML or JSON"),
        (b"? [1]\n: 2", "YAML or JSON"),
        (b"a: \x00", "YAML or JSON"),
        (b"a: " + b"[" * 1000, "YAML or JSON"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "UTF-8 text"),
        (b"\xff\xfea\x00", "UTF-8 text"),
        (b"day: 2013-99-99", "YAML or JSON"),
        (b"a: 0x_", "YAML or JSON"),
        (b"a: " + b"9" * 5000, "YAML or JSON"),
        (b"a: !!int x", "YAML or JSON"),
        (b"a: !!int ''", "YAML or JSON"),
        (b"a: !!bool x", "YAML or JSON"),
        (b"a: !!timestamp x", "YAML or JSON"),
    ],
)
def test_what_is_no_mapping_is_one_line(text, expected, file):
    assert f": expected {expected}" in unreadable(text, file)


@pytest.mark.parametrize(("place", "found"), [("nowhere.yaml", "No such file"), ("", "Is a directory")])
def test_a_missing_file_is_one_line(place, found, tmp_path):
    with pytest.raises(InputError, match=f"expected a readable file, found {found}"):
        read_mapping(str(tmp_path / place))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab01x_.:-!&*[]{}<=?|>%@#,'\"\n ~") | st.text())
@example("a: 0x_")
def test_any_text_is_a_mapping_or_one_line(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        assert isinstance(read_mapping(str(file)), dict)
    except InputError as error:
        assert "\n" not in str(error)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcd", "bcde", strict=True)
)


@pytest.mark.parametrize("end", ["seeds: [*e]", "label: *e"])
def test_a_bomb_of_aliases_is_refused_in_little_memory(end, file):
    """100,000 x as text need half a megabyte, and each level more ten times that."""
    file.write_text(BOMB + end)
    data = read_mapping(str(file))
    data = {key: data[key] for key in ("seeds", "label") if key in data}
    tracemalloc.start()
    try:
        refusal(data)
        assert (
            tracemalloc.get_traced_memory()[1] < 100_000
        )  # a million x would need 5 MB; ten levels more, all there is
    finally:
        tracemalloc.stop()


def test_a_bomb_is_read_in_little_time(file):
    deep = "".join(f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * 10)}]\n" for level in range(30))
    file.write_text("a0: &a0 [x]\n" + deep)
    start = time.monotonic()
    refusal(read_mapping(str(file)))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("text", ["part: &p {name: *p}", "seeds: &s [*s]", "parts: &p {x: *p}", "row: &r [*r]"])
def test_a_value_that_holds_itself_is_refused(text, file):
    file.write_text(text)
    refusal(read_mapping(str(file)))


# writing


def words(max_size):
    """Text that a configuration may hold."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, max_size=max_size)


WHOLE = st.integers(1 - 2**63, 2**63 - 1)
TOYS = st.builds(
    Toy,
    seeds=st.lists(WHOLE, unique=True, max_size=4),
    rate=st.floats(0, 1),
    label=words(max_size=10),
    note=st.none() | words(max_size=150) | st.sampled_from(["null", "no", "1e-3", "1:30", "2013-01-01", "~", "- a"]),
    parts=st.dictionaries(words(max_size=4), st.builds(Part, width=st.floats(1e-300, 1e300)), max_size=2),
    spare=st.none() | st.builds(Part, name=words(max_size=4)),
    task=st.builds(Walk, kind=st.just("walk"), period=WHOLE),
)


@settings(max_examples=60, deadline=None)
@given(TOYS)
def test_the_default_yaml_gives_its_settings_back(tmp_path_factory, toy):
    file = tmp_path_factory.getbasetemp() / "toy.yaml"
    file.write_text(default_yaml(toy, "A header\nof two lines"), encoding="utf-8")
    assert validate(Toy, read_mapping(str(file)), "toy.yaml") == toy


def test_the_default_yaml_by_hand():
    class Small(Settings):
        seeds: list[int] = [0, 1]
        """Replicates.
        A second line."""
        part: Part = Part(width=3.0)
        """One part."""
        bare: str | None = None

    assert (
        default_yaml(Small(), "Small\nthings")
        == """# Small
# things

# Replicates.
# A second line.
seeds: [0, 1]

# One part.
part: {width: 3.0}

bare: null
"""
    )


CASES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"seeds": [3], "rate": 1}, True),
    ({"note": None, "spare": None}, True),
    ({"spare": {"width": 2}}, True),
    ({"task": {"kind": "jump", "height": 3}}, True),
    ({"tasks": {}, "parts": {"x": {}}}, True),
    ({"pair": [{}, 3]}, True),
    ({"seed": 1}, False),
    ({"rate": 1.5}, False),
    ({"parts": {"x": {"q": 1}}}, False),
    ({"task": {"kind": "walk", "height": 3}}, False),
    ({"task": {"period": 3}}, False),
    ({"pair": [{}, 3, 4]}, False),
]


class Either(Settings):
    size: int | Literal["auto"] = 1
    part: Part | Walk | None = None
    parts: list[Part | Walk] = []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"size": "big"}, "size: expected a valid integer, unable to parse string as an integer or 'auto', found big"),
        ({"part": {"kind": "walk", "period": "x"}}, "part.period: expected a valid integer"),
        ({"part": {"width": -1}}, "part.width: expected greater than 0, found -1"),
        ({"part": {"widht": 1}}, "part: expected one of the keys name, width, found the unknown key widht"),
        ({"parts": [{"name": "a"}, {"width": "wide"}]}, "parts.1.width: expected a valid number"),
        ({"part": {"width": 2**70}}, "part.width: expected a whole number of at most 63 bits"),
        ({"parts": [{"width": -(2**64)}]}, "parts.0.width: expected a whole number of at most 63 bits"),
    ],
)
def test_a_mistake_inside_a_union_names_the_key_of_the_nearest_variant(data, message):
    with pytest.raises(InputError, match=f"^{re.escape('Toy: ' + message)}"):
        validate(Either, data, "Toy")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5e1", 5.0), ("+1e0", 1.0), ("7", 7), ("2.50", 2.5),
        ("true", True), ("null", None), ("ts-fast", "ts-fast"), ("1e", "1e"), ("e4", "e4"), ("[1, 2]", "[1, 2]"),
        ("{a: 1}", "{a: 1}"), ("exp-0.9", "exp-0.9"), ("2013-01-01", "2013-01-01"),
    ],
)  # fmt: skip
def test_text_is_the_number_that_people_mean(text, value, tmp_path):
    found = parse_scalar(text)
    assert found == value and type(found) is type(value)
    if not isinstance(value, str):
        (tmp_path / "one.yaml").write_text(f"key: {text}\n", encoding="utf-8")
        assert read_mapping(str(tmp_path / "one.yaml")) == {"key": value}
