"""The report page: one self-contained HTML file, made from verdicts, run cards and figure specifications."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from septet.card import RunCard
from septet.errors import InputError
from septet.files import write_text
from septet.reading import read_json
from septet_report import text
from septet_report.claims import About, Claim, ClaimsFile
from septet_report.tables import read_runs
from septet_report.verdicts import OUTCOMES, Verdict, band, read_verdicts, write_verdicts

STRIP = 120.0
"""Width of the small interval drawing in the verdict table, in pixels."""


@dataclass(frozen=True)
class Row:
    """One row of the verdict table."""

    verdict: Verdict
    strip: dict[str, float] | None
    """Where the interval, the estimate and the claimed side lie in the small drawing."""


@dataclass(frozen=True)
class Part:
    """One paper on the page."""

    about: About
    rows: list[Row]
    specs: list[dict[str, Any]]
    cards: list[RunCard]


def page(results: Path, files: list[ClaimsFile], judged: list[Path], out: Path) -> None:
    """Write `index.html` for the papers of `files`, in their order, and their `verdicts.json`.

    Args:
        results: the folder `results/<scale>`: `figures/<paper>/`, `<paper>/runs.json`.
        judged: files of verdicts.

    Raises:
        InputError: the verdicts are missing, or are not those of these claims; a file is torn.
    """
    verdicts = {(one.paper, one.claim): one for path in judged for one in read_verdicts(path)}
    if odd := set(verdicts) ^ {(file.paper.id, claim.id) for file in files for claim in file.claims}:
        where = ", ".join(map(str, judged))
        raise InputError(where, expected="one verdict for each claim", found=f"a mismatch at {sorted(odd)[0]}")
    parts = [_part(file, verdicts, results) for file in files]
    scales = sorted({verdict.scale for verdict in verdicts.values()})
    whole = render(" and ".join(scales), parts)
    write_verdicts(out / "verdicts.json", list(verdicts.values()))
    write_text(out / "index.html", whole)


def render(scale: str, parts: list[Part]) -> str:
    """The page's text."""
    environment = Environment(
        loader=PackageLoader("septet_report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "estimate": text.estimate_text,
        "duration": text.duration_text,
        "unbroken": _unbroken,
        "kebab": lambda outcome: str(outcome).replace(" ", "-"),
    }
    source = environment.loader
    assert source is not None
    style, script = (source.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    libraries = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub wants what its code does not
    scripts = [_inline(libraries), _inline(script)]
    cards = [card for part in parts for card in part.cards]
    counts = Counter(row.verdict.verdict for part in parts for row in part.rows)
    days = sorted(card.started[:10] for card in cards)
    return environment.get_template("page.html.j2").render(
        scale=scale,
        parts=parts,
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        days=list(dict.fromkeys([days[0], days[-1]])) if days else [],
        cards=cards,
        cpu_seconds=sum(card.cpu_seconds for card in cards),
        style=Markup(style),
        scripts=scripts,
        policy=_policy(scripts),
        width=STRIP,
    )


def strip(claim: Claim, verdict: Verdict) -> dict[str, float] | None:
    """The small drawing of an interval beside the claimed side, in pixels from the left.

    Returns:
        `low`, `high`, `estimate`, and `start` and `end` of the claimed side; none if it was not judged.
    """
    if verdict.estimate is None or verdict.low is None or verdict.high is None:
        return None
    lines = band(claim.relation)
    marks = [verdict.low, verdict.high, *(line for line in lines if abs(line) != float("inf"))]
    least, most = min(marks), max(marks)
    margin = 0.2 * (most - least) or 1.0
    least, scale = least - margin, STRIP / (most - least + 2 * margin)

    def at(value: float) -> float:
        return round(min(max((value - least) * scale, 0.0), STRIP), 1)

    ends = {"low": verdict.low, "high": verdict.high, "estimate": verdict.estimate}
    return {**{name: at(value) for name, value in ends.items()}, "start": at(lines[0]), "end": at(lines[1])}


def _part(file: ClaimsFile, verdicts: dict[tuple[str, str], Verdict], results: Path) -> Part:
    name = file.paper.id
    rows = []
    for claim in file.claims:
        verdict = verdicts[name, claim.id]
        rows.append(Row(verdict, strip(claim, verdict)))
    cards = read_runs(results / name / "runs.json").runs if (results / name).is_dir() else []
    return Part(file.paper, rows, _specs(results / "figures" / name), cards)


def _specs(folder: Path) -> list[dict[str, Any]]:
    """The figures of one paper in their order, as `septet_report.draw.export` wrote them."""
    specs = []
    for path in sorted(folder.glob("*.json")):
        try:
            spec = read_json(path, "a figure drawn by `draw`")
            specs.append((spec["usermeta"]["septet"]["place"], spec))
        except (ValueError, KeyError, TypeError):
            raise InputError(str(path), expected="a figure drawn by `draw`", found="another file") from None
    return [spec for _, spec in sorted(specs, key=lambda pair: pair[0])]


def _unbroken(words: str) -> str:
    """Words whose relation sign is not parted from its number at the end of a line."""
    return re.sub("([<>≥]) ", "\\1\N{NO-BREAK SPACE}", words)


def _inline(script: str) -> Markup:
    """A script as the content of a `<script>` element, which only `</script` can end and `<!--` confuse."""
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _policy(scripts: list[Markup]) -> str:
    """A content security policy: these scripts and no others run, and nothing is fetched."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
