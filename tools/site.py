"""Hooks of mkdocs: pages that lie elsewhere in the repository, the API's pages, the navigation, links between files."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import notebooks

ROOT = Path(__file__).parents[1]
ORDER = ("how-it-works", "install", "config", "cluster", "containers", "guarantees", "after-a-run", "add-a-paper")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]*)(#[^)\s]*)?\)")


def elsewhere() -> dict[str, str]:
    """Page of the site -> file of the repository that it shows."""
    pages = {"index.md": "README.md", "config.md": "config/README.md", "profiles.md": "profiles/README.md"}
    pages |= {f"{path.stem.lower()}.md": path.name for path in ROOT.glob("C*.md")}  # CONTRIBUTING, CHANGELOG
    return pages | {f"packages/{path.parent.name}.md": _name(path) for path in ROOT.glob("packages/*/README.md")}


def modules(package: Path) -> list[str]:
    """Dotted names of the modules of a distribution's part of the namespace `septet`."""
    paths = sorted(path for path in package.rglob("*.py") if path.name != "__main__.py")
    names = [".".join(("septet", *path.relative_to(package).with_suffix("").parts)) for path in paths]
    return sorted({name.removesuffix(".__init__") for name in names})


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for page, source in elsewhere().items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for package in sorted(ROOT.glob("packages/*")):
        text = f"# {package.name}\n\n" + "".join(f"::: {name}\n\n" for name in modules(package / "src/septet"))
        files.append(File.generated(config, f"api/{package.name}.md", content=text))
    for path in sorted(notebooks.FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebooks.markdown(path)))
    config.nav = navigation({file.src_uri for file in files.documentation_pages()})
    return files


def navigation(pages: set[str]) -> list[Any]:
    """What the reader finds where; a page that nobody ordered comes last."""

    def below(folder: str) -> list[str]:
        return sorted(page for page in pages if page.startswith(folder + "/"))

    top = [f"{name}.md" for name in ORDER if f"{name}.md" in pages]
    rest = sorted(page for page in pages if "/" not in page and page not in (*top, "index.md"))
    return [
        {"Septet": ["index.md", top[0]]},
        {"Guide": top[1:] + rest},
        {"Examples": below("notebooks")},
        {"Papers": below("papers")},
        {"Results and packages": below("packages")},
        {"API": below("api")},
        {"Decisions": below("decisions")},
    ]


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
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

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(resolved, part) for part in parts)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
