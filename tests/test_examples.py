"""Every public name is explained by an example that runs."""

import doctest
import inspect

import pytest

import bincodec
from bincodec import errors

ERRORS = {name for name in bincodec.__all__ if name in errors.__all__}
NUMBERS = {"FORMAT_VERSION", "__version__"}
TYPES = {"DecodedInfo", "Completed", "Inpainted", "ModelCard", "Header"}
"""Return values of calls. The examples of the calls show them."""
NAMES = sorted(set(bincodec.__all__) - ERRORS - NUMBERS - TYPES)
METHODS = [
    f"Codec.{name}"
    for name, value in inspect.getmembers(bincodec.Codec)
    if not name.startswith("_") and inspect.isroutine(value)
]


def find(name: str) -> object:
    found: object = bincodec
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", dict.fromkeys([*NAMES, *METHODS]))
def test_the_example_of_a_public_name_runs(name: str) -> None:
    thing = find(name)
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(thing, name, module=False, globs={})
    assert test.examples, f"{name} has no example"
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not failed, "".join(output)


@pytest.mark.parametrize("name", sorted(ERRORS | TYPES))
def test_everything_else_that_is_public_says_what_it_is(name: str) -> None:
    assert len(inspect.getdoc(find(name)) or "") > 20
