"""Each package by itself: what it declares is what it imports, and its README's example runs on that alone."""

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest
import version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OUTSIDE = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
FOLDERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
NAMES = [folder.name for folder in FOLDERS]
BEHIND = {"scipy", "gguf", "accelerate"}
"""Called by others for us: numba's linear algebra, transformers' reader of GGUF files."""
PEERS = re.compile(r"bench\w*|validation")  # modules that call peers, which `make setup-dev` installs


@cache
def project(package):
    """`[project]` of a package, its dependencies as requirements and the folder of its import package."""
    folder = ROOT / "packages" / package
    table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table["needs"] = {canonicalize_name(each.name): each for each in map(Requirement, table["dependencies"])}
    extras = [line for lines in table.get("optional-dependencies", {}).values() for line in lines]
    table["extras"] = {canonicalize_name(Requirement(line).name) for line in extras}
    (written,) = [line for file, line in version.found(ROOT) if file.startswith(f"packages/{package}/src/")]
    table["version"] = written
    shared = folder / "src/septet"
    (table["source"],) = [shared] if any(shared.glob("*.py")) else [path for path in shared.iterdir() if path.is_dir()]
    return table


OURS = {canonicalize_name(project(package)["name"]): package for package in NAMES}
IMPORTS = {f"septet.{project(package)['source'].name}": name for name, package in OURS.items() if package != "core"}


PROVIDED = cache(importlib.metadata.packages_distributions)


@cache
def distribution(module):
    """The distribution that an import comes from."""
    if module.partition(".")[0] == "septet":
        return IMPORTS.get(".".join(module.split(".")[:2]), "septet")
    module = module.partition(".")[0]
    found = PROVIDED().get(module, [module])
    names = sorted(
        {canonicalize_name(name) for name in found}, key=lambda name: (name != canonicalize_name(module), name)
    )
    return names[0]


def imported(path):
    """(module, whether at the top of the file) of each import of a source file, `import_module("...")` included."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "septet":
            yield from ((f"septet.{alias.name}", id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, id(node) in top
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((each.value, False) for each in node.args if isinstance(each, ast.Constant))


def uses(package):
    """(distribution, file, whether the package cannot do without) of what a package imports."""
    for path in sorted(project(package)["source"].rglob("*.py")):
        for module, top in imported(path):
            if module.partition(".")[0] in sys.stdlib_module_names or OURS.get(distribution(module)) == package:
                continue
            yield distribution(module), path, top and not PEERS.fullmatch(path.stem)
            if module == "septet.compiled":
                yield "numba", path, True


@pytest.mark.parametrize("package", NAMES)
def test_what_a_package_imports_is_declared(package):
    table = project(package)
    for name, path, always in uses(package):
        allowed = table["needs"] if always else {*table["needs"], *table["extras"]}
        beside = {OURS[each] for each in table["needs"] if each in OURS}
        through = {name for each in beside for name in project(each)["needs"]}
        assert name in allowed or (not always and name in through), f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", NAMES)
def test_what_a_package_declares_is_used(package):
    used = {name for name, _, _ in uses(package)}
    called = project(package)["source"].rglob("*.py")
    named = {word for path in called for word in re.findall(r'"([\w.-]+)"', path.read_text())}
    for name in project(package)["needs"]:
        assert name in used | BEHIND or any(word.startswith(name) for word in named), f"{name} is imported nowhere"


@pytest.mark.parametrize("package", NAMES)
def test_bounds_are_lower_ones_that_the_lock_keeps(package):
    lines = [line for file in ("requirements.lock", "requirements-dev.lock") for line in (ROOT / file).open()]
    locked = {canonicalize_name(name): version.strip() for name, version in (line.split("==") for line in lines)}
    for name, needed in project(package)["needs"].items():
        if name in OURS:
            assert str(needed) == f"{name}=={project(OURS[name])['version']}"
            continue
        assert [each.operator for each in needed.specifier] == [">="], str(needed)
        assert needed.specifier.contains(locked[name]), f"{needed} but the lock has {locked[name]}"


def closure(package, more=()):
    """Distributions that a package's declared dependencies and `more` bring, and the source folders of ours."""
    there: dict[str, importlib.metadata.Distribution] = {}
    sources, todo = [ROOT / "packages" / package / "src"], list(project(package)["needs"].values())
    todo += map(Requirement, more)
    while todo:
        needed = todo.pop()
        name = canonicalize_name(needed.name)
        if name in OURS:
            source = ROOT / "packages" / OURS[name] / "src"
            if source not in sources:
                sources.append(source)
                todo += project(OURS[name])["needs"].values()
            continue
        found = importlib.metadata.distribution(name)
        extras = needed.extras or {""}
        new = name not in there or needed.extras
        there[name] = found
        for line in found.requires or [] if new else []:
            further = Requirement(line)
            if not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                wanted = canonicalize_name(further.name)
                if wanted not in there and not wanted.startswith(("nvidia", "cuda", "triton")):
                    todo.append(further)
    return there, sources


