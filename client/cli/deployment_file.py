"""`--file` of `firedeck deployment create` and `update`: settings as JSON, in the words of the API, below the flags.

What `firedeck deployment get -o json` shows will do: what is no setting is left out. It has settings, too, for which
there is no flag.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from client.cli.deployment_settings import settings_of
from client.types import Deployment, DeploymentSpec, Placement
from client.wire import Wire


def file_option(command: Any) -> Any:
    """The command gets what the file sets as its `file`, a DeploymentSpec."""
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    text = "Settings as JSON, as `get -o json` shows them; flags go before them."
    return click.option("--file", type=kind, callback=_read, help=text)(command)


def below(file: DeploymentSpec | None, given: DeploymentSpec) -> DeploymentSpec:
    """What `given` sets, and beneath that what the file does; of a message field by field, but for a placement, whose
    forms exclude each other."""
    if file is None:
        return given
    whole = {name: getattr(file, name) for name in file.model_fields_set}
    whole |= {name: _over(whole.get(name), getattr(given, name)) for name in given.model_fields_set}
    return DeploymentSpec.model_construct(_fields_set=set(whole), **whole)


def _over(file: Any, given: Any) -> Any:
    if not isinstance(file, Wire) or isinstance(given, Placement):
        return given
    return file.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})


def _read(ctx: click.Context, param: click.Parameter, value: Path | None) -> DeploymentSpec | None:
    if value is None:
        return None
    try:
        found = Deployment.model_validate(json.loads(value.read_text(encoding="utf-8")), extra="forbid")
    except ValidationError as error:
        raise click.BadParameter(f"{value}: {_first(error)}", ctx, param) from None
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value} holds no JSON: {error}", ctx, param) from None
    given = {name: setting for name, setting in settings_of(found) if setting is not None}
    return DeploymentSpec.model_construct(_fields_set=set(given), **given)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    told = "no setting of a deployment" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{field}: {told}" if field else told
