"""The commands that take a trained model: sample, eval, plot, info, explore, export."""

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from .. import __version__
from ..alone import Comm
from ..runs import config as configuration
from .help import Command
from .names import Folder, RunName
from .options import of_chain
from .ranks import taking_part

RUN = click.argument("run", type=RunName())
DEVICE = click.option("--device", default="cpu", help="cpu, cuda or cuda:1 [cpu]")


def with_bar(chain: Iterable[Any], total: int) -> Iterator[Any]:
    """The chain, with a progress bar of `total` steps."""
    from tqdm import tqdm

    return tqdm(chain, total=total, unit=" steps", desc="sampling", leave=False, disable=None)


@contextmanager
def taking_part_alike() -> Iterator[Comm]:
    """As `taking_part`, and all ranks must have been started with the same options."""
    with taking_part() as comm:
        comm.check_same(version=__version__, **click.get_current_context().params)
        yield comm


@click.command(cls=Command)
@RUN
@click.option("--n", default=64, help="how many images [64]")
@click.option(
    "--class",
    "label",
    help="draw this class, by name or number, if RUN was trained with --classes [each in turn]",
)
@of_chain
@click.option("--seed", default=0, help="the images are a function of it [0]")
@DEVICE
@click.option(
    "--tf32/--no-tf32",
    default=False,
    help="on a GPU: multiply on tensor cores, faster and a little less exact [false]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="samples.png",
    help="a grid (.png), the chain (.gif), or the arrays (.npz) [samples.png]",
)
def sample(
    run: Path,
    n: int,
    label: str | None,
    guidance: float | None,
    seed: int,
    device: str,
    tf32: bool,
    out: Path,
    **named: Any,
) -> None:
    """Draw images from the model in RUN.

    RUN is a run folder or a checkpoint file. Where nothing has this name, it may also be digits,
    fashion or fashion_classes: trained models that come with tinyddpm.
    """
    from ..pictures import images as pictures
    from ..runs.chains import said
    from ..runs.opening import Run

    with taking_part_alike() as comm:
        if out.suffix.lower() not in pictures.WRITERS:
            endings = ", ".join(pictures.WRITERS)
            raise ValueError(f"--out: expected a name that ends in {endings}, got {out}")
        if not comm.rank:
            _check_writable(out)
        model = Run(run, device, tf32, comm)
        if (channels := model.config.unet.image[0]) not in (1, 3) and out.suffix.lower() != ".npz":
            raise ValueError(f"--out: {channels} channels are no picture; expected .npz, got {out}")
        how = model.chain(**named)
        chain = model.sample(n, seed=seed, label=label, guidance=guidance, **how)
        if comm.rank:
            deque(chain, maxlen=0)
            return
        pictures.write_samples(with_bar(chain, how["steps"]), out)
        of_class = "" if label is None else f", class {label}"
        shown = pictures.in_film(model.config.unet.image)
        few = out.suffix.lower() == ".gif" and shown < n
        some = f", the first {shown} of them in the film" * few
        made = f"{said(**how, guidance=guidance)}, seed {seed}{of_class}, from {model.called}"
        click.echo(f"{n} images{some}, {made}: {out}")


def _check_writable(out: Path) -> None:
    """Raise ValueError if no file of this name can be made: now, and not when all is drawn."""
    if not out.parent.is_dir():
        raise ValueError(f"--out: expected a folder that exists, and {out.parent} does not")
    try:
        with TemporaryFile(dir=out.parent):
            out.exists()  # raises if the name is too long
    except OSError as error:
        raise ValueError(
            f"--out: nothing can be written to {out.parent} ({error.strerror})"
        ) from None


@click.command("eval", cls=Command)
@RUN
@click.option("--n", default=1000, help="samples, and as many real images if there are [1000]")
@of_chain
@click.option("--seed", default=0, help="the samples are a function of it [0]")
@DEVICE
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="measure noise, blur, Gaussians and copies too [true]",
)
@click.option(
    "--components", is_flag=True, help="measure in principal components, not with a classifier"
)
@click.option("--out", type=Folder(), help="the folder to write to [RUN]")
def evaluate(
    run: Path,
    n: int,
    seed: int,
    device: str,
    baselines: bool,
    components: bool,
    out: Path | None,
    **chain: Any,
) -> None:
    """Measure how good the samples of RUN are.

    They are drawn as `tinyddpm sample` draws them. They are compared with real images, and the J of
    RUN with the ideal denoiser's. The tables are printed and written to a folder, with a picture of
    samples beside the training images nearest to them. With too few images it says how many are
    needed.
    """
    from ..evaluation.evaluate import evaluate

    with taking_part_alike() as comm:
        result = evaluate(
            run,
            n,
            seed=seed,
            device=device,
            with_baselines=baselines,
            components=components,
            watch=with_bar,
            out=out,
            comm=comm,
            **chain,
        )
        if result is None:
            return  # rank 0 measures
        click.echo(result.text())
        for path in result.write():
            click.echo(f"  {path}")


