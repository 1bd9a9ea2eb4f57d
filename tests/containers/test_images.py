"""The images themselves: what they hold, what a job in one sees, and which are refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from septet.empg import gguf_files

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.containers, pytest.mark.xdist_group("containers")]

PROBE = """
rule probe:
    output: "probe.json"
    container: "{image}"
    shell: "python probe.py > {{output}}"
"""
LOOKS = """
import json, os, pathlib, socket

def error(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__ + " " + str(error.errno)

print(json.dumps({
    "environment": sorted(os.environ),
    "data": pathlib.Path(os.environ["SEPTET_DATA"], "set.txt").read_text(),
    "secret": error(lambda: pathlib.Path(OUTSIDE).read_text()),
    "network": error(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5)),
    "interfaces": [name for _, name in socket.if_nameindex() if name == "lo" or "eth" in name],
    "sources": error(lambda: pathlib.Path("/septet/packages/core/new").write_text("")),
    "data_set": error(lambda: pathlib.Path(os.environ["SEPTET_DATA"], "new").write_text("")),
    "home": str(pathlib.Path.home()) == os.getcwd(),
    "image": os.environ["APPTAINER_NAME"],
    "kept": pathlib.Path("results/kept.txt").write_text("kept"),
    "linked": pathlib.Path(os.environ["SEPTET_DATA"], "linked.txt").read_text(),
    "processes": len([entry for entry in os.listdir("/proc") if entry.isdigit()]),
}))
"""
NAMED = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SEPTET_DATA", "SEPTET_PROCESS",
         "SEPTET_SAVE_EVERY", "HF_HUB_OFFLINE"}  # fmt: skip
THE_IMAGE_S = {"HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PROMPT_COMMAND", "PWD", "PYTHONDONTWRITEBYTECODE",
               "PYTHONPATH", "SHLVL", "TERM", "_"}  # fmt: skip


@pytest.fixture(scope="module")
def light(boxes):
    """Path of the image `light` in the copy."""
    return image_of(boxes, "light")


def image_of(house, name):
    """The image that the copy's recipe and lock ask for."""
    done = house.snakemake("--cores", "1", "-n", "--forceall", "--config", f"images=[{name}]", "--", "containers")
    return house.folder / re.search(rf"containers/images/{name}-[0-9a-f]{{16}}\.sif", done.stdout).group(0)


def test_a_job_sees_its_folder_and_what_the_profile_names(boxes, light, tmp_path):
    outside, data, scratch = tmp_path / "outside.txt", tmp_path / "data: sets, two", tmp_path / "scratch"
    outside.write_text("secret")
    data.mkdir(), scratch.mkdir()
    (data / "set.txt").write_text("of data")
    (tmp_path / "elsewhere.txt").write_text("of a link")
    (data / "linked.txt").symlink_to("../elsewhere.txt")
    (boxes.folder / "results").symlink_to(scratch)
    (boxes.folder / "probe.smk").write_text(PROBE.format(image=light.relative_to(boxes.folder)))
    (boxes.folder / "probe.py").write_text(LOOKS.replace("OUTSIDE", repr(str(outside))))
    done = boxes.snakemake(
        "-s", "probe.smk", "--profile", "profiles/local-container", SEPTET_DATA=str(data), SECRET="token",
        SEPTET_SAVE_EVERY="7",
    )  # fmt: skip
    (boxes.folder / "results").unlink()
    assert done.returncode == 0, done.stdout[-3000:]
    seen = json.loads((boxes.folder / "probe.json").read_text())
    others = {name for name in seen["environment"] if not name.startswith(("APPTAINER_", "SINGULARITY_"))}
    assert others >= NAMED and not others - NAMED - THE_IMAGE_S
    assert seen["data"] == "of data" and seen["home"] and seen["image"] == light.name
    assert seen["secret"].startswith("FileNotFoundError")
    assert seen["network"] == "OSError 101" and seen["interfaces"] == ["lo"]  # 101: network is unreachable
    assert seen["sources"] == seen["data_set"] == "OSError 30"  # 30: read-only file system
    assert seen["processes"] < 10
    assert (scratch / "kept.txt").read_text() == "kept" and seen["linked"] == "of a link"


def test_a_truncated_image_is_named_before_a_run(boxes, light):
    """The last block is missing: `true` in it fails, and no job is tried."""
    whole = light.resolve()
    target = ["--config", "scale=smoke", "--", "results/smoke/dynts/runs/random/static/scores.parquet"]
    command = [sys.executable, "tools/preflight.py", "--profile", "profiles/local-container", *target]

    def preflight():
        return subprocess.run(command, cwd=boxes.folder, env=boxes.environment(), capture_output=True, text=True)

    fine = preflight()
    light.unlink()
    try:
        shutil.copyfile(whole, light)
        os.truncate(light, light.stat().st_size - 4096)
        short = preflight()
    finally:
        light.unlink()
        light.symlink_to(whole)
    assert fine.returncode == 0, fine.stderr
    (line,) = [line for line in short.stderr.splitlines() if line.startswith("preflight: ")]
    assert short.returncode == 2 and f"{light.name}: `true` fails in it: FATAL" in line


