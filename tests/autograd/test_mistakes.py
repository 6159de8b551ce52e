"""The kit finds each of twelve mistakes with one line, says what is wrong, trusts what is right.

`make prove` tries 50 seeds, and 10,000 examples of what is right.
"""

import functools
import re

import pytest
from hypothesis import Phase, seed, settings
from mistakes import MISTAKES, test_of

from autograd.testing import RULES, GradientError

EACH = pytest.mark.parametrize("name", MISTAKES)
settings.register_profile("first", settings.get_profile("tests"), phases=[Phase.generate])


@functools.cache
def message(name, number, shrink=False):
    """What is said about the wrong version, within 100 examples from a seed."""
    mistake = MISTAKES[name]
    settings.load_profile("tests" if shrink else "first")
    try:
        test = test_of(mistake.wrong, mistake.how, examples=100)
    finally:
        settings.load_profile("tests")
    with pytest.raises(GradientError) as error:
        seed(number)(test)()
    return str(error.value)


def test_there_are_twelve():
    assert len(MISTAKES) == 12


@EACH
@pytest.mark.parametrize("number", range(3))
def test_each_is_found_and_named(name, number):
    text = message(name, number)
    assert f'breaks the rule "{MISTAKES[name].rule}": {RULES[MISTAKES[name].rule]}' in text


@pytest.mark.prove
@EACH
def test_each_is_found_from_fifty_seeds(name):
    for number in range(50):
        message(name, number)


@EACH
def test_what_is_right_passes(name):
    test_of(MISTAKES[name].right, MISTAKES[name].how)()


@pytest.mark.prove
@EACH
def test_what_is_right_passes_ten_thousand_times(name):
    test_of(MISTAKES[name].right, MISTAKES[name].how, examples=10_000)()


def test_the_message_says_what_a_person_needs():
    text = message("wrong sign", 0, shrink=True)
    assert "argument 1 at index ()" in text and "wrong sign" in text
    assert re.search(r"backward gives 1,\s+numerical differences give -1", text)


def test_the_code_to_paste_shows_the_mistake():
    """The last lines run as they stand, and give the number that the message names."""
    text = message("wrong sign", 0, shrink=True)
    lines = [line.strip() for line in text.partition("To see it again:")[2].strip().splitlines()]
    names = {"sub": MISTAKES["wrong sign"].wrong[0]}
    exec("\n".join([*lines[:-1], f"found = {lines[-1]}"]), names)
    assert names["found"] == (1.0, 1.0)


def test_the_hint_names_the_length_that_was_forgotten():
    text = message("mean without its factor", 0, shrink=True)
    assert re.search(r"too large by the factor (\d+), which is .*(length of axis|size)", text)
