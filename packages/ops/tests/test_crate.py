"""The RO-Crate of a run: read back with the reference library, and held to the profiles' must-rules."""

import json
import shutil
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from septet.errors import InputError
from septet.files import sha256
from septet.ops.crate import METADATA, PROFILES, write_crate
from septet.report.tables import read_runs

ROOT = Path(__file__).parents[3]
PAPERS = ("dynts", "walle")


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crate")
    for paper in PAPERS:
        shutil.copytree(ROOT / "published/laptop" / paper, folder / paper)
    (folder / "tracking").mkdir()
    (folder / "tracking/ledger.json").write_text("{}")
    write_crate(folder, ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def graph(crate):
    rows = json.loads((crate / METADATA).read_text())["@graph"]
    found = {row["@id"]: row for row in rows}
    assert len(found) == len(rows), "an entity stands twice"
    return found


def types(entity):
    given = entity["@type"]
    return set(given) if isinstance(given, list) else {given}


def refs(value):
    given = value if isinstance(value, list) else [value]
    return [one["@id"] for one in given if isinstance(one, dict) and "@id" in one]


def of_type(graph, name):
    return [entity for entity in graph.values() if name in types(entity)]


def cards():
    return [card for paper in PAPERS for card in read_runs(ROOT / "published/laptop" / paper / "runs.json").runs]


def test_the_reference_library_reads_it(crate):
    read = ROCrate(crate)
    assert read.mainEntity["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    assert {one.id for one in read.data_entities} >= {"dynts/scores.parquet", "walle/runs.json"}
    assert read.root_dataset["license"]["@id"] == "https://spdx.org/licenses/MIT"
    assert "author" not in json.dumps(read.metadata.generate())


def test_files_are_there_with_their_digests_and_sizes(crate, graph):
    listed = refs(graph["./"]["hasPart"])
    assert {one["@id"] for one in of_type(graph, "File")} == set(listed)
    for name in listed:
        assert graph[name]["sha256"] == sha256(crate / name)
        assert graph[name]["contentSize"] == str((crate / name).stat().st_size)
    assert "recipe/requirements.lock" in listed and not any("tracking" in name for name in listed)


def test_every_reference_leads_somewhere(graph):
    outside = ("http://schema.org/", "https://w3id.org/ro/crate/", "https://w3id.org/ro/terms/", "https://snakemake")
    for entity in graph.values():
        for key, value in entity.items():
            for target in refs(value):
                assert target in graph or target.startswith(outside), (entity["@id"], key, target)


def test_the_root_keeps_the_musts_of_the_profiles(graph):
    root, descriptor = graph["./"], graph[METADATA]
    assert refs(descriptor["about"]) == ["./"] and "https://w3id.org/ro/crate/1.1" in refs(descriptor["conformsTo"])
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    assert set(refs(root["conformsTo"])) == set(PROFILES)
    assert all(types(graph[key]) == {"CreativeWork"} and graph[key]["version"] for key in PROFILES)


def test_the_workflow_and_its_run_keep_the_musts_of_the_profiles(graph):
    main = graph[refs(graph["./"]["mainEntity"])[0]]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} == types(main)
    assert types(graph[refs(main["programmingLanguage"])[0]]) == {"ComputerLanguage"}
    assert refs(graph["#run"]["instrument"]) == [main["@id"]]
    for tool in refs(main["hasPart"]):
        assert types(graph[tool]) == {"SoftwareApplication"}
        assert any(refs(action["instrument"]) == [tool] for action in of_type(graph, "CreateAction"))
    for step in refs(main["step"]):
        assert types(graph[step]) == {"HowToStep"} and set(refs(graph[step]["workExample"])) <= set(
            refs(main["hasPart"])
        )
    (organize,) = of_type(graph, "OrganizeAction")
    assert refs(organize["result"]) == ["#run"] and types(graph[refs(organize["instrument"])[0]]) == {
        "SoftwareApplication"
    }
    controls = of_type(graph, "ControlAction")
    assert set(refs(organize["object"])) == {one["@id"] for one in controls}
    for control in controls:
        assert types(graph[refs(control["instrument"])[0]]) == {"HowToStep"}
        assert types(graph[refs(control["object"])[0]]) == {"CreateAction"}


def test_each_job_is_an_action_with_what_it_used(graph):
    jobs = {one["identifier"]: one for one in of_type(graph, "CreateAction") if one["@id"] != "#run"}
    assert set(jobs) == {card.id for card in cards()}
    for card in cards():
        job = jobs[card.id]
        tool = graph[refs(job["instrument"])[0]]
        assert tool["identifier"] == f"sha256:{list(card.sources.values())[-1]}" and tool["license"]
        assert job["startTime"] == card.started <= job["endTime"]
        configuration = next(graph[key] for key in refs(job["object"]) if key.startswith("#configuration"))
        assert json.loads(configuration["value"]) == card.config
        usage = {graph[key]["name"]: graph[key] for key in refs(job["resourceUsage"])}
        assert float(usage["cpuSeconds"]["value"]) == card.cpu_seconds and usage["peakMemoryMB"]["propertyID"]
        if card.data != "simulated":
            assert card.data in [graph[key].get("name") for key in refs(job["object"])]
    numpy = [one for one in of_type(graph, "SoftwareApplication") if one["name"] == "numpy"]
    assert numpy and all(one["softwareVersion"] and one["license"] for one in numpy)


def test_the_same_results_give_the_same_bytes(crate):
    before = (crate / METADATA).read_bytes()
    write_crate(crate, ROOT, crate)
    assert (crate / METADATA).read_bytes() == before


def test_without_runs_or_a_checkout_there_is_no_crate(crate, tmp_path):
    with pytest.raises(InputError, match="expected results with runs"):
        write_crate(tmp_path, ROOT, tmp_path)
    with pytest.raises(InputError, match="expected a checkout"):
        write_crate(crate, tmp_path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_results_on_another_disk_are_listed_whole(tmp_path, demo):
    """A scale, a paper or a run's folder may be a symbolic link to scratch, as clusters ask for."""
    plain, linked, scratch = (tmp_path / name for name in ("plain/laptop", "linked/laptop", "scratch"))
    shutil.copytree(demo, plain)
    shutil.copytree(demo, scratch / "laptop")
    linked.parent.mkdir()
    linked.symlink_to(scratch / "laptop")
    (scratch / "laptop/dynts").rename(scratch / "dynts")
    (linked / "dynts").symlink_to(scratch / "dynts")
    listed = []
    for folder in (plain, linked):
        write_crate(folder, ROOT, folder)
        read = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))
        listed.append(sorted((one["@id"], one["sha256"]) for one in read["@graph"] if "sha256" in one))
    assert listed[0] == listed[1] and "dynts/scores.parquet" in dict(listed[0])
    (linked / "loop").symlink_to(scratch)
    write_crate(linked, ROOT, linked)
