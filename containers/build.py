"""Build and check container images: build.py {build IMAGE | release IMAGE OUT | check IMAGE...}.

An image is built offline, from wheels that this machine's pip has fetched, on a public Python image or, where no
registry is reached, on a Debian base of this machine's making. Images are named <name>-<digest of recipe and lock>.sif.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from spython.main import get_client

RECIPE = Path("containers/image.def")
RELEASE = Path("containers/release.def")
NAMED = re.compile(r"(?P<name>[a-z-]+)-(?P<digest>[0-9a-f]{16})(-release-(?P<sources>[0-9a-f]{16}))?\.sif")
REGISTRY = "https://registry-1.docker.io/v2/"
DEBIAN = ("ca-certificates", "python3", "python3-venv")
UNREAD = ("man", "doc", "locale", "info")  # folders of /usr/share that no job reads
SQUASH = "-comp zstd -Xcompression-level 3"


class Refused(Exception):
    """A build or an image that cannot be used, in one line."""


def build(image: Path) -> None:
    """Build an image of containers/images.yaml, and write its bill of materials beside it."""
    name = parts_of(image)["name"]
    settings = yaml.safe_load(Path("containers/images.yaml").read_text(encoding="utf-8"))[name]
    with tempfile.TemporaryDirectory(dir=image.parent, prefix=f"{name}-") as work:
        wheels = Path(work) / "wheels"
        fetch_wheels(name, settings, wheels)
        bootstrap, origin = base(settings, image.parent)
        arguments = {
            "BOOTSTRAP": bootstrap,
            "FROM": origin,
            "BASE": settings["base"] if bootstrap == "docker" else "debian-bookworm",
            "DEBIAN": " ".join(settings.get("debian", [])),
            "NAME": name,
            "VERSION": version(),
            "TEST": settings["test"],
            "DIGEST": parts_of(image)["digest"],
            "RECIPE": sha256(RECIPE),
            "LOCK": sha256(Path(f"containers/{name}.lock")),
        }
        run_build(RECIPE, Path(work) / image.name, image, arguments, "--bind", f"{wheels.absolute()}:/mnt:ro")


def release(image: Path, out: Path) -> None:
    """Build an image that also holds the package sources, on top of one that mounts them."""
    check(image)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix="release-") as work:
        arguments = {"FROM": str(image), "VERSION": version(), "SOURCES": parts_of(out)["sources"]}
        run_build(RELEASE, Path(work) / out.name, out, arguments)


def check(image: Path) -> None:
    """Raise Refused unless the image is there, its name carries a digest, and its labels the same one."""
    digest = parts_of(image)["digest"]
    if not image.is_file():
        raise Refused(f"{image}: expected an image, found none: run make containers")
    found = labels(image).get("septet.digest")
    if found != digest:
        raise Refused(f"{image}: expected the label septet.digest {digest}, found {found}: run make containers")


def parts_of(image: Path) -> dict[str, str]:
    """Name and digests in the file name of an image; raises Refused if there are none."""
    match = NAMED.fullmatch(image.name)
    if match is None:
        raise Refused(f"{image}: expected <name>-<digest of recipe and lock>.sif, found no digest")
    return match.groupdict()


def fetch_wheels(name: str, settings: dict, folder: Path) -> None:
    """Fetch the wheels of an image's lock with the pip of this Python."""
    download = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check",
                "--only-binary=:all:", "--python-version", settings["python"]]  # fmt: skip
    lock = Path(f"containers/{name}.lock").read_text(encoding="utf-8")
    if settings.get("torch") == "cuda":
        lock = lock.replace("torch==", "torch===")  # the release itself, where a local build is found too
    wanted = folder.parent / "wanted.txt"
    wanted.write_text(lock, encoding="utf-8")
    run([*download, "--dest", str(folder), "-r", str(wanted)])


def base(settings: dict, folder: Path) -> tuple[str, str]:
    """Bootstrap and From of an image, as BASE=docker or BASE=debian says, or else as the network allows."""
    kind = os.environ.get("BASE") or ("docker" if registry_is_reached() else "debian")
    if kind == "docker":
        return "docker", settings["base"]
    if kind != "debian":
        raise Refused(f"BASE: expected docker or debian, found {kind}")
    if settings["python"] != "3.11":
        raise Refused(f"BASE: Debian bookworm has Python 3.11, this image wants {settings['python']}")
    return "localimage", str(debian(folder, settings.get("debian", [])))


