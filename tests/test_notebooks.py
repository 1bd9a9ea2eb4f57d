"""The notebooks of docs/notebooks run, and what they hold is what a run prints."""

import json

import notebooks
import pytest

FILES = sorted(notebooks.FOLDER.glob("*.ipynb"))


def kinds(notebook):
    """Of each code cell, what it leaves: printed lines, the form of its last value."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = []
    for cell in cells:
        printed = [len(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]
        found.append([*printed, *(kind for output in cell["outputs"] for kind in output.get("data", ()))])
    return found


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_notebook_runs_and_holds_what_it_prints(path, monkeypatch):
    """On any machine: without data sets. Numbers may differ there, so the lines are counted."""
    monkeypatch.setenv("SEPTET_DATA", "")
    stored = json.loads(path.read_text(encoding="utf-8"))
    fresh = notebooks.run(path)
    assert kinds(fresh) == kinds(stored) and sum(map(bool, kinds(stored))) >= 3
    page = notebooks.markdown(path)
    for cell in stored["cells"]:
        assert "".join(cell["source"]) in page
    assert page.count("```text") == sum(isinstance(kind, int) for cell in kinds(stored) for kind in cell)
    assert path.stat().st_size < 200_000 and page.startswith("# ")


def test_there_is_one_for_each_purpose():
    wanted = {"own-environment", "tune-vrda", "logged-clicks", "own-figure", "add-a-baseline"}
    assert wanted == {path.stem for path in FILES}


def written(folder, *sources):
    cells = [{"cell_type": "code", "metadata": {}, "source": source, "outputs": []} for source in sources]
    path = folder / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# A"}, *cells]}), encoding="utf-8")
    return path


def test_cells_share_names_and_leave_prints_and_last_values(tmp_path):
    path = written(tmp_path, "x = 2", "print('é', x)\nx + 1", "x;")
    first, second, third = (cell["outputs"] for cell in notebooks.run(path)["cells"][1:])
    assert first == third == []
    assert [output["output_type"] for output in second] == ["stream", "execute_result"]
    assert second[0]["text"] == ["é 2\n"] and second[1]["data"] == {"text/plain": ["3"]}
    assert notebooks.main([str(path)]) == 0
    assert notebooks.markdown(path).split("\n\n")[2:5] == [
        "```python\nprint('é', x)\nx + 1\n```", "```text\né 2\n```", "```text\n3\n```",
    ]  # fmt: skip


def test_a_cell_that_fails_is_named_and_nothing_is_written(tmp_path):
    path = written(tmp_path, "x = 2", "1 / 0", "x")
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match=r"a\.ipynb, code cell 2: Traceback[^$]*ZeroDivisionError"):
        notebooks.main([str(path)])
    assert path.read_bytes() == before


def test_a_chart_is_drawn_on_the_page(tmp_path):
    source = "import altair as alt\nalt.Chart(alt.Data(values=[{'a': 1}])).mark_point().encode(x='a:Q')"
    path = written(tmp_path, source)
    assert notebooks.main([str(path)]) == 0
    assert '<div class="output"><svg' in notebooks.markdown(path)
