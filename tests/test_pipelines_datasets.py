"""Feeds: epochs, seeds, entering anywhere, shapes; evaluation once a clip."""

from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from pipelines import crops, datasets, records
from pipelines.augment_settings import AugmentSettings
from pipelines.clips import image_of
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings, Stretch

CLIPS, BATCH = 23, 5
STEPS = CLIPS // BATCH
FEATURES = FeatureSettings(rate=2000, bands=16)
AUGMENT = AugmentSettings(level=3, cutout=True)
FEED = FeedSettings(batch=BATCH, shuffle=6, crops=3, seed=11)

Batch = dict[str, np.ndarray]


def sound(number: int) -> np.ndarray:
    """(samples,) int16 of half a second to four; clip 0 is one sample."""
    random = np.random.default_rng(number)
    return random.integers(-9000, 9000, random.integers(1000, 8000) if number else 1).astype(np.int16)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """23 clips, each of a class of its own, in four shards that hold other clips too."""
    folder = tmp_path_factory.mktemp("shards")
    shards = []
    for shard in range(4):
        path = folder / f"{shard}.tfrecord"
        made = [records.example(f"curated/{n}.wav", sound(n), 2000) for n in range(shard, CLIPS, 4)]
        made.insert(2, records.example(f"test/{shard}.wav", sound(shard), 2000))
        records.write_shard(path, made)
        shards.append(str(path))
    keys = tuple(f"curated/{n}.wav" for n in range(CLIPS))
    return Examples(keys, np.eye(CLIPS, dtype=np.float32), tuple(shards))


def draw(examples: Examples, count: int, feed: FeedSettings = FEED, **others: Any) -> list[Batch]:
    """The first batches of training."""
    made = datasets.training(examples, FEATURES, others.pop("augment", AUGMENT), feed, **others)
    return list(islice(made.as_numpy_iterator(), count))


def clips_of(batches: list[Batch]) -> list[int]:
    """Numbers of the clips, told by their targets."""
    targets = np.concatenate([batch["target"] for batch in batches])
    assert set(np.unique(targets)) <= {0, 1}
    assert (targets.sum(axis=1) == 1).all()
    return [int(number) for number in targets.argmax(axis=1)]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope="module")
