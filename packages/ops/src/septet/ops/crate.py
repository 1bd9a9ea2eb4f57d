"""The run as an RO-Crate, `ro-crate-metadata.json`: what was computed from what, by what, on what.

It follows RO-Crate 1.1 and the Provenance Run Crate profile 0.5 (https://w3id.org/ro/wfrun/provenance), which holds
those of Workflow and Process Run Crate: one action for the run, one for each training job. Nothing in it depends on
the clock: every time is that of a run card. The crate names no author.
"""

import importlib.metadata
import json
import mimetypes
import re
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from septet.card import RunCard
from septet.errors import InputError
from septet.files import replacing, sha256, write_text
from septet.ops.trace import command
from septet.reading import readable, walk
from septet.report.tables import Runs, papers_in, runs_of
from septet.sealed import TABLES

Entity = dict[str, Any]
METADATA = "ro-crate-metadata.json"
WORKFLOW = "workflow/Snakefile"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
LICENCE = "https://spdx.org/licenses/MIT"
RECIPE = (
    "workflow/Snakefile",
    "workflow/papers.yaml",
    "workflow/rules/*.smk",
    "config/**/*.yaml",
    "requirements.lock",
    "containers/*.def",
)
"""Files of the checkout that the crate carries, so that it is whole without it."""
LEFT_OUT = {METADATA, "tracking", "recipe"}
"""Names in the results folder that are not results of the run; `recipe` is listed by `_recipe`."""


