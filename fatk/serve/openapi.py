"""Words and examples of the OpenAPI description that the signatures of Python functions cannot say."""

from typing import Any

DESCRIPTION = (
    "Tags sounds. Probabilities are between 0 and 1, one a class, and do not sum to 1: a sound may be several "
    'things. Every error is {"error": "..."}.'
)

_ROWS = {"signature_name": "ragged", "instances": [{"audio": [0.0, 0.01, -0.02, 0.0], "lengths": 4}]}
_COLUMNS = {"inputs": {"audio": [[0.0, 0.01, -0.02, 0.0]]}}
_BYTES = {"signature_name": "wav", "instances": [{"b64": "UklGR..."}]}

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "signature_name": {"type": "string", "default": "serving_default"},
                        "instances": {"type": "array", "items": {}, "description": "one element a clip"},
                        "inputs": {"description": "all clips of an input at once, or an object of them"},
                    },
                },
                "examples": {
                    "rows": {"value": _ROWS},
                    "columns": {"value": _COLUMNS},
                    "files": {"value": _BYTES},
                },
            }
        },
    }
}

_FILE = {"type": "string", "format": "binary"}

AUDIO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _FILE},
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
            },
        },
    }
}
