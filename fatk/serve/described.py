"""What the service tells about its model: TensorFlow Serving's status and metadata."""

from typing import Any


def metadata(name: str, signatures: dict[str, Any]) -> dict[str, Any]:
    """What TensorFlow Serving answers to .../metadata."""

    def tensor(signature: str, label: str, spec: Any) -> dict[str, Any]:
        rank = spec.shape.rank
        return {
            "dtype": f"DT_{ {'float32': 'FLOAT'}.get(spec.dtype.name, spec.dtype.name).upper() }",
            "tensor_shape": {
                "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
                if rank is not None
                else [],
                "unknown_rank": rank is None,
            },
            "name": f"{signature}_{label}:0",
        }

    described = {
        key: {
            "inputs": {
                label: tensor(key, label, spec)
                for label, spec in sorted(signature.structured_input_signature[1].items())
            },
            "outputs": {
                label: tensor("StatefulPartitionedCall", label, spec)
                for label, spec in sorted(signature.structured_outputs.items())
            },
            "method_name": "tensorflow/serving/predict",
        }
        for key, signature in sorted(signatures.items())
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": described}},
    }


def status() -> dict[str, Any]:
    """What TensorFlow Serving answers about a model that is ready."""
    ready = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": ready}]}
