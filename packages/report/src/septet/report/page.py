"""The report page: one self-contained HTML file, made from verdicts, run cards and the panels of figures."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup

from septet.card import RunCard
from septet.errors import InputError
from septet.files import write_text
from septet.reading import entries, is_folder
from septet.report import formatting, pagedata, remarks, tabulate, theme
from septet.report.claims import About, Claim, ClaimsFile
from septet.report.figure_files import Drawn, read_figure
from septet.report.films import Film, films_of
from septet.report.planned import PlanFact, plan_and_fact
from septet.report.remarks import Key
from septet.report.rerun import figure_command
from septet.report.tables import Runs, runs_of
from septet.report.verdicts import (
    OUTCOMES,
    Outcome,
    Verdict,
    band,
    best,
    check_claim,
    check_runs,
    read_verdicts,
    write_verdicts,
)

STRIP = 120.0
"""Width of the small interval drawing in the verdict table, in pixels."""

DOCS = "../../../docs"
"""The checkout's documentation, as seen from `results/<scale>/report/`."""

PAGE_OF_DOCS = r"docs/[\w/-]+\.md"

START = 'document.documentElement.dataset.script = "on";'
"""Runs before anything is drawn: without scripts the page shows everything at once."""


@dataclass(frozen=True)
class Row:
    """One row of the verdict table."""

    verdict: Verdict
    strip: dict[str, float] | None
    """Where the interval, the estimate and the claimed side lie in the small drawing."""
    others: dict[str, Verdict] = field(default_factory=dict)
    """The verdicts on other runs, by what these are: another scale, or a replicate of the same jobs."""
    remarks: list[str] = field(default_factory=list)
    """What else a reader has to know, a sentence each."""


def groups_of(rows: Sequence[Row]) -> list[tuple[str, list[Row], dict[Outcome, int]]]:
    """Rows in two groups, as of `Part.groups`: what a paper claims is never counted together with what we add."""
    found = []
    for name, ours in (("the paper's", False), ("ours", True)):
        own = [row for row in rows if row.verdict.ours == ours]
        if own:
            counts = Counter(row.verdict.verdict for row in own if not row.verdict.by_construction)
            found.append((name, own, {outcome: counts[outcome] for outcome in OUTCOMES}))
    return found


def source_of(folder: str, cards: Sequence[RunCard]) -> dict[str, str]:
    """Where the numbers come from: the folder, days, machines and commits of the runs, and a digest of their sources.

    All from the run cards, which are published with the scores: the machine is that of the runs, not of the page.
    """
    hosts = dict.fromkeys(
        f"{card.host.get('processor', 'a processor that is not recorded')} ({card.host.get('cores', '?')} cores)"
        for card in cards
    )
    commits = list(dict.fromkeys(card.commit for card in sorted(cards, key=lambda card: card.started) if card.commit))
    days = sorted(card.started[:10] for card in cards)
    sources = hashlib.sha256("".join(sorted({digest for card in cards for digest in card.sources.values()})).encode())
    return {
        "folder": folder,
        "days": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
        "machine": " and ".join(hosts),
        "sources": sources.hexdigest()[:12] if cards else "",
        "commits": " to ".join(dict.fromkeys([commits[0], commits[-1]])) if commits else "not recorded",
    }


def cost_of(cards: Sequence[RunCard]) -> dict[str, float]:
    """What runs cost, one after the other, and the memory of the largest."""
    return {
        "wall_seconds": sum(card.wall_seconds for card in cards),
        "cpu_seconds": sum(card.cpu_seconds for card in cards),
        "memory_mb": max((card.peak_memory_mb for card in cards), default=0.0),
    }


@dataclass(frozen=True)
class Part:
    """One paper on the page."""

    about: About
    rows: list[Row]
    figures: list[Drawn]
    runs: list[Runs]
    """Its runs, those of the figures first, then those of other scales."""
    films: list[Film] = field(default_factory=list)
    """Of its trained policies, as far as `make videos` made any."""

    @property
    def cards(self) -> list[RunCard]:
        """The cards of all its runs."""
        return [card for runs in self.runs for card in runs.runs]

    @property
    def links(self) -> dict[str, str]:
        """What its texts may refer to -> where that is: other claims of the paper, papers, pages of the checkout."""
        claims = {row.verdict.claim: f"#paper={self.about.id}&claim={row.verdict.claim}" for row in self.rows}
        pages = {"our method page": f"{DOCS}/papers/{self.about.id}.md"}
        return {**{name: address for name, address in claims.items() if "_" in name}, **self.about.references, **pages}

    @property
    def cost(self) -> dict[str, float]:
        """What its runs cost."""
        return cost_of(self.cards)

    @property
    def groups(self) -> list[tuple[str, list[Row], dict[Outcome, int]]]:
        """The paper's claims and ours: name, rows, and outcome -> number of those that could fail; none if empty."""
        return groups_of(self.rows)


