"""The files that a module runs, in a small tree of packages."""

import pytest

from septet.errors import InputError
from septet.imports import files_of

FILES = {
    "one/__init__.py": "import one.always",
    "one/always.py": "",
    "one/verb.py": "import json\nfrom one import part\nfrom two.deep import thing, other\n",
    "one/part.py": "def late():\n    import one.late\n",
    "one/late.py": "",
    "one/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one.late\n",
    "two/__init__.py": "",
    "two/deep/__init__.py": "",
    "two/deep/thing.py": "import one.verb",  # in a circle
    "two/deep/unused.py": "",
}


@pytest.fixture
def roots(tmp_path):
    for place, text in FILES.items():
        file = tmp_path / place.partition("/")[0] / "src" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return [tmp_path / "one/src", tmp_path / "two/src"]


def names(modules, roots):
    found = files_of(modules, roots)
    assert found == sorted(found)
    return {file.relative_to(root).as_posix() for file in found for root in roots if root in file.parents}


ALWAYS = {"one/__init__.py", "one/always.py"}


def test_a_module_brings_what_it_imports_and_the_packages_around_it(roots):
    assert names(["one.verb"], roots) == ALWAYS | {
        "one/verb.py", "one/part.py", "two/__init__.py", "two/deep/__init__.py", "two/deep/thing.py"
    }  # fmt: skip


def test_imports_of_functions_and_of_types_do_not_count(roots):
    assert names(["one.part"], roots) == ALWAYS | {"one/part.py"}
    assert names(["one.typed", "one.part"], roots) == ALWAYS | {"one/part.py", "one/typed.py"}


def test_a_module_that_is_not_there_is_an_error(roots):
    with pytest.raises(InputError, match=r"expected the module one\.verbs, found none"):
        files_of(["one.verbs"], roots)
