"""Typed configuration: one pydantic model per job, its one-line errors and its default YAML."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from septet.errors import InputError
from septet.reading import Quoting


class Settings(BaseModel):
    """Base of every configuration model: unknown keys and infinite numbers are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def field_docstrings(model: type[Settings]) -> dict[str, str]:
    """The docstrings below the fields of a model and of its bases, by field.

    Pydantic's `use_attribute_docstrings` reads them whenever a model is defined, which took a third of the time in
    which the workflow starts.
    """
    found = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, Settings):
            body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
            for field, below in pairwise(body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                        found[name] = inspect.cleandoc(text)
    return found


PLACE = "place"
"""In the annotation of a key: it says where a job computes, with how much memory or from which path, and not what. A
checkpoint is resumed whatever its value."""


def without_places(settings: BaseModel) -> dict[str, Any]:
    """The settings that decide what a job computes, as JSON values: all but keys marked `PLACE`, at any depth."""
    values = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        if PLACE in field.metadata:
            del values[name]
        elif isinstance(inner := getattr(settings, name), BaseModel):
            values[name] = without_places(inner)
    return values


def _each_once(value: list[int]) -> list[int]:
    if len(set(value)) != len(value) or min(value, default=0) < 0 or max(value, default=0) >= 2**63:
        raise ValueError("different seeds, none negative, of 63 bits at most")
    return value


Seeds = Annotated[list[int], AfterValidator(_each_once)]
"""Numbers of the replicates of a job."""


JobSeeds = Annotated[Seeds, Field(min_length=1)]
"""Seeds that one job has for itself."""


class Runs(Settings):
    """Base of a paper's experiments, which have `methods`, `tasks`, and `runs`: task -> the methods that run on it."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        methods, tasks, runs = (getattr(self, name) for name in ("methods", "tasks", "runs"))
        for kind, names in (("methods", methods), ("tasks", tasks)):
            for name in names:
                if not re.fullmatch(r"[a-z0-9_]+", name):
                    raise _rejected(kind, "names in lower-case letters, digits and _", name)
        for task, chosen in runs.items():
            if task not in tasks:
                raise _rejected("runs", f"tasks, some of {', '.join(tasks)}", task)
            for name in chosen:
                if name not in methods:
                    raise _rejected(f"runs.{task}", f"methods, some of {', '.join(methods)}", name)
            if len(set(chosen)) < len(chosen):
                raise _rejected(f"runs.{task}", "methods, each once", ", ".join(chosen))
        return self


class SeededRuns(Runs):
    """Base of experiments whose jobs may have their own seeds: as many as their claims need."""

    seeds_of: dict[str, JobSeeds] = {}
    """Seeds of the jobs on a task, or of one job, method/task, in place of `seeds`."""

    @model_validator(mode="after")
    def _known_jobs(self) -> Self:
        methods, tasks = (getattr(self, name) for name in ("methods", "tasks"))
        for key in self.seeds_of:
            method, _, task = key.rpartition("/")
            if task not in tasks or (method or next(iter(methods))) not in methods:
                raise _rejected("seeds_of", "task or method/task, of methods and tasks that there are", key)
        return self


def _rejected(key: str, expected: str, found: str) -> PydanticCustomError:
    """The error of a validator that sees a whole model, with the key at fault."""
    return PydanticCustomError("rejected", "{expected}", {"key": key, "expected": expected, "found": found})


Model = TypeVar("Model", bound=Settings)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a configuration: where in it, what was expected, what was found."""

    location: tuple[str | int, ...]
    expected: str
    found: object

    def error(self, where: str) -> InputError:
        """The one-line error; `where` names the file or source."""
        key = ".".join(map(str, self.location))
        return InputError(f"{where}: {key}" if key else where, expected=self.expected, found=self.found)


def validate(model: type[Model], data: object, where: str) -> Model:
    """Check `data` against `model` and return the typed configuration.

    Raises:
        InputError: names the first key at fault, what it should hold and what it holds.
    """
    found = parse(model, data)
    if isinstance(found, Fault):
        raise found.error(where)
    return found


def parse(model: type[Model], data: object) -> Model | Fault:
    """`data` as a configuration of `model`, or its first fault."""
    left: list[tuple[tuple[str | int, ...], object]] = [((), data)]
    seen = set[int]()
    while left:
        location, value = left.pop()
        if isinstance(value, int) and abs(value) >= 2**63:  # tables and compiled code cannot take it
            return Fault(location, "a whole number of at most 63 bits", value)
        if isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))  # YAML's aliases may make a ring, or a tree of a billion leaves
            inner = list(value.items() if isinstance(value, dict) else enumerate(value))
            left.extend(((*location, key), one) for key, one in reversed(inner))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        return _fault(model, data, error.errors(include_url=False))