def page(
    results: Path,
    files: list[ClaimsFile],
    judged: list[Path],
    out: Path,
    source: str = "",
    others: Sequence[Path] = (),
    replicate: Path | None = None,
) -> None:
    """Write `index.html` for the papers of `files`, in their order, and their `verdicts.json`.

    A claim's verdict is that of the best evidence: of `judged`, or, where it was not judged there, of `others`.

    Args:
        results: the folder `results/<scale>`: `figures/<paper>/`, `<paper>/runs.json`, and `plan.json` if the run was
            planned (`make plan`).
        judged: files of verdicts.
        out: the page's folder; it may have films of trained policies, in `videos/<paper>/`.
        source: the folder that the runs were taken from; if empty, `results`.
        others: files of verdicts at other scales, the best evidence first, each next to the runs it judges.
        replicate: verdicts on another run of the same jobs, on another machine; none shows none.

    Raises:
        InputError: the verdicts are missing, or are not those of these claims and runs; a figure is not of these runs;
            a file was changed or is torn; the replicate's verdicts are on other claims or of another scale.
    """
    claims = {(file.paper.id, claim.id): (claim, file.ground(claim)) for file in files for claim in file.claims}
    known: dict[Key, list[Verdict]] = {key: [] for key in claims}
    for path in judged:
        _read(path, claims, known, results)
    if odd := [key for key, verdicts in known.items() if len(verdicts) != 1]:
        where = ", ".join(map(str, judged))
        raise InputError(where, expected="one verdict for each claim", found=f"a mismatch at {odd[0]}")
    for path in others:
        _read(path, claims, known, path.parents[1])
    chosen = {key: best(verdicts) for key, verdicts in known.items()}
    said = remarks.all_remarks([verdict for verdict, _ in chosen.values()])
    rows = {
        key: Row(verdict, strip(claims[key][0], verdict), {f"scale {one.scale}": one for one in rest}, said[key])
        for key, (verdict, rest) in chosen.items()
    }
    if replicate:
        for key, one in _replicates(replicate, claims, known).items():
            at = "" if one.scale == rows[key].verdict.scale else f" at scale {one.scale}"
            rows[key].others[f"replicate{at}"] = one
    smaller = list(dict.fromkeys(path.parents[1] for path in others))
    parts = [_part(file, rows, results, smaller, out) for file in files]
    scales = sorted({verdict.scale for verdicts in known.values() for verdict in verdicts})
    whole = render(" and ".join(scales), parts, plan_and_fact(results), source or results.as_posix())
    write_verdicts(out / "verdicts.json", [verdict for verdict, _ in chosen.values()])
    write_text(out / "index.html", whole)


