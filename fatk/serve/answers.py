"""The shapes of the service's own answers, for its OpenAPI description."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Every answer of 400 and above."""

    error: str = Field(examples=["the body is empty: send the bytes of a sound file."])


class Tag(BaseModel):
    """A class and how likely it is."""

    label: str
    probability: float = Field(description="0..1")


class Window(BaseModel):
    """A stretch of the sound, scored by itself."""

    start: float = Field(description="seconds")
    end: float = Field(description="seconds")
    probabilities: list[float] = Field(description="(classes,)")


class Hertz(BaseModel):
    """A frequency and the band of the image in which it lies."""

    hertz: float
    band: float = Field(description="0 is the lowest row")


class Spectrogram(BaseModel):
    """The image that the network is shown, its amplitude alone."""

    png: str = Field(description="grey PNG in base64, the highest band on top")
    bands: int
    start: float = Field(description="seconds at the left edge; below 0 where a short sound was padded")
    end: float = Field(description="seconds at the right edge; past the sound where the image was filled up")
    hertz: list[Hertz]


class Waveform(BaseModel):
    """Lowest and highest sample in each of equal stretches, -1..1."""

    low: list[float]
    high: list[float]


class Tagged(BaseModel):
    """What an upload is answered with."""

    file: str = Field(description="its name, where the client told it")
    format: str = Field(description="as libsndfile names it")
    seconds: float
    rate: int = Field(description="Hz, the file's own")
    channels: int
    tags: list[Tag] = Field(description="the likeliest classes, best first")
    classes: list[str] = Field(description="names, in the order of all probabilities")
    probabilities: list[float] = Field(description="(classes,)")
    windows: list[Window] | None = None
    image: Spectrogram | None = None
    waveform: Waveform | None = None


class Explained(BaseModel):
    """Why a class: the parts of the image that speak for it."""

    label: str
    png: str = Field(description="grey PNG in base64, over the same extent as `image`; white speaks most")


class About(BaseModel):
    """The model and the limits of this service."""

    name: str
    classes: list[str]
    rate: int = Field(description="Hz of the waveforms that `predict` takes")
    window_seconds: float | None = Field(description="null where no settings are with the model")
    signatures: list[str]
    body_bytes: int = Field(description="largest body of a request")
    clip_seconds: float = Field(description="longest clip")
