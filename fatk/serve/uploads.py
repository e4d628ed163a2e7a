"""Bodies of requests to files that can be read again, as little of them in memory as need be."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, cast

from starlette.datastructures import UploadFile
from starlette.requests import Request

from fatk.serve.refusal import Refusal

_IN_MEMORY = 4 << 20  # bytes; what is larger goes to a temporary file


def known_query(request: Request) -> None:
    """Raise `Refusal` where the query has a key that its route does not take; misspelt, it would do nothing."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    unknown = [key for key in request.query_params if key not in known]
    if unknown:
        raise Refusal(400, f"the query takes {', '.join(known)}. Received: {', '.join(unknown)}.")


@asynccontextmanager
async def upload(request: Request) -> AsyncIterator[tuple[str, BinaryIO]]:
    """A sound file sent as the body, or as a file of a form -> (its name, the file)."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() == "multipart/form-data":
        async with request.form(max_files=1, max_fields=8) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            if not files:
                raise Refusal(400, "the form holds no file: send it in the field `file`.")
            yield files[0].filename or "", files[0].file
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        async for piece in request.stream():
            file.write(piece)
        file.seek(0)
        yield "", cast(BinaryIO, file)
