"""Container images before any is built: their locks, names and bills of materials, and how profiles use them."""

import contextlib
import importlib.util
import io
import itertools
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
IN_IMAGES = sorted(file for file in ROOT.glob("profiles/*/profile.yaml") if "apptainer" in file.read_text())
DIGEST = "0123456789abcdef"


def module(name):
    """A module of containers/."""
    spec = importlib.util.spec_from_file_location(f"containers_{name}", ROOT / f"containers/{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


locks, build, bom = module("locks"), module("build"), module("bom")


@pytest.mark.parametrize("name", [name for name, image in locks.table().items() if "packages" in image])
def test_an_image_s_lock_is_what_its_packages_need_of_the_lock(name):
    lock = (ROOT / f"containers/{name}.lock").read_text()
    assert lock == locks.lock_of(locks.table()[name]["packages"]), "run python containers/locks.py"
    names = {line.partition("==")[0] for line in lock.splitlines()}
    assert ("torch" in names) == (name != "light") and "snakemake" not in names and "spython" not in names


def test_a_closure_follows_extras_and_markers():
    ours = {"septet-a": [locks.Requirement("gymnasium[mujoco]"), locks.Requirement("nothing; python_version < '3'")]}
    found = locks.closure([locks.Requirement("septet-a")], ours)
    assert {"gymnasium", "mujoco", "numpy"} <= found and not found & {"septet-a", "nothing", "pygame"}


def named(house, *more):
    """Image name -> digest in the file name, of `snakemake -- containers` as planned."""
    done = house.snakemake("-n", "--cores", "1", *more, "--", "containers")
    assert done.returncode == 0, done.stdout[-2000:]
    return {
        name: f"{name}-{digest}" for name, digest in re.findall(r"images/([a-z-]+)-([0-9a-f]{16})\.sif", done.stdout)
    }


@pytest.fixture(scope="module")
def before(house):
    """The names as they are."""
    return named(house)


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("containers/image.def", {"light", "rl", "llm"}),
        ("containers/rl.lock", {"rl"}),
        ("packages/core/src/septet/files.py", set()),  # sources are mounted
    ],
)
def test_the_names_of_images_carry_recipe_and_lock(house, before, file, changed):
    path = house.folder / file
    text = path.read_text()
    path.write_text(text + "\n# edited\n")
    try:
        after = named(house)
    finally:
        path.write_text(text)
    assert {name for name in before if before[name] != after[name]} == changed
    assert set(before) == {"light", "rl", "llm"}


def test_gpu_profiles_and_no_others_get_the_devices_and_the_cuda_image():
    for file in IN_IMAGES:
        arguments = yaml.safe_load(file.read_text())["apptainer-args"].split()
        assert ("--nv" in arguments) == ("gpu" in file.parent.name), file


@pytest.mark.parametrize("file", IN_IMAGES, ids=lambda file: file.parent.name)
def test_profiles_with_images_are_hardened(file):
    arguments = yaml.safe_load(file.read_text())["apptainer-args"]
    for wanted in ("--containall", "--no-privs", "--net --network none", '--mount "$(python3 tools/mounts.py)"'):
        assert wanted in arguments
    assert "--bind" not in arguments, "what is mounted is for tools/mounts.py to say (tests/test_preflight.py)"


