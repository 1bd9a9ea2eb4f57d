"""Tags of UD English EWT: CoNLL-U, tagger, features, and the whole way on a few sentences."""

import gzip
import itertools

import numpy as np
import polars as pl
import pytest

from septet.errors import DataUnavailable, InputError
from septet.scores import read_scores
from septet.vrda import conllu
from septet.vrda.config import Job, Method, Preparation, Task
from septet.vrda.conllu import ewt, read_conllu
from septet.vrda.features import Vocabulary
from septet.vrda.lists import read_lists, read_note
from septet.vrda.prepare import jackknife, prepare
from septet.vrda.tagger import k_best, train_tagger
from septet.vrda.tags import TagLists, described_tags, tag_features
from septet.vrda.train import train

GOOD = """# newdoc id = one
# text = We can't
1\tWe\twe\tPRON\tPRP\t_\t2\tnsubj\t_\t_
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_
2\tca\tcan\tAUX\tMD\t_\t0\troot\t_\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t_\t_
3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_

# newdoc id = two
1\tNo\tno\tINTJ\tUH\t_\t0\troot\t_\t_

"""
BANK = [
    [("DT", "the"), ("NN", "can"), ("VBD", "fell")],
    [("PRP", "we"), ("MD", "can"), ("VB", "fish")],
    [("DT", "the"), ("NN", "fish"), ("MD", "can"), ("VB", "swim")],
    [("NN", "fish"), ("VBD", "fell")],
]


def test_conllu_words_and_tags_by_document(tmp_path):
    (tmp_path / "x.conllu").write_text(GOOD)
    (tmp_path / "x.conllu.gz").write_bytes(gzip.compress(GOOD.encode()))
    expected = {"one": [[("PRP", "We"), ("MD", "ca"), ("RB", "n't")]], "two": [[("UH", "No")]]}
    assert read_conllu(tmp_path / "x.conllu") == expected
    assert read_conllu(tmp_path / "x.conllu.gz") == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tMD\t_", "\tMD", "x.conllu:5: expected 10 columns with tabs between, found 9"),
        ("3\tn't", "4\tn't", "x.conllu:6: expected word 3, found 4"),
        ("\tRB\t", "\t_\t", "x.conllu:6: expected a word with a tag in column 5, found n't _"),
        ("root\t_\t_\n\n", "root\t_\t_\n", "expected an empty line after the sentence"),
        ("We", "\udcff", "expected a CoNLL-U file"),
    ],
)
def test_malformed_conllu_is_one_line_with_file_and_line(tmp_path, old, new, message):
    (tmp_path / "x.conllu").write_bytes(GOOD.replace(old, new).encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as error:
        read_conllu(tmp_path / "x.conllu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("words", [["the", "can"], ["we", "can", "fish", "can"], ["Bob"], ["the", "new-est", "can"]])
def test_k_best_are_the_best_of_all_sequences(words):
    tagger = train_tagger(BANK)
    edge = len(tagger.tags)
    choices = [list(zip(*map(list, tagger.allowed(word)), strict=True)) for word in words]
    every = []
    for sequence in itertools.product(*choices):
        chain = [edge, edge, *(tag for tag, _ in sequence), edge]
        log_p = sum(gain for _, gain in sequence)
        log_p += sum(tagger.log_next[chain[i - 2], chain[i - 1], chain[i]] for i in range(2, len(chain)))
        every.append((log_p, [tag for tag, _ in sequence]))
    every.sort(key=lambda one: -one[0])
    for k in (1, 7, 50):
        tags, log_p = k_best(tagger, words, k)
        assert len(tags) == min(k, len(every))
        np.testing.assert_allclose(log_p, [one for one, _ in every[:k]], rtol=1e-12)
        found = {(round(one, 9), tuple(row)) for one, row in zip(log_p, tags.tolist(), strict=True)}
        assert len(found) == len(tags)
        assert found <= {(round(one, 9), tuple(row)) for one, row in every}


def test_distributions_sum_to_one():
    tagger = train_tagger(BANK)
    np.testing.assert_allclose(np.exp(tagger.log_next).sum(axis=2), 1.0)
    assert tagger.tags[int(tagger.allowed("we")[0][np.argmax(tagger.allowed("we")[1])])] == "PRP"


def test_jackknife_holds_out_every_document_once():
    documents = {name: [sentence] for name, sentence in zip("abcd", BANK, strict=True)}
    seen = []
    for tagger, sentences in jackknife(train_tagger, documents, folds=3):
        seen += sentences
        only = {w for s in sentences for _, w in s} - {w for s in BANK if s not in sentences for _, w in s}
        assert not only & set(tagger.words)
    assert sorted(seen) == sorted(BANK)


def test_rows_differ_as_the_features_of_the_candidates_do():
    tagger = train_tagger(BANK)
    sentence = BANK[2]
    words = ["<", "<", *(word for _, word in sentence), ">", ">"]
    tags, log_p = k_best(tagger, [word for _, word in sentence], 12)
    vocabulary = Vocabulary()
    described, _ = described_tags(vocabulary, TagLists(sentence, tagger.tags, tags, log_p))
    counts = np.zeros((len(tags), len(vocabulary)))
    for row, candidate in zip(counts, tags.tolist(), strict=True):
        chain = ["<", "<", *(tagger.tags[tag] for tag in candidate)]
        for i in range(len(sentence)):
            for name in tag_features(chain[i], chain[i + 1], chain[i + 2], words[i : i + 5]):
                if name in vocabulary.numbers:
                    row[vocabulary.numbers[name]] += 1
    found = described.rows.toarray()
    np.testing.assert_array_equal(found - found[0], counts - counts[0])
    right = [sum(tagger.tags[t] == tag for t, (tag, _) in zip(c, sentence, strict=True)) for c in tags.tolist()]
    np.testing.assert_array_equal(described.match, right)
    assert (described.gold, set(described.guess)) == (4, {4})


def test_without_data_or_network_it_says_so(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise TimeoutError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataUnavailable, match="data set ud-english-ewt: expected SEPTET_DATA"):
        ewt(None, tmp_path, "train")


def test_tags_from_treebank_to_scores(real_data, tmp_path, monkeypatch):
    whole = conllu.read_conllu

    def few(file):
        return dict(list(whole(file).items())[:12])

    monkeypatch.setattr(conllu, "read_conllu", few)
    task = Task(name="ewt", treebank="ewt", from_scratch=True, train_lists=120, test_lists=40, least=2)
    prepare(Preparation(task=task, data_dir=str(real_data), data_source="real"), tmp_path / "lists")
    file = tmp_path / "lists" / "lists.safetensors"
    lists = read_lists(file, "test")
    assert read_note(file).startswith("ud-english-ewt 3fb78e2b5548, tags")
    words = lists.gold.sum()
    assert lists.f_score(lists.target) == pytest.approx(lists.match[lists.target].sum() / words)  # F is accuracy
    assert lists.f_score(lists.target) > lists.f_score(lists.starts[:-1]) + 0.02
    job = Job(
        method=Method(name="m", l1=[1e-3], bound=True),
        task=task,
        data_file=str(file),
        seeds=[0, 1],
        epochs=2,
        reads=[1, 2],
    )
    train(job, tmp_path / "run")
    f = read_scores(tmp_path / "run" / "scores.parquet").filter(pl.col("metric") == "f")["value"]
    assert f.is_between(0.5, 1).all()
