"""What a request is turned away with."""


class Refusal(Exception):
    """An HTTP status of 400 to 503, and one sentence that says why."""

    def __init__(self, status: int, message: str):
        # It may quote half a pair of surrogates out of JSON, which UTF-8 cannot say.
        message = message.encode(errors="backslashreplace").decode()
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        return {"Retry-After": "1"} if self.status == 503 else {}
