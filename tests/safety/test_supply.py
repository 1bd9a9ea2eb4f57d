"""The locked closure: every licence is known, and the check against advisories finds what it should."""

import json
import subprocess
import sys
from pathlib import Path

import audit
import licences
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PINS = [pin for lock in licences.LOCKS for pin in licences.locked((ROOT / lock).read_text())]


def test_every_locked_distribution_has_a_known_licence():
    assert len(PINS) > 100
    unknown = {name: words for name, _ in PINS if (words := licences.licence(name)) == licences.UNKNOWN}
    assert unknown == {}


def test_no_licence_asks_more_than_to_be_named():
    """Nothing that would bind what is built on it; what offers a choice counts by its mildest."""
    for name, _ in PINS:
        words = licences.licence(name)
        strong = "GPL" in words and "LGPL" not in words
        assert not strong or " or " in words.lower(), f"{name}: {words}"


def test_the_page_of_licences_lists_the_locks():
    text = (ROOT / "docs/licences.md").read_text()
    missing = [f"{name} {version}" for name, version in PINS if f"| {name} | {version} |" not in text]
    assert missing == [], "run `make licences`"


def test_the_locks_pin_every_version():
    for lock in licences.LOCKS:
        lines = [line for line in (ROOT / lock).read_text().splitlines() if line and not line.startswith("#")]
        assert len(lines) == len(licences.locked("\n".join(lines))), lock


ADVISORY = {
    "id": "TEST-1",
    "aliases": ["CVE-0000-1"],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Some.Package"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"fixed": "1.4"}, {"introduced": "2.0"}]}
            ],
            "versions": ["0.9"],
        }
    ],
}


@pytest.mark.parametrize(
    ("version", "covered"),
    [("0.9", True), ("1.0", False), ("1.2", True), ("1.3.9", True), ("1.4", False), ("1.4.1", False), ("2.0", True)],
)
def test_an_advisory_covers_its_versions(version, covered):
    lines, count = audit.known([("some_package", version), ("other", version)], iter([ADVISORY]))
    assert count == 1 and lines == ([f"some-package {version}: TEST-1 CVE-0000-1"] if covered else [])


def test_last_affected_is_affected():
    spans = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": "1.5"}]}]
    found = [audit.hit({"ranges": spans}, audit.Version(version)) for version in ("0.1", "1.5", "1.5.1")]
    assert found == [True, True, False]


def run(*arguments, **options):
    command = [sys.executable, audit.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_the_command_says_what_it_found(tmp_path):
    assert run("--advisories", str(tmp_path)).returncode == 2  # nothing to look at is no clean bill
    name, version = PINS[0]
    bad = {**ADVISORY, "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "versions": [version]}]}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(ADVISORY))
    clean = run("--advisories", str(tmp_path))
    assert clean.returncode == 0 and "0 of" in clean.stdout
    (tmp_path / "b.json").write_text(json.dumps(bad))
    found = run("--advisories", str(tmp_path))
    assert found.returncode == 1 and "TEST-1" in found.stdout
    (tmp_path / "b.json").write_text(json.dumps({**bad, "withdrawn": "2026-01-01"}))
    assert run("--advisories", str(tmp_path)).returncode == 0


def test_without_a_source_it_says_that_it_did_not_look(tmp_path):
    done = run(env={"PATH": str(tmp_path)})
    assert done.returncode == 2 and "nothing was checked" in done.stderr
