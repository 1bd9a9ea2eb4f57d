"""What no line of the sources may do: take data for code, hand text to a shell, or leave an encoding to the locale."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from septet.reading import Once

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("tools/**/*.py"), ROOT / "conftest.py"])
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load",
         "yaml.full_load", "yaml.load_all", "numpy.load", "np.load", "pandas.read_pickle", "pl.read_ipc"}  # fmt: skip
MAY = {
    ("vrda/bench.py", "np.load"),
    ("septet/compiled.py", "pickle"),
    ("sampler/worker.py", "pickle"),
    ("sampler/worker.py", "cloudpickle"),
    ("tools/notebooks.py", "compile"),
    ("tools/notebooks.py", "eval"),
    ("tools/notebooks.py", "exec"),
    ("empg/own_data.py", "SandboxedEnvironment"),
}
"""np.load of arrays refuses pickles unless told otherwise; numba's cache is machine code of this user's, checked by its
digest; what makes an environment goes from a process to the samplers that it starts, and to no file; the notebooks are
the project's own code; a prompt is text for a model and no HTML."""
SCRIPTS = [*SOURCES, *ROOT.glob("containers/*.py")]
TEXT_FILES = {"read_text": 0, "write_text": 1}
"""Method -> the place of its argument `encoding`."""
OTHER_OPENERS = {"tarfile", "Image", "webbrowser", "zipfile", "urllib.request"}
"""Whose `open` gives no text file."""


def dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def faults(source: str, name: str = "") -> list[str]:
    """What is wrong with a module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: imports {one}" for one in names if one in MODULES and (name, one) not in MAY]
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}

        def says(key: str, value: object, given: dict = given) -> bool:
            return isinstance(given.get(key), ast.Constant) and given[key].value is value

        if called in CALLS and (name, called) not in MAY:
            found.append(f"{node.lineno}: {called}")
        if called.endswith("torch.load") and not says("weights_only", True):
            found.append(f"{node.lineno}: torch.load without weights_only")
        if "shell" in given and not says("shell", False):
            found.append(f"{node.lineno}: a shell")
        escapes_not = says("autoescape", False) and (name, called) not in MAY
        if says("allow_pickle", True) or says("trust_remote_code", True) or escapes_not:
            found.append(f"{node.lineno}: {called} is told to trust")
        if called.endswith("extractall") or (called.endswith(".extract") and "tar" in called):
            found.append(f"{node.lineno}: unpacks an archive")
    return found


def without_encoding(source: str) -> list[str]:
    """Calls that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or "encoding" in {keyword.arg for keyword in node.keywords}:
            continue
        *_, name = (dotted(node.func) or getattr(node.func, "attr", "")).split(".")
        if dotted(node.func) == "os.open":
            continue
        owner = dotted(node.func).rpartition(".")[0]
        given = {keyword.arg for keyword in node.keywords}
        texts = [part.value for part in (*node.args, *(keyword.value for keyword in node.keywords))
                 if isinstance(part, ast.Constant) and isinstance(part.value, str)]  # fmt: skip
        modes = [text for text in texts if re.fullmatch("[rwaxbt+:gzx2]{1,5}", text)]
        packed = owner in ("gzip", "bz2", "lzma") or name in ("NamedTemporaryFile", "TemporaryFile")
        if name in TEXT_FILES:
            bad = isinstance(node.func, ast.Attribute) and len(node.args) <= TEXT_FILES[name]
        elif name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile") and owner not in OTHER_OPENERS:
            bad = not any("b" in mode for mode in modes) and (not packed or any("t" in mode for mode in modes))
        else:
            bad = bool(given & {"text", "universal_newlines"}) and name in (
                "run",
                "Popen",
                "check_output",
                "check_call",
            )
        if bad:
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_files_name_their_encoding(path):
    """An ISO-8859-1 locale would write other bytes, or none."""
    assert without_encoding(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("p.read_text()", True), ("Path('x').read_text(errors='replace')", True), ("p.read_text('utf-8')", False),
        ("p.write_text('x')", True), ("p.write_text('x', 'utf-8')", False), ("p.write_text('x', encoding='a')", False),
        ("write_text(p, 'x')", False), ("open(p)", True), ("open(p, 'w')", True), ("open(p, 'rb')", False),
        ("p.open()", True), ("(a / 'b').open('w')", True), ("p.open('wb')", False), ("p.open(mode='rb')", False),
        ("gzip.open(p)", False), ("gzip.open(p, 'rt')", True), ("gzip.open(p, 'rt', encoding='utf-8')", False),
        ("os.open(p, 0)", False), ("os.fdopen(d)", True), ("os.fdopen(d, 'rb')", False), ("tarfile.open(p)", False),
        ("tempfile.TemporaryFile()", False), ("tempfile.NamedTemporaryFile('wt')", True), ("Image.open(p)", False),
        ("subprocess.run(x, text=True)", True), ("subprocess.run(x, text=True, encoding='utf-8')", False),
        ("subprocess.run(x)", False), ("subprocess.Popen(x, universal_newlines=True)", True),
    ],
)  # fmt: skip
def test_the_rule_of_encodings_sees_what_it_forbids(line, bad):
    assert bool(without_encoding(line)) == bad


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_data_are_never_code(path):
    assert faults(path.read_text(encoding="utf-8"), "/".join(path.parts[-2:])) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "eval(x)", "import os; os.system(x)", "yaml.load(x, L)",
        "torch.load(f)", "torch.load(f, weights_only=False)", "subprocess.run(x, shell=True)",
        "np.load(f, allow_pickle=True)", "Environment(autoescape=False)", "tar.extractall(p)", "exec(x)",
        "AutoModel.from_pretrained(p, trust_remote_code=True)", "subprocess.run(x, shell=y)",
    ],
)  # fmt: skip
def test_the_rule_sees_what_it_forbids(line):
    assert faults(line)


@pytest.mark.parametrize("line", ["model.eval()", "torch.load(f, weights_only=True)", "yaml.safe_load(x)"])
def test_the_rule_lets_the_rest_be(line):
    assert not faults(line)


def test_our_yaml_loader_is_a_safe_one():
    assert issubclass(Once, yaml.SafeLoader)


def test_templates_escape():
    """Every Jinja environment of ours escapes, and no template switches it off or calls a variable safe."""
    makers = [path for path in SOURCES if "jinja2" in path.read_text(encoding="utf-8")]
    assert makers
    for path in makers:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        made = [
            node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func).endswith("Environment")
        ]
        for call in made:
            assert any(keyword.arg == "autoescape" for keyword in call.keywords), path
    for template in ROOT.glob("packages/*/src/**/*.j2"):
        text = template.read_text(encoding="utf-8")
        assert "|safe" not in text.replace(" ", "") and "autoescape false" not in text, template


def test_the_page_of_guarantees_names_tests_that_are_there():
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    file, named = None, 0
    for name in re.findall(r"`([\w/]*\.py)?((?:::\w+)?)`", text):
        path, test = name
        if not path and not test:
            continue
        file = ROOT / path if "/" in path else file
        if path and "/" not in path:
            continue
        assert file.is_file(), file
        if test:
            assert f"def {test.removeprefix('::')}(" in file.read_text(encoding="utf-8"), f"{file.name}{test}"
            named += 1
    assert named >= 15
