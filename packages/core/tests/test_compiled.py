"""Compiled functions: cached between processes, and compiled anew after an edit anywhere in their package."""

import json
import os
import subprocess
import sys

INNER = "from septet.compiled import compiled\n\n@compiled()\ndef inner(x):\n    return x + {}\n"
OUTER = """
from compiled_toy.inner import inner
from septet.compiled import compiled

@compiled()
def outer(x):
    return 10 * inner(x)
"""
ASK = """
import json
from compiled_toy.outer import outer
value = outer(1)
print(json.dumps([value, sum(outer.stats.cache_hits.values()), sum(outer.stats.cache_misses.values())]))
"""


def test_an_edit_of_a_called_function_in_another_file_compiles_anew_and_no_edit_does_not(tmp_path):
    package, cache = tmp_path / "compiled_toy", tmp_path / "cache"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(OUTER)
    inner = package / "inner.py"
    environment = {**os.environ, "SEPTET_CACHE": str(cache), "PYTHONPATH": str(tmp_path)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}  # Python's own cache looks at size and time

    def run(addend):
        inner.write_text(INNER.format(addend))
        os.utime(inner, (1e9, 1e9))  # same size, same time: only the content tells
        done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run(1) == [20, 0, 1]
    assert run(1) == [20, 1, 0]
    assert run(5) == [60, 0, 1]
    assert len(list((cache / "numba").glob("compiled_toy-*"))) == 2
    assert not list(package.rglob("__pycache__"))
