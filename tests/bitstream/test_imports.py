import subprocess
import sys

import pytest

FORBIDDEN = {
    "bincodec.bitstream.stream": ["torch", "PIL", "bincodec.codec", "click"],
    "bincodec.bitstream.container": ["torch", "PIL", "numpy", "constriction"],
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({FORBIDDEN[module]})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
