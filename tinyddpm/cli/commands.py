"""The commands that make a run folder, and what they start from: train, import, data."""

from pathlib import Path
from typing import Any

import click

from ..runs import config as configuration, recipes
from ..runs.folder import CONFIG
from .help import grouped
from .models import draw_pictures
from .names import Data, Folder, Recipe
from .options import groups, of_configuration

PICTURES_TAKE = 0.15  # of the training time, at most


@click.command(cls=grouped(groups))
@click.option(
    "--out", type=Folder(), help="the run folder [runs/ and the name of the recipe or data]"
)
@click.option("--resume", is_flag=True, help="go on with the run in --out, if there is one")
@click.option(
    "--recipe",
    type=Recipe(),
    metavar="NAME",
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
@of_configuration
def train(
    out: Path | None,
    resume: bool,
    recipe: str | None,
    file: Path | None,
    pictures: bool,
    **given: Any,
) -> None:
    """Train a model.

    Its folder then holds the model, a record of every step, and pictures. Options count most, then
    --config or --recipe, then the defaults in brackets. The folder's config.toml records them all.
    A run of a recipe shows the expected held-out J beside its own, and warns you if it falls
    behind.
    """
    from ..runs import training
    from ..runs.training.progress import wrapped

    if recipe is not None and file:
        raise ValueError("--recipe and --config: expected one of them, not both")
    if recipe is not None:
        file = recipes.path(recipe)
    given = {name: value for name, value in given.items() if value is not None}
    values = configuration.read(file) if file else {}
    if "data" in given:
        given["data"] = _meant(given["data"])
    out = out or _own_folder(recipe, str((values | given).get("data", configuration.Config.data)))
    if not file and resume and (out / CONFIG).exists():
        values = configuration.read(out / CONFIG)
    values |= given
    _check_apart(out, str(values.get("data", configuration.Config.data)))
    summary = training.run(configuration.from_dict(values), out, resume, recipe)
    for line in (str(summary), training.outcome(summary)):
        if line:
            click.echo(wrapped(line))
    if pictures:
        click.echo("Drawing pictures. Ctrl-C leaves them out.")
        try:
            draw_pictures(out, PICTURES_TAKE)
        except KeyboardInterrupt:
            click.echo(wrapped(f"The other pictures are left out: tinyddpm plot {out} draws them."))
    click.echo("Next:")
    for command, use in training.next_commands(summary, out):
        click.echo(f"  {command}\n      {use}")


def _own_folder(recipe: str | None, source: str) -> Path:
    """Where a run goes by default: runs/NAME, by the name of its recipe or of its data."""
    path = Path(source).resolve()
    if recipe is None and not path.name:
        raise ValueError(f"--out: expected a name for the run, because {source} has none")
    name = recipe or (path.name if path.is_dir() else path.name.split(".")[0] or path.name)
    return Path("runs", name)


def _check_apart(out: Path, source: str) -> None:
    """A folder of images that becomes a run folder is no data any more."""
    path = Path(source)
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"--out: expected another folder than that of the images, got {out}")


@click.command()
@click.argument("source", metavar="NAME|PATH", type=Data())
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="where the files of NAME lie already; they are copied into the cache",
)
@click.option("--size", type=int, help="side to which pictures are resized and cropped")
@click.option("--channels", type=int, help="1: greyscale, 3: RGB; default: as the images are")
@click.option("--megapixels", default=180.0, help="pictures of more are refused [180]")
@click.option("--classes/--no-classes", default=True, help="use labels if there are any [true]")
def data(
    source: str,
    folder: Path | None,
    size: int | None,
    channels: int | None,
    megapixels: float,
    classes: bool,
) -> None:
    """Say what is found at PATH and how it is read, or get the data set NAME.

    The files of NAME are found or downloaded, and checked. After this `tinyddpm train --data NAME`
    works. NAME is fashion-mnist, mnist, cifar-10, emoji-16 or emoji-32; digits needs no files.
    """
    from ..data import DataError, datasets, has_test_set, labels, load, load_test, report
    from ..data.image_files import DifferentSizes

    source = _meant(source)
    if source in datasets.SOURCES:
        for path in datasets.fetch(source, folder):
            click.echo(f"  {path}")
    elif source != "digits" and not Path(source).exists():
        known = ", ".join(datasets.SOURCES)
        raise ValueError(f"NAME: expected {known}, digits, or a path that is there, got {source!r}")
    elif folder:
        raise ValueError(f"--folder: expected one of {', '.join(datasets.SOURCES)}, got {source!r}")
    try:
        found = load(source, size, channels, megapixels)
    except DifferentSizes as error:  # even without a size there is something to say
        click.echo(error.found)
        raise
    unusable = ""
    if classes:
        try:
            found, _ = labels.labelled(found, source)
        except labels.NoLabels:
            pass  # not everything has labels
        except DataError as error:
            unusable = f"note: with --classes a run stops: {error}"
    if source in datasets.SOURCES:
        images, test = found.images, load_test(source).images
        use = "to test with" if has_test_set(source) else "of them held out"
        click.echo(
            f"{source}: {len(images):,} images to train on, {len(test):,} {use}, "
            f"(C, H, W) = {images.shape[1:]}. tinyddpm train --data {source}"
        )
    click.echo(report(found, source).text())
    if unusable:
        click.echo(unusable)


def _meant(source: str) -> str:
    """What the user means: a file or folder of a data set's name wins, with a word."""
    from ..data import meant

    if (path := meant(source)) != source:
        click.echo(
            f"{source}: {path}, which lies here, and not the data set of this name", err=True
        )
    return path


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=Folder(), required=True, help="the run folder to make")
def import_(path: Path, out: Path) -> None:
    """Make a run folder from a diffusers model.

    PATH is the folder of a UNet2DModel. The run folder is to sample from, not to train on.
    """
    from ..runs.diffusers import import_folder, import_notes

    unet, scheduler = import_folder(path, out)
    size = sum(p.size for p in unet.parameters().values())
    click.echo(
        f"{path}: {size:,} parameters, predicts {scheduler.predicts}, "
        f"T = {scheduler.schedule.T}: {out}"
    )
    for note in import_notes(path):
        click.echo(f"  {note}")
