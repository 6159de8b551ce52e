"""Which images are held out, and that runs of older versions keep theirs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm.data import Dataset, digits, labels, split
from tinyddpm.runs import checkpoint, config as configuration, recipes
from tinyddpm.runs.shipped import file, names


def dataset(labels, n=None):
    n = len(labels) if labels is not None else n
    images = np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1)
    return Dataset(images, None if labels is None else np.asarray(labels), "", 0)


def indices(part):
    return part.images[:, 0, 0, 0].astype(int)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_each_class_is_trained_and_a_sixth_of_it_is_held_out(chosen):
    _, numbers = np.unique(chosen, return_inverse=True)
    train, held_out = split(dataset(numbers), "stratified")
    counts, inside, outside = (
        np.bincount(x, minlength=numbers.max() + 1)
        for x in (numbers, train.labels, held_out.labels)
    )
    assert (inside >= 1).all() and len(held_out.images)
    if len(train.images) == len(numbers):
        assert (counts == 1).all()  # no image can be spared: both are the whole
        return
    assert sorted([*indices(train), *indices(held_out)]) == list(range(len(numbers)))
    several = counts > 1
    assert (outside[~several] == 0).all() and (np.abs(outside - counts / 6)[several] < 1).all()
    assert (numbers[indices(train)] == train.labels).all()


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 60, 1797])
def test_without_labels_a_sixth_is_held_out_at_random(n):
    train, held_out = split(dataset(None, n), "stratified")
    assert len(held_out.images) == -(-n // 6) and len(train.images) == max(1, n - -(-n // 6))
    if n > 60:
        remainders = np.bincount(indices(held_out) % 6, minlength=6)
        assert (remainders > n / 36 / 2).all()  # not one residue alone
        first = indices(held_out)[: len(held_out.images) // 2]
        assert abs(first.mean() / n - 0.5) < 0.1  # the held-out J sees the first ones only


def test_classes_in_turn_are_all_trained():
    """Every sixth image of labels 0..5 in turn is always class 0."""
    in_turn = dataset(np.arange(60) % 6)
    assert 0 not in split(in_turn, "every_sixth")[0].labels
    train, held_out = split(in_turn, "stratified")
    assert len(train.images) == 50 and set(np.bincount(held_out.labels)) <= {1, 2}
    assert set(train.labels) == set(held_out.labels) == set(range(6))


def test_the_split_is_the_same_each_time_and_that_of_the_digits_is_known():
    train, held_out = split(digits(), "stratified")
    again = split(digits(), "stratified")[1]
    assert len(train.images) == 1497 and held_out.fingerprint() == again.fingerprint()
    assert set(np.bincount(held_out.labels)) <= {29, 30, 31}


def test_another_name_of_a_split_is_refused():
    with pytest.raises(ValueError, match="split: expected stratified or every_sixth, got 'half'"):
        split(digits(), "half")


# ---- older runs ----------------------------------------------------------------------------------


def test_new_runs_are_stratified_and_older_recipes_and_shipped_models_are_not():
    older = {"cifar10", "digits", "digits_classes", "fashion"}
    assert configuration.Config().split == "stratified"
    assert configuration.from_dict({}).split == "stratified"
    for name in recipes.names():
        split = "every_sixth" if name in older else "stratified"
        assert configuration.from_dict(configuration.read(recipes.path(name))).split == split
    for name in names():
        split = "every_sixth" if name in older else "stratified"
        assert checkpoint.load(file(name)).config.split == split


def test_the_file_of_an_older_run_means_the_older_split(tmp_path):
    path = tmp_path / "config.toml"
    configuration.write(configuration.Config(), path)
    assert configuration.from_dict(configuration.read(path)).split == "stratified"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("split")))
    assert configuration.from_dict(configuration.read(path)).split == "every_sixth"
    path.write_text('data = "digits"\n')  # written by hand, for a new run
    assert configuration.from_dict(configuration.read(path)).split == "stratified"


def test_an_older_run_keeps_classes_that_no_image_has(tmp_path):
    images = (digits().images[:8, 0] + 1) / 2
    np.savez(tmp_path / "x.npz", images=images, labels=[3, 7] * 4)
    config = dataclasses.replace(
        configuration.Config(data=str(tmp_path / "x.npz"), classes=True),
        class_names=tuple("01234567"),
        split="every_sixth",
    )
    found, class_names = config.load_data()
    assert class_names == tuple("01234567") and found.labels.tolist() == [3, 7] * 4
    found, class_names = dataclasses.replace(config, split="stratified").load_data()
    assert class_names == ("3", "7") and found.labels.tolist() == [0, 1] * 4
    assert labels.number("7", class_names) == 1
