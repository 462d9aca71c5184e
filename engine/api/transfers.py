"""Files of models over HTTP: `:getUploadEndpoint`, `:validateUpload`, `:getDownloadEndpoint`, and their signed URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import ClientDisconnect

from client.errors import FailedPrecondition, InvalidArgument
from client.model_types import DownloadEndpoint, Model, UploadEndpoint, UploadValidation
from client.names import Name
from engine import model_rules
from engine.api.common import Body, Caller, HouseDep, ReadMask, documented_body, object_body, shown
from engine.house import House
from engine.models import customized, peft
from engine.models.hugging_face import convert, fields, vocabulary
from engine.preparing import sources
from engine.resumed import check_version, piece_of
from engine.uploads import EXPIRY_S, FILES_MAX, Ticket

router = APIRouter(tags=["models"])
signed = APIRouter(prefix="/firedeck/v1/files", tags=["models"])  # whoever has the URL may use it: no key is asked for
RESUME, CLIENT_GONE = 308, 499
_ONE = "/v1/accounts/{account}/models/{model_id}"


@router.post(
    _ONE + ":getUploadEndpoint", response_model=UploadEndpoint, openapi_extra=documented_body("UploadEndpointBody")
)
async def upload_endpoint(
    account: str, model_id: str, body: Body, request: Request, house: HouseDep, caller: Caller, read_mask: ReadMask = ""
) -> Response:
    """`{"filenameToSize": {name: bytes}}`: a signed URL for each file, to PUT it to. The model must be UPLOADING."""
    model = _uploading(house, account, model_id)
    sizes = _sizes(object_body(body, "filenameToSize", "enableResumableUpload"))
    house.uploads.check_room(sizes)
    urls = {name: _url(request, house, "PUT", model.name, name, size) for name, size in sizes.items()}
    uris = {name: f"firedeck://{model.name}/{name}" for name in sizes}  # where it lies on this machine is not told
    found = UploadEndpoint(filename_to_signed_urls=urls, filename_to_unsigned_uris=uris)
    return shown(found, read_mask)


@router.get(_ONE + ":validateUpload", response_model=UploadValidation)
async def validate_upload(
    account: str,
    model_id: str,
    house: HouseDep,
    caller: Caller,
    config_only: Annotated[bool, Query(alias="configOnly")] = False,
    skip_hf_config_validation: Annotated[bool, Query(alias="skipHfConfigValidation")] = False,
    trust_remote_code: Annotated[bool, Query(alias="trustRemoteCode")] = False,
) -> Response:
    """Check what was uploaded and make the model READY: one GGUF file, a base model's `config.json`, `tokenizer.json`
    and safetensors, or an adapter's `adapter_config.json` and `adapter_model.safetensors`, which become one.
    `configOnly` checks alone, of a base model no more than its configs."""
    async with house.uploads.settling:
        model = _uploading(house, account, model_id)
        files = house.uploads.files_of(model.name)
        base = model.peft_details.base_model if model.is_adapter and model.peft_details else None
        unused: list[str] = []
        if config_only and sources.holds_base(files):
            await asyncio.to_thread(_check_configs, files, model)
            return shown(UploadValidation())
        if peft.CONFIG in files or sources.holds_base(files):
            file = house.uploads.converted(model.name)
            left = await house.library.files.converted(model, files, base, file)
            unused = [f"{name} is not used" for name in left]
        else:
            file = house.uploads.gguf_of(model.name)
            await asyncio.to_thread(customized.check_unused, files, model.conversation_config, "a GGUF file")
        checked = await house.library.files.checked(model, file, base)
        _check_rank(checked)
        if not config_only:
            await house.library.put(checked)
    return shown(UploadValidation(warnings=unused))


def _check_rank(model: Model) -> None:
    """InvalidArgument for an adapter whose rank is not one that the documented upload takes."""
    rank = model.peft_details.r if model.is_adapter and model.peft_details else None
    if rank is not None and not peft.RANK_MIN <= rank <= peft.RANK_MAX:
        raise InvalidArgument(
            f"the adapter has rank {rank}: uploads of {peft.RANK_MIN} to {peft.RANK_MAX} are taken", field="file",
            hint="an admin may register it where it lies: firedeck model create ID --file PATH --base-model MODEL",
        )  # fmt: skip


@router.post("/v1/validateModelConfig", openapi_extra=documented_body("ModelConfigBody"))
async def validate_model_config(body: Body, caller: Caller) -> dict[str, Any]:
    """`{"configJson", "tokenizerConfigJson"?}`, the texts of a model's files: whether such a model can be uploaded, as
    far as they tell. 400 says why not."""
    given = object_body(body, "configJson", "tokenizerConfigJson")
    text, tokenizer = given.get("configJson"), given.get("tokenizerConfigJson") or "{}"
    if not isinstance(text, str) or not isinstance(tokenizer, str):
        raise InvalidArgument("configJson is required, as a text", field="configJson", hint="give config.json's text")
    convert.check_config(text, tokenizer)
    return {}


@router.get(_ONE + ":getDownloadEndpoint", response_model=DownloadEndpoint)
async def download_endpoint(
    account: str, model_id: str, request: Request, house: HouseDep, caller: Caller, read_mask: ReadMask = ""
) -> Response:
    """A signed URL for the model's file."""
    model = house.library.get(_name(account, model_id), "name")
    file = model.firedeck
    if file is None or not file.file or not file.on_disk:
        raise FailedPrecondition(
            f"the file of {model.name} is not here yet", field="name", hint="deploy it once, or firedeck model pull"
        )
    path = house.library.files.file_of(model.name)
    url = _url(request, house, "GET", model.name, path.name, path.stat().st_size)
    return shown(DownloadEndpoint(filename_to_signed_urls={path.name: url}), read_mask)


