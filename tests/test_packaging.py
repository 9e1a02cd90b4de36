"""The distribution: flat folders in the repository become one package when installed."""

import importlib
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bincodec

ROOT = Path(__file__).resolve().parents[1]
SUBPACKAGES = (
    "bincodec.bitstream",
    "bincodec.cli",
    "bincodec.coding",
    "bincodec.encoder",
    "bincodec.eval",
    "bincodec.generation",
    "bincodec.io",
    "bincodec.model",
    "bincodec.postfilter",
    "bincodec.train",
)
IMPORT_ALL = f"import importlib; [importlib.import_module(name) for name in ('bincodec', *{SUBPACKAGES!r})]"


@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_every_subpackage_imports(place: str, tmp_path: Path) -> None:
    folder = ROOT if place == "root" else tmp_path
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_module_imports() -> None:
    """A module that nothing imports yet must still be importable."""
    for package in ("bincodec", *SUBPACKAGES):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            importlib.import_module(f"{package}.{module.name}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy, so that neither an old build folder nor this tree has an influence."""
    work = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("bincodec", "bitstream", "cli", "eval"):
        shutil.copytree(ROOT / folder, work / "source" / folder, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, work / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(work), str(work / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(work.glob("*.whl"))


def repository_files() -> set[str]:
    """Return what the wheel must contain: every module and every data file, by its installed name."""
    folders = {
        "bincodec": "bincodec",
        "bitstream": "bincodec/bitstream",
        "cli": "bincodec/cli",
        "eval": "bincodec/eval",
    }
    data = {".css", ".html", ".js", ".json", ".py", ".pyi", ".safetensors", ".typed", ".zlib"}
    return {
        f"{installed}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, installed in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in data
    }


def test_the_wheel_holds_every_module_and_table(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = f"bincodec-{bincodec.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(metadata)} == repository_files()
    assert f"{metadata}licenses/LICENSE" in names
    assert "bincodec/py.typed" in names


def test_the_wheel_works_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
        scripts = archive.read(f"bincodec-{bincodec.__version__}.dist-info/entry_points.txt").decode()
    assert "bincodec = bincodec.cli.start:main" in scripts
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "unpacked")!r})
{IMPORT_ALL}
import bincodec, bincodec.bitstream
for module in (bincodec, bincodec.bitstream):
    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__
from bincodec.cli.main import main
main(["--version"])
"""
    # With -I, neither the working folder nor PYTHONPATH can provide what the wheel lacks.
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert bincodec.__version__ in done.stdout
