"""What the captions claim holds of the images shown, in both shipped models.

Every sentence of a caption must be one that is known here, with what it claims: no other passes.
"""

import functools
import re

import numpy as np
import pytest

from tinyddpm import noise
from tinyddpm.explore import words
from tinyddpm.explore.explorer import Explorer

TS = 1, 10, 60, 150, 250, 400, 550, 706, 850, 1000
FEW, MORE = range(0, 60, 10), range(5, 60, 10)  # numbers of held-out images


def gap(a, b):
    """The mean squared distance, in float64."""
    return np.mean((np.asarray(a, float) - b) ** 2)


@pytest.fixture(scope="module", params=["digits", "fashion"])
def shipped(request):
    """An Explorer of a shipped model, of digits-like images if its own data are not here."""
    explorer = Explorer(request.param)
    if explorer.training is None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Explorer, "_data", lambda self: of_blobs(self.shape))
            explorer = Explorer(request.param)
    return explorer


def of_blobs(shape):
    """Training and held-out images of a bright bar each, at a random place."""
    from tinyddpm.data import Dataset

    places = noise.uniform(0, "bars", 0, range(200), (4,))
    y, x = np.mgrid[: shape[1], : shape[2]] / shape[1]
    a, b, high, wide = (places[:, i, None, None] for i in range(4))
    inside = (abs(y - a) < 0.1 + high / 3) & (abs(x - b) < 0.1 + wide / 3)
    images = np.where(inside, 1, -1).astype(np.float32)[:, None].repeat(shape[0], 1)
    return tuple(Dataset(x, None, "bars", 2) for x in (images[:150], images[150:]))


def needs_its_own_data(explorer):
    if explorer.training.name == "bars":
        pytest.skip("Fashion-MNIST is not here")


@pytest.fixture(scope="module", params=[FEW, pytest.param(MORE, marks=pytest.mark.prove)], ids=str)
def images(request):
    return request.param


@pytest.fixture(scope="module")
def looks(shipped, images):
    """(Look, its image's number), with the class and without."""
    found = []
    for image in images:
        for label in {None, None if shipped.labels is None else int(shipped.labels[image])}:
            found += [(shipped.look(image, t, seed=image, label=label), image) for t in TS]
    return found


@functools.cache
def of_training(explorer, label):
    """The images that the ideal denoiser knows, their mean, and their spread about it."""
    training = explorer.training.images
    if label is not None:
        training = training[explorer.training.labels == label]
    spread = np.linspace(0, len(training) - 1, min(10_000, len(training)))
    training = training[spread.round().astype(int)]
    centre = training.mean(axis=0, dtype=float)
    return training, centre, np.mean((training - centre) ** 2)


# ---- one image at every t ------------------------------------------------------------------------


def holds(sentence, look, explorer):
    """Whether a sentence is true of a Look. Nothing if the sentence is not known."""
    training, centre, spread = of_training(explorer, look.label)
    close = 0.05 * spread
    guess = {"network's guess": look.network, "ideal guess": look.ideal}
    places = {"x₀": look.x0, "the mean image": centre}
    network, ideal, mean = (gap(x, look.x0) for x in (look.network, look.ideal, look.mean))
    who = r"The (network's guess|ideal guess)"
    blend = r"(?:: it blends several training images)?\."

    def nearest():
        return np.square(training - look.ideal).mean(axis=(1, 2, 3)).min()

    def is_a_blend():
        return ":" not in sentence or nearest() > 1e-5

    def match(pattern):
        return re.fullmatch(pattern, sentence)

    if m := match(r"At t = (\d+), xₜ = (.*) · x₀ \+ (.*) · ε\."):
        a, b = float(m[2]), float(m[3])
        alpha_bar = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[: look.t])
        return int(m[1]) == look.t and abs(a**2 - alpha_bar) < 0.02 and abs(a**2 + b**2 - 1) < 0.02
    if m := match(f"{who} is close to (x₀|the mean image){blend}"):
        return gap(guess[m[1]], places[m[2]]) < close * 1.01 and is_a_blend()
    if m := match(f"{who} is close to x₀, and to the mean image too{blend}"):
        both = max(gap(guess[m[1]], place) for place in places.values())
        return both < close * 1.01 and is_a_blend()
    if m := match(f"{who} is nearer to (x₀|the mean image) than to (x₀|the mean image){blend}"):
        near, far = (gap(guess[m[1]], places[m[i]]) for i in (2, 3))
        return close * 0.99 < near < far and is_a_blend()
    worse = "(: for this ε the mean image is the better guess)?"
    if m := match(rf"Its error is (\d+)% of the mean image's{worse}\."):
        return abs(network / mean - int(m[1]) / 100) < 0.0051 and bool(m[2]) == (network > mean)
    if m := match(r"The ideal guess is one training image, (x₀ itself|but not x₀)\."):
        return nearest() < 1.1e-4 and (ideal < 1.1e-4) == (m[1] == "x₀ itself")
    if match(r"The two guesses are close to each other\."):
        return gap(look.network, look.ideal) < close * 1.01
    if m := match(r"Of the two guesses the (network's|ideal) one is nearer to x₀\."):
        return (network < ideal) == (m[1] == "network's")
    if match(r"The two guesses differ, and are about equally far from x₀\."):
        return gap(look.network, look.ideal) > close * 0.99 and 0.94 < network / ideal < 1.06
    return None


