"""What README.md says is so: its program runs, its lines are in the code, its links lead on."""

import re
import runpy

from test_architecture import CORE, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_two_commands_are_make_train_and_make_test():
    first = re.search(r"```\n(.*?)```", README, re.DOTALL).group(1).splitlines()
    assert first[0].startswith("make train") and first[1].startswith("make test")
    makefile = (ROOT / "Makefile").read_text()
    assert "\ntrain:" in makefile and "\ntest:" in makefile


def test_the_algorithm_beside_its_code():
    source = (ROOT / "tinyddpm/train.py").read_text(encoding="utf-8")
    lines = re.findall(r"^\|.*\| `(.*)` \|$", README, re.MULTILINE)
    assert len(lines) == 8
    for line in lines:
        assert line in source, line


def test_the_program_runs(capsys, tmp_path):
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert "print(step.k, step.J)" in program
    three = "print(step.k, step.J)\n    if step.k == 3: break"
    limited = re.sub(r"print\(step\.k, step\.J\).*", three, program)
    (tmp_path / "program.py").write_text(limited, encoding="utf-8")
    runpy.run_path(str(tmp_path / "program.py"))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3"]


def test_the_reading_order_names_the_whole_core():
    order = README[README.index("## Reading order") : README.index("## Examples")]
    named = set(re.findall(r"^\| \[`(.*?)`\]", order, re.MULTILINE))
    assert named == {str(path.relative_to(ROOT)) for path in CORE}
    assert "The core is under 1,500 lines" in order  # test_architecture counts them


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