def words(arguments, environment):
    """A profile's arguments as the shell of a job with this environment hands them to Apptainer."""
    command = ["bash", "-c", f"printf '%s\\n' {arguments}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


OF_NO_JOB = {
    "SEPTET_CACHE": "a job's home is the work folder, whose caches are the job's",
    "SEPTET_GPUS": "the profile with GPUs of this machine gives it",
    "SEPTET_CLEANRL": "the bench reads it",
    "SEPTET_PROCESSOR": "the job's own command sets it",
}
"""Variables that no profile hands on to every job, and why."""


@pytest.mark.parametrize("file", IN_IMAGES, ids=lambda file: file.parent.name)
def test_what_a_job_reads_of_the_environment_reaches_it(file):
    """Every SEPTET_ variable of the packages' sources: set, it is in the job's own environment; unset, it is not."""
    sources = [source.read_text() for source in ROOT.glob("packages/*/src/**/*.py")]
    named = {name for source in sources for name in re.findall(r"SEPTET_[A-Z_]+", source)} - set(OF_NO_JOB)
    assert {"SEPTET_SAVE_EVERY", "SEPTET_LOCK_WAIT", "SEPTET_DATA", "SEPTET_PROCESS"} <= named
    arguments = yaml.safe_load(file.read_text())["apptainer-args"]
    plain = {"PATH": os.environ["PATH"]}

    def handed_on(environment):
        return {after for word, after in itertools.pairwise(words(arguments, environment)) if word == "--env"}

    given = handed_on(plain | dict.fromkeys(named, "7 1"))
    assert {one.partition("=")[0] for one in given} >= named
    assert {"SEPTET_SAVE_EVERY=7 1", "SEPTET_LOCK_WAIT=7 1"} <= given
    assert not any(one.startswith(("SEPTET_SAVE_EVERY", "SEPTET_LOCK_WAIT", "SEPTET_DATA")) for one in handed_on(plain))


def test_a_job_asks_no_hub_and_keeps_the_devices_that_slurm_gave_it():
    """Without a network each look at the hub is retried for minutes; commas of a list of devices would split --env."""
    for file in IN_IMAGES:
        arguments = yaml.safe_load(file.read_text())["apptainer-args"]
        assert "--env HF_HUB_OFFLINE=1" in arguments
        if file.parent.name == "slurm-gpu":
            for given, expected in (("0,2", ['"CUDA_VISIBLE_DEVICES=0,2"']), (None, [])):
                environment = {"PATH": os.environ["PATH"]} | ({"CUDA_VISIBLE_DEVICES": given} if given else {})
                assert [word for word in words(arguments, environment) if "CUDA_VISIBLE" in word] == expected


@pytest.mark.parametrize("name", ["light.sif", f"light-{DIGEST[:8]}.sif", f"{DIGEST}.sif", f"light-{DIGEST}.simg"])
def test_an_image_without_a_digest_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"image")
    with pytest.raises(build.Refused, match="expected <name>-<digest of recipe and lock>"):
        build.check(tmp_path / name)


def test_an_image_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(build.Refused, match="expected an image, found none: run make containers"):
        build.check(tmp_path / f"light-{DIGEST}.sif")


@pytest.mark.parametrize("label", [None, "fedcba9876543210"])
def test_an_image_of_another_recipe_is_refused(tmp_path, monkeypatch, label):
    image = tmp_path / f"light-{DIGEST}.sif"
    image.write_bytes(b"image")
    monkeypatch.setattr(build, "labels", lambda image: {"septet.digest": label} if label else {})
    with pytest.raises(build.Refused, match=f"expected the label septet.digest {DIGEST}, found {label}"):
        build.check(image)
    monkeypatch.setattr(build, "labels", lambda image: {"septet.digest": DIGEST})
    build.check(image)


def test_a_base_that_nobody_knows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BASE", "alpine")
    with pytest.raises(build.Refused, match="BASE: expected docker or debian, found alpine"):
        build.base({"python": "3.11"}, tmp_path)
    monkeypatch.setenv("BASE", "docker")
    assert build.base({"base": "python@sha256:00"}, tmp_path) == ("docker", "python@sha256:00")


