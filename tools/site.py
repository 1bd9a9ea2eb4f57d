"""Hooks of mkdocs: pages that lie elsewhere in the repository, the API's pages, the navigation, links between files.

The page of each paper, and of its package, gets the method's equations and a learning curve of the published run; the
report of that run is part of the site if `make figures` has made it.
"""

import importlib
import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from septet.report.claims import About, read_claims
from septet.report.draw import draw, figures_of
from septet.report.source import evidence

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import notebooks  # noqa: E402
from docstrings import equation  # noqa: E402

CURVES = {
    "dynts": "regret_curves",
    "vrda": "mistakes",
    "walle": "return_against_samples",
    "svrpo": "returns",
    "metaexplore": "learning_curves",
    "vipg": "returns",
    "empg": "reward",
}
"""Paper -> the figure of its learning curves."""
PUBLISHED = ROOT / "results" / "published"
GUIDES, API = 2.0, 0.3
"""Weights in the search, where other pages have 1: a guide comes first, a list of functions last."""
CLONE = "ADDRESS-OF-THIS-REPOSITORY"
"""What README.md says in place of the address of the repository, which the site knows if it is given."""
ORDER = ("how-it-works", "install", "config", "cluster", "containers", "guarantees", "after-a-run", "add-a-paper")
BADGE = re.compile(r"^\[!\[.*\n", re.MULTILINE)
"""A line with a badge: GitHub draws it, and the site fetches nothing."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]*)(#[^)\s]*)?\)")


def elsewhere() -> dict[str, str]:
    """Page of the site -> file of the repository that it shows."""
    pages = {"index.md": "README.md", "config.md": "config/README.md", "profiles.md": "profiles/README.md"}
    pages |= {f"{path.stem.lower()}.md": path.name for path in ROOT.glob("C*.md")}  # CONTRIBUTING, CHANGELOG
    return pages | {f"packages/{path.parent.name}.md": _name(path) for path in ROOT.glob("packages/*/README.md")}


def modules(package: Path) -> list[str]:
    """Dotted names of the modules of a distribution's part of the namespace `septet`."""
    paths = sorted(
        path for path in package.rglob("*.py") if path.name != "__main__.py" and not path.stem.endswith("bench")
    )
    names = [".".join(("septet", *path.relative_to(package).with_suffix("").parts)) for path in paths]
    return sorted({name.removesuffix(".__init__") for name in names})


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for page, source in elsewhere().items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for package in sorted(ROOT.glob("packages/*")):
        blocks = "".join(f"::: {name}\n\n" for name in modules(package / "src/septet"))
        text = f"# {package.name}\n\n{exported(package.name)}{blocks}"
        files.append(File.generated(config, f"api/{package.name}.md", content=text))
    for paper, name in CURVES.items():
        files.append(File.generated(config, f"curves/{paper}.svg", content=curve(paper, name)))
    for name, content in report().items():
        files.append(File.generated(config, name, content=content))
    for path in sorted(notebooks.FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebooks.markdown(path)))
    config.nav = navigation({file.src_uri for file in files.documentation_pages()})
    return files


@cache
def report() -> dict[str, str | bytes]:
    """The files of the published run's report and its figures; none if `make figures` has not made it."""
    if not (PUBLISHED / "report/index.html").is_file():
        return {}
    text = (PUBLISHED / "report/index.html").read_text(encoding="utf-8")
    text = re.sub(r"\.\./\.\./\.\./docs/([\w/-]+)\.md", r"../\1.html", text)  # these are pages of the site
    found: dict[str, str | bytes] = {"report/index.html": text.replace('.md">md</a>', '.md.txt">md</a>')}
    for path in sorted(PUBLISHED.glob("figures/*/*.*")):
        name = path.relative_to(PUBLISHED).as_posix()
        if path.suffix != ".json":
            found[f"{name}.txt" if path.suffix == ".md" else name] = path.read_bytes()  # no page of its own
    return found


