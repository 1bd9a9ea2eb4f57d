"""The bill of materials of the image that this runs in, as CycloneDX: its Debian and its Python packages.

Run inside the image by the build, with the standard library alone: bom.py NAME VERSION PIP_REPORT
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit


def debian() -> list[dict]:
    """Components of the installed Debian packages."""
    form = "${binary:Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", form], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    return [
        component(name.partition(":")[0], version, f"pkg:deb/debian/{{}}@{{}}?arch={architecture}")
        for name, version, architecture in rows
    ]


def python(report: dict) -> list[dict]:
    """Components of what pip installed from files, with the digest of each wheel and the licence that it names."""
    return [wheel(entry["metadata"], Path(urlsplit(entry["download_info"]["url"]).path)) for entry in report["install"]]


def wheel(metadata: dict, file: Path) -> dict:
    """Component of one wheel."""
    made = component(metadata["name"], metadata["version"], "pkg:pypi/{}@{}")
    made["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(Path(unquote(str(file))).read_bytes()).hexdigest()}]
    if licence := metadata.get("license_expression") or metadata.get("license"):
        made["licenses"] = [{"license": {"name": licence.splitlines()[0]}}]
    return made


def component(name: str, version: str, purl: str) -> dict:
    """A library, with its package URL."""
    address = purl.format(quote(name.lower()), quote(version, safe=".~"))
    return {"type": "library", "name": name, "version": version, "purl": address, "bom-ref": address}


def bill(name: str, version: str, components: list[dict]) -> dict:
    """A CycloneDX document of an image."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"septet-{name}", "version": version}},
        "components": sorted(components, key=lambda each: each["purl"]),
    }


if __name__ == "__main__":
    name, version, report = sys.argv[1:]
    components = debian() + python(json.loads(Path(report).read_text(encoding="utf-8")))
    print(json.dumps(bill(name, version, components), indent=1))