def render(scale: str, parts: list[Part], planned: list[PlanFact], folder: str) -> str:
    """The page's text; `planned` is empty where no plan was made, `folder` is where the runs were taken from."""
    environment = Environment(
        loader=PackageLoader("septet.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "estimate": formatting.estimate_text,
        "duration": formatting.duration_text,
        "unbroken": _unbroken,
        "kebab": lambda outcome: str(outcome).replace(" ", "-"),
        "mathml": lambda tex: Markup(convert(tex, display="block")),
        "themed": themed,
        "levels": lambda figure: tabulate.levels(figure.panels),
        "alternative": alternative,
        "linked": linked,
        "command": lambda name, paper: figure_command(paper, name, folder),
    }
    source = environment.loader
    assert source is not None
    style, *scripts = (source.get_source(environment, name)[0] for name in ("page.css", "points.js", "views.js"))
    cards = [card for part in parts for card in part.cards]
    rows = [row for part in parts for row in part.rows]
    inlined = [Markup(START), *(_inline(script) for script in scripts)]
    known = pagedata.data(
        scale,
        {part.about.id: part.figures for part in parts},
        [(runs.scale, card) for part in parts for runs in part.runs for card in runs.runs],
    )
    return environment.get_template("page.html.j2").render(
        scale=scale,
        parts=parts,
        groups=groups_of(rows),
        outcomes=OUTCOMES,
        constructed=sum(bool(row.verdict.by_construction) for row in rows),
        source=source_of(folder, cards),
        cards=cards,
        cost=cost_of(cards),
        planned=planned,
        style=Markup(style + theme.page_colours()),
        scripts=inlined,
        data=Markup(json.dumps(known, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
        policy=_policy(inlined),
        width=STRIP,
    )


def themed(body: str) -> Markup:
    """A panel's drawing with the page's colours, which turn over in the dark, in place of those of paper."""

    def recoloured(tag: re.Match[str]) -> str:
        colours = theme.PAGE_TEXT if "font-size" in tag[2] else theme.PAGE_MARKS
        return f"<{tag[1]}{re.sub('#[0-9A-Fa-f]{6}', lambda hexed: colours.get(hexed[0].upper(), hexed[0]), tag[2])}>"

    return Markup(re.sub(r"<(\w+)([^>]*?)>", recoloured, body))


def linked(words: str, links: Mapping[str, str]) -> Markup:
    """Words with a link at each whole name of `links` (as of `Part.links`), and at each page of `docs/`."""
    names = sorted(map(re.escape, links), key=len, reverse=True)
    found = re.split(rf"(?<!\w)({'|'.join([*names, PAGE_OF_DOCS])})(?!\w)", words)
    parts = [Markup.escape(part) for part in found]
    for place in range(1, len(found), 2):
        address = links.get(found[place], f"{DOCS}/{found[place].removeprefix('docs/')}")
        inside = " data-go" if address.startswith("#") else ' rel="noreferrer"'
        parts[place] = Markup('<a{} href="{}">{}</a>').format(Markup(inside), address, found[place])
    return Markup("").join(parts)


def alternative(figure: Drawn, place: int) -> str:
    """Text in place of a panel: what it is, and where each series ends."""
    panel = figure.panels[place]
    header, rows = tabulate.levels([panel])
    ends = "; ".join(f"{name} {level}" for name, level in rows) if header[0] == "" else f"{len(panel.points)} points"
    return f"{figure.title}{': ' + panel.title if panel.title else ''}. {ends}."


def strip(claim: Claim, verdict: Verdict) -> dict[str, float] | None:
    """The small drawing of an interval and the claimed side, in pixels from the left.

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


def _read(
    path: Path, claims: Mapping[Key, tuple[Claim, str]], known: Mapping[Key, list[Verdict]], results: Path
) -> None:
    """Add a file of verdicts on the runs in `results` to `known`, checked against today's claims."""
    found = read_verdicts(path)
    check_runs(path, found, results)
    for one in found:
        key = one.paper, one.claim
        if key not in known:
            raise InputError(str(path), expected="one verdict for each claim", found=f"a mismatch at {key}")
        check_claim(path, one, *claims[key])
        known[key].append(one)


def _replicates(
    path: Path, claims: Mapping[Key, tuple[Claim, str]], known: Mapping[Key, list[Verdict]]
) -> dict[Key, Verdict]:
    """The verdicts on another run that are on the claims of this page."""
    found = {key: one for one in read_verdicts(path) if (key := (one.paper, one.claim)) in known}
    for key, one in found.items():
        check_claim(path, one, *claims[key])
        scales = dict.fromkeys(verdict.scale for verdict in known[key])
        if one.scale not in scales:
            raise InputError(str(path), expected=f"verdicts of scale {' or '.join(scales)}", found=one.scale)
    return found


def _part(file: ClaimsFile, rows: Mapping[Key, Row], results: Path, smaller: Sequence[Path], out: Path) -> Part:
    name = file.paper.id
    folder = results / "figures" / name
    drawn = [path for path in entries(folder) if path.suffix == ".json"] if is_folder(folder) else []
    runs = [runs_of(one, name) for one in (results, *smaller) if is_folder(one / name)]
    figures = sorted((_figure(path, runs) for path in drawn), key=lambda figure: figure.place)
    films = films_of(out, name, {card.id for one in runs for card in one.runs})
    return Part(file.paper, [rows[name, claim.id] for claim in file.claims], figures, runs, films)


def _figure(path: Path, runs: Sequence[Runs]) -> Drawn:
    figure = read_figure(path)
    table = runs[0].tables.get("scores.parquet", "none") if runs else "none"
    if figure.source != table:
        found = f"{figure.source[:12] or 'none'}; remove the figure and run again"
        raise InputError(str(path), expected=f"a figure of the score table {table[:12]}", found=found)
    return figure


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