def exported(package: str) -> str:
    """The names that a package exports, each with the first line of its docstring; empty if it exports none."""
    module = importlib.import_module(f"septet.{package}") if package != "core" else None
    lines = []
    for name in getattr(module, "__all__", []):
        one = getattr(module, name)
        home, words = getattr(one, "__module__", None), (getattr(one, "__doc__", None) or "").strip().split("\n")[0]
        link = f"[`{name}`][{home}.{one.__qualname__}]" if isinstance(home, str) and callable(one) else f"`{name}`"
        lines.append(f"- {link}{': ' + words if words and callable(one) else ''}\n")
    return f"## `from septet.{package} import ...`\n\n{''.join(lines)}\n" if lines else ""


@cache
def curve(paper: str, name: str) -> str:
    """The learning curves of a published run as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        draw(next(iter(evidence(ROOT / "published", paper).values())), Path(folder), paper, name)
        text = (Path(folder) / f"{name}.svg").read_text(encoding="utf-8")
    # Where neither Liberation Sans nor Arial is installed, another font takes as much room.
    return text.replace("<svg ", '<svg style="font-size-adjust: 0.519" ', 1)


@cache
def about(paper: str) -> About:
    """What the claims file says of a paper."""
    return read_claims(ROOT / f"config/claims/{paper}.yaml").paper


def with_method(markdown: str, paper: str) -> str:
    """A paper's page with its learning curves and equations above the first section."""
    figure = next(one for one in figures_of(paper) if one.name == CURVES[paper])
    equations = "".join(f"{equation(one.tex, block=True)}\n\n*{one.says}*\n\n" for one in about(paper).equations)
    shown = f"![{figure.title}](../curves/{paper}.svg){{ .curve }}\n\n**{figure.title}.** {figure.caption}\n\n"
    start, mark, rest = markdown.partition("\n## ")
    return f"{start.rstrip()}\n\n## In short\n\n{equations}{shown}{mark.lstrip()}{rest}"


def navigation(pages: set[str]) -> list[Any]:
    """What the reader finds where; a page that nobody ordered comes last."""

    def below(folder: str) -> list[str]:
        return sorted(page for page in pages if page.startswith(folder + "/"))

    top = [f"{name}.md" for name in ORDER if f"{name}.md" in pages]
    rest = sorted(page for page in pages if "/" not in page and page not in (*top, "index.md"))
    shown = [{"Report": "report/index.html"}] if report() else []
    return [
        {"Septet": ["index.md", top[0], *shown]},
        {"Guide": top[1:] + rest},
        {"Examples": below("notebooks")},
        {"Papers": below("papers")},
        {"Results and packages": below("packages")},
        {"API": below("api")},
        {"Decisions": below("decisions")},
    ]


def on_page_markdown(markdown: str, page: Page, config: Any, **_: Any) -> str:
    """Links to files of the repository lead to their pages; those to files that have none become plain text."""
    pages = {source: shown for shown, source in elsewhere().items()}
    here = page.file.src_uri
    source = elsewhere().get(here, f"docs/{here}")

    def resolved(found: re.Match[str]) -> str:
        image, text, target, anchor = found.groups(default="")
        if not target:
            return found.group()
        path = os.path.normpath((Path(source).parent / target).as_posix())
        shown = pages.get(path, pages.get(f"{path}/README.md", path.removeprefix("docs/")))
        if path in pages or f"{path}/README.md" in pages or path.startswith("docs/"):
            return f"{image}[{text}]({os.path.relpath(shown, Path(here).parent)}{anchor})"
        return text if (ROOT / path).exists() else found.group()

    weight = API if here.startswith("api/") else GUIDES if "/" not in here and here != "changelog.md" else 1.0
    page.meta.setdefault("search", {})["boost"] = weight
    if config["repo_url"]:
        markdown = markdown.replace(CLONE, config["repo_url"])
    markdown = BADGE.sub("", markdown)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    whole = "".join(part if part.startswith("```") else LINK.sub(resolved, part) for part in parts)
    folder, _, name = here.removesuffix(".md").partition("/")
    return with_method(whole, name) if folder in ("papers", "packages") and name in CURVES else whole


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
