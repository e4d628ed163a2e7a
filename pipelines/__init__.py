"""tf.data graphs, from bytes to batches."""