def three_epochs(examples: Examples) -> list[Batch]:
    return draw(examples, 3 * STEPS)


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two images are one: a transform may round otherwise in another graph, by a level here and there."""
    return first.shape == second.shape and bool((np.abs(255 * (first - second)) < 1.5).mean() > 0.98)


def whole_image(number: int) -> tf.Tensor:
    """(bands, frames, 3) float32 0..1 of a clip."""
    return datasets.to_unit(image_of(tf.constant(sound(number)), FEATURES))


# --- training --------------------------------------------------------------------------------------------------


def test_an_epoch_has_each_clip_once_but_the_remainder(three_epochs: list[Batch]) -> None:
    epochs = [clips_of(three_epochs[e * STEPS : (e + 1) * STEPS]) for e in range(3)]
    for order in epochs:
        assert len(order) == len(set(order)) == STEPS * BATCH
    assert len({tuple(order) for order in epochs}) == 3
    assert len({frozenset(order) for order in epochs}) > 1  # not the same clips are left out


def test_shapes_types_and_ranges(examples: Examples, three_epochs: list[Batch]) -> None:
    spec = datasets.training(examples, FEATURES, AUGMENT, FEED).element_spec
    assert spec == {
        "image": tf.TensorSpec((BATCH, 16, 16, 3), tf.float32),
        "target": tf.TensorSpec((BATCH, CLIPS), tf.float32),
    }
    images = np.concatenate([batch["image"] for batch in three_epochs])
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    np.testing.assert_array_equal(images * 255, np.rint(images * 255))  # whole levels


def test_one_seed_gives_one_result_however_many_threads(
    examples: Examples, three_epochs: list[Batch]
) -> None:
    assert_same(draw(examples, 3 * STEPS), three_epochs)
    for threads in (1, 7):
        tf.random.set_seed(threads)  # the global seed has no say
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.autotune.enabled = threads == 1
        made = datasets.training(examples, FEATURES, AUGMENT, FEED).with_options(options)
        assert_same(list(islice(made.as_numpy_iterator(), 2 * STEPS)), three_epochs[: 2 * STEPS])


def test_a_second_pass_over_one_dataset_is_the_same(examples: Examples) -> None:
    made = datasets.training(examples, FEATURES, AUGMENT, FEED)
    first, second = (list(islice(made.as_numpy_iterator(), STEPS + 1)) for _ in range(2))
    assert_same(first, second)


@pytest.mark.parametrize("seed", [0, -1, 2**31 - 1])
def test_any_seed_will_do(examples: Examples, seed: int) -> None:
    feed = FeedSettings(batch=BATCH, shuffle=6, seed=seed)
    tf.random.set_seed(0)
    first = clips_of(draw(examples, STEPS, feed))
    tf.random.set_seed(1)
    assert clips_of(draw(examples, STEPS, feed)) == first
    assert len(set(first)) == STEPS * BATCH


def test_another_seed_gives_another_order_and_other_pixels(
    examples: Examples, three_epochs: list[Batch]
) -> None:
    other = draw(examples, STEPS, FeedSettings(batch=BATCH, shuffle=6, crops=3, seed=12))
    assert clips_of(other) != clips_of(three_epochs[:STEPS])
    mine = dict(zip(clips_of(other), np.concatenate([b["image"] for b in other]), strict=True))
    theirs = zip(clips_of(three_epochs), np.concatenate([b["image"] for b in three_epochs]), strict=True)
    assert any((mine[number] != image).any() for number, image in theirs if number in mine)


def test_epochs_crop_and_cut_anew(three_epochs: list[Batch]) -> None:
    images: dict[int, set[bytes]] = {}
    for batch in three_epochs:
        for number, image in zip(clips_of([batch]), batch["image"], strict=True):
            images.setdefault(number, set()).add(image.tobytes())
    drawn = sum(len(batch["image"]) for batch in three_epochs)
    assert sum(map(len, images.values())) > 0.8 * drawn


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_entered_directly_is_the_one_reached_by_iterating(
    examples: Examples, three_epochs: list[Batch], epoch: int
) -> None:
    direct = draw(examples, (3 - epoch) * STEPS, first_epoch=epoch)
    assert_same(direct, three_epochs[epoch * STEPS :])


@pytest.mark.parametrize("first_batch", [1, STEPS - 1, STEPS])
def test_first_batch_skips_exactly(examples: Examples, three_epochs: list[Batch], first_batch: int) -> None:
    begun = draw(examples, 2 * STEPS - first_batch, first_epoch=1, first_batch=first_batch)
    assert_same(begun, three_epochs[STEPS + first_batch :])


def test_a_training_image_is_a_crop_of_its_clip(examples: Examples) -> None:
    plain = AugmentSettings(level=3, warp=False, brightness=False, cutout=False)
    for batch in draw(examples, 2, augment=plain):
        for number, image in zip(clips_of([batch]), batch["image"], strict=True):
            whole = whole_image(number)
            latest = max(whole.shape[1] - 16, 0)
            assert any(
                alike(crops.crop(whole, start, 16, shift).numpy(), image)
                for start in range(-1, latest + 1)
                for shift in range(16 // 3 + 1)
            )


def test_cutout_changes_nothing_but_its_holes(examples: Examples, three_epochs: list[Batch]) -> None:
    plain = draw(examples, STEPS, augment=AugmentSettings(level=3, cutout=False))
    touched = 0
    for cut, whole in zip(three_epochs, plain, strict=False):
        np.testing.assert_array_equal(cut["target"], whole["target"])
        np.testing.assert_array_equal(cut["image"], np.where(cut["image"] == 0, 0, whole["image"]))
        touched += int((cut["image"] != whole["image"]).any(axis=(1, 2, 3)).sum())
    assert 0.2 * STEPS * BATCH < touched < 0.8 * STEPS * BATCH


def test_six_seconds_by_any_way_have_the_same_shape(examples: Examples) -> None:
    for stretch in get_args(Stretch):
        settings = FeatureSettings(rate=2000, bands=16, seconds=6, stretch=stretch)
        made = datasets.training(examples, settings, AUGMENT, FEED)
        (batch,) = made.take(1).as_numpy_iterator()
        assert batch["image"].shape == (BATCH, 16, 16, 3)


def test_a_batch_larger_than_the_set_is_refused(examples: Examples) -> None:
    message = r"^`train.batch` must be at most the number of training clips, 23\. Received: 24\.$"
    with pytest.raises(ValueError, match=message):
        datasets.training(examples, FEATURES, AUGMENT, FeedSettings(batch=24))
    assert datasets.steps_per_epoch(examples, 23) == 1
    assert datasets.steps_per_epoch(examples, 5) == 4


# --- evaluation ------------------------------------------------------------------------------------------------


def test_evaluation_has_each_clip_once_and_fills_the_last_batch(examples: Examples) -> None:
    dataset = datasets.evaluation(examples, FEATURES, FEED, with_rows=True)
    assert dataset.element_spec == {
        "image": tf.TensorSpec((BATCH, 3, 16, 16, 3), tf.float32),
        "target": tf.TensorSpec((BATCH, CLIPS), tf.float32),
        "row": tf.TensorSpec((BATCH,), tf.int32),
    }
    batches = list(dataset.as_numpy_iterator())
    rows = np.concatenate([batch["row"] for batch in batches])
    images = np.concatenate([batch["image"] for batch in batches])
    targets = np.concatenate([batch["target"] for batch in batches])
    assert len(rows) == 25
    assert sorted(rows) == [-1, -1, *range(CLIPS)]
    assert (rows[-2:] == -1).all()
    np.testing.assert_array_equal(targets[:-2], np.eye(CLIPS)[rows[:-2]])
    assert not targets[-2:].any()
    assert not images[-2:].any()
    for row, image in zip(rows[:-2], images, strict=False):
        assert alike(image, crops.even_crops(whole_image(row), 16, tf.constant(3)).numpy())


def test_evaluation_around_a_clip(examples: Examples) -> None:
    feed = replace(FEED, around=True)
    for batch in datasets.evaluation(examples, FEATURES, feed, with_rows=True).as_numpy_iterator():
        for row, image in zip(batch["row"], batch["image"], strict=True):
            if row >= 0:
                wanted = crops.even_crops(whole_image(row), 16, tf.constant(3), around=True).numpy()
                assert alike(image, wanted)


def test_evaluation_without_rows_is_what_keras_takes(examples: Examples) -> None:
    with_rows = list(datasets.evaluation(examples, FEATURES, FEED, with_rows=True).as_numpy_iterator())
    without = list(datasets.evaluation(examples, FEATURES, FEED).as_numpy_iterator())
    assert [set(batch) for batch in without] == [{"image", "target"}] * len(with_rows)
    assert_same(without, [{name: b[name] for name in ("image", "target")} for b in with_rows])


@pytest.mark.parametrize("batch", [1, 23, 40])
def test_a_clips_crops_do_not_depend_on_the_batch(examples: Examples, batch: int) -> None:
    def by_row(size: int) -> dict[int, np.ndarray]:
        feed = FeedSettings(batch=size, crops=2)
        batches = datasets.evaluation(examples, FEATURES, feed, with_rows=True).as_numpy_iterator()
        return {row: image for b in batches for row, image in zip(b["row"], b["image"], strict=True)}

    mine, theirs = by_row(batch), by_row(BATCH)
    for row in range(CLIPS):
        np.testing.assert_array_equal(mine[row], theirs[row])


def test_clips_that_are_not_asked_for_are_left_out(examples: Examples) -> None:
    some = Examples(examples.keys[3:6], np.eye(3, dtype=np.float32), examples.shards)
    (batch,) = datasets.evaluation(some, FEATURES, FEED, with_rows=True).as_numpy_iterator()
    assert sorted(batch["row"]) == [-1, -1, 0, 1, 2]


def test_a_clip_that_stands_in_several_rows_is_used_for_each(examples: Examples) -> None:
    keys = (examples.keys[3], examples.keys[9], examples.keys[3])
    rows = Examples(keys, np.eye(3, dtype=np.float32), examples.shards)
    (batch,) = datasets.evaluation(rows, FEATURES, FEED, with_rows=True).as_numpy_iterator()
    image = dict(zip(batch["row"], batch["image"], strict=True))
    assert sorted(batch["row"]) == [-1, -1, 0, 1, 2]
    np.testing.assert_array_equal(image[0], image[2])
    (trained,) = draw(rows, 1, FeedSettings(batch=3, shuffle=6))
    assert sorted(clips_of([trained])) == [0, 1, 2]


# --- images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [3, 10])
def test_rows_that_repeat_a_clip_are_spread_over_the_epoch(examples: Examples, times: int) -> None:
    """The buffer holds 3 of some 30 clips: side by side where they are read, they would stay so."""
    order = [n for n in range(CLIPS) for _ in range(times if n == 9 else 1)]
    repeated = replace(
        examples,
        keys=tuple(f"curated/{n}.wav" for n in order),
        targets=np.eye(CLIPS, dtype=np.float32)[order],
    )
    feed = FeedSettings(batch=1, shuffle=3, seed=4)
    numbers = clips_of(draw(repeated, 12 * len(order), feed, augment=AugmentSettings()))
    spans = []
    for epoch in np.reshape(numbers, (12, len(order))):
        assert sorted(epoch) == order
        places = np.flatnonzero(epoch == 9)
        spans.append((places[-1] - places[0] + 1) / len(order))
    assert np.median(spans) > 0.5, spans


def test_an_image_is_the_same_eagerly_and_in_a_graph() -> None:
    clips = [sound(number) for number in range(4)]
    dataset = tf.data.Dataset.from_tensor_slices([pcm.tobytes() for pcm in clips]).map(
        lambda raw: image_of(tf.io.decode_raw(raw, tf.int16), FEATURES), num_parallel_calls=2
    )
    assert dataset.element_spec == tf.TensorSpec((16, None, 3), tf.uint8)
    for pcm, image in zip(clips, dataset.as_numpy_iterator(), strict=True):
        eager = image_of(tf.constant(pcm), FEATURES).numpy()
        assert image.shape == eager.shape == (16, 1 + max(len(pcm), 2000) // 125, 3)
        assert alike(image / 255, eager / 255)


def test_to_unit() -> None:
    unit = datasets.to_unit(tf.constant([0, 51, 255], tf.uint8))
    assert unit.dtype == tf.float32
    np.testing.assert_allclose(unit.numpy(), [0, 0.2, 1])