def alone(package, folder, ours=True, more=()):
    """A Python in `folder` that sees the declared dependencies of a package, ours on request, `more`, and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    found, sources = closure(package, more)
    for each in found.values():
        tops = {
            path.parts[0] for path in each.files or [] if path.parts[0] != ".." and "__pycache__" not in path.parts[0]
        }
        for top in tops:
            origin, place = Path(each.locate_file(top)).resolve(), site / top
            if place.is_symlink():  # two distributions share a folder
                continue
            place.symlink_to(origin)
    (site / "ours.pth").write_text("\n".join(str(source) for source in sources if ours))
    return folder / "bin/python"


def example(package):
    """Command to install, code and stated output of `Use as a library` in a package's README."""
    text = (ROOT / "packages" / package / "README.md").read_text()
    section = text.partition("\n## Use as a library\n")[2].partition("\n## ")[0]
    (command,) = re.findall(r"^pip install ([^#\n]*)", section, re.MULTILINE)
    asked = [Path(word).name for word in command.split()]
    assert set(asked) == {package, *(OURS[name] for name in project(package)["needs"] if name in OURS)}
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (output,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    return command.split(), code, output


def printed(python, code, where):
    """What another Python prints for a program."""
    done = subprocess.run([python, "-c", code], cwd=where, env=OUTSIDE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("package", NAMES)
def test_the_example_of_the_readme_runs_on_the_declared_dependencies_alone(package, tmp_path):
    _, code, output = example(package)
    assert len(code.splitlines()) <= 17
    python = alone(package, tmp_path / "alone")
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [python, "example.py"], cwd=tmp_path, env=OUTSIDE, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == output


def test_a_missing_dependency_is_seen(tmp_path):
    """The check above can fail: dynts's Python has no torch, and vrda's sources are not there."""
    python = alone("dynts", tmp_path / "alone")
    for module in ("torch", "vrda", "pytest"):
        done = subprocess.run([python, "-c", f"import {module}"], env=OUTSIDE, capture_output=True, text=True)
        assert f"No module named '{module}'" in done.stderr


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Wheels and source distributions of dynts, vrda and core, built from a copy of the checkout that is gone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for package in ("core", "dynts", "vrda"):
        ignored = shutil.ignore_patterns("__pycache__", "tests")
        shutil.copytree(ROOT / "packages" / package, folder / "copy" / package, ignore=ignored)
        build = [sys.executable, "-m", "hatchling", "build", "-d", folder]
        subprocess.run(build, cwd=folder / "copy" / package, check=True, capture_output=True)
    shutil.rmtree(folder / "copy")
    return folder


def assert_needs_core_by_name(path, text):
    needed = re.findall("^Requires-Dist: (septet.*)$", text, re.MULTILINE)
    assert needed == ([] if path.name.startswith("septet-0") else [f"septet=={project('core')['version']}"])


def test_wheels_and_source_distributions_name_no_path(elsewhere):
    wheels, archives = sorted(elsewhere.glob("*.whl")), sorted(elsewhere.glob("*.tar.gz"))
    assert len(wheels) == len(archives) == 3
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
            assert_needs_core_by_name(path, archive.read(name).decode())
    for path in archives:
        with tarfile.open(path) as archive:
            (name,) = [name for name in archive.getnames() if name.endswith("/PKG-INFO")]
            assert_needs_core_by_name(path, archive.extractfile(name).read().decode())


def test_wheels_install_by_name_without_the_checkout(elsewhere, tmp_path):
    """Two packages that share core, in an environment that has what other projects make of their dependencies."""
    python = alone("vrda", tmp_path / "alone", ours=False)
    alone("dynts", tmp_path / "alone", ours=False)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--find-links", elsewhere, "septet-vrda", "septet-dynts"], check=True)
    _, code, output = example("dynts")
    assert printed(python, code, tmp_path) == output
    code = "import septet.files, septet.vrda; print(septet.files.__file__, septet.vrda.__file__)"
    where = printed(python, code, tmp_path)
    assert str(ROOT) not in where and where.count(str(tmp_path)) == 2
    refused = subprocess.run([*pip, elsewhere / next(elsewhere.glob("septet_dynts*.whl")), "septet==0.0.9"],
                             capture_output=True, text=True)  # fmt: skip
    assert refused.returncode and "septet==0.0.9" in refused.stderr


def commands():
    """The two commands of docs/install.md, and its table: package -> folders to name."""
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    one, several = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (\w+) \| `([\w ]+)` \|$", text, re.MULTILINE)
    return one.partition("\n")[2], several, {package: folders.split() for package, folders in rows}


def test_the_page_names_what_each_package_stands_on():
    _, several, rows = commands()
    assert sorted(rows) == NAMES
    together = re.search(r"for each in ([\w ]+);", several)[1].split()
    for folders in (*rows.values(), together):
        for at, folder in enumerate(folders):  # what a package needs stands before it
            assert {OURS[name] for name in project(folder)["needs"] if name in OURS} <= set(folders[:at])
    for package, folders in rows.items():
        behind = {path.parent.name for path in closure(package)[1]}
        assert set(folders) == behind and folders[0] == "core" and folders[-1] == package, package


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A bare repository of the working tree's packages, as pip knows it."""
    folder = tmp_path_factory.mktemp("bare")
    for package in NAMES:
        ignored = shutil.ignore_patterns("__pycache__", "tests")
        shutil.copytree(ROOT / "packages" / package, folder / "tree/packages" / package, ignore=ignored)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for act in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *act], cwd=folder / "tree", check=True)
    subprocess.run([*git, "clone", "-q", "--bare", "tree", "septet.git"], cwd=folder, check=True)
    shutil.rmtree(folder / "tree")
    return f"git+file://localhost{folder}/septet.git"


