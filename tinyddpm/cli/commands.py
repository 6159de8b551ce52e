"""The commands that make a run folder, and what they start from: train, import, data."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

import click

from ..data.asked import Crop
from ..runs import config as configuration, recipes
from ..runs.folder import RunFolder
from .help import Command, grouped
from .models import draw_pictures
from .names import Data, Folder, Recipe, did_you_mean, no_names, runs
from .options import Choice, Size, groups, of_configuration
from .ranks import taking_part

PICTURES_TAKE = 0.15  # of the training time, at most


def _no_multipliers(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    """What the option was called before there were more than two kinds."""
    if given:
        raise ValueError("--no-multipliers: say --multipliers none")


@click.command(cls=grouped(groups))
@click.option(
    "--out", type=Folder(), help="the run folder [runs/ and the name of recipe, data or --from]"
)
@click.option("--resume", is_flag=True, help="go on with the run in --out")
@click.option(
    "--resume-if-there",
    is_flag=True,
    help="go on with the run in --out if there is one; else start",
)
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
@click.argument("names", nargs=-1, expose_value=False, callback=no_names, metavar="")
@click.option(
    "--no-multipliers", is_flag=True, hidden=True, expose_value=False, callback=_no_multipliers
)
def train(
    out: Path | None,
    resume: bool,
    resume_if_there: bool,
    recipe: str | None,
    file: Path | None,
    pictures: bool,
    **given: Any,
) -> None:
    """Train a model.

    Its folder then holds the model, a record of every step, and pictures. Options count most, then
    --config or --recipe, then the options of the run that --resume or --from names, then the
    defaults in brackets. The folder's config.toml records them all. A run of a recipe shows the
    expected held-out J beside its own, and warns you if it falls behind.
    """
    from ..runs import training
    from ..runs.training.lines import say

    given = {name: value for name, value in given.items() if value is not None}
    with taking_part() as comm:
        # What the machine of rank 0 has counts: another may not have the file, or the folder.
        planned = None if comm.rank else _planned(out, resume, resume_if_there, recipe, file, given)
        config, out, go_on, recipe = comm.bcast(planned)
        own = {name: given[name] for name in training.MAY_DIFFER if name in given}
        comm.check_same(options={name: given[name] for name in given if name not in own})
        config = dataclasses.replace(config, **own)
        summary = training.run(config, out, go_on, recipe, comm)
        if comm.rank:
            return
        for line in (str(summary), training.outcome(summary)):
            if line:
                say(line)
        if summary.signal not in ("", "SIGINT"):
            pictures = False  # whoever sent it waits for the end
            say(f"The pictures are left out: tinyddpm plot {out} draws them.")
        if pictures:
            say("Drawing pictures. Ctrl-C leaves them out.")
            try:
                draw_pictures(out, PICTURES_TAKE)
            except KeyboardInterrupt:
                say(f"The other pictures are left out: tinyddpm plot {out} draws them.")
        say("Next:")
        for command, use in training.next_commands(summary, out):
            say(f"  {command}\n      {use}", whole=True)


Planned = tuple[configuration.Config, Path, bool | Literal["if there"], str | None]


def _planned(
    out: Path | None,
    resume: bool,
    resume_if_there: bool,
    recipe: str | None,
    file: Path | None,
    given: dict[str, Any],
) -> Planned:
    """What `train` is to do: the configuration, the run folder, whether to go on, the recipe."""
    from ..runs import training
    from ..runs.training.lines import tell

    if recipe is not None and file:
        raise ValueError("--recipe and --config: expected one of them, not both")
    if recipe is not None:
        file = recipes.path(recipe)
    given = dict(given)
    if "data" in given:
        given["data"] = _meant(given["data"])
    if "from_run" in given:
        given["from_run"] = str(given["from_run"])
    of_file = configuration.read(file) if file else {}
    chosen = configuration.over(of_file, given)
    other = given.get("from_run")
    if resume and other:
        raise ValueError("--from and --resume: expected one of them; --from starts a new run")
    if out is None and other and resume_if_there:
        raise ValueError("--out: expected the run that --resume-if-there looks for")
    if out is None and other and not recipe and "data" not in given:
        out = _free_folder(Path(other))
    out = out or _own_folder(recipe, str(chosen.get("data", configuration.Config.data)))
    if resume or resume_if_there and RunFolder(out).holds_run():
        values = configuration.resumed(_options_in(out), of_file, given)
    elif other:
        of_other = training.options_of(other, chosen.get("data"))
        values = configuration.over_a_run(of_other, of_file, given)
    else:
        values = chosen
    go_on: bool | Literal["if there"] = resume or (resume_if_there and "if there")
    config = configuration.from_dict(values)
    if "beta" not in given and of_file.get("beta", config.beta) != config.beta:
        source = f"the recipe {recipe}" if recipe else file
        tell(f"β is {config.beta:g}: that of {source} suits another optimiser")
    _check_apart(out, config.data)
    return config, out, go_on, recipe


def _options_in(folder: Path) -> dict[str, Any]:
    """The options of the run in a folder, which must hold one."""
    if not RunFolder(folder).holds_run():
        near = did_you_mean(str(folder), runs())
        raise ValueError(f"--resume: {folder} holds no run to go on with{near}")
    return RunFolder(folder).options()


def _free_folder(other: Path) -> Path:
    """Where a run that starts from another goes by default: runs/NAME, or runs/NAME-2, ..."""
    from ..runs.training.words import free_name

    folder = Path("runs", other.resolve().parent.name if other.is_file() else other.resolve().name)
    return free_name(folder) if folder.exists() else folder


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


@click.command(cls=Command)
@click.argument("source", metavar="[NAME|PATH]", type=Data(), required=False)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="where the files of NAME lie already; they are copied into the cache",
)
@click.option(
    "--size", type=Size(), help="side to which pictures are resized and cropped, or HEIGHTxWIDTH"
)
@click.option("--channels", type=int, help="1: greyscale, 3: RGB; default: as the images are")
@click.option(
    "--crop",
    type=Choice(get_args(Crop)),
    default="centre",
    help="part of larger images that a run trains on; random: another in each step [centre]",
)
@click.option("--megapixels", default=180.0, help="pictures of more are refused [180]")
@click.option("--max-memory", type=float, help="gigabytes that images may take in memory [2]")
@click.option("--classes/--no-classes", default=True, help="use labels if there are any [true]")
@click.option(
    "--clear-cache", is_flag=True, help="remove what is kept of your files, to open them at once"
)
def data(
    source: str | None,
    folder: Path | None,
    size: int | str | None,
    channels: int | None,
    crop: Crop,
    megapixels: float,
    max_memory: float | None,
    classes: bool,
    clear_cache: bool,
) -> None:
    """Say what is found at PATH and how it is read, or get the data set NAME.

    The files of NAME are found or downloaded, and checked. After this `tinyddpm train --data NAME`
    works. NAME is fashion-mnist, mnist, cifar-10, emoji-16 or emoji-32; digits needs no files.
    """
    from ..data import DataError, datasets, has_test_set, labels, load, load_test, report
    from ..data.image_files import DifferentSizes
    from ..data.stored import cached

    if clear_cache:
        count, size = cached.clear()
        click.echo(f"{cached.folder()}: {count:,} files removed, {size / 1e6:,.1f} MB")
        if source is None:
            return
    if source is None:
        raise click.UsageError("Missing argument 'NAME|PATH'.")
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
        found = load(source, size, channels, megapixels, max_memory, crop)
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


@click.command("import", cls=Command)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=Folder(), required=True, help="the run folder to make")
def import_(path: Path, out: Path) -> None:
    """Make a run folder from a diffusers model.

    PATH is the folder of a UNet2DModel. The run folder is to sample from, not to train on.
    """
    from ..runs.diffusers import import_folder, import_notes, variance_note

    unet, scheduler = import_folder(path, out)
    size = sum(p.size for p in unet.parameters().values())
    click.echo(
        f"{path}: {size:,} parameters, predicts {scheduler.predicts}, "
        f"T = {scheduler.schedule.T}: {out}"
    )
    for note in [*import_notes(path), *variance_note(unet, scheduler)]:
        click.echo(f"  {note}")
