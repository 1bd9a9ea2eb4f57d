"""Decide for each claim of some papers whether it was reproduced: the verb `judge`."""

from pathlib import Path

from septet.errors import InputError
from septet.reading import is_folder
from septet.report import claims, tables, tabulate, verdicts
from septet.report.source import evidence


def judge_published(file: claims.ClaimsFile, published: Path) -> list[tuple[tables.Paper, list[verdicts.Verdict]]]:
    """A paper's results at each published scale, the best evidence first, with the verdicts on its claims."""
    papers = [tables.paper_of(folder, file.paper.id) for folder in evidence(published, file.paper.id).values()]
    return [(paper, verdicts.judge(file, paper, paper.scale)) for paper in papers]


def judge(results: Path, files: list[claims.ClaimsFile], out: Path) -> None:
    """Decide for each claim whether it was reproduced, and write the verdicts and their tables.

    Args:
        results: the folder `results/<scale>`, with one folder per paper.

    Raises:
        InputError: there is no such folder, or as `tables.paper_of` does.
    """
    if not is_folder(results):
        raise InputError("results", expected="a folder", found=str(results))
    names = [file.paper.id for file in files]
    papers = {name: tables.paper_of(results, name) for name in names if is_folder(results / name)}
    scale = tables.one_scale(list(papers.values()))
    found = [one for file in files for one in verdicts.judge(file, papers.get(file.paper.id), scale)]
    verdicts.write_verdicts(out / "verdicts.json", found)
    tabulate.write_claims(out / "verdicts", found)
