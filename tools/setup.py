"""`make setup` and `make setup-dev`: a .venv that is complete, or made again.

A stamp in .venv names the checkout, the Python and what is installed. It is removed before anything changes and written
last, so a .venv that was copied, moved or left by an interrupted setup is detected and rebuilt. Runs before anything is
installed: the standard library alone, in syntax that an old Python can read far enough to be refused.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
STAMP = VENV / "septet-setup.json"
PIP = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]  # -I: PYTHONPATH must not satisfy a pin
LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}
PROBE = """
import os, sys
print(sys.version_info >= (3, 11), sys.implementation.cache_tag, os.path.realpath(sys._base_executable))
"""


class Failed(Exception):
    """The setup cannot continue; one line says what to do."""


def main():
    """Bring .venv to what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="the Python for .venv; a change of it rebuilds .venv")
    parser.add_argument("--otherwise", default="python3", help="the Python of a new .venv if --python is not given")
    parser.add_argument("parts", nargs="*", choices=["dev", []], metavar="dev")
    arguments = parser.parse_args()
    os.chdir(str(ROOT))
    try:
        with alone() as lock:
            set_up(arguments.python, arguments.otherwise, ["run", "packages", *arguments.parts], lock)
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run the same command again")
    except (Failed, OSError) as error:
        sys.exit(f"setup: {error}; then run the same command again, or make clean-venv to remove .venv")


def set_up(asked, otherwise, parts, lock):
    """Rebuild .venv if it is not what the stamp says, then install the parts that are missing or changed."""
    stamp = read_stamp()
    reason = stale(stamp, asked)
    if reason:
        if os.path.lexists(str(VENV)):
            say(f"{reason}: creating .venv again")
        stamp = create(asked or otherwise, lock)
    for part in parts:
        digest = digest_of(part)
        if stamp["parts"].get(part) != digest:
            say("installing " + {"run": LOCKS["run"], "dev": LOCKS["dev"]}.get(part, part))
            install(part, stamp, lock)
            stamp["parts"][part] = digest
            write_stamp(stamp)


def stale(stamp, asked):
    """Why .venv has to be made again; none if it is what the stamp says."""
    if not stamp:
        return "the last setup did not finish"
    made_for = Path(stamp["checkout"])
    if not made_for.exists() or not made_for.samefile(ROOT):  # a link to this checkout is this checkout
        return f".venv belongs to the checkout {made_for}"
    found = probe(PYTHON)
    if not found or found[1] != stamp["python"]:
        return f"the Python of .venv was {stamp['python']}, it is {found[1] if found else 'gone'} now"
    if asked and not is_ours(asked) and probe(asked) != stamp["asked"]:
        return f"PYTHON={asked} is not the Python of .venv"
    for part, file in LOCKS.items():
        if part in stamp["parts"] and stamp["parts"][part] != digest_of(part):
            return f"{file} has changed"
    gone = [name for name in stamp["parts"].get("packages", {}) if not (ROOT / name).exists()]
    return f"{gone[0]} is gone" if gone else None


def create(python, lock):
    """An empty .venv with pip, and its stamp, which is not written yet."""
    if is_ours(python):  # .venv is activated: its own Python is about to go
        python = sys._base_executable
    found = probe(python)
    if not found:
        raise Failed(f"{python} does not run: give the command of a Python, PYTHON=...")
    if found[0] != "True":
        raise Failed(f"Septet needs Python 3.11 or newer, {python} is {found[1]}: give another, PYTHON=...")
    if os.pathsep in str(ROOT):
        raise Failed(f"a virtual environment cannot be in {ROOT}, which has a colon: move the checkout")
    clear()
    made = run([python, "-m", "venv", ".venv"], lock)
    if made or run([str(PYTHON), "-I", "-m", "pip", "--version"], lock, stdout=subprocess.DEVNULL):
        clear()
        raise Failed(f"{python} -m venv made no environment with pip (Debian, Ubuntu: install python3-venv)")
    return {"checkout": str(ROOT), "python": probe(PYTHON)[1], "asked": found, "parts": {}}


def install(part, stamp, lock):
    """Install one part; if nothing of it could be had, what was there before stays whole."""
    if STAMP.exists():
        STAMP.unlink()
    commands = {
        "run": [["--no-deps", "-r", LOCKS["run"]], ["-r", LOCKS["run"]]],  # then CUDA's, where torch asks for them
        "dev": [["--no-deps", "-r", LOCKS["dev"]]],
        "packages": [["--no-deps", "--no-build-isolation", *(f"--editable={name}" for name in packages())]],
    }[part]
    before = installed()
    for command in commands:
        if run([str(PYTHON), *PIP, *command], lock):
            if stamp["parts"] and installed() == before:
                write_stamp(stamp)
            raise Failed("pip failed, see above")


def installed():
    """Names in site-packages: pip changes them with the first thing that it installs or removes."""
    return sorted(path.name for path in VENV.glob("lib/python*/site-packages/*"))


def packages():
    """Folders of our packages, as pip takes them."""
    return ["./" + path.parent.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]


def digest_of(part):
    """What a part is installed from: a digest, for our packages one each."""
    if part == "packages":
        return {name: sha256(ROOT / name / "pyproject.toml") for name in packages()}
    return sha256(ROOT / LOCKS[part])


def sha256(path):
    """Hexadecimal SHA-256 of one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def probe(python):
    """What a Python says of itself: new enough, its version, where it lies; none if it does not run."""
    command = [str(python), "-I", "-S", "-c", PROBE]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    words = done.stdout.decode(errors="replace").strip().split(" ", 2)
    return words if done.returncode == 0 and len(words) == 3 else None


def is_ours(python):
    """Whether a command is the Python of .venv, as in a shell that has activated it."""
    found = shutil.which(str(python))
    return found is not None and Path(found).absolute().parent.resolve() == PYTHON.parent.resolve()


def read_stamp():
    """The stamp, or none if there is no whole one."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp if {"checkout", "python", "asked", "parts"} <= stamp.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def write_stamp(stamp):
    """Write the stamp, whole or not at all."""
    temporary = STAMP.with_suffix(".tmp")
    temporary.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    os.replace(str(temporary), str(STAMP))


def clear():
    """Remove what is in .venv, the stamp first; a link to a folder elsewhere stays."""
    if STAMP.exists():
        STAMP.unlink()
    if VENV.is_dir():
        for path in VENV.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(str(path))
            else:
                path.unlink()
    elif os.path.lexists(str(VENV)):
        VENV.unlink()


def run(command, lock, **options):
    """Exit code of a program; it keeps the lock too, so that one which outlives this process is waited for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PIP_USER"] = "0"  # a user's pip.conf may say otherwise, which fails in a .venv
    return subprocess.run(command, env=environment, pass_fds=[lock], **options).returncode


@contextmanager
def alone():
    """Allow one setup at a time: two makes may start it concurrently."""
    with Path(__file__).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without lock support
        yield file.fileno()


def say(text):
    """One line about what goes on."""
    print("setup: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
