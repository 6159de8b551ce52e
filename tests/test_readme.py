"""What README.md says is so: its programs run, its lines are in the code, its links lead on."""

import re
import runpy

from PIL import Image
from test_architecture import CORE, ROOT, count_lines

# As in tests/pictures/test_drawn_by_their_commands.py, which draws it.
FILM = "sample fashion_classes --n 9 --out docs/garments.gif"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title):
    """A part of README, from its heading to the next."""
    return re.search(rf"^## {title}.*?(?=^## |\Z)", README, re.MULTILINE | re.DOTALL).group()


def code_beside_the_blackboard(title):
    return re.findall(r"^\|.*\| `(.*)` \|$", section(title), re.MULTILINE)


def test_it_is_short():
    assert len(README.splitlines()) <= 130 and len(README.split()) <= 900


def test_it_begins_with_make_train_and_make_test():
    first = re.search(r"```\n(.*?)```", README, re.DOTALL).group(1).splitlines()
    assert first[0].startswith("make train") and first[1].startswith("make test")
    makefile = (ROOT / "Makefile").read_text()
    assert "\ntrain:" in makefile and "\ntest:" in makefile


def test_the_algorithm_beside_its_code():
    source = (ROOT / "tinyddpm/train.py").read_text(encoding="utf-8")
    lines = code_beside_the_blackboard("Training")
    assert len(lines) == 8 and all(line in source for line in lines)


def test_sampling_beside_its_code():
    source = (ROOT / "tinyddpm/sampler.py").read_text(encoding="utf-8")
    lines = code_beside_the_blackboard("Sampling")
    assert len(lines) == 3 and all(line in source for line in lines)


def test_the_first_picture_has_the_command_beside_it_that_draws_it():
    """tests/pictures compares the picture with what this command draws."""
    picture, command = re.search(r"^!\[.*\]\((.*)\)\n\n\*`(.*?)`", README, re.MULTILINE).groups()
    assert f".venv/bin/tinyddpm {FILM}" == command.replace("--out ", "--out docs/")
    assert FILM.endswith(f"--out {picture}")


def test_the_program_draws_a_picture(tmp_path, monkeypatch):
    """With 3 steps of training and a chain of 20, to save time."""
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert len(program.splitlines()) <= 16
    short = program.replace("step.k == 1500", "step.k == 3").replace("linear(1000)", "linear(20)")
    assert short != program
    (tmp_path / "program.py").write_text(short, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    with Image.open("digits.png") as picture:
        assert min(picture.size) >= 4 * 8  # sixteen digits, four by four


def test_the_reading_order_names_the_algorithm_and_the_engine():
    order = section("How it fits together")
    named = {path for path in re.findall(r"\]\((.*?)\)", order) if path.endswith(".py")}
    core = {str(path.relative_to(ROOT)) for path in CORE}
    layers = {path for path in core if path.startswith("tinyddpm/nn/")}
    assert core - layers <= named and "tinyddpm/nn/__init__.py" in named
    assert "under 1,500 lines" in order and sum(map(count_lines, CORE)) < 1500


def test_every_link_leads_somewhere():
    for page in ("README.md", "examples/README.md", "CONTRIBUTING.md", "docs/guide.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if not target.startswith("http"):
                assert ((ROOT / page).parent / target).exists(), (page, target)