_RESUMED: dict[int | str, dict[str, Any]] = {
    RESUME: {"description": "`Range` says how much of the file is here: go on behind it"}
}


@signed.put("/{ticket}", responses=_RESUMED)
async def put_file(
    ticket: str, request: Request, house: HouseDep,
    content_range: Annotated[str, Header(description="bytes 100-199/200; bytes */200 asks how much is here")] = "",
    x_firedeck_version: Annotated[str, Header(description="tells one state of the file from another, in hex")] = "",
) -> Response:  # fmt: skip
    """Upload a file to its signed URL: whole, or with `Content-Range` from where a connection broke. Then 308 says with
    `Range` how much is here, until 200 says that all is."""
    meant = house.uploads.ticket(ticket, "PUT", house.fleet.rooms.clock.wall().timestamp())

    def check() -> None:
        _still_uploading(house.library.get(meant.model, "name"))

    check()
    try:
        if not content_range:
            await house.uploads.receive(meant, request.stream(), check)
            return JSONResponse({})
        version, piece = check_version(x_firedeck_version), piece_of(content_range)
        have = await house.uploads.resume(meant, version, piece, request.stream(), check)
    except ClientDisconnect:  # nobody is there to be answered
        return Response(status_code=CLIENT_GONE)
    if have == meant.size_bytes:
        return JSONResponse({})
    return Response(status_code=RESUME, headers={"range": f"bytes=0-{have - 1}"} if have else None)


@signed.get("/{ticket}", response_class=FileResponse)
async def get_file(ticket: str, house: HouseDep) -> FileResponse:
    """Download a file from its signed URL."""
    meant = house.uploads.ticket(ticket, "GET", house.fleet.rooms.clock.wall().timestamp())
    path = house.library.files.file_of(meant.model)
    if not path.is_file():
        raise FailedPrecondition(f"the file of {meant.model} is gone", field="name", hint="put it back")
    return FileResponse(path, media_type="application/octet-stream", filename=meant.file)


def _check_configs(files: Mapping[str, Path], declared: Model) -> None:
    customized.read(files, model_rules.conversation_of(declared))
    settings = files.get(vocabulary.CONFIG)
    convert.check_config(files[fields.NAME].read_bytes(), settings.read_bytes() if settings else b"{}")


def _uploading(house: House, account: str, model_id: str) -> Model:
    model = house.library.get(_name(account, model_id), "name")
    _still_uploading(model)
    return model


def _still_uploading(model: Model) -> None:
    if model.state != "UPLOADING":
        raise FailedPrecondition(
            f"{model.name} is {model.state}: its files do not change any more", field="name", hint="make a new model"
        )


def _sizes(body: dict[str, Any]) -> dict[str, int]:
    given = body.get("filenameToSize")
    if not isinstance(given, dict) or not given or len(given) > FILES_MAX:
        raise InvalidArgument(
            f"filenameToSize is required, with 1 to {FILES_MAX} files", field="filenameToSize",
            hint='e.g. {"model.gguf": "98362432"}',
        )  # fmt: skip
    return {name: _size(name, size) for name, size in given.items()}


def _size(name: str, size: Any) -> int:
    """An int64, which protojson writes as a text."""
    text = str(size) if isinstance(size, int | str) and not isinstance(size, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidArgument(f"the size of {name[:80]!r} must be a number of bytes", field="filenameToSize")
    return int(text)


def _url(request: Request, house: House, method: str, model: str, file: str, size: int) -> str:
    expires = house.fleet.rooms.clock.wall().timestamp() + EXPIRY_S
    ticket = house.uploads.sign(Ticket(method, model, file, size, expires))
    return f"{str(request.base_url).rstrip('/')}{signed.prefix}/{ticket}"


def _name(account: str, model_id: str) -> str:
    return str(Name.of(model_id, "models", account, "model"))
