"""What a claims file may hold, and how a wrong one is told."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from septet.config import Settings, field_docstrings
from septet.errors import InputError
from septet.report import claims

GOOD = {
    "paper": {
        "id": "dynts",
        "title": "T",
        "authors": "A",
        "year": 2013,
        "url": "https://example.org/1",
        "method": "m",
    },
    "claims": [
        {
            "id": "c",
            "statement": "s",
            "source": "Table 1",
            "reported": "not recovered",
            "metric": "regret",
            "direction": "lower",
            "tasks": ["static"],
            "estimand": {"kind": "advantage", "of": "a", "against": ["b"]},
            "relation": {"kind": "greater", "than": 0},
            "scales": ["laptop"],
        }
    ],
}


def write(tmp_path, **changes):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "claims": [{**GOOD["claims"][0], **changes}]}))
    return path


def test_one_label_may_stand_without_a_list(tmp_path):
    claim = claims.read_claims(write(tmp_path)).claims[0]
    assert claim.methods == ["a", "b"]
    assert (claim.column, claim.is_area) == ("regret", False)
    area = claims.read_claims(write(tmp_path, metric="auc(regret)")).claims[0]
    assert (area.column, area.is_area) == ("regret", True)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"unit": "regret"}, "regret saved"),
        ({"unit": "return", "direction": "higher"}, "return gained"),
        ({"unit": "share of the regret", "estimand": {"kind": "relative_advantage", "of": "a", "against": "b"}},
         "of the regret saved"),
        ({"unit": "share of pairs", "estimand": {"kind": "level", "of": "a"}}, "share of pairs"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_unit_says_what_a_positive_estimate_means(tmp_path, changes, shown):
    assert claims.read_claims(write(tmp_path, **changes)).claims[0].unit_shown == shown


def test_a_reference_that_no_text_names_is_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    paper = {**GOOD["paper"], "references": {"Gao 2007": "https://b.org"}}
    path.write_text(yaml.safe_dump({**GOOD, "paper": paper}))
    with pytest.raises(InputError, match="none names Gao 2007"):
        claims.read_claims(path)
    path.write_text(yaml.safe_dump({**GOOD, "paper": {**paper, "method": "As Gao 2007."}}))
    assert claims.read_claims(path).paper.references == {"Gao 2007": "https://b.org"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"estimand": {"kind": "guess", "of": "a"}}, "claims.0.estimand"),
        ({"estimand": {"kind": "level", "of": []}}, "claims.0.estimand.of"),
        ({"estimand": {"kind": "advantage", "of": "a", "against": "a"}}, "each task and method once in claim c"),
        ({"estimand": {"kind": "shift_of_best", "family": ["a", "b"], "attribute": "r"}}, "two tasks"),
        ({"metric": "auc(regret)", "step": 10}, "step `last`"),
        ({"relation": {"kind": "within", "center": 1}}, "claims.0.relation.tolerance"),
        ({"relation": {"kind": "greater", "than": 1, "tolerance": -1}}, "claims.0.relation.tolerance"),
        ({"direction": "up"}, "claims.0.direction"),
        ({"tasks": []}, "claims.0.tasks"),
        ({"id": "Two words"}, "claims.0.id"),
        ({"colour": "red"}, "claims.0: expected one of the keys"),
        ({"ours": True}, "claims.0: expected one of the keys"),
        ({"range": [1, 0]}, "the smaller end of the range first"),
        ({"range": [0, 1], "regular": "why"}, "not two of them"),
        ({"range": [-1, 1], "estimand": {"kind": "ratio", "of": "a", "against": "b"}}, "a range from 0 on"),
        ({"range": [0, 1], "estimand": {"kind": "improvement", "of": "a", "against": "b"}}, "no range for improvement"),
        ({"metric": "seconds(learn)", "regular": "why"}, "never regular"),
        ({"number": {"value": 1, "share": 0}}, "claims.0.number.share"),
    ],
)
def test_a_wrong_claim_is_told_in_one_line(tmp_path, changes, words):
    with pytest.raises(InputError) as error:
        claims.read_claims(write(tmp_path, **changes))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_names_stand_once(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "claims": GOOD["claims"] * 2}))
    with pytest.raises(InputError, match="each claim id once"):
        claims.read_claims(path)
    good = write(tmp_path)
    with pytest.raises(InputError, match="a second file of dynts"):
        claims.read_all([good, good])


def test_every_field_is_described():
    def models(root: type[BaseModel]) -> list[type[BaseModel]]:
        return [root, *(model for below in root.__subclasses__() for model in models(below))]

    for model in models(Settings):
        if model.__module__ == claims.__name__:
            assert set(model.model_fields) == set(field_docstrings(model)), model.__name__


def test_whose_claim_it_is_follows_from_its_source(tmp_path):
    assert not claims.read_claims(write(tmp_path)).claims[0].ours
    assert claims.read_claims(write(tmp_path, source="Ours (a control)")).claims[0].ours
    ours = {claim.source for path in Path("config/claims").glob("*.yaml") for claim in claims.read_claims(path).claims}
    assert not [source for source in ours if "our " in source.split("(")[0]]  # such a source would not be the paper's