def test_every_sentence_of_the_caption_holds_of_the_images(shipped, looks):
    said = set()
    for look, image in looks:
        caption = words.of_look(shipped, look)
        sentences = re.split(r"(?<=\.) (?=[A-Z])", caption)
        assert len(sentences) >= 4
        for sentence in sentences:
            where = f"image {image}, t = {look.t}, class {look.label}: {sentence}"
            assert holds(sentence, look, shipped), where
            said.add(re.sub(r"[\d.]+", "…", sentence))
    # The captions are not one sentence for all.
    assert len(said) > 12


def test_a_guess_that_is_close_to_the_mean_image_is_closer_to_it_than_to_any_image(shipped, looks):
    """A measure without a threshold: which of all these images a guess resembles most."""
    needs_its_own_data(shipped)
    found = 0
    for look, _ in looks:
        if look.label is None and "guess is close to the mean image." in words.of_look(
            shipped, look
        ):
            found += 1
            nearest = min(gap(look.network, x) for x in shipped.images)
            assert gap(look.network, look.mean) < nearest
    assert found > 10


def test_where_the_network_still_sees_a_garment_the_caption_does_not_say_mean_image(shipped, looks):
    """The old caption looked at ᾱ alone, and spoke of the mean image beside two shoes."""
    needs_its_own_data(shipped)
    if shipped.shape != (1, 28, 28):
        pytest.skip("on 8×8 pixels nothing is left at t = 706")
    apart = [
        look
        for look, _ in looks
        if look.t == 706 and gap(look.network, look.mean) > 0.2 * look.spread
    ]
    assert apart
    for look in apart:
        assert "close to the mean image" not in words.of_look(shipped, look)


def test_of_how_many_images_the_ideal_denoiser_is_made(shipped):
    labels = [None] if shipped.labels is None else [None, 3]
    for label in labels:
        known = len(of_training(shipped, label)[0])
        numbers = re.findall(r"[\d,]+(?= of the| training)", words.of_ideal(shipped, label))
        counts = [int(n.replace(",", "")) for n in numbers]
        every = len(shipped.training.images)
        assert counts == ([known] if known == every else [known, every])


# ---- errors over t -------------------------------------------------------------------------------


def test_the_caption_of_the_curves_is_true_of_them(shipped):
    for image in FEW:
        ts, errors = shipped.errors(image, seed=image)
        caption, dashed = words.of_curves(ts, errors), errors["mean"][0]
        for name, who in (("network", "network's"), ("ideal", "ideal denoiser's")):
            rises = re.search(rf"The {who} rises above .*? at t = (\d+), by (\d+)%", caption)
            top = errors[name].max()
            assert bool(rises) == (top >= 1.005 * dashed), (image, caption)
            if rises:
                assert ts[errors[name].argmax()] == int(rises[1])
                assert abs(top / dashed - 1 - int(rises[2]) / 100) < 0.0051
        lower = re.search(r"At t = 1 the (network's|ideal denoiser's) is the lower one", caption)
        assert (errors["network"][0] < errors["ideal"][0]) == (lower[1] == "network's")


# ---- a drawing -----------------------------------------------------------------------------------


def test_the_caption_of_a_drawing_and_of_its_results_is_true(shipped):
    for image in FEW:
        x = shipped.images[image]
        for t in TS:
            look = shipped.look_at(x, t)
            caption = words.of_drawing(shipped, look)
            for sentence in re.split(r"(?<=\.) (?=[A-Z])", caption):
                known = sentence.replace("your drawing", "x₀")
                assert holds(known, look, shipped), (image, t, sentence)
        results = shipped.images[image : image + 4]
        drawing = shipped.images[(image + 7) % 60]
        caption = words.of_results(drawing, results, empty=False)
        pairs = [gap(results[i], results[j]) for i in range(len(results)) for j in range(i)]
        away, apart = gap(results, drawing), np.mean(pairs)
        numbers = [float(n) for n in re.findall(r"\d\.\d+", caption)]
        assert numbers == pytest.approx([away, apart], abs=6e-4)
        assert ("nearer to your drawing than" in caption) == (away < apart)


# ---- the class -----------------------------------------------------------------------------------


def test_J_of_a_step_is_the_error_beside_the_same_words_about_the_class(shipped, images):
    """One image, t, ε and class have one error, whichever tab shows it."""
    for image in images:
        label = None if shipped.labels is None else int(shipped.labels[image])
        for one in {None, label}:
            look = shipped.look(image, 300, seed=2, label=one)
            walk = shipped.walk(image, 300, seed=2, label=one)
            assert walk.J == pytest.approx(look.errors["network"], rel=1e-4)
            told = words.of_class(shipped, look.label)
            assert told == words.of_class(shipped, walk.label)
            assert told in words.of_step(shipped, walk, "J", "")
            assert bool(told) == bool(shipped.names)
            assert told.startswith("not") == (one is None and bool(shipped.names))


def test_the_page_begins_where_the_guess_is_good_and_the_noise_strong(shipped):
    needs_its_own_data(shipped)
    image, t = shipped.start
    look = shipped.look(image, t)
    assert look.errors["network"] < 0.25 * look.errors["mean"]
    assert gap(look.xt, look.x0) > 3 * look.errors["network"]
