"""Sound at another speed or pitch: exact resampling by Fourier transform, and a phase vocoder."""

import math

import numpy as np
import tensorflow as tf

_STEPS = 256  # a ratio of speeds is taken to the next multiple of 1 / 256
_WINDOW_SECONDS = 0.046  # of the vocoder: long enough for low tones, short enough for clicks
_OVERLAP = 4  # hops in a window


def _smooth_numbers(highest: int) -> np.ndarray:
    """-> ascending int32: every number up to `highest` that has no other prime factors than 2, 3 and 5."""
    found = np.ones(1, np.int64)
    for prime in (2, 3, 5):
        powers = prime ** np.arange(int(math.log(highest, prime)) + 1, dtype=np.int64)
        found = np.unique(found[:, None] * powers)
        found = found[found <= highest]
    return found.astype(np.int32)


_SMOOTH = _smooth_numbers(2**27)


def transform_size(least: tf.Tensor) -> tf.Tensor:
    """() int32 -> () int32: the next length from there on of which a Fourier transform is fast."""
    sizes = tf.constant(_SMOOTH)
    return sizes[tf.searchsorted(sizes, least[None])[0]]


def change_speed(sound: tf.Tensor, speed: tf.Tensor) -> tf.Tensor:
    """(samples,) -> (samples / speed,), rounded: played so many times as fast, 1/2 to 2; higher and shorter.

    The spectrum of the whole clip is cut off or filled up with zeros, which is interpolation by sinc: nothing
    folds over. The ratio is rounded to whole 256ths of the new length, 0.4 % at worst, so that both transforms
    have lengths of small factors.
    """
    samples = tf.shape(sound)[0]
    blocks = transform_size(samples // _STEPS + 1)
    share = tf.cast(tf.round(_STEPS / speed), tf.int32)
    size, new = _STEPS * blocks, share * blocks
    bins = tf.signal.rfft(sound, [size])
    kept = tf.minimum(size, new) // 2 + 1
    bins = tf.pad(bins[:kept], [[0, tf.maximum(new // 2 + 1 - kept, 0)]])
    made = tf.signal.irfft(bins, [new]) * (tf.cast(new, tf.float32) / tf.cast(size, tf.float32))
    length = tf.maximum(tf.cast(samples, tf.float32) * tf.cast(share, tf.float32) / _STEPS + 0.5, 1.0)
    return made[: tf.cast(length, tf.int32)]


def _unit(values: tf.Tensor) -> tf.Tensor:
    """Complex values -> the same of magnitude 1: their angles alone; 1 where there is none."""
    size = tf.abs(values)
    return tf.where(size > 0, values / tf.cast(tf.maximum(size, 1e-30), tf.complex64), tf.ones_like(values))


def stretch(sound: tf.Tensor, factor: tf.Tensor, rate: int) -> tf.Tensor:
    """(samples,) -> (about samples x factor,): so many times as long at the same pitch. A phase vocoder.

    Frames are read off at other times, magnitudes interpolated, and each bin turned on by the angle that it
    turned between the two frames around. Tones stay whole; clicks smear over a window.
    """
    window = 2 ** round(math.log2(_WINDOW_SECONDS * rate))
    hop = window // _OVERLAP
    samples = tf.shape(sound)[0]
    padded = tf.pad(sound, [[window // 2, window // 2 + (-samples) % hop + hop]])
    frames = tf.signal.stft(padded, window, hop)  # (frames, bins)
    count = tf.shape(frames)[0]
    wanted = tf.maximum(tf.cast(tf.cast(count - 1, tf.float32) * factor, tf.int32), 1)
    place = tf.range(wanted, dtype=tf.float32) / factor
    left = tf.minimum(tf.cast(place, tf.int32), count - 2)
    share = (place - tf.cast(left, tf.float32))[:, None]
    size = tf.abs(frames)
    before, after = tf.gather(size, left), tf.gather(size, left + 1)
    turn = _unit(frames[1:] * tf.math.conj(frames[:-1]))  # of each bin from a frame to the next
    turned = tf.math.cumprod(tf.gather(turn, left), axis=0, exclusive=True)
    # Angles add up from a frame whose own they are. Bins lose hold of each other with the distance from it, so
    # it is the loudest one, and not the first, which may be silent.
    loudest = tf.argmax(tf.reduce_sum(tf.square(size), 1), output_type=tf.int32)
    start = tf.minimum(tf.cast(tf.cast(loudest, tf.float32) * factor + 0.5, tf.int32), wanted - 1)
    turned *= tf.math.conj(turned[start]) * _unit(frames[left[start]])
    made = tf.cast(before + share * (after - before), tf.complex64) * turned
    shape = tf.signal.inverse_stft_window_fn(hop)
    return tf.signal.inverse_stft(made, window, hop, window_fn=shape)[window // 2 :]


def change_pitch(sound: tf.Tensor, semitones: tf.Tensor, rate: int) -> tf.Tensor:
    """(samples,) -> (samples,): higher by so many semitones at the same duration. Stretched, then sped up."""
    samples = tf.shape(sound)[0]
    factor = 2.0 ** (semitones / 12)
    # By the very ratio that the speed will be rounded to, or the end of a long clip would come too early.
    factor = _STEPS / tf.round(_STEPS / factor)
    made = change_speed(stretch(sound, factor, rate), factor)[:samples]
    return tf.pad(made, [[0, samples - tf.shape(made)[0]]])