def test_packages_of_debian_are_in_the_base_that_is_made_for_them(tmp_path, monkeypatch):
    made = []

    def run(command, umask=-1):
        made.append(command)

    monkeypatch.setattr(build, "run", run)
    monkeypatch.setattr(build, "unpack", lambda archive, tree: tree.mkdir())
    monkeypatch.setenv("BASE", "debian")
    settings = locks.table()
    bases = {name: build.base(settings[name], tmp_path) for name in ("light", "rl", "llm")}
    assert bases["light"] == bases["llm"] == ("localimage", str(tmp_path / "debian-bookworm"))
    assert bases["rl"] == ("localimage", str(tmp_path / "debian-bookworm-libosmesa6"))
    included = [word for command in made for word in command if word.startswith("--include=")]
    assert [",libosmesa6" in words for words in included] == [False, True]


def test_bases_are_pinned_by_digest():
    for image in locks.table().values():
        assert re.fullmatch(r"python@sha256:[0-9a-f]{64}", image["base"])


def test_a_bill_of_materials_names_each_wheel_with_its_digest(tmp_path):
    wheel = tmp_path / "one thing-1.0+local-py3-none-any.whl"
    wheel.write_bytes(b"abc")
    entry = {
        "metadata": {"name": "One_Thing", "version": "1.0+local", "license_expression": "MIT"},
        "download_info": {"url": wheel.as_uri()},
    }
    (made,) = bom.python({"install": [entry]})
    assert made["purl"] == "pkg:pypi/one_thing@1.0%2Blocal"
    assert made["hashes"][0]["content"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert made["licenses"] == [{"license": {"name": "MIT"}}]
    bill = bom.bill("light", "0.1.0", [made])
    assert bill["bomFormat"] == "CycloneDX" and json.loads(json.dumps(bill)) == bill


def test_a_base_is_unpacked_with_any_python_and_nothing_leaves_its_folder(tmp_path, monkeypatch):
    """Python 3.11.0 to 3.11.3, Debian's among them, have no extraction filters."""
    for name in ("tar_filter", "data_filter", "fully_trusted_filter"):
        monkeypatch.delattr(tarfile, name, raising=False)
    archive = tmp_path / "base.tar"
    with tarfile.open(archive, "w") as tar:
        for name, kind, link in (("./etc", tarfile.DIRTYPE, ""), ("./etc/apt", tarfile.DIRTYPE, ""),
                                 ("./lib", tarfile.SYMTYPE, "usr/lib"), ("./out", tarfile.SYMTYPE, str(tmp_path)),
                                 ("./out/through", tarfile.REGTYPE, ""), ("../beside", tarfile.REGTYPE, ""),
                                 (f"{tmp_path}/absolute", tarfile.REGTYPE, ""),
                                 ("./su", tarfile.REGTYPE, "")):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, 0o4777 if name == "./su" else 0o755
            tar.addfile(entry)
    before = os.umask(0o077)
    try:
        with contextlib.suppress(build.Refused):  # whether it is refused or put inside
            build.unpack(archive, tmp_path / "base")
    finally:
        os.umask(before)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "base.tar"}
    assert (tmp_path / "base/lib").readlink() == Path("usr/lib")
    assert [(tmp_path / "base" / name).stat().st_mode & 0o7777 for name in ("su", "etc")] == [0o755, 0o755]


def test_no_mirror_s_name_stays_in_a_debian_base(tmp_path, monkeypatch):
    archive = tmp_path / "base.tar"
    with tarfile.open(archive, "w") as tar:
        for name, kind in (("./etc", tarfile.DIRTYPE), ("./etc/apt", tarfile.DIRTYPE), ("./dev", tarfile.DIRTYPE),
                           ("./dev/null", tarfile.CHRTYPE), ("./etc/apt/sources.list", tarfile.REGTYPE),
                           ("./var/lib/apt/lists/mirror_Packages", tarfile.REGTYPE)):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid = kind, 0o755, 104
            entry.size = 6 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"mirror") if entry.size else None)
    build.unpack(archive, tmp_path / "base")
    files = {str(file.relative_to(tmp_path / "base")) for file in (tmp_path / "base").rglob("*") if not file.is_dir()}
    assert files == {"etc/apt/sources.list"}
    assert (tmp_path / "base/etc/apt/sources.list").read_text() == ""
