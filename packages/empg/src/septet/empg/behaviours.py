"""How a response reasons, counted by stated patterns (pitfall 10).

The paper shows behaviours by examples only; these patterns are ours. They count words, not thoughts: the
hand-checked sample in the tests says how often they err.
"""

import re
from collections.abc import Sequence

NUMBERED = re.compile(r"^\s*(?:\*\*)?(?:step\s+)?(\d{1,2})\s*[.):]", re.IGNORECASE | re.MULTILINE)
PATTERNS = {
    "verification": r"\b(?:verif(?:y|ies|ied|ying|ication)|(?:double[- ])?check(?:s|ed|ing)?|confirm(?:s|ed|ing)?)\b",
    "backtracking": r"\b(?:re-?evaluat\w*|not valid|invalid|try (?:another|again|a different)|mistake|wait\b|actually,"
    r"|let'?s reconsider)",
    "code": "```",
}
NAMES = ("decomposition", *PATTERNS)


def behaviours(text: str) -> dict[str, bool]:
    """Whether a response shows three or more numbered steps, a verification, a backtracking, a code block."""
    steps = {int(number) for number in NUMBERED.findall(text)}
    found = {name: re.search(pattern, text, re.IGNORECASE) is not None for name, pattern in PATTERNS.items()}
    return {"decomposition": len(steps) >= 3, **found}


def rates(texts: Sequence[str]) -> dict[str, float]:
    """Share of responses that show each behaviour."""
    found = [behaviours(text) for text in texts]
    return {name: sum(one[name] for one in found) / max(len(found), 1) for name in NAMES}
