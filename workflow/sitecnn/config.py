"""config/config.yaml, typed: what the workflow runs. Unknown keys are errors that name the key and the file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from sitecnn.errors import ConfigError, NetworkError, did_you_mean, nearest


def spelled(first: str, later: str, words: str) -> tuple[AfterValidator, FieldInfo]:
    """Of a string: it begins with a character of `first`, and all others are of `later` too; errors say it in `words`.

    Both are the inside of a regular expression's brackets. For `Annotated[str, *spelled(...)]`.
    """
    pattern = f"^[{first}][{first}{later}]*$"

    def check(text: str) -> str:
        if not re.match(pattern, text) or text.endswith("\n"):
            raise ValueError(f"expected {words}, found {text!r}")
        return text

    return AfterValidator(check), Field(json_schema_extra={"pattern": pattern})


Name = Annotated[
    str,
    Field(max_length=100),
    *spelled("a-z0-9", "_.-", "small letters, digits, and after the first of them `_`, `.` or `-`"),
]
"""A network's or board's name: it becomes a file name and a Snakemake wildcard, and nothing else."""


def _each_once(values: list[Any]) -> list[Any]:
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{repeated[0]!r} is there more than once")
    return values


EACH_ONCE = AfterValidator(_each_once)
"""Of a list: no value twice."""


class Strict(BaseModel):
    """A piece of configuration: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Config(Strict):
    """What `snakemake report` runs."""

    networks: Annotated[list[Name], EACH_ONCE] = Field(
        min_length=1, description="files of config/networks, without their suffix"
    )
    held_out: Annotated[list[Name], EACH_ONCE] = Field(
        [], description="networks that are measured to be estimated, and never fitted"
    )
    boards: Annotated[list[Name], EACH_ONCE] = Field(
        min_length=1, description="files of config/boards, without their suffix"
    )
    batch: int = Field(1, ge=1, description="images per forward pass")
    sweep: bool = Field(
        True, description="measure probe networks and matrix products, so that any network can be estimated"
    )
    level: float = Field(0.9, gt=0, lt=1, description="probability that an interval contains the true value")


Model = TypeVar("Model", bound=Strict)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """A YAML file as `model`; ConfigError names the file, the key and the fix for whatever is wrong in it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path}: expected `key: value` lines, found {kind}")
    return validate(content, model, str(path))


def validate(content: dict[str, Any], model: type[Model], origin: str) -> Model:
    """`content` as `model`; ConfigError names `origin` and the first key that is wrong, with the nearest match."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error, model)}") from error


def load_config(root: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """`root`/config/config.yaml, with every network and board that it names present as a file.

    `overrides` are the values that Snakemake's `--config` changed or, being its own reading of the file, left alone.
    """
    path = root / "config" / "config.yaml"
    config = read_yaml(path, Config)
    if overrides:
        config = validate(config.model_dump() | dict(overrides), Config, str(path))
    for board in config.boards:
        if not (root / "config" / "boards" / f"{board}.yaml").is_file():
            known = stems(root / "config" / "boards")
            raise ConfigError(f"{path}: boards: no file config/boards/{board}.yaml; {nearest(board, known)}")
    for network in (*config.networks, *config.held_out):
        network_file(root, network)
    if both := sorted(set(config.networks) & set(config.held_out)):
        raise ConfigError(f"{path}: held_out: {both[0]!r} is in `networks` too; a network is fitted or held out")
    return config


def network_file(root: Path, network: str) -> Path:
    """config/networks/{network}.prototxt or .onnx; ConfigError if neither is there."""
    folder = root / "config" / "networks"
    for suffix in (".prototxt", ".onnx"):
        if (folder / (network + suffix)).is_file():
            return folder / (network + suffix)
    raise NetworkError(f"{folder}: no network {network!r} (.prototxt or .onnx); {nearest(network, stems(folder))}")


def stems(folder: Path) -> list[str]:
    """The names of a folder's files without their suffixes, hidden ones left out."""
    return sorted(file.stem for file in folder.glob("[!.]*.*"))


def _explain(error: ValidationError, model: type[Strict]) -> str:
    # A misspelt key is unknown and leaves another one missing: the first says what to mend.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{place}: this key is required"
    if first["type"] == "value_error":
        return ": ".join(filter(None, (place, str(first["ctx"]["error"]))))
    if first["type"] != "extra_forbidden":
        return f"{place}: {first['msg']}, found {first['input']!r}"
    key = str(first["loc"][-1])
    return ", ".join(filter(None, (f"{place}: unknown key", did_you_mean(key, _all_keys(model)))))


def _all_keys(model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    nested = [list(part.get("properties", {})) for part in schema.get("$defs", {}).values()]
    return [*schema["properties"], *(key for keys in nested for key in keys)]
