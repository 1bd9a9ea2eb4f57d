"""Run the notebooks of docs/notebooks and keep what they print.

    python tools/notebooks.py [FILE ...]

A notebook holds its output, so that the site and a code host show it. This needs no Jupyter: cells run one after the
other in a fresh interpreter. The last expression of a cell is shown, a chart of Altair as SVG. In Jupyter they run as
they are.
"""

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/notebooks"
Cell = dict[str, Any]


def main(files: list[str]) -> int:
    """Run the notebooks and write them back."""
    for path in [Path(file) for file in files] or sorted(FOLDER.glob("*.ipynb")):
        path.write_text(json.dumps(run(path), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)
    return 0


def run(path: Path) -> Cell:
    """A notebook with the outputs of a fresh run.

    Raises:
        RuntimeError: a cell failed; the message has its traceback.
    """
    notebook: Cell = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    command = [sys.executable, __file__, "--cells"]
    done = subprocess.run(
        command, input=json.dumps(["".join(cell["source"]) for cell in cells]), cwd=path.parent,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"}, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    )  # fmt: skip
    for count, (cell, outputs) in enumerate(zip(cells, json.loads(done.stdout), strict=True), 1):
        if isinstance(outputs, str):
            raise RuntimeError(f"{path.name}, code cell {count}: {outputs}")
        cell.update(execution_count=count, outputs=outputs)
        for output in outputs:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    return notebook


def run_cells(sources: list[str]) -> list[Any]:
    """The outputs of each cell, in a namespace of their own; of a cell that fails the traceback, and none after it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found: list[Any] = []
    for source in sources:
        try:
            found.append(_outputs(source, names) if not found or not isinstance(found[-1], str) else found[-1])
        except Exception:
            found.append(traceback.format_exc())
    return found


def _outputs(source: str, names: dict[str, Any]) -> list[Cell]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, shown = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # type: ignore[attr-defined]
    outputs: list[Cell] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if shown is not None and not source.rstrip().endswith(";"):
        outputs.append({"output_type": "execute_result", "metadata": {}, "data": _data(shown)})
    return outputs


def _data(shown: Any) -> dict[str, Any]:
    if type(shown).__module__.startswith("altair."):
        import vl_convert

        chart = shown.to_dict()
        chart.setdefault("config", {})["aria"] = False  # a label on each point would be most of the file
        return {"image/svg+xml": vl_convert.vegalite_to_svg(chart)}
    return {"text/plain": repr(shown).splitlines(True)}


def markdown(path: Path) -> str:
    """A notebook as a page of the site: text, code, and what the code printed or drew."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/svg+xml" in data:
                parts.append(f'<div class="output">{"".join(data["image/svg+xml"])}</div>')
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--cells"]:
        answer = run_cells(json.loads(sys.stdin.read()))
        json.dump(answer, sys.stdout)
    else:
        sys.exit(main(sys.argv[1:]))
