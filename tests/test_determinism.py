"""The same bytes in every environment that a CPU offers, each in a process of its own."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

import bincodec

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "determinism.py"
MODEL = ROOT / "tests" / "models" / "tiny-1.safetensors"
PHOTO = ROOT / "examples" / "chelsea.png"


@pytest.fixture(scope="module")
def determinism() -> ModuleType:
    """Return the script as a module. Dataclasses look it up among the loaded modules."""
    spec = importlib.util.spec_from_file_location("determinism", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a part of the photo with sides that are not round."""
    path = tmp_path_factory.mktemp("determinism") / "part.png"
    with Image.open(PHOTO) as photo:
        photo.crop((150, 60, 293, 171)).save(path)
    return path


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another part, of two tiles if they are small, so that two threads have one each."""
    path = tmp_path_factory.mktemp("determinism") / "wide.png"
    with Image.open(PHOTO) as photo:
        photo.crop((20, 100, 311, 155)).save(path)
    return path


def test_files_are_the_same_in_every_environment(determinism: ModuleType, image: Path, wide: Path) -> None:
    environments = determinism.cpu_environments(every_pair=False)
    assert {one.threads for one in environments} == {1, 2}
    assert {one.aten for one in environments} == set(determinism.supported_aten())
    assert {one.onednn for one in environments} == {"SSE41", "AVX2", "AVX512_CORE"}
    reports, found = determinism.run(str(MODEL), [image, wide], [0, 100], environments)
    assert found == []
    assert len(reports) == len(environments) * 3
    assert {report.kernel for report in reports} == {"conv", "matmul", "float64"}
    assert len({(report.written, report.read) for report in reports}) == 1
    assert {len(report.written) for report in reports} == {2 + 2 * 2}
    # The variables have an effect: PyTorch reports that it uses these instruction sets.
    used = {report.capability.lower() for report in reports}
    assert used == set(determinism.supported_aten())
    assert all(report.environment in determinism.table(reports) for report in reports)


def test_more_than_one_tile_is_tried(determinism: ModuleType, wide: Path, tmp_path: Path) -> None:
    assert len(determinism.prepare(tmp_path, str(MODEL), [wide], [50])) == 2
    headers = [bincodec.read_header(tmp_path / f"{index}.bld") for index in range(2)]
    assert [len(header.tiles) for header in headers] == [1, 2]


def test_a_difference_is_found(determinism: ModuleType, image: Path, tmp_path: Path) -> None:
    digests = determinism.prepare(tmp_path, str(MODEL), [image], [50])
    (good, *_) = determinism.work(tmp_path, str(MODEL), determinism.Environment())
    assert determinism.differences(tmp_path, digests, [good]) == []
    for change, complaint in (
        ({"written": ("0" * 64,)}, "writes file 0 differently"),
        ({"written": ()}, "writes file 0 differently"),
        ({"read": ("0" * 64,)}, "reads other levels from file 0"),
        ({"repacked": False}, "not written the same again"),
    ):
        (line,) = determinism.differences(tmp_path, digests, [good, dataclasses.replace(good, **change)])
        assert complaint in line
    # This process writes something else: its reference is damaged, and the damage is reported.
    code = next(tmp_path.glob("*.bld"))
    data = bytearray(code.read_bytes())
    data[-1] ^= 1
    code.write_bytes(data)
    with pytest.raises(RuntimeError, match="checksum"):
        determinism.start(tmp_path, str(MODEL), determinism.Environment())


def test_the_script_explains_itself() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert "the same levels" in done.stdout
