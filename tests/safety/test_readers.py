"""Every reader meets files that are torn, spoiled, huge, of a wrong type or encoding: InputError in one line, or fine.

A reader is a function of a path; whatever it does not refuse, it must have understood.
"""

import gzip
import json
import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from septet.card import RunCard
from septet.checkpoint import Checkpoints
from septet.config import validate
from septet.dynts import upworthy
from septet.empg import datasets
from septet.empg.config import Gsm8k
from septet.errors import InputError
from septet.parquet import write_table
from septet.reading import read_json, read_mapping
from septet.report.bench import read_bench
from septet.report.claims import read_claims
from septet.report.source import read_manifest
from septet.report.tables import read_paper, read_runs
from septet.report.verdicts import read_verdicts
from septet.reseal import reseal
from septet.scores import read_scores, read_timing, score_rows, write_scores, write_timing
from septet.sealed import PLACEHOLDER, read_sealed_json, seal, write_json
from septet.seeding import stream
from septet.vrda.conllu import read_conllu
from septet.vrda.generated import SPACE, generated_lists
from septet.vrda.lists import assemble, frequent, read_lists, write_lists
from septet.vrda.prepare import read_ready
from septet.vrda.treebank import clean, craft_articles, leaves, read_trees
from septet.workflow_config import WorkflowConfig, experiments, read_papers

ROOT = Path(__file__).parents[2]
GSM8K = Gsm8k.model_validate({"kind": "gsm8k", "model": {"kind": "tiny", "base": "warm"}, "prompt_characters": 10_000})
PUBLISHED = ROOT / "published/laptop"
EXAMPLES = int(os.environ.get("FUZZ", "10"))
"""Examples of each property for each reader; nightly FUZZ is 400."""
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def house(path: Path):
    return validate(WorkflowConfig, read_mapping(str(path)), str(path))


def job(paper: str, path: Path):
    return validate(experiments(read_papers(ROOT)[paper]), read_mapping(str(path)), str(path))


def trees(path: Path):
    text = path.read_bytes().decode("utf-8", errors="replace")
    return [leaves(tree) for raw in read_trees(text, str(path)) if (tree := clean(raw)) is not None]


def checkpoint(path: Path):
    store = Checkpoints(path.parent, {"settings": "s"})
    found = store.load()
    assert found is None or found[1]["x"].tolist() == [1.0, 2.0]
    if found is None:
        raise InputError("checkpoint", expected="a whole one", found="none")


def make(folder: Path) -> dict[str, tuple[Path, object]]:
    """A good file of each kind, and its reader."""
    frames = [score_rows("p", "m", "t", seeds=[0, 1], steps=[1, 2], metrics={"return": np.ones((2, 2))})]
    write_scores(folder / "scores.parquet", frames)
    timing = frames[0].rename({"metric": "phase", "value": "seconds"})
    write_timing(folder / "timing.parquet", [timing])
    write_table(upworthy.stand_in(0).head(60), folder / "upworthy.parquet", {"origin": "generated"})
    write_table(pl.DataFrame([("train", "q", "1", 0)], datasets.COLUMNS, orient="row"), folder / "gsm8k.parquet")
    described = generated_lists(stream(0, "fuzz"), 12)
    made = assemble(described, frequent((one for one, _ in described), SPACE, 2))
    write_lists(folder / "lists.safetensors", {"train": made}, "generated")
    (folder / "tree.mrg").write_text("( (S (NP (DT the) (NN dog)) (VP (VBZ barks))) )\n" * 3)
    row = {"gold": "(S (NN dog))", "parses": [[-1.0, "(S (NN dog))"], [-2.0, "(S (VB dog))"]]}
    with gzip.open(folder / "lists.jsonl.gz", "wt") as file:
        file.write((json.dumps(row) + "\n") * 3)
    (folder / "words.conllu").write_text("# newdoc id = a\n" + "1\tdog\t_\t_\tNN\t_\t_\t_\t_\t_\n\n" * 3)
    (folder / "math.jsonl").write_text('{"problem": "1+1", "answer": "2", "level": "Level 3"}\n' * 3)
    write_json(folder / "card.json", json.loads((PUBLISHED / "dynts/runs.json").read_text())["runs"][0])
    verdict = json.loads((ROOT / "tests/safety/verdict.json").read_text())
    write_json(folder / "verdicts.json", [verdict])
    small = read_sealed_json(PUBLISHED / "svrpo/runs.json", "run cards")
    write_json(folder / "runs.json", {**small, "runs": small["runs"][:1]})
    (folder / "bench.json").write_bytes((ROOT / "published/bench/rl.json").read_bytes())
    for name in ("house.yaml", "manifest.json", "claims.yaml"):
        source = {"house.yaml": "config/config.yaml", "manifest.json": "published/laptop/manifest.json"}
        (folder / name).write_bytes((ROOT / source.get(name, "config/claims/svrpo.yaml")).read_bytes())
    (folder / "experiments.yaml").write_bytes((ROOT / "config/papers/svrpo.yaml").read_bytes())
    (folder / "state").mkdir()
    Checkpoints(folder / "state", {"settings": "s"}).save(1, {"x": np.array([1.0, 2.0])})
    return {
        "score table": (folder / "scores.parquet", read_scores),
        "timing table": (folder / "timing.parquet", read_timing),
        "run card": (folder / "card.json", RunCard.read),
        "run cards": (folder / "runs.json", read_runs),
        "verdicts": (folder / "verdicts.json", read_verdicts),
        "bench": (folder / "bench.json", read_bench),
        "manifest": (folder / "manifest.json", read_manifest),
        "house": (folder / "house.yaml", house),
        "experiments": (folder / "experiments.yaml", partial(job, "svrpo")),
        "claims": (folder / "claims.yaml", read_claims),
        "headlines": (folder / "upworthy.parquet", partial(upworthy.load, clean_weeks=True)),
        "problems": (folder / "gsm8k.parquet", partial(datasets.questions, GSM8K)),
        "problems, JSONL": (folder / "math.jsonl", lambda path: list(datasets._problems(path, level5=False))),
        "lists": (folder / "lists.safetensors", partial(read_lists, split="train")),
        "lists, JSONL": (folder / "lists.jsonl.gz", lambda path: read_ready(path, lambda lines: lines)),
        "treebank": (folder / "tree.mrg", trees),
        "CoNLL-U": (folder / "words.conllu", read_conllu),
        "checkpoint's tensors": (folder / f"state/{1:012d}.safetensors", checkpoint),
        "checkpoint's note": (folder / f"state/{1:012d}.json", checkpoint),
    }  # fmt: skip


