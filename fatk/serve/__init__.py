"""The HTTP service: TensorFlow Serving's REST shape, an upload route, and a page to listen with."""
