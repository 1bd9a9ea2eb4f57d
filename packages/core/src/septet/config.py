"""Typed configuration: one pydantic model per job, its JSON schema and its default YAML."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from septet.errors import InputError


class Settings(BaseModel):
    """Base of every configuration model: unknown keys and infinite numbers are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def _each_once(value: list[int]) -> list[int]:
    if len(set(value)) != len(value) or min(value, default=0) < 0 or max(value, default=0) >= 2**63:
        raise ValueError("different seeds, none negative, of 63 bits at most")
    return value


Seeds = Annotated[list[int], AfterValidator(_each_once)]
"""Numbers of the replicates of a job."""


class Runs(Settings):
    """Base of a paper's experiments, which have `methods`, `tasks`, and `runs`: task -> the methods that run on it."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        methods, tasks, runs = (getattr(self, name) for name in ("methods", "tasks", "runs"))
        for task, chosen in runs.items():
            if task not in tasks:
                raise ValueError(f"runs of a task in {', '.join(tasks)} (not {task})")
            if unknown := set(chosen) - set(methods):
                raise ValueError(f"runs.{task} of methods in {', '.join(methods)} (not {', '.join(unknown)})")
        return self


Model = TypeVar("Model", bound=Settings)


def validate(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """Check `data` against `model` and return the typed configuration.

    Raises:
        InputError: names the first key at fault, what it should hold and what it holds.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc, context = first["loc"], first.get("ctx", {})
        if first["type"].startswith("union_tag"):  # the fault is in the key that tells the variants apart
            loc = (*loc, context["discriminator"].strip("'"))
        key = ".".join(str(part) for part in loc)
        if first["type"] == "extra_forbidden":
            known = f"one of the keys {', '.join(_fields_at(model, first['loc'][:-1]))}"
            raise InputError(where, expected=known, found=f"the unknown key {key}") from None
        expected, found = _expected(first["msg"]), first["input"]
        if first["type"] in ("missing", "union_tag_not_found"):
            expected, found = "a value", "nothing"
        elif first["type"] == "union_tag_invalid":
            expected, found = f"one of {context['expected_tags']}", context["tag"]
        raise InputError(f"{where}: {key}" if key else where, expected=expected, found=found) from None


def _expected(message: str) -> str:
    for start in ("Input should be ", "Value error, "):
        message = message.removeprefix(start)
    return message


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Field names of the model that sits at `location`, as far as it can be followed."""
    schema: dict[str, Any] = model.model_json_schema()

    def models(node: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        return [node, *(found for variant in node.get("anyOf", []) for found in models(variant))]

    def below(node: dict[str, Any], part: Any) -> dict[str, Any] | None:
        tagged = node.get("discriminator", {}).get("mapping", {}).get(part)
        if tagged:
            return {"$ref": tagged}
        if part == node.get("title"):
            return node  # the variant of an untagged union
        if isinstance(part, int):
            return dict(enumerate(node.get("prefixItems", []))).get(part) or node.get("items")
        return node.get("properties", {}).get(part) or node.get("additionalProperties")

    here = models(schema)
    for part in location:
        here = [found for node in here if isinstance(next_ := below(node, part), dict) for found in models(next_)]
    return sorted({name for node in here for name in node.get("properties", {})})


def json_schema(model: type[Settings], open_to: Sequence[str] = ()) -> str:
    """JSON schema of a configuration model, as the text of the file that the workflow reads.

    Args:
        open_to: further keys that may hold a mapping, each checked by a schema of its own.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    for key in open_to:
        schema["properties"][key] = {"type": "object", "description": f"Overrides of config/papers/{key}.yaml."}
    return json.dumps(schema, indent=2) + "\n"


def default_yaml(settings: Settings, header: str) -> str:
    """The YAML file of `settings`: every key with its description as a comment; of nested models, what was set."""
    model = type(settings)
    fields = {name: getattr(settings, name) for name in model.model_fields}
    values = model.model_construct(set(fields), **fields).model_dump(mode="json", exclude_unset=True)
    lines = [f"# {line}" for line in header.splitlines()]
    for name, field in model.model_fields.items():
        value = values[name]
        lines += ["", *(f"# {line}" for line in (field.description or "").splitlines())]
        flow = None if isinstance(value, dict | list) else False  # None: innermost collections on one line
        lines.append(yaml.safe_dump({name: value}, sort_keys=False, width=110, default_flow_style=flow).rstrip())
    return "\n".join(lines) + "\n"
