"""Compiled functions: cached between processes, and compiled anew after an edit anywhere in their package."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

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


CALL = """
import os, resource, sys
sys.path.insert(0, {path!r})
import numba.core.caching, septet.compiled
{before}
from compiled_alone.only import twice
value = twice(21)
print(value, sum(twice.stats.cache_hits.values()), twice.stats.cache_path)
"""
AS_NOBODY = """
import numba
numba.njit(lambda x: 2 * x)(1)  # imports what it needs while root, for Python may lie where nobody else can read
if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


@pytest.fixture
def toy():
    """A folder that everybody may read (pytest's are private), with a package of one compiled function."""
    source = "from septet.compiled import compiled\n\n@compiled()\ndef twice(x):\n    return 2 * x\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "compiled_alone").mkdir()
        (Path(folder) / "compiled_alone/__init__.py").write_text("")
        (Path(folder) / "compiled_alone/only.py").write_text(source)
        Path(folder).chmod(0o755)
        yield Path(folder)


def call(toy, before="", without=(), **environment):
    names = {"SEPTET_CACHE", "XDG_CACHE_HOME", "TMPDIR", *without}
    outside = {name: value for name, value in os.environ.items() if name not in names} | environment
    outside |= {"PYTHONDONTWRITEBYTECODE": "1"}
    code = CALL.format(path=str(toy), before=before)
    done = subprocess.run([sys.executable, "-c", code], env=outside, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    value, hits, where = done.stdout.split()
    assert value == "42"
    return int(hits), where


def test_a_home_that_cannot_be_written_to_leads_to_a_private_folder(toy):
    (toy / "home").mkdir(mode=0o555)
    (toy / "tmp").mkdir()
    (toy / "tmp").chmod(0o1777)
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    for hits in (0, 1):
        found = call(toy, AS_NOBODY, HOME=str(toy / "home"), TMPDIR=str(toy / "tmp"))
        assert found[0] == hits and found[1].startswith(f"{toy}/tmp/septet-{user}/numba/compiled_alone-")
    assert (toy / f"tmp/septet-{user}").stat().st_mode & 0o777 == 0o700
    # a setting that cannot be used is passed over; the next in line is used
    for named in (str(toy / "home/cache"), "/dev/null/cache", "/proc/cache"):
        assert call(toy, AS_NOBODY, SEPTET_CACHE=named, HOME=str(toy / "home"), TMPDIR=str(toy / "tmp"))[0] == 1


def test_no_home_and_no_entry_of_the_user(toy):
    (toy / "tmp").mkdir()
    (toy / "tmp").chmod(0o1777)
    unknown = "import pwd; pwd.getpwuid = lambda uid: {}[uid]\n" + AS_NOBODY
    assert f"{toy}/tmp/septet-" in call(toy, unknown, without=["HOME"], TMPDIR=str(toy / "tmp"))[1]


@pytest.mark.parametrize("taken", ["readable by others", "a link", "a file"])
def test_a_private_folder_that_somebody_else_could_have_made_is_not_used(toy, taken):
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    (toy / "home").mkdir(mode=0o555)
    (toy / "tmp").mkdir()
    (toy / "tmp").chmod(0o1777)
    place = toy / f"tmp/septet-{user}"
    if taken == "readable by others":
        place.mkdir()
        place.chmod(0o777)
    elif taken == "a link":
        (toy / "other").mkdir(mode=0o777)
        place.symlink_to(toy / "other")
    else:
        place.touch()
    assert call(toy, AS_NOBODY, HOME=str(toy / "home"), TMPDIR=str(toy / "tmp")) == (0, "None")


def test_a_full_disk_costs_the_cache_alone(toy):
    """A limit on the size of files stands in for the disk: none fits, or the probe alone."""
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
    assert call(toy, full.format(0), SEPTET_CACHE=str(toy / "cache")) == (0, "None")
    for _ in range(2):
        assert call(toy, full.format(5000), SEPTET_CACHE=str(toy / "cache"))[0] == 0
    assert call(toy, SEPTET_CACHE=str(toy / "cache"))[0] == 0
    assert call(toy, SEPTET_CACHE=str(toy / "cache"))[0] == 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_again(toy, suffix):
    def whole():
        return call(toy, SEPTET_CACHE=str(toy / "cache"))[0]

    assert (whole(), whole()) == (0, 1)
    (file,) = (toy / "cache").rglob(f"*.{suffix}")
    content = file.read_bytes()
    flipped = content[:-400] + bytes([content[-400] ^ 1]) + content[-399:] if suffix == "nbc" else b"\x80" * 40
    for damage in (b"", content[: len(content) // 2], flipped):
        file.write_bytes(damage)
        assert (whole(), whole()) == (0, 1), damage[:10]


def test_packages_in_a_zip_are_cached_too(toy):
    with zipfile.ZipFile(toy / "app.pyz", "w") as archive:
        for file in (toy / "compiled_alone").iterdir():
            archive.write(file, f"compiled_alone/{file.name}")
    for hits in (0, 1):
        assert call(toy / "app.pyz", SEPTET_CACHE=str(toy / "cache"))[0] == hits


ORDER = """
from septet.compiled import compiled

@compiled()
def strict(x):
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - 1.0) ** 3  # a function of numba's own, compiled once in a process
    return total

@compiled(reassociate=True)
def fast(x):
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - 1.0) ** 3
    return total
"""
COUNT = """
import sys
import numpy as np
import compiled_order
for name in sys.argv[1:]:
    getattr(compiled_order, name)(np.ones(3))
for name in sys.argv[1:]:
    (code,) = getattr(compiled_order, name).inspect_llvm().values()
    print(name, code.count(" fmul "), code.count(" fmul reassoc "), code.count(" fadd reassoc "))
"""


def test_what_was_compiled_before_changes_no_function(tmp_path):
    """So that the same job gives the same bytes whatever the cache held, which decides what is compiled."""
    (tmp_path / "compiled_order").mkdir()
    (tmp_path / "compiled_order/__init__.py").write_text(ORDER, encoding="utf-8")

    def counts(*names):
        cache = tmp_path / "-".join(names)
        done = subprocess.run(
            [sys.executable, "-c", COUNT, *names],
            env={**os.environ, "SEPTET_CACHE": str(cache), "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return {name: [int(count) for count in found] for name, *found in map(str.split, done.stdout.splitlines())}

    alone = {**counts("strict"), **counts("fast")}
    assert counts("strict", "fast") == counts("fast", "strict") == alone
    products, reassociated_products, reassociated_sums = alone["strict"]
    assert products > 0 and reassociated_products == reassociated_sums == 0
    assert alone["fast"][2] > 0
