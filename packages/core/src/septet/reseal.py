"""`python -m septet seal FILE...`: accept a file that was changed on purpose or written by another program."""

from pathlib import Path

from septet.card import table_digests
from septet.errors import InputError
from septet.reading import is_file, read_json
from septet.scores import rewrite
from septet.sealed import TABLES, read_sealed_json, without_checksum, write_json

CARDS = ("run.json", "runs.json")


def reseal(path: Path) -> None:
    """Write a table or JSON file again with its checksum; the card next to a table then names the new one.

    Raises:
        InputError: the file is missing or not one of our tables or JSON files, or the card next to it is damaged.
    """
    if path.suffix == ".json":
        data = without_checksum(read_json(path, "a JSON file"))
        rows = data if isinstance(data, list) else [data]
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise InputError(str(path), expected="a JSON object or a list of objects", found=data)
        write_json(path, data)
    elif path.name in TABLES:
        cards = [(card, read_sealed_json(card, "a card")) for name in CARDS if is_file(card := path.with_name(name))]
        rewrite(path)
        for card, data in cards:
            write_json(card, {**data, "tables": table_digests(path.parent)})
    else:
        raise InputError(str(path), expected=f"a JSON file, or one of {', '.join(TABLES)}", found="another file")
