"""Docstrings as Markdown: their equations become MathML, which browsers draw without a script, and tables tables."""

import re
from typing import Any

import griffe
from latex2mathml.converter import convert


def equation(latex: str, *, block: bool) -> str:
    """MathML of an equation; what Markdown would take for its own marks is written as entities."""
    latex = re.sub(r"\\tfrac(\d)(\d)", r"\\tfrac{\1}{\2}", " ".join(latex.split()))
    mathml = convert(latex, display="block" if block else "inline")
    mathml = re.sub(r"[*_`]", lambda mark: f"&#{ord(mark.group())};", mathml)
    return f'<div class="equation">{mathml}</div>' if block else f'<span class="equation">{mathml}</span>'


def markdown(text: str) -> str:
    """A docstring's text as Markdown."""
    text = re.sub(
        r"^( *)\.\. math:: *([^\n]*(?:\n(?:\1 +[^\n]+| *(?=\n\1 )))*)",
        lambda found: f"\n{found[1]}{equation(found[2], block=True)}\n",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r":math:`([^`]+)`", lambda found: equation(found[1], block=False), text)
    return re.sub(
        r"^=+(?: +=+)+\n(.*?)^=+(?: +=+)+$", lambda found: _table(found[1]), text, flags=re.MULTILINE | re.DOTALL
    )


def _table(lines: str) -> str:
    rows = [re.split(r"  +", line.strip().replace("|", r"\|")) for line in lines.splitlines()]
    empty = "|" + " |" * len(rows[0])
    return "\n".join([empty, empty.replace(" ", "---"), *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


class Docstrings(griffe.Extension):
    """Applied to every object of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings below it."""
        todo: list[Any] = [pkg]
        while todo:
            obj = todo.pop()
            if obj.docstring:
                obj.docstring.value = markdown(obj.docstring.value)
            todo += [member for member in obj.members.values() if not member.is_alias]