@click.command(cls=Command)
@RUN
def plot(run: Path) -> None:
    """Draw the pictures of the run folder RUN again."""
    draw_pictures(run)


def draw_pictures(folder: Path, fraction: float | None = None) -> None:
    """Draw the pictures of a run folder and say where they are.

    Args:
        folder: the run folder.
        fraction: of the training time that drawing takes at most, as far as fewer samples or steps
            can bring it there; None: no limit.
    """
    from tqdm import tqdm

    from ..pictures.report import PICTURES, draw
    from ..runs.training.lines import say

    looks = "{desc}: {n} of {total} pictures, {elapsed}"
    with tqdm(
        draw(folder, with_bar, fraction, say),
        desc="drawing",
        total=PICTURES,
        bar_format=looks,
        mininterval=0,
        leave=False,
        disable=None,
    ) as paths:
        for path in paths:
            say(f"  {path}", whole=True)


@click.command(cls=Command)
@RUN
def info(run: Path) -> None:
    """Say what the model in RUN is and how far its training came."""
    from .. import data
    from ..runs.folder import FOUND
    from ..runs.opening import Run
    from ..runs.training import Progress
    from ..runs.training.method import measured

    model = Run(run)
    progress, parameters = Progress.of(model.saved, run), model.saved.ema
    size = sum(array.size for array in parameters.values())
    if model.imported:
        click.echo(f"{model.called}: a network from diffusers, which has no data; to sample from")
        click.echo(f"{size:,} parameters in {len(parameters)} arrays")
        click.echo(f"  predicts = {json.dumps(model.predicts)}")
        click.echo(f"  T = {model.schedule.T}")
        click.echo(f"  image = {json.dumps(model.config.unet.image)}")
        return
    best = f"best held-out J {progress.best:.4f} at step {progress.best_step}"
    best = best if progress.best_step else "before its first evaluation"
    click.echo(f"{model.called}: step {model.step}, {best}")
    click.echo(f"{size:,} parameters in {len(parameters)} arrays")
    for name, value in configuration.to_dict(model.config).items():
        click.echo(f"  {name} = {json.dumps(value)}")
    if kinds := measured(model.saved, model.unet, run):
        click.echo("c² as measured, by kind of layer: a tenth lies below, half, nine tenths")
        for name, figures in kinds.items():
            click.echo(f"  {name:16}" + "".join(f"{figure:12.4g}" for figure in figures))
    found = run / FOUND
    if found.is_file():
        click.echo(found.read_text(encoding="utf-8", errors="replace").rstrip())
        if not data.is_there(model.config.data):
            click.echo("its data cannot be read here: there is nothing of this name now")
        return
    try:
        dataset, _ = model.config.load_data()
        click.echo(data.report(dataset, model.config.data, model.config.split).text())
    except (ValueError, OSError) as error:
        click.echo(f"its data cannot be read here: {error}")


@click.command(cls=Command)
@RUN
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    help="of the page's address; 0: any that is free [8765]",
)
@click.option("--open/--no-open", "browser", default=True, help="show the page in a browser [true]")
def explore(run: Path, port: int, browser: bool) -> None:
    """Look into the model in RUN, in a browser.

    The page shows x̂_0 at every t, chains, what becomes of a drawing of yours, and one training
    step. It is for this machine alone, and needs no internet. Ctrl-C ends it.
    """
    if find_spec("nicegui") is None:
        raise ValueError(
            "explore: expected NiceGUI, which is not installed: "
            f"{sys.executable} -m pip install 'nicegui>=3.18,<4'"
        )
    from ..explore.explorer import Explorer
    from ..explore.server import serve

    def started(url: str) -> None:
        click.echo(f"{run}: {url} (Ctrl-C ends it)")
        if browser:
            click.launch(url)

    serve(Explorer(run), port, started)


@click.command(cls=Command)
@RUN
@click.argument("path", type=click.Path(path_type=Path))
def export(run: Path, path: Path) -> None:
    """Write the model in RUN as diffusers stores its models.

    PATH is a new folder.
    """
    from ..runs.diffusers import export_run

    T = export_run(run, path)
    steps = "" if T >= 1000 else f"; call that with num_inference_steps={T}: its 1,000 is too many"
    click.echo(f"{path}: diffusers.DDPMPipeline.from_pretrained loads it{steps}")