def write_crate(results: Path, checkout: Path, out: Path) -> None:
    """Write the crate of a results folder into it.

    Args:
        results: the folder `results/<scale>`.
        checkout: the checkout whose workflow made it.
        out: where the metadata file goes: `results` itself.

    Raises:
        InputError: there are no runs, or a file is torn.
    """
    every = [runs_of(results, paper) for paper in papers_in(results)]
    if not any(runs.runs for runs in every):
        raise InputError(str(results), expected="results with runs.json", found="none")
    files = [_file(results, path) for path in _results(results)]
    recipe = _copy_recipe(checkout, out / "recipe")
    carried = [_file(out, out / "recipe" / name) for name in recipe]
    document = metadata(results, every, files, carried)
    write_text(out / METADATA, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def metadata(results: Path, every: list[Runs], files: list[Entity], carried: list[Entity]) -> Entity:
    """The JSON-LD document; `files` are the results, `carried` the files of the checkout that the crate carries."""
    scale, cards = every[0].scale, [card for runs in every for card in runs.runs]
    tools = {tool["@id"]: tool for card in cards for tool in _software(card)}
    things = {one["@id"]: one for card in cards for one in _context(card)}
    steps = {
        f"#step-{card.paper}": _entity(
            f"#step-{card.paper}", "HowToStep", name=f"{card.paper}_train", workExample=_to(_tool(card))
        )
        for card in cards
    }
    start, end = min(card.started for card in cards), max(_end(card) for card in cards)
    main = f"recipe/{WORKFLOW}"
    jobs = [entity for card in cards for entity in _action(card, results)]
    run: Entity = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Septet at scale {scale}",
        "instrument": _to(main),
        "object": _refs(sorted({thing for thing, one in things.items() if one["@type"] != "ContainerImage"})),
        "result": _refs(file["@id"] for file in files),
        "startTime": start,
        "endTime": end,
        "actionStatus": _to("http://schema.org/CompletedActionStatus"),
    }
    controls = [
        _entity(
            f"#control-{card.id}", "ControlAction", name=f"orchestrate {_name(card)}",
            instrument=_to(f"#step-{card.paper}"), object=_to(f"#job-{card.id}"),
        )
        for card in cards
    ]  # fmt: skip
    organize: Entity = {
        "@id": "#orchestration",
        "@type": "OrganizeAction",
        "name": f"Snakemake runs Septet at scale {scale}",
        "instrument": _to("#snakemake"),
        "object": _refs(control["@id"] for control in controls),
        "result": _to("#run"),
        "startTime": start,
        "endTime": end,
    }
    workflow: Entity = {
        **next(file for file in carried if file["@id"] == main),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Septet",
        "license": _to(LICENCE),
        "programmingLanguage": _to(LANGUAGE),
        "hasPart": _refs(sorted({_tool(card) for card in cards})),
        "step": _refs(steps),
    }
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Septet: results at scale {scale}",
        "description": "Scores, verdicts, figures and the report of seven papers on policy gradients and online "
        f"learning, reproduced at scale {scale}, with the runs that made them.",
        "datePublished": end,
        "license": _to(LICENCE),
        "conformsTo": _refs(PROFILES),
        "mainEntity": _to(main),
        "mentions": _refs(["#run", "#orchestration", *(f"#job-{card.id}" for card in cards)]),
        "hasPart": _refs(str(file["@id"]) for file in [*files, *carried]),
    }
    formats = ["https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]
    fixed = [
        _entity(METADATA, "CreativeWork", about=_to("./"), conformsTo=_refs(formats)),
        root,
        *(_entity(key, "CreativeWork", name=name, version=version) for key, (name, version) in PROFILES.items()),
        _entity(LICENCE, "CreativeWork", name="MIT", identifier="MIT"),
        _entity(LANGUAGE, "ComputerLanguage", name="Snakemake", url=_to("https://snakemake.readthedocs.io")),
        _library("snakemake", _installed("snakemake")) | {"@id": "#snakemake"},
    ]
    others = [file for file in carried if file["@id"] != main]
    graph = [*fixed, workflow, *others, *files, *tools.values(), *things.values(), *steps.values(), run, organize]
    return {"@context": CONTEXT, "@graph": [*graph, *controls, *jobs]}


def _action(card: RunCard, results: Path) -> list[Entity]:
    """The action of one training job, with its configuration and what it used of the machine."""
    folder = results / card.paper / "runs" / str(card.config["method"]["name"]) / card.task
    made = [path for name in (*TABLES, "run.json") if (path := folder / name).is_file()]
    made = made or [results / card.paper / name for name in (*TABLES, "runs.json")]
    inputs = [f"#configuration-{card.id}", *(one["@id"] for one in _context(card) if one["@type"] != "ContainerImage")]
    for prepared in filter(None, (card.config.get(key) for key in ("data_file", "weights_file"))):
        file = Path(*Path(prepared).parts[2:])  # below results/<scale>/
        if (results / file).is_file():
            inputs.append(file.as_posix())
    usage = {"cpuSeconds": card.cpu_seconds, "wallSeconds": card.wall_seconds, "peakMemoryMB": card.peak_memory_mb}
    measured = [
        _entity(
            f"#{name}-{card.id}", "PropertyValue", name=name,
            propertyID=f"https://w3id.org/ro/terms/septet#{name}", value=str(value),
        )
        for name, value in usage.items()
    ]  # fmt: skip
    action: Entity = {
        "@id": f"#job-{card.id}",
        "@type": "CreateAction",
        "name": _name(card),
        "description": f"{command(card)} (on {', '.join(map(str, card.host.values()))})",
        "identifier": card.id,
        "instrument": _to(_tool(card)),
        "object": _refs(inputs),
        "result": _refs(path.relative_to(results).as_posix() for path in made),
        "startTime": card.started,
        "endTime": _end(card),
        "actionStatus": _to("http://schema.org/CompletedActionStatus"),
        "resourceUsage": _refs(one["@id"] for one in measured),
    }
    if card.image:
        action["containerImage"] = _to(f"#image-{card.image}")
    written = json.dumps(card.config, sort_keys=True)
    configuration = _entity(f"#configuration-{card.id}", "PropertyValue", name="configuration", value=written)
    return [action, configuration, *measured]


def _software(card: RunCard) -> list[Entity]:
    """The packages of ours that ran, each with the digest of its sources, and the libraries below them."""
    libraries = [_library(name, version) for name, version in card.versions.items()]
    packages = [
        _entity(
            f"#{name}-{digest[:12]}",
            "SoftwareApplication",
            name=name,
            softwareVersion=_installed(name.replace(".", "-")) or digest[:12],
            identifier=f"sha256:{digest}",
            license=_to(LICENCE),
            softwareRequirements=_refs(one["@id"] for one in libraries),
        )
        for name, digest in card.sources.items()
    ]
    return [*packages, *libraries]


def _library(name: str, version: str | None) -> Entity:
    entity = _entity(f"#{name}-{version}", "SoftwareApplication", name=name, softwareVersion=str(version))
    if _installed(name) == version and version is not None:
        about = importlib.metadata.metadata(name)
        licence = next((about[key] for key in ("License-Expression", "License") if key in about), "")
        classified = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
        licence = licence.splitlines()[0] if licence else " / ".join(one.split(" :: ")[-1] for one in classified)
        if licence:
            entity["license"] = licence
    return entity


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _context(card: RunCard) -> list[Entity]:
    """What a run needs apart from software: its data set and its image."""
    found: list[Entity] = []
    if card.data != "simulated":
        key = "#data-" + re.sub(r"[^A-Za-z0-9.]+", "-", card.data).strip("-")
        found.append(_entity(key, "CreativeWork", name=card.data))
    if card.image:
        kind = _to("https://w3id.org/ro/terms/workflow-run#SIFImage")
        found.append(_entity(f"#image-{card.image}", "ContainerImage", name=card.image, additionalType=kind))
    return found


def _tool(card: RunCard) -> str:
    name, digest = list(card.sources.items())[-1]  # the package that ran, after those it depends on
    return f"#{name}-{digest[:12]}"


def _name(card: RunCard) -> str:
    return f"{card.verb} {card.paper}: {card.config['method']['name']} on {card.task}"


def _end(card: RunCard) -> str:
    start = datetime.fromisoformat(card.started.replace("Z", "+00:00"))
    return (start + timedelta(seconds=card.wall_seconds + card.paused_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _results(results: Path) -> list[Path]:
    """Every result below the folder, in one order; hidden and temporary files are none."""
    return [
        path
        for path in walk(results)
        if (parts := path.relative_to(results).parts)[0] not in LEFT_OUT
        and not any(part.startswith(".") for part in parts)
    ]


def _copy_recipe(checkout: Path, out: Path) -> list[str]:
    names = sorted(path.relative_to(checkout).as_posix() for pattern in RECIPE for path in checkout.glob(pattern))
    if WORKFLOW not in names:
        raise InputError(str(checkout), expected=f"a checkout with {WORKFLOW}", found="none")
    shutil.rmtree(out, ignore_errors=True)
    for name in names:
        with replacing(out / name) as temporary:
            shutil.copyfile(checkout / name, temporary)
    return names


def _file(results: Path, path: Path) -> Entity:
    with readable(path):
        digest = sha256(path)
    size, kind = str(path.stat().st_size), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    key = path.relative_to(results).as_posix()
    return _entity(key, "File", name=path.name, contentSize=size, encodingFormat=kind, sha256=digest)


def _entity(key: str, kind: str, **properties: Any) -> Entity:
    return {"@id": key, "@type": kind, **properties}


def _to(key: str) -> Entity:
    return {"@id": key}


def _refs(keys: Iterable[str]) -> list[Entity]:
    return [_to(key) for key in keys]
