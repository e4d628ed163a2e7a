"""Training images on the accelerator: a layer that makes them of what `pipelines` sends in their place."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

from fatk.config import Config
from pipelines import unpainted
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import FeatureSettings


class DeviceFeatures(keras.layers.Layer):
    """A batch of `unpainted.View` -> (batch, bands, columns, channels) float32 in 0..1, as the host makes it.

    Of views of a clip, (batch, views, ...) each, it makes (batch, views, bands, columns, channels). It has no
    weights and no state.
    """

    def __init__(self, features: FeatureSettings, domain: DomainSettings = UNCHANGED, **kwargs):
        # What is known of a clip must not be rounded to the network's precision.
        super().__init__(autocast=False, dtype="float32", trainable=False, **kwargs)
        self.features = features
        self.domain = domain
        self.built = True

    def call(self, clips: unpainted.View) -> Any:
        """Make the images."""
        ops = keras.ops

        def image(clip: unpainted.View) -> Any:
            return unpainted.painted(ops, clip, self.features, self.domain)

        def images(some: unpainted.View) -> Any:
            return ops.vectorized_map(image, some)

        with _exactly():
            views = len(clips["sound"].shape) == 3
            made = ops.vectorized_map(images, clips) if views else images(clips)
        return ops.cast(made, "float32") / 255.0

    def compute_output_shape(self, input_shape: dict[str, Any]) -> tuple[int | None, ...]:
        """One image for each view."""
        return (*input_shape["sound"][:-1], *self.features.shape)


def _exactly() -> AbstractContextManager[Any]:
    """Products of matrices in float32: by default JAX has a GPU round their factors to eleven bits."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax

    return jax.default_matmul_precision("float32")


def build(config: Config) -> DeviceFeatures | None:
    """-> the layer that a run's training batches need; None where the host makes their images."""
    if config.features.where == "host":
        return None
    return DeviceFeatures(config.features, config.domain, name="device_features")


def painted(front: DeviceFeatures | None, batch: dict[str, Any]) -> dict[str, Any]:
    """A training batch of either kind -> the same with images, to look at."""
    if front is None:
        return batch
    made = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)
    call: Any = front
    if keras.backend.backend() == "jax":  # outside of a program every operation would be compiled by itself
        import jax

        call = jax.jit(front)
    return {key: call(value) if key.endswith("image") else value for key, value in made.items()}
