"""Metrics against values that follow from their definitions, and programs replaced by stand-ins."""

import dataclasses
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bincodec.eval import metrics, programs
from bincodec.eval.errors import NotInstalled, UnknownMetric
from bincodec.eval.metrics import ms_ssim, psnr, psnr_y

Pixels = NDArray[np.uint8]


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo_and_copy(height: int, width: int) -> tuple[Pixels, Pixels]:
    """Return smooth shapes with some texture, and the same with noise and a blur."""
    rng = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(rng.normal(0, 900, (height, width, 3)), (6, 6, 0))
    picture = np.clip(128 + smooth + rng.normal(0, 8, smooth.shape), 0, 255)
    copy = np.clip(ndimage.gaussian_filter(picture, (1, 1, 0)) + rng.normal(0, 5, smooth.shape), 0, 255)
    return picture.astype(np.uint8), copy.astype(np.uint8)


def test_psnr_of_a_constant_error() -> None:
    black = np.zeros((5, 7, 3), np.uint8)
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0)
    assert psnr(black, black + np.uint8(1)) == pytest.approx(20 * math.log10(255))
    # The order must not matter, and unsigned differences must not wrap around.
    assert psnr(black + np.uint8(1), black) == psnr(black, black + np.uint8(1))


def test_psnr_takes_the_mean_over_channels() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    red = black.copy()
    red[..., 0] = 9
    assert psnr(black, red) == pytest.approx(10 * math.log10(255**2 / (81 / 3)))


@pytest.mark.parametrize(("channel", "luma"), [(0, 76), (1, 150), (2, 29)])
def test_psnr_y_weighs_channels_as_full_range_bt_601(channel: int, luma: int) -> None:
    """0.299, 0.587 and 0.114 of 255 are rounded."""
    black = np.zeros((4, 6, 3), np.uint8)
    primary = black.copy()
    primary[..., channel] = 255
    assert psnr_y(black, primary) == pytest.approx(20 * math.log10(255 / luma))


def test_psnr_y_does_not_see_colour_alone() -> None:
    """Both have a luma of 76 after rounding."""
    red, grey = np.zeros((3, 3, 3), np.uint8), np.full((3, 3, 3), 76, np.uint8)
    red[..., 0] = 255
    assert psnr_y(red, grey) == math.inf
    assert psnr(red, grey) < 10