def shell(command, python, where, source, offline=True):
    """Run a command of the page with another Python's pip."""
    options = "--quiet --no-index --no-build-isolation" if offline else "--quiet"
    pip = f'pip() {{ {sys.executable} -m pip --python {python} "$@" {options}; }}'
    environment = {**OUTSIDE, "SEPTET": source, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        ["bash", "-euc", f"{pip}\n{command}"], cwd=where, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def freeze(python):
    frozen = [sys.executable, "-m", "pip", "--python", python, "freeze"]
    lines = subprocess.run(frozen, env=OUTSIDE, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith("septet")]


def test_the_command_of_the_page_installs_from_a_bare_clone_and_freezes_to_the_same(bare, tmp_path):
    """Without an index: nothing but the clone, and dependencies and build backend that are there already."""
    one, _, _ = commands()
    python = alone("dynts", tmp_path / "first", ours=False, more=["hatchling"])
    shell(one, python, tmp_path, bare)
    frozen = freeze(python)
    for line, name in zip(frozen, ("septet", "septet-dynts"), strict=True):
        folder = "packages/core" if name == "septet" else "packages/dynts"
        assert re.fullmatch(rf"{name} @ {re.escape(bare)}@[0-9a-f]{{40}}#subdirectory={folder}", line)
    (tmp_path / "frozen.txt").write_text("\n".join(frozen), encoding="utf-8")
    again = alone("dynts", tmp_path / "again", ours=False, more=["hatchling"])
    shell("pip install -r frozen.txt", again, tmp_path, bare)
    assert freeze(again) == frozen
    _, code, output = example("dynts")
    assert printed(again, code, tmp_path) == output


def test_a_package_without_core_is_not_looked_up_here(bare, tmp_path):
    """What the page warns of: pip asks an index for `septet`, and here there is none."""
    python = alone("dynts", tmp_path / "alone", ours=False, more=["hatchling"])
    with pytest.raises(AssertionError, match="No matching distribution found for septet=="):
        shell('pip install "$SEPTET#subdirectory=packages/dynts"', python, tmp_path, bare)


@pytest.mark.nightly
@pytest.mark.parametrize("place", [0, 1], ids=["one", "several"])
def test_the_commands_of_the_page_in_a_fresh_environment(bare, tmp_path, place):
    """With an index and pip's own build environment, as a user runs them."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    shell(commands()[place], tmp_path / "fresh/bin/python", tmp_path, bare, offline=False)
    assert len(freeze(tmp_path / "fresh/bin/python")) == (2, 4)[place]


@pytest.mark.nightly
@pytest.mark.parametrize("package", ["dynts", "vrda", "report"])
def test_one_command_installs_a_package(package, tmp_path):
    """The README's command in a fresh environment, with what pip resolves today, then its example."""
    command, code, output = example(package)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    python = tmp_path / "fresh/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", *command]
    subprocess.run(install, cwd=ROOT, env=OUTSIDE, check=True, timeout=900)
    assert printed(python, code, tmp_path) == output


def test_one_version_for_all(tmp_path):
    assert {text for _, text in version.found(ROOT)} == {project("core")["version"]}
    files = [file for file, _ in version.found(ROOT)]
    for package in NAMES:  # its own, and what it asks of the others
        assert sum(file.startswith(f"packages/{package}/src/") for file in files) == 1, package
    copy = tmp_path / "copy"
    for file in files:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    version.write(copy, "0.2.0rc1")
    assert {text for _, text in version.found(copy)} == {"0.2.0rc1"}
    assert len(version.found(copy)) == len(files)


def test_a_package_says_its_version():
    """What `__version__` says is what the metadata say, of which pip writes the one into the other."""
    for package in NAMES:
        table = project(package)
        assert importlib.metadata.version(table["name"]) == table["version"], package
        module = "septet.__main__" if package == "core" else f"septet.{table['source'].name}"
        assert importlib.import_module(module).__version__ == table["version"], package
    said = subprocess.run([sys.executable, "-m", "septet", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"septet {project('core')['version']}\n"