KINDS = [
    "score table", "timing table", "run card", "run cards", "verdicts", "bench", "manifest", "house", "experiments",
    "claims", "headlines", "problems", "problems, JSONL", "lists", "lists, JSONL", "treebank", "CoNLL-U",
    "checkpoint's tensors", "checkpoint's note",
]  # fmt: skip
SEALED = ["score table", "timing table", "run card", "run cards", "verdicts", "bench", "manifest", "headlines",
          "problems", "lists"]  # fmt: skip
"""What carries its checksum."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    found = make(tmp_path_factory.mktemp("good"))
    assert list(found) == KINDS
    return {kind: (path, path.read_bytes(), read) for kind, (path, read) in found.items()}


def told(read, path) -> str | None:
    """The one line with which a reader refuses a file; none if it takes it."""
    try:
        read(path)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_read_and_a_missing_one_refused(kind, good):
    path, content, read = good[kind]
    assert told(read, path) is None
    path.unlink()
    try:
        assert kind == "treebank" or told(read, path) is not None
    except FileNotFoundError:
        assert kind in ("problems, JSONL",)  # `locate` has looked
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
@fuzz
@given(data=st.data())
def test_damaged_bytes(kind, good, data):
    """Cut off, bits flipped, parts overwritten, put in twice: refused in one line, or read."""
    path, content, read = good[kind]
    spoiled = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(spoiled) - 1, 0)))
        match data.draw(st.sampled_from(["cut", "flip", "junk", "again", "drop"])):
            case "cut":
                del spoiled[place:]
            case "flip" if spoiled:
                spoiled[place] ^= 1 << data.draw(st.integers(0, 7))
            case "junk":
                spoiled[place : place + 4] = data.draw(st.binary(max_size=12))
            case "again":
                spoiled[place:place] = content[place : place + 64]
            case "drop":
                del spoiled[place : place + data.draw(st.integers(1, 64))]
    try:
        path.write_bytes(bytes(spoiled))
        line = told(read, path)
        assert line is not None or kind not in SEALED or spoiled == content
    finally:
        path.write_bytes(content)


WORDS = ["", "..", "/etc/passwd", "../../up", "a\0b", "a\nb", "\ud800", "<script>", "x" * 5000, "NaN", "1e999", "ü"]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(WORDS),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.sampled_from(WORDS), st.integers(), max_size=2),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["run card", "run cards", "verdicts", "bench", "manifest", "house", "experiments",
                                  "claims", "checkpoint's note", "problems, JSONL"])  # fmt: skip
@fuzz
@given(data=st.data())
def test_wrong_values_in_a_whole_file(kind, good, data):
    """A value of another type, a key too many or too few, somewhere inside."""
    path, content, read = good[kind]
    first = content.splitlines()[0] if kind == "problems, JSONL" else content
    whole = read_any(first)
    node = whole
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            match data.draw(st.sampled_from(["change", "drop", "more"])):
                case "change":
                    node[key] = data.draw(VALUES)
                case "drop":
                    del node[key]
                case "more" if isinstance(node, dict):
                    node[data.draw(st.sampled_from(WORDS))] = data.draw(VALUES)
            break
        node = node[key]
    try:
        path.write_text(json.dumps(whole) + ("\n" if "JSONL" in kind else ""), encoding="utf-8")
        if kind in SEALED:
            assert told(read, path) is not None
            told(reseal, path)  # the checksum is not all that is looked at
        told(read, path)
    finally:
        path.write_bytes(content)


def read_any(content: bytes):
    import yaml

    return yaml.safe_load(content.decode())


@pytest.mark.parametrize("kind", ["lists"])
@fuzz
@given(data=st.data())
def test_arrays_that_do_not_fit_together(kind, good, data):
    """Whole safetensors files with other shapes, types or indices: a learner must not read beyond their ends."""
    path, content, read = good[kind]
    from safetensors.numpy import load

    arrays = load(content)
    name = data.draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    match data.draw(st.sampled_from(["shorter", "longer", "type", "values", "axes", "gone"])):
        case "shorter":
            arrays[name] = array[: data.draw(st.integers(0, len(array) - 1))]
        case "longer":
            arrays[name] = np.concatenate([array, array])
        case "type":
            arrays[name] = array.astype(data.draw(st.sampled_from(["float32", "int8", "int64", "float64", "int16"])))
        case "values":
            arrays[name] = array.copy()
            arrays[name][data.draw(st.integers(0, len(array) - 1))] = data.draw(st.sampled_from([-1, 2**14, 7]))
        case "axes":
            arrays[name] = array[None]
        case "gone":
            del arrays[name]
    try:
        save_file(arrays, path, metadata=PLACEHOLDER)
        seal(path)
        if told(read, path) is None:
            lists = read(path)
            assert lists.rows().sum() == lists.rows().toarray().sum()
            assert len(lists.target) == len(lists.gold)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["house", "claims", "run card", "CoNLL-U", "treebank", "problems, JSONL"])
def test_other_encodings(kind, encoding, good):
    path, content, read = good[kind]
    try:
        path.write_bytes((content.decode() + "# ü\n").encode(encoding))
        told(read, path)
    finally:
        path.write_bytes(content)


BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstu"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scale: smoke\nscale: laptop\n", "the key scale again"),
        ('{"scale": "smoke", "scale": "paper"}', "the key scale again"),
        ("papers: [dynts]\n? papers\n: []\n", "the key papers again"),
        ("a: &a {scale: smoke}\nb:\n  <<: *a\n", "a merge"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("scale: !!binary =", "scale: expected"),
        ('scale: "a\\0b"', "text without NUL"),
        ('{"scale": "\\ud800"}', "text without NUL and lone surrogates"),
        ("data_dir: .inf\n", "expected a valid string"),
        ("[" * 50_000, "YAML or JSON"),
        ("x: " + "9" * 10_000, "YAML or JSON"),
        (BOMB, "unknown key"),
        ("x: " + "y" * 10_000_001, "at most 10,000,000 bytes"),
    ],
    ids=lambda value: value[:24],
)  # fmt: skip
def test_hostile_yaml(text, says, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    line = told(house, file)
    assert line is not None and says in line
    assert len(line) < 600


def test_json_of_ours_gives_no_key_twice(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": {"b": 1, "b": 2}}')
    with pytest.raises(InputError, match="the key b again"):
        read_json(file, "a mapping")


def test_every_yaml_file_of_the_checkout_gives_its_keys_once():
    files = [path for folder in ("config", "profiles") for path in (ROOT / folder).rglob("*.yaml")]
    assert len(files) > 10
    for file in files:
        read_mapping(str(file))


@pytest.mark.parametrize("member", ["../../evil.tree", "/tmp/evil.tree", "penn/a\nb.tree", "penn/x.tree"])
def test_an_archive_unpacks_nothing(member, tmp_path):
    import io
    import tarfile

    for split in ("train", "dev", "test"):
        (tmp_path / f"craft-ids-{split}.txt").write_text("1234\n")
    with tarfile.open(tmp_path / "trees.tar.gz", "w:gz") as tar:
        for name in (member, "penn/link.tree"):
            info = tarfile.TarInfo(name)
            if name.endswith("link.tree"):
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = 3
            tar.addfile(info, io.BytesIO(b"(X)"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError):
        craft_articles(tmp_path, tmp_path / "trees.tar.gz")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_deep_tree_is_refused_before_the_stack_is_full(tmp_path):
    with pytest.raises(InputError, match="brackets inside each other"):
        list(read_trees("(S " * 100_000, "deep.tree"))


def test_a_paper_of_mixed_tables_is_refused(tmp_path, good):
    with pytest.raises(InputError):
        read_paper(tmp_path)
