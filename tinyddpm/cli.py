"""The command line: `tinyddpm train`, `sample`, `explore`, `eval`, `data`, `info` and `plot`.

Whatever a person got wrong ends in one line that says what was expected and what came, and exit status 2.
"""

import json
import sys
import typing
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click

from . import __version__
from .runs import config as configuration, recipes
from .files import in_words
from .runs.folder import CONFIG


class Numbers(click.ParamType):
    """Whole numbers with commas between them: 1,2,2. An empty text is none."""

    name = "N,N,…"

    def convert(self, value, param, ctx):
        try:
            return (
                value
                if isinstance(value, tuple)
                else tuple(int(part) for part in value.split(",") if part)
            )
        except ValueError:
            self.fail(f"expected whole numbers with commas between them, got {value!r}", param, ctx)


class Folder(click.Path):
    """The path of a folder. An empty text, such as an unset variable of the shell, is none, and not the folder that one is in."""

    def convert(self, value, param, ctx):
        if value == "":
            self.fail("expected the name of a folder, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


def config_options(command):
    """Add an option for every field of the configuration; one that is not given stays None."""
    aliases = {"beta": ["--learning-rate", "--lr"], "ema_decay": ["--ema"]}
    defaults, texts = configuration.to_dict(configuration.Config()), configuration.option_help()
    for name, kind in reversed(configuration.option_types().items()):
        if name in configuration.THE_DATA_SAYS:
            continue
        flag, text = name.replace("_", "-"), texts[name]
        if name in defaults:
            default = defaults[name]
            shown = (
                ",".join(map(str, default))
                if isinstance(default, list)
                else str(default).lower()
                if isinstance(default, bool)
                else default
            )
            text = f"{text} [{shown}]"
        if kind is bool:
            option = click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
        else:
            option = click.option(
                f"--{flag}",
                *aliases.get(name, []),
                name,
                default=None,
                type=_click_type(kind),
                help=text,
            )
        command = option(command)
    return command


def _click_type(kind):
    options = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return Numbers()
    if typing.get_origin(kind) is Literal:
        return click.Choice(options)
    return options[0] if options else kind  # `int | None` reads as an int


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def cli():
    """A denoising diffusion model from scratch, on NumPy or CuPy.

    Start with: tinyddpm train --recipe digits --out runs/digits
    """


@cli.command()
@click.option(
    "--out", type=Folder(file_okay=False, path_type=Path), required=True, help="the run folder"
)
@click.option("--resume", is_flag=True, help="go on with the run in --out, if there is one")
@click.option(
    "--recipe",
    help="start from a configuration that comes with tinyddpm: " + ", ".join(recipes.names()),
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="start from a TOML file, such as another run's config.toml",
)
@click.option(
    "--pictures/--no-pictures", default=True, help="draw samples and curves at the end [true]"
)
@config_options
def train(out, resume, recipe, file, pictures, **given):
    """Train a model and leave it, its record and its pictures in a folder.

    Options count most, then --config or --recipe, then the defaults in brackets. The folder's config.toml records them all.
    A run of a recipe shows beside its held-out J the one that is expected, and says if it is not on track.
    """
    from .runs import training

    if recipe is not None and file:
        raise ValueError("--recipe and --config: expected one of them, not both")
    values = {}
    if recipe is not None:
        file = recipes.path(recipe)
    if resume and not file and (out / CONFIG).exists():
        file = out / CONFIG
    if file:
        values = configuration.read(file)
    config = configuration.from_dict(
        values | {name: v for name, v in given.items() if v is not None}
    )
    click.echo(training.run(config, out, resume, recipe))
    if pictures:
        _draw(out)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--n", default=64, help="how many images [64]")
@click.option(
    "--sampler",
    type=click.Choice(["ddpm", "ddim"]),
    default="ddim",
    help="ddpm: all T steps; ddim: fewer [ddim]",
)
@click.option("--steps", type=int, help="steps of ddim [50]")
@click.option("--eta", default=0.0, help="noise of ddim, from 0 to 1 [0]")
@click.option(
    "--class",
    "label",
    help="draw this class, by name or number, if the run was trained with --classes [each in turn]",
)
@click.option(
    "--guidance",
    type=float,
    help="how plainly of that class: 0 is not at all, 1 as learned, 3 more so, with less variety [1]",
)
@click.option(
    "--clip", type=click.Choice(["yes", "no"]), default="yes", help="hold x̂_0 within [-1, 1] [yes]"
)
@click.option("--seed", default=0, help="the images are a function of it [0]")
@click.option("--device", default="cpu", help="cpu, cuda or cuda:1 [cpu]")
@click.option(
    "--tf32/--no-tf32",
    default=False,
    help="on a GPU: let its tensor cores multiply, faster and a little less exact [false]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="samples.png",
    help="a grid (.png), the chain (.gif), or the arrays (.npz) [samples.png]",
)
def sample(run, n, sampler, steps, eta, label, guidance, clip, seed, device, tf32, out):
    """Draw images from the model in RUN, a run folder or a checkpoint file.

    Where there is nothing of that name, RUN may be digits or fashion: trained models that come with tinyddpm.
    """
    from .pictures import images as pictures
    from .runs.opening import Run

    if out.suffix not in pictures.WRITERS:
        raise ValueError(
            f"--out: expected a name that ends in {', '.join(pictures.WRITERS)}, got {out}"
        )
    if not out.parent.is_dir():
        raise ValueError(f"--out: expected a folder that exists, and {out.parent} does not")
    model = Run(run, device, tf32)
    total = model.schedule.T if sampler == "ddpm" else steps or min(50, model.schedule.T)
    chain = model.sample(
        n, sampler, steps, seed, eta, 1.0 if clip == "yes" else None, label, guidance
    )
    pictures.write_samples(_with_bar(chain, total), out)
    click.echo(
        f"{n} images, {total} steps of {sampler}, seed {seed}{'' if label is None else f', class {label}'}, from {model.called}: {out}"
    )


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    help="of the page's address; 0: any that is free [8765]",
)
@click.option("--open/--no-open", "browser", default=True, help="show the page in a browser [true]")
def explore(run, port, browser):
    """Look into the model in RUN on a page of this machine's browser: x̂_0 at every t, chains, a drawing of yours, one training step.

    The page is for this machine alone, and needs no internet. Ctrl-C ends it.
    """
    if find_spec("nicegui") is None:
        raise ValueError(
            f"explore: expected NiceGUI, which is not installed: {sys.executable} -m pip install 'tinyddpm[explore]'"
        )
    from .explore.explorer import Explorer
    from .explore.server import serve

    def started(url):
        click.echo(f"{run}: {url} (Ctrl-C ends it)")
        if browser:
            click.launch(url)

    serve(Explorer(run), port, started)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def info(run):
    """Say what the model in RUN is and how far its training came."""
    from .runs.opening import Run
    from .runs.training import Progress

    model = Run(run)
    config, progress = configuration.to_dict(model.config), Progress.of(model.saved, run)
    click.echo(
        f"{model.called}: step {model.step}, best held-out J {progress.best:.4f} at step {progress.best_step}"
    )
    click.echo(
        f"{sum(a.size for a in model.saved.ema.values()):,} parameters in {len(model.saved.ema)} arrays"
    )
    for name, value in config.items():
        click.echo(f"  {name} = {json.dumps(value)}")