def registry_is_reached() -> bool:
    """Whether the public registry answers; that it asks who we are is an answer."""
    try:
        urllib.request.urlopen(REGISTRY, timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def debian(folder: Path, packages: list[str]) -> Path:
    """A folder with a small Debian bookworm and some more packages, made once by mmdebstrap."""
    made = folder / "-".join(["debian-bookworm", *packages])
    with made.with_name(f"{made.name}.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            with tempfile.TemporaryDirectory(dir=folder, prefix="debian-") as work:
                archive, tree = Path(work) / "base.tar", Path(work) / "base"
                include = ",".join([*DEBIAN, *packages])
                leave_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNREAD]
                run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", *leave_out,
                     "bookworm", str(archive)])  # fmt: skip
                unpack(archive, tree)
                tree.rename(made)
    return made


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a root file system as this user's, without devices, package lists, and the mirror's name.

    By the program tar, which lets no member leave the folder: Python's tarfile learnt that with 3.11.4.
    """
    tree.mkdir()
    left_out = [f"--exclude=./{folder}/*" for folder in ("dev", "var/cache/apt", "var/lib/apt/lists")]
    run(["tar", "--extract", "--file", str(archive), "--directory", str(tree), "--anchored", *left_out,
         "--no-same-owner", "--no-same-permissions"], umask=0o022)  # fmt: skip
    (tree / "etc/apt/sources.list").write_text("", encoding="utf-8")


def run_build(recipe: Path, made: Path, image: Path, arguments: dict[str, str], *options: str) -> None:
    """Build with Apptainer in a scratch folder; the image and its bill of materials appear when they are whole."""
    given = made.with_name("arguments")
    given.write_text("".join(f"{name}={value}\n" for name, value in arguments.items()), encoding="utf-8")
    client = get_client(quiet=True)
    client.build(
        recipe=str(recipe), image=str(made), sudo=False,
        options=["--fakeroot", "--mksquashfs-args", SQUASH, *options, "--build-arg-file", str(given)],
    )  # fmt: skip
    if not made.is_file():
        raise Refused(f"{image}: apptainer built no image: see the log")
    answer = client.execute(str(made), ["cat", "/septet/bom.json"], quiet=True, return_result=True)
    output = answer["message"]
    bom = json.loads(output[0] if isinstance(output, list) else output)
    image.with_suffix(".cdx.json").write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
    made.replace(image)


def labels(image: Path) -> dict[str, str]:
    """The labels of an image; raises Refused if it is none."""
    answer = get_client(quiet=True).inspect(str(image))
    if "attributes" not in answer:
        raise Refused(f"{image}: expected an Apptainer image, found {' '.join(answer.get('message', []))[:200]}")
    return answer["attributes"]["labels"]


def version() -> str:
    """Septet's version."""
    text = Path("packages/core/src/septet/__main__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def sha256(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def run(command: list[str], umask: int = -1) -> None:
    """Run a program; raises Refused if it fails."""
    try:
        subprocess.run(command, check=True, umask=umask)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"{command[0]}: {error}") from None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True, dest="verb")
    for verb, *names in (("build", "image"), ("release", "image", "out")):
        one = verbs.add_parser(verb)
        for name in names:
            one.add_argument(name, type=Path)
    verbs.add_parser("check").add_argument("images", nargs="*", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("APPTAINER_NO_PRIVS", "1")  # root here may lack capabilities that Apptainer would hand on
    try:
        if shutil.which("apptainer") is None:
            raise Refused("expected the program apptainer, found none: https://apptainer.org/docs/admin/latest/")
        if given.verb == "build":
            build(inside(given.image))
        elif given.verb == "release":
            release(inside(given.image), inside(given.out))
        else:
            for image in given.images:
                check(image)
    except Refused as refusal:
        sys.exit(f"containers: {refusal}")


def inside(image: Path) -> Path:
    """`image` as seen from the root of the checkout, which this process works in from here on."""
    path = image.absolute()
    os.chdir(Path(__file__).parents[1])
    return Path(os.path.relpath(path))


if __name__ == "__main__":
    main()
