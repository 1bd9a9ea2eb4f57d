"""`make setup` on a stand-in of the checkout: one tiny package and two tiny locks, from local wheels."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MANIFEST = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "ours"
version = "1"
"""
BACKEND = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path.cwd().parents[1]))
from wheel_of import wheel

def build_editable(folder, config_settings=None, metadata_directory=None):
    return wheel(folder, "ours", "1", {"ours.pth": str(Path.cwd() / "src")}).name
"""
WHEEL_OF = """
import zipfile
from pathlib import Path

def wheel(folder, name, version, files):
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\\n" for file in [*files, f"{info}/RECORD"])
    path = Path(folder) / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path
"""
exec(WHEEL_OF)


class Checkout:
    """A stand-in of the checkout in a folder, and the wheels that its locks name."""

    def __init__(self, folder, wheels, python=sys.executable):
        self.folder, self.wheels, self.python = folder, wheels, str(python)

    def environment(self):
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "PYTHON"))}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return {**outside, **pip, "PYTHON": self.python}

    def make(self, *words, check=True, **environment):
        outside = {**self.environment(), **environment}
        done = subprocess.run(
            ["make", *words], cwd=self.folder, env=outside, capture_output=True, text=True, timeout=120
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def run(self, code):
        done = subprocess.run([self.folder / ".venv/bin/python", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def whole(self):
        """Whether .venv has what the lock names, and runs the code of this checkout."""
        here = self.run("import ours, first; print(ours.__file__, first.VERSION)")
        return here == f"{self.folder.resolve()}/packages/one/src/ours.py 1"

    def stamp(self):
        return self.folder / ".venv/septet-setup.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkout that is set up; tests copy it or leave it as it was."""
    folder = tmp_path_factory.mktemp("set up") / "checkout"  # with a space
    wheels = tmp_path_factory.mktemp("wheels")
    for name, version in (("first", "1"), ("first", "2"), ("tests", "1")):
        wheel(wheels, name, version, {f"{name}.py": f"VERSION = {version}\n"})  # noqa: F821
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for names in ("profiles", "config"):  # what PROFILE, SCALE and PAPERS may be
        shutil.copytree(ROOT / names, folder / names)
    shutil.copy(ROOT / "tools/setup.py", folder / "tools")
    texts = {
        "requirements.lock": "first==1\n",
        "requirements-dev.lock": "tests==1\n",
        "wheel_of.py": WHEEL_OF,
        "packages/one/pyproject.toml": MANIFEST,
        "packages/one/backend.py": BACKEND,
        "packages/one/src/ours.py": "",
    }
    for file, text in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    checkout = Checkout(folder, wheels)
    checkout.make("setup")
    assert checkout.whole()
    return checkout


