"""Decide for each claim of some papers whether it was reproduced: the verb `judge`."""

from pathlib import Path

from septet.config import Settings
from septet.errors import InputError
from septet.reading import is_folder
from septet.report import claims, tables, tabulate, verdicts
from septet.report.source import evidence


class Judge(Settings):
    """Configuration of `judge`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    claims: list[Path]
    """Claims files, one per paper."""


def judge_published(claims_file: claims.ClaimsFile, published: Path) -> dict[str, list[verdicts.Verdict]]:
    """The verdicts on a paper's claims at each published scale: scale -> verdicts, the best evidence first."""
    folders = evidence(published, claims_file.paper.id).values()
    papers = [tables.paper_of(folder, claims_file.paper.id) for folder in folders]
    return {paper.scale: verdicts.judge(claims_file, paper, paper.scale) for paper in papers}


def judge(settings: Judge, out: Path) -> None:
    """Decide for each claim whether it was reproduced."""
    if not is_folder(settings.results):
        raise InputError("results", expected="a folder", found=str(settings.results))
    files = claims.read_all(settings.claims)
    names = [file.paper.id for file in files]
    papers = {name: tables.paper_of(settings.results, name) for name in names if is_folder(settings.results / name)}
    scale = tables.one_scale(list(papers.values()))
    found = [one for file in files for one in verdicts.judge(file, papers.get(file.paper.id), scale)]
    verdicts.write_verdicts(out / "verdicts.json", found)
    tabulate.write_claims(out / "verdicts", found)