@cli.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--n",
    default=1000,
    help="how many samples, and real images; fewer where there are fewer [1000]",
)
@click.option(
    "--sampler",
    type=click.Choice(["ddpm", "ddim"]),
    default="ddim",
    help="ddpm: all T steps; ddim: fewer [ddim]",
)
@click.option("--steps", type=int, help="steps of ddim [50]")
@click.option("--seed", default=0, help="the samples are a function of it [0]")
@click.option("--device", default="cpu", help="cpu, cuda or cuda:1 [cpu]")
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="measure noise, blur, Gaussians and copies too [true]",
)
@click.option(
    "--out", type=Folder(file_okay=False, path_type=Path), help="the folder to write to [RUN]"
)
def eval_(run, n, sampler, steps, seed, device, baselines, out):
    """Measure the samples of RUN against real images, and its J against the memoriser's.

    The tables are printed and written to a folder, with a picture of samples beside the training images nearest to them.
    """
    from .evaluation.evaluate import evaluate

    result = evaluate(run, n, sampler, steps, seed, device, baselines, _with_bar, out)
    click.echo(result.text())
    for path in result.write():
        click.echo(f"  {path}")


@cli.command("data")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="where the files lie already; they are copied into the cache",
)
def data_(name, folder):
    """Find the data set NAME on this machine, or download it, and check that it is what it should be.

    From then on `tinyddpm train --data NAME` works. NAME is fashion-mnist, mnist, cifar-10, emoji-16 or emoji-32.
    """
    from . import data
    from .data import datasets

    if name not in datasets.SOURCES:
        raise ValueError(f"NAME: expected {', '.join(datasets.SOURCES)}, got {name!r}")
    for path in datasets.fetch(name, folder):
        click.echo(f"  {path}")
    train, test = data.load(name).images, data.load_test(name).images
    click.echo(
        f"{name}: {len(train):,} images to train on, {len(test):,} {'to test with' if data.has_test_set(name) else 'of them held out'}, (C, H, W) = {train.shape[1:]}. tinyddpm train --data {name}"
    )


@cli.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=Folder(file_okay=False, path_type=Path),
    required=True,
    help="the run folder to make",
)
def import_(path, out):
    """Make a run folder, to sample from, of the diffusers model (UNet2DModel) in the folder PATH."""
    from .runs.diffusers import import_folder

    unet, scheduler = import_folder(path, out)
    click.echo(
        f"{path}: {sum(p.size for p in unet.parameters().values()):,} parameters, predicts {scheduler.predicts}, T = {scheduler.schedule.T}: {out}"
    )


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("path", type=click.Path(path_type=Path))
def export(run, path):
    """Write the model in RUN into the new folder PATH, as diffusers has them."""
    from .runs.diffusers import export_run

    export_run(run, path)
    click.echo(f"{path}: diffusers.DDPMPipeline.from_pretrained loads it")


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def plot(run):
    """Draw the pictures of the run folder RUN again."""
    _draw(run)


def _draw(folder):
    from .pictures.report import draw

    for path in draw(folder, _with_bar):
        click.echo(f"  {path}")


def _with_bar(chain, total):
    from tqdm import tqdm

    return tqdm(chain, total=total, unit=" steps", desc="sampling", leave=False, disable=None)


def main(arguments=None):
    """The console command. Returns the exit status."""
    try:
        cli.main(arguments, prog_name="tinyddpm", standalone_mode=False)
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except click.ClickException as error:
        return _say(_one_line(error.format_message()))
    except OSError as error:
        return _say(_one_line(in_words(error)))
    except (ValueError, FloatingPointError) as error:
        return _say(_one_line(str(error)))
    except MemoryError as error:
        return _say(f"this machine has not enough memory: {error or 'no more was to be had'}")
    except (click.Abort, KeyboardInterrupt):  # before RuntimeError, of which Abort is one
        return _say("interrupted", 130)
    except RuntimeError as error:
        return _say(str(error))
    return 0


def _one_line(text):
    """A file's name may hold anything, so what does not print becomes "?"."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _say(problem, status=2):
    print(f"tinyddpm: {problem}", file=sys.stderr)
    return status
