import subprocess
import sys

import pytest

FORBIDDEN = {
    "bincodec.bitstream.stream": ["torch", "PIL", "bincodec.codec", "click"],
    "bincodec.bitstream.container": ["torch", "PIL", "numpy", "constriction"],
    "bincodec.bitstream.index": ["torch", "PIL", "numpy", "constriction", "bincodec.bitstream.container"],
}


def test_importing_the_maker_of_the_tables_makes_none() -> None:
    """Importing it would take seconds and overwrite a file of the package."""
    code = "import bincodec.bitstream.make_tables"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout


@pytest.mark.parametrize("module", FORBIDDEN)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({FORBIDDEN[module]})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