def _fault(model: type[BaseModel], data: object, errors: Sequence[ErrorDetails]) -> Fault:
    """The fault that helps most among pydantic's errors, which list all variants of a union."""
    errors = _of_best_variant(data, errors)
    first = errors[0]
    kind, context = first["type"], first.get("ctx", {})
    location = _keys(data, first["loc"], kind == "missing")
    if kind == "rejected":
        return Fault((*location, *context["key"].split(".")), context["expected"], context["found"])
    if kind == "extra_forbidden":
        known = f"one of the keys {', '.join(_fields_at(model, first['loc'][:-1]))}"
        return Fault(location[:-1], known, f"the unknown key {location[-1]}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):  # the fault is in the key that tells the variants apart
        key = context["discriminator"].strip("'")
        location = (*location, key) if key.isidentifier() else location
        if kind == "union_tag_invalid":
            return Fault(location, f"one of {context['expected_tags']}", context["tag"])
    if kind in ("missing", "union_tag_not_found"):
        return Fault(location, "a value", "nothing")
    alternatives = dict.fromkeys(
        _expected(error["msg"]) for error in errors if error["loc"][: len(location)] == location
    )
    expected = " or ".join(alternatives) if len(alternatives) > 1 else _expected(first["msg"])
    found = first["input"]
    if isinstance(found, dict) and kind == "value_error":  # of a validator that sees a whole model
        found = ", ".join(_named(found, set(re.findall(r"\w+", expected)))) or found
    return Fault(location, expected, found)


def _named(data: Mapping[str, Any], names: Set[str], prefix: str = "") -> Iterator[str]:
    """The keys of a configuration that a message names, with their values."""
    for key, value in data.items():
        if key in names and not isinstance(value, dict):
            yield f"{prefix}{key}: {value}"
        elif isinstance(value, dict):
            yield from _named(value, names, f"{prefix}{key}.")


def _keys(data: Any, location: tuple[str | int, ...], missing: bool) -> tuple[str | int, ...]:
    """`location` without the names of union variants that pydantic puts between the keys."""
    keys: list[str | int] = []
    for place, part in enumerate(location):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list | tuple) and isinstance(part, int):
            data = data[part] if part < len(data) else None
        elif not (missing and place == len(location) - 1):
            continue
        keys.append(part)
    return tuple(keys)


def _of_best_variant(data: object, errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The errors of the variant with the fewest, where the first error lies in an untagged union of models."""
    first = errors[0]["loc"]
    for place in range(1, len(first)):
        prefix = first[:place]
        together = [error for error in errors if error["loc"][:place] == prefix and len(error["loc"]) > place]
        variants: dict[str | int, list[ErrorDetails]] = {}
        for error in together:
            variants.setdefault(error["loc"][place], []).append(error)
        is_tag = _keys(data, first[: place + 1], False) == _keys(data, prefix, False)
        if is_tag and len(variants) > 1 and any(len(error["loc"]) > place + 1 for error in together):
            return min(variants.values(), key=len)
    return list(errors)


def _expected(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Field names of the model that sits at `location`, as far as it can be followed."""
    schema: dict[str, Any] = model.model_json_schema()

    def models(node: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        return [node, *(found for variant in node.get("anyOf", node.get("oneOf", [])) for found in models(variant))]

    def below(node: dict[str, Any], part: Any) -> dict[str, Any] | None:
        tagged = node.get("discriminator", {}).get("mapping", {}).get(part)
        if tagged:
            return {"$ref": tagged}
        if part == node.get("title") and "properties" in node:
            return node  # the variant of an untagged union
        if isinstance(part, int):
            return dict(enumerate(node.get("prefixItems", []))).get(part) or node.get("items")
        return node.get("properties", {}).get(part) or node.get("additionalProperties")

    here = models(schema)
    for part in location:
        found = [inner for node in here if isinstance(next_ := below(node, part), dict) for inner in models(next_)]
        here = found or here  # the tag of a variant that the schema does not name
    return sorted({name for node in here for name in node.get("properties", {})})


def default_yaml(settings: Settings, header: str) -> str:
    """The YAML file of `settings`: every key with its description as a comment; of nested models, what was set."""
    model = type(settings)
    fields = {name: getattr(settings, name) for name in model.model_fields}
    values = model.model_construct(set(fields), **fields).model_dump(mode="json", exclude_unset=True)
    lines = [f"# {line}" for line in header.splitlines()]
    described = field_docstrings(model)
    for name in model.model_fields:
        value = values[name]
        lines += ["", *(f"# {line}" for line in described.get(name, "").splitlines())]
        flow = None if isinstance(value, dict | list) else False  # None: innermost collections on one line
        lines.append(
            yaml.dump({name: value}, Dumper=Quoting, sort_keys=False, width=110, default_flow_style=flow).rstrip()
        )
    return "\n".join(lines) + "\n"