def test_compiled_functions_are_kept_in_the_work_folder_between_jobs(boxes, light):
    code = "from septet.compiled import cache_folder; print(cache_folder('septet'))"
    done = subprocess.run(
        ["apptainer", "exec", "--containall", "--no-privs", "--home", str(boxes.folder),
         "--bind", "packages:/septet/packages:ro", str(light), "python", "-c", code],
        cwd=boxes.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(str(boxes.folder / ".cache/septet/numba")), done.stderr


@pytest.mark.parametrize("name", ["light", "rl", "llm"])
def test_an_image_names_its_recipe_and_its_contents(boxes, name):
    image = image_of(boxes, name)
    shown = subprocess.run(["apptainer", "inspect", "--json", "--labels", str(image)], capture_output=True, check=True)
    labels = json.loads(shown.stdout)["data"]["attributes"]["labels"]
    assert image.name == f"{name}-{labels['septet.digest']}.sif"
    assert labels["org.opencontainers.image.licenses"] == "MIT" and labels["org.opencontainers.image.version"]
    assert len(labels["septet.recipe"]) == len(labels["septet.lock"]) == 64
    bill = json.loads(image.with_suffix(".cdx.json").read_text())
    held = {(part["name"].lower().replace("_", "-"), part["version"].partition("+")[0]) for part in bill["components"]}
    for line in (boxes.folder / f"containers/{name}.lock").read_text().splitlines():
        locked, _, version = line.partition("==")
        assert (locked.lower().replace("_", "-"), version) in held
    assert any(part["purl"].startswith("pkg:deb/debian/libc6@") for part in bill["components"])


def test_a_run_refuses_an_image_of_another_recipe(boxes, light):
    recipe = boxes.folder / "containers/light.lock"
    text = recipe.read_text()
    target = ["--profile", "profiles/local-container", "--config", "scale=smoke", "--",
              "results/smoke/dynts/runs/random/static/scores.parquet"]  # fmt: skip
    try:
        recipe.write_text(text + "\n")
        missing = boxes.snakemake(*target)
        name = next(word for word in missing.stdout.split() if word.startswith("containers/images/light-"))
        (boxes.folder / name.rstrip(":")).symlink_to(light.resolve())
        foreign = boxes.snakemake(*target)
    finally:
        recipe.write_text(text)
    assert missing.returncode != 0 and "expected an image, found none: run make containers" in missing.stdout
    assert foreign.returncode != 0 and "expected the label septet.digest" in foreign.stdout


def test_a_release_image_runs_without_the_checkout(boxes, light, tmp_path):
    done = boxes.snakemake("--cores", "1", "--config", "images=[light]", "--", "containers_release")
    assert done.returncode == 0, done.stdout[-3000:]
    made = next((boxes.folder / "containers/images").glob("light-*-release-*.sif"))
    shown = subprocess.run(
        ["apptainer", "exec", "--containall", "--no-privs", str(made),
         "python", "-c", "import septet.dynts, septet.card; print(septet.dynts.__file__, septet.card.lock_digest())"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.stdout.startswith("/septet/packages/dynts/src/septet/dynts/__init__.py"), shown.stderr
    assert "None" not in shown.stdout


def test_the_image_rl_renders_mujoco_without_a_graphics_card(boxes):
    job = {
        "method": {"algorithm": "ppo", "steps": 64}, "task": {"environment": "InvertedPendulum-v5"}, "seeds": [0],
        "steps": 128,
    }  # fmt: skip
    (boxes.folder / "job.json").write_text(json.dumps(job))
    inside = "python -m septet rl train --config job.json --out run && python -m septet watch run --steps 5"
    done = subprocess.run(
        ["apptainer", "exec", "--containall", "--no-privs", "--net", "--network", "none", "--home", str(boxes.folder),
         "--bind", "packages:/septet/packages:ro", str(image_of(boxes, "rl")), "sh", "-c", inside],
        cwd=boxes.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "watch.gif: " in done.stdout and (boxes.folder / "watch.gif").read_bytes()[:6] == b"GIF89a"


def test_the_language_model_learns_in_its_image(boxes, need):
    """The image brings all that reads SmolLM2's file, which `make models` has put into the work folder."""
    file = gguf_files.FOLDER / gguf_files.FILES["smollm2"].file
    need((ROOT / file).is_file(), f"{file} (make models)")
    (boxes.folder / file.parent).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / file, boxes.folder / file)
    table = "results/smoke/empgreal/runs/empg/chat/scores.parquet"
    done = boxes.snakemake(
        "--profile", "profiles/local-container", "--config", "scale=smoke", "papers=[empgreal]", "--", table
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    card = json.loads((boxes.folder / table).with_name("run.json").read_text())
    assert "llm-" in card["image"] and card["steps"] == 4
    example = card["methods"]["empg"]["examples"][0]
    assert example["before"] and example["prompt"].startswith("What is ")