def expected_ms_ssim(first: Pixels, second: Pixels) -> float:
    """Compute the definition of Wang, Simoncelli and Bovik in float64, one channel at a time."""
    position = np.arange(-5, 6)
    window = np.exp(-(position**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        once = np.apply_along_axis(np.convolve, 0, plane, window, "valid")
        return np.apply_along_axis(np.convolve, 1, once, window, "valid")

    values = []
    for channel in range(3):
        a, b = (image[..., channel].astype(np.float64) for image in (first, second))
        product = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            mean_a, mean_b = blur(a), blur(b)
            variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
            covariance = blur(a * b) - mean_a * mean_b
            structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
            light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            product *= np.mean(structure * light if scale == 4 else structure) ** weight
            a, b = (p[: len(p) // 2 * 2].reshape(len(p) // 2, 2, -1, 2).mean((1, 3)) for p in (a, b))
        values.append(product)
    return float(np.mean(values))


def test_ms_ssim_is_the_paper_s() -> None:
    first, second = photo_and_copy(176, 192)
    value = ms_ssim(first, second)
    assert 0.5 < value < 0.99
    assert value == pytest.approx(expected_ms_ssim(first, second), abs=2e-5)
    assert value == pytest.approx(ms_ssim(second, first), abs=1e-6)


def test_ms_ssim_is_not_defined_for_small_pictures() -> None:
    first, second = photo_and_copy(161, 170)
    assert math.isfinite(ms_ssim(first, second))
    assert math.isnan(ms_ssim(first[:160], second[:160]))
    assert math.isnan(ms_ssim(first[:, :160], second[:, :160]))


@pytest.mark.parametrize("name", ["psnr", "psnr_y", "ms_ssim"])
def test_equal_pictures_have_the_best_value(name: str) -> None:
    picture = noise(1, 161, 165)
    assert metrics.find(name).measure(picture, picture) == (1.0 if name == "ms_ssim" else math.inf)


@pytest.mark.parametrize(
    "other", [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
@pytest.mark.parametrize("measure", [psnr, psnr_y, ms_ssim, programs.Program("true", "")])
def test_metrics_refuse_what_they_would_broadcast_or_misscale(
    measure: metrics.Measure, other: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="8-bit images of one shape"):
        measure(np.zeros((4, 4, 3), np.uint8), other)


def test_a_found_metric_says_what_it_is() -> None:
    assert set(metrics.DEFAULT) < set(metrics.NAMES)
    for name in metrics.DEFAULT:
        metric = metrics.find(name)
        scale = {field.name: getattr(metric, field.name) for field in dataclasses.fields(metrics.Scale)}
        assert scale == dataclasses.asdict(metrics.SCALES[name])
        assert metric.name == name
        assert metric.about
        # Other processes can then measure.
        assert pickle.loads(pickle.dumps(metric)) == metric
    assert metrics.find("ms_ssim").about.endswith("pytorch-msssim 1.0.0")


def test_an_unknown_metric_is_named_with_the_known() -> None:
    with pytest.raises(UnknownMetric, match="no metric is called 'ssim'; there are psnr, psnr_y, ms_ssim,"):
        metrics.find("ssim")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    with pytest.raises(
        NotInstalled, match=r"MS-SSIM needs .* pytorch-msssim: pip install 'bincodec\[eval\]'"
    ):
        metrics.find("ms_ssim")


# The metric of the stand-in is the mean of (original - decoded), read from the two files.
HEAD = """#!{python}
import sys
import numpy as np
from PIL import Image
first, second = (np.asarray(Image.open(name)).astype(float) for name in sys.argv[1:])
assert first.ndim == 3, first.shape
value = (first - second).mean()
"""
# These are the outputs of the real programs, by name.
PROGRAMS = {
    "ssimulacra2": "print(f'{value:.8f}')",
    "butteraugli": "print(f'{value + 7:.10f}'); print(f'3-norm: {value:.6f}')",
}
FILES = {"ssimulacra2": "ssimulacra2", "butteraugli": "butteraugli_main"}


def install(folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program that ends in `code` on PATH, and nothing else."""
    path = folder / FILES[name]
    path.write_text(HEAD.format(python=sys.executable) + code + "\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gets_both_pictures_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, name, PROGRAMS[name], monkeypatch)
    metric = metrics.find(name)
    original, decoded = noise(1, 9, 12), noise(2, 9, 12)
    difference = float(np.mean(original.astype(float) - decoded))
    assert metric.measure(original, decoded) == pytest.approx(difference, abs=1e-6)
    # At very low rates, SSIMULACRA2 is usually below zero.
    assert metric.measure(decoded, original) == pytest.approx(-difference, abs=1e-6)
    assert FILES[name] in metric.about
    assert metric.higher_is_better == (name == "ssimulacra2")
    assert math.isnan(metric.measure(original[:7], decoded[:7]))
    assert pickle.loads(pickle.dumps(metric)) == metric


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "sys.exit('Could not load\\noriginal image')",
            "ended with exit code 1 and printed no value: Could not load orig",
        ),
        ("print('1.5'); print('3-norm: 1.5'); sys.exit(3)", "ended with exit code 3"),
        ("print('3-norm: nan')", "ended with exit code 0 and printed no value: 3-norm: nan"),
        ("pass", "printed no value: nothing"),
    ],
)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_fails_is_quoted(
    name: str, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, name, code, monkeypatch)
    with pytest.raises(programs.ProgramFailed, match=said):
        metrics.find(name).measure(noise(1, 8, 8), noise(2, 8, 8))


def test_a_program_that_does_not_start_is_named(tmp_path: Path) -> None:
    missing = programs.Program(str(tmp_path / "gone"), "")
    with pytest.raises(programs.ProgramFailed, match="gone could not be run"):
        missing(noise(1, 8, 8), noise(2, 8, 8))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_program_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match=f"needs the program {FILES[name]} on PATH"):
        metrics.find(name)