@pytest.fixture(scope="module")
def quick(made, tmp_path_factory):
    """A Python whose `-m venv` takes pip from the environment of `made`: unpacking it takes seconds each time."""
    folder = tmp_path_factory.mktemp("quick")
    (pip,) = made.folder.glob(".venv/lib/python*/site-packages/pip")
    (folder / "pip").symlink_to(pip)
    python = folder / "python"
    python.write_text(
        f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  {sys.executable} -m venv --without-pip "$3" || exit 1
  for site in "$3"/lib/python*/site-packages; do echo {folder} > "$site/pip.pth"; done
  exit 0
fi
exec {sys.executable} "$@"
"""
    )
    python.chmod(0o755)
    return python


@pytest.fixture
def copied(made, quick, tmp_path):
    """A copy of the checkout without its .venv."""
    folder = tmp_path / "checkout"
    shutil.copytree(made.folder, folder, ignore=shutil.ignore_patterns(".venv"))
    return Checkout(folder, made.wheels, quick)


def test_a_complete_set_up_is_left_alone_and_needs_no_other_python(made):
    before = made.stamp().stat().st_mtime_ns
    start = time.monotonic()
    done = made.make("setup", PYTHON="no-such-python")
    assert time.monotonic() - start < 1
    assert done.stdout + done.stderr in ("", "make: Nothing to be done for 'setup'.\n")
    assert made.stamp().stat().st_mtime_ns == before
    linked = made.folder.with_name("linked")
    linked.symlink_to(made.folder, target_is_directory=True)
    assert not Checkout(linked, made.wheels).make("setup").stderr


def test_a_copied_and_a_moved_checkout_run_their_own_code(made, quick, tmp_path):
    copy = Checkout(tmp_path / "copy", made.wheels, quick)
    shutil.copytree(made.folder, copy.folder, symlinks=True)
    assert not copy.whole()  # what it ran before: the other checkout's code
    done = copy.make("setup")
    assert f".venv belongs to the checkout {made.folder}: creating .venv again" in done.stderr
    assert copy.whole() and made.whole()
    moved = Checkout(copy.folder.rename(tmp_path / "moved"), made.wheels, quick)
    moved.make("setup-dev")
    assert moved.whole() and moved.run("import tests; print(tests.VERSION)") == "1"


def test_a_missing_ensurepip_is_one_line_and_its_end_is_noticed(copied, tmp_path):
    """Debian's python3 without python3-venv: the folder is made, pip is not."""
    wrapper = tmp_path / "python"
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1 $2" = "-m venv" ]; then {sys.executable} -m venv --without-pip "$3"; exit 1; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    wrapper.chmod(0o755)
    done = copied.make("setup", f"PYTHON={wrapper}", check=False)
    assert done.returncode and "install python3-venv" in done.stderr and "make clean-venv" in done.stderr
    copied.make("setup")
    assert copied.whole()


def test_a_killed_set_up_is_finished_by_the_next(copied):
    """Something is half there and nothing says so but the missing stamp; the pip that was left behind is waited for."""
    backend, reached = copied.folder / "packages/one/backend.py", copied.folder / "reached"
    backend.write_text(f"import time; open({str(reached)!r}, 'w').close(); time.sleep(2)\n{BACKEND}")
    command = [sys.executable, "tools/setup.py", "--otherwise", copied.python]
    with subprocess.Popen(command, cwd=copied.folder, env=copied.environment()) as killed:
        while not reached.exists():
            time.sleep(0.02)
            assert killed.poll() is None
        killed.kill()
    assert not copied.stamp().exists()
    (module,) = copied.folder.glob(".venv/lib/*/site-packages/first.py")
    module.unlink()
    backend.write_text(BACKEND)
    said = copied.make("setup").stderr
    assert said.startswith("setup: waiting for another setup") and "did not finish: creating .venv again" in said
    assert copied.whole()


def test_a_python_that_went_away_or_became_another(copied):
    copied.make("setup")
    (copied.folder / ".venv/bin/python").unlink()
    (copied.folder / ".venv/bin/python").symlink_to("/no/such/python")
    assert "it is gone now: creating .venv again" in copied.make("setup").stderr
    stamp = json.loads(copied.stamp().read_text())
    copied.stamp().write_text(json.dumps({**stamp, "python": "cpython-310"}))  # the link leads to a newer one now
    assert "was cpython-310, it is" in copied.make("setup").stderr
    copied.stamp().write_text('{"checkout": ')
    (copied.folder / ".venv/bin/python").unlink()
    (copied.folder / ".venv/bin/python").touch(0o755)  # an empty program "succeeds"
    assert "did not finish" in copied.make("setup").stderr
    assert copied.whole()


def test_a_changed_lock_and_a_changed_package(copied):
    copied.make("setup-dev")
    (copied.folder / "requirements.lock").write_text("first==2\n")
    assert "requirements.lock has changed: creating .venv again" in copied.make("setup").stderr
    assert copied.run("import first; print(first.VERSION)") == "2"
    manifest = copied.folder / "packages/one/pyproject.toml"
    manifest.write_text(MANIFEST + "description = 'changed'\n")
    assert copied.make("setup").stderr == "setup: installing packages\n"
    (copied.folder / "packages/one").rename(copied.folder / "packages/two")
    assert "./packages/one is gone" in copied.make("setup").stderr
    assert copied.run("import ours; print(ours.__file__)") == f"{copied.folder}/packages/two/src/ours.py"


def test_what_cannot_be_had_leaves_what_was_there(copied):
    copied.make("setup")
    lock = copied.folder / "requirements-dev.lock"
    lock.write_text("tests==7\n")
    done = copied.make("setup-dev", check=False)
    assert done.returncode and "pip failed, see above" in done.stderr
    assert not copied.make("setup").stderr and copied.whole()
    lock.write_text("tests==1\n")
    assert copied.make("setup-dev").stderr == "setup: installing requirements-dev.lock\n"


def test_the_shell_may_have_activated_the_environment_or_set_paths_for_python_and_pip(copied, tmp_path):
    wheel(tmp_path, "first", "1", {"first.py": "VERSION = 'from elsewhere'\n"})  # noqa: F821
    with zipfile.ZipFile(tmp_path / "first-1-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "elsewhere")
    copied.make("setup", PYTHONPATH=str(tmp_path / "elsewhere"), PIP_USER="1")
    assert copied.whole()
    copied.stamp().unlink()
    copied.make("setup", PYTHON="python3", PATH=f"{copied.folder}/.venv/bin{os.pathsep}{os.environ['PATH']}")
    assert copied.whole()


def test_a_python_that_is_too_old_or_missing_is_one_line(copied, tmp_path):
    old = tmp_path / "python3.9"
    old.write_text(
        f'#!/bin/sh\ncase "$*" in *version_info*) echo False cpython-39 {old};; *) exec {sys.executable} "$@";; esac\n'
    )
    old.chmod(0o755)
    done = copied.make("setup", f"PYTHON={old}", check=False)
    assert "needs Python 3.11 or newer" in done.stderr and "cpython-39" in done.stderr
    assert not (copied.folder / ".venv").exists()
    done = copied.make("setup", "PYTHON=no-such-python", check=False)
    assert done.returncode and "no-such-python" in done.stderr


def test_two_set_ups_at_once_and_the_way_out(copied):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    outside = copied.environment()
    both = [subprocess.Popen(["make", "setup"], cwd=copied.folder, env=outside, **pipes) for _ in range(2)]
    words = [each.communicate(timeout=120)[1].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], words
    assert sum("waiting for another setup" in each for each in words) == 1
    assert sum("installing packages" in each for each in words) == 1
    copied.make("clean")
    assert copied.whole()
    copied.make("clean-venv")
    assert not (copied.folder / ".venv").exists()
