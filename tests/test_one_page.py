"""The page "The whole thing on one page": its images and numbers are what the functions give.

Fashion-MNIST is not needed: its clean images are read from the sprite, where they are exact.
"""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

from tinyddpm import fast, noise
from tinyddpm.diffusion import q_sample
from tinyddpm.more.schedules import spaced_grid
from tinyddpm.more.solvers import ddim
from tinyddpm.pictures.images import pixels
from tinyddpm.runs.opening import Run
from tinyddpm.train import gradient

sys.path.insert(0, str(ROOT / "docs/_ext"))
import markdown
import one_page

FOLDER = ROOT / "docs/_static/one_page"
DATA = json.loads(re.search(r"= (\{.*\});$", (FOLDER / "data.js").read_text(), re.DOTALL)[1])
PAGES = {name: markdown.html(name) for name in ("one_page.html", "landing.html")}
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")}
HAND_WRITTEN = [path for path in FOLDER.iterdir() if path.suffix in (".js", ".css")]


@pytest.fixture(scope="module", params=one_page.MODELS)
def shown(request):
    """A model's data, its Run, and its sprite as a function: numbers of tiles -> uint8 images."""
    run, data = Run(request.param), DATA[request.param]
    run.unet.bind(run.unet.theta, np.zeros_like(run.unet.theta))
    sheet, side = np.asarray(Image.open(FOLDER / f"{request.param}.png")), data["side"]
    tiles = sheet.reshape(-1, side, sheet.shape[1] // side, side).swapaxes(1, 2)
    tiles = tiles.reshape(-1, side, side).astype(int)
    with fast.enabled():
        yield data, run, lambda first, n=1: tiles[first : first + n]


def greys(images):
    return pixels(images)[..., 0].astype(int)


def step(data, run, tiles, example):
    """x_0, ε and class (1, …) of an image of the training step."""
    k, m = data["step"] + 1, np.array([example["m"]])
    x0 = (tiles(example["x0"])[:, None] / 127.5 - 1).astype(np.float32)
    if run.config.data == "digits":  # 17 levels of grey, which 256 do not hold exactly
        rough, x0 = x0, one_page.mini_batch(run)[0][m]
        assert abs(rough - x0).max() < 1.1 / 255
    eps = noise.normal(run.config.seed, "eps", k, m, x0.shape[1:])
    t = 1 + noise.integers(run.config.seed, "t", k, m, run.schedule.T)
    assert example["t"][example["drawn"]] == t[0]
    label = example["label"]
    return x0, eps, None if label is None else np.array([label])


# ---- the training step ---------------------------------------------------------------------------


def test_x_t_is_x_0_and_noise_at_every_t(shown):
    data, run, tiles = shown
    for example in data["examples"]:
        (x0, eps, _), ts = step(data, run, tiles, example), example["t"]
        n = len(ts)
        xt = q_sample(run.schedule, x0.repeat(n, 0), np.array(ts), eps.repeat(n, 0))
        assert abs(tiles(example["xt"], n) - greys(xt)).max() <= 1
        assert abs(tiles(example["eps"]) - greys(eps)).max() <= 1
        weights = np.array([example["signal"], example["noise"]])
        assert np.allclose(weights[0] ** 2, run.schedule.alpha_bar[ts], atol=2e-4)
        assert np.allclose((weights**2).sum(axis=0), 1, atol=2e-4)  # the variance stays 1
        apart = np.square(xt - x0).mean(axis=(1, 2, 3))
        assert np.allclose(example["apart"], apart, rtol=1e-3)


def test_the_guess_is_the_networks_and_J_its_error(shown):
    data, run, tiles = shown
    for example in data["examples"]:
        x0, eps, label = step(data, run, tiles, example)
        for i in {0, 7, example["drawn"], len(example["t"]) - 1}:
            t = np.array([example["t"][i]])
            guess = run.unet.denoise(q_sample(run.schedule, x0, t, eps), t, label)
            assert abs(tiles(example["guess"] + i) - greys(guess)).max() <= 1
            assert np.isclose(np.square(guess - x0).mean(), example["J"][i], rtol=2e-3)


def test_the_norms_are_the_gradients(shown):
    """A walk along g changes J by ‖g‖ for each unit of the way: of the whole, and of a layer."""
    data, run, tiles = shown
    names, slices, unet = [name for name, *_ in data["layers"]], run.unet.slices(), run.unet
    for example in data["examples"]:
        x0, eps, label = step(data, run, tiles, example)
        i = example["drawn"]
        t, by_layer = np.array([example["t"][i]]), example["gradient"][i]
        unet.grad[...] = 0
        gradient(unet, run.schedule, x0, t, eps, cond=label)
        theta, xt, h = unet.theta.copy(), q_sample(run.schedule, x0, t, eps), 2e-3
        for layer in ("", f"{names[int(np.argmax(by_layer))]}.", "up.3."):
            said = by_layer[names.index(layer[:-1])] if layer else example["norm"][i]
            along = np.zeros_like(theta)
            for name in slices:
                if name.startswith(layer):
                    along[slices[name]] = unet.grad[slices[name]]
            along /= np.linalg.norm(along)
            J = []
            for way in (h, -h):
                unet.theta[...] = theta + np.float32(way) * along
                J.append(np.square(unet.denoise(xt, t, label) - x0).mean(dtype=float))
            unet.theta[...] = theta
            assert np.isclose((J[0] - J[1]) / (2 * h), said, rtol=0.01), layer
        assert 0.9 * example["norm"][i] < np.linalg.norm(by_layer) <= 1.001 * example["norm"][i]


def test_the_step_goes_downhill_and_too_large_a_step_does_not(shown):
    data, run, _ = shown
    betas, J = data["update"]["betas"], data["update"]["J"]
    assert betas[0] == 0 and J[0] == data["update"]["before"]
    slope = (J[1] - J[0]) / betas[1]
    assert np.isclose(slope, -(data["update"]["norm"] ** 2), rtol=0.1)
    assert J[betas.index(run.config.beta)] < J[0] < max(J) and min(J) < J[-1]
    assert data["update"]["M"] == run.config.batch_size == 64  # the page says 64


def test_J_of_the_mini_batch_after_the_step():
    """Of the digits, which are always there."""
    run, said = Run("digits"), DATA["digits"]["update"]
    run.unet.bind(run.unet.theta, np.zeros_like(run.unet.theta))
    x0, t, eps, labels = one_page.mini_batch(run)
    before, _ = gradient(run.unet, run.schedule, x0, t, eps, cond=labels)
    assert np.isclose(before, said["before"], rtol=1e-3)
    xt = q_sample(run.schedule, x0, t, eps)
    beta = run.config.beta
    run.unet.theta[...] -= np.float32(beta) * run.unet.grad
    after = np.square(run.unet.denoise(xt, t, labels) - x0).mean(dtype=float)
    assert np.isclose(after, said["J"][said["betas"].index(beta)], rtol=1e-3)


# ---- the chain -----------------------------------------------------------------------------------


def test_the_chain_is_ddim_with_all_the_noise_on_the_same_timesteps(shown):
    """An oracle with another formula: the page's chain is `ancestral` on a coarser schedule."""
    data, run, tiles = shown
    chain, samples = data["chain"], data["chain"]["samples"]
    grid, n, shape = chain["t"][:-1], len(samples), run.config.unet.image
    assert grid == spaced_grid(run.schedule, 25, "log-snr") and chain["t"][-1] == 0
    stride = {t: len(grid) - i for i, t in enumerate(grid)}
    draws = {j: noise.normal(0, "sampling", j, np.arange(n), shape) for j in range(1, 27)}
    labels = np.arange(n) if run.config.classes else None

    def denoiser(xt, t):
        return run.unet.denoise(xt, t, labels)

    xt = draws[26]
    frames = ddim(denoiser, run.schedule, xt, lambda t: draws[stride[t]], steps=grid, eta=1.0)
    for i, (then, xs, x0_hat) in enumerate(frames):
        assert then == chain["t"][i + 1]
        z = draws[25 - i] if then else 0
        mixed = chain["c1"][i] * x0_hat + chain["c2"][i] * xt + chain["sigma"][i] * z
        assert np.allclose(mixed, xs, atol=2e-3)
        for m, sample in enumerate(samples):
            assert abs(tiles(sample["xt"] + i)[0] - greys(xt)[m]).max() <= 2
            if "guess" in sample:
                assert abs(tiles(sample["guess"] + i)[0] - greys(x0_hat)[m]).max() <= 2
            if "z" in sample and then:
                assert abs(tiles(sample["z"] + i)[0] - greys(z)[m]).max() <= 1
        xt = xs
    for m, sample in enumerate(samples):
        assert abs(tiles(sample["xt"] + 25)[0] - greys(xt)[m]).max() <= 2
        assert "left" not in sample or sample["left"][0] > 5 * sample["left"][-2] >= 0


# ---- the page ------------------------------------------------------------------------------------


def test_what_the_page_refers_to_is_there_and_small():
    for name, html in PAGES.items():
        for path in re.findall(r'(?:src|href)="([^"]+)"', html):
            built_from = path.replace(".html", ".md")
            assert (ROOT / "docs" / built_from).is_file(), (name, path)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000
    for path in HAND_WRITTEN:
        assert path.name == "data.js" or path.read_text(encoding="utf-8").count("\n") <= 300


def test_the_scripts_and_the_page_agree_on_names():
    html = PAGES["one_page.html"]
    ids = set(re.findall(r'id="op-([\w-]+)"', html))
    scripts = "".join(SCRIPTS[name] for name in ("training.js", "chain.js", "page.js"))
    assert set(re.findall(r'\bat\("([\w-]+)"\)', scripts)) <= ids
    parts = re.split(r'<section class="op-lane" id="op-(\w+)"', html)[1:]
    for lane, part in zip(parts[::2], parts[1::2]):
        script = SCRIPTS[f"{lane}.js"]
        block = re.search(r"noise: \{ xt.*?\}\[step\]|guess: \{.*?\}\[step\]", script, re.DOTALL)[0]
        for name, terms in re.findall(r"(\w+): \{ (.*?) \},", block):
            (of_step,) = re.findall(rf'<li data-step="{name}".*?</li>', part, re.DOTALL)
            there = set(re.findall(r'data-term="(\w+)"', of_step))
            assert set(re.findall(r"(\w+)(?=:|,|$)", terms)) - {"1"} >= there, (lane, name)


def test_what_the_text_says_is_so():
    text = (ROOT / "docs/one_page.md").read_text(encoding="utf-8")
    assert "mini-batch of 64" in text and "25 of the 1,000 noise levels" in text
    for data in DATA.values():
        assert data["T"] == 1000 and len(data["examples"]) == 3
        drawn = [sample for sample in data["chain"]["samples"] if "guess" in sample]
        assert len(drawn) == 3
        # the last stride is x̂_0 alone
        last = [data["chain"][name][-1] for name in ("c1", "c2", "sigma")]
        assert np.allclose(last, [1, 0, 0], atol=1e-6)
        # the first ones are mostly x_t and new noise
        assert data["chain"]["c1"][0] < 0.1 < 0.5 < data["chain"]["c2"][0]
