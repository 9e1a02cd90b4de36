import hashlib
import os
import runpy
import sys
import threading
import time
import warnings
import zlib
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bincodec.bitstream import make_tables, probability
from bincodec.bitstream.errors import Corrupt
from bincodec.bitstream.probability import ONE, REACH, SCALES, SPAN, STEPS, first, onward, tables, threshold


def sigmoid(steps: int, scale: int) -> Fraction:
    """Return sigmoid(d / s) to 50 digits, computed from the definition."""
    with localcontext() as context:
        context.prec = 50
        return Fraction(1 / (1 + (-Decimal(steps) / STEPS / (Decimal(scale - 32) / 8).exp()).exp()))


def rounded(exact: Fraction) -> int:
    return min(ONE - 1, max(1, int(exact * ONE + Fraction(1, 2))))


def test_tables_follow_their_definition() -> None:
    random = np.random.default_rng(0)
    for _ in range(400):
        scale = int(random.integers(SCALES))
        reach = min(REACH, int(12 * STEPS * np.exp((scale - 32) / 8)) + STEPS)
        steps = int(random.integers(-reach, reach + 1))
        f, u = (int(table[scale, REACH + steps]) for table in tables())
        assert f == rounded(sigmoid(steps, scale))
        assert u == rounded(sigmoid(steps - STEPS, scale) / sigmoid(steps, scale))


def test_tables_are_frozen() -> None:
    values = tables()
    assert values.shape == (2, SCALES, SPAN)
    assert hashlib.sha256(values.astype("<u2").tobytes()).hexdigest() == probability.TABLES_SHA256
    assert tables() is values
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0, 0] = 1


def test_make_tables_makes_these_rows() -> None:
    for scale in (0, 31, 63):
        f, u = make_tables.rows(scale)
        assert f == tables()[0, scale].tolist()
        assert u == tables()[1, scale].tolist()


def test_make_tables_puts_the_scales_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_tables, "SCALES", 2)
    assert np.array_equal(make_tables.make(), tables()[:, :2])
    assert make_tables.make().dtype == np.uint16


def test_a_run_of_make_tables_reproduces_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compute all tables as `python -m bincodec.bitstream.make_tables` does, without writing the file."""
    written = []
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: written.append((path, data)))
    monkeypatch.delitem(sys.modules, make_tables.__name__)
    runpy.run_module(make_tables.__name__, run_name="__main__")
    ((path, data),) = written
    assert path == probability.TABLES_PATH
    assert zlib.decompress(data) == zlib.decompress(path.read_bytes())
    assert capsys.readouterr().out == f"{probability.TABLES_SHA256}\n"


def test_a_child_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    """A fork waits until no thread loads the tables, so a child never inherits a locked lock."""
    held = threading.Event()

    def hold() -> None:
        with probability._LOADING:
            held.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns about what is tested.
        child = os.fork()
    if not child:
        os._exit(probability._LOADING.locked())
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert not probability._LOADING.locked()


def test_a_damaged_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(zlib.decompress(probability.TABLES_PATH.read_bytes()))
    content[123456] ^= 1
    path = tmp_path / "tables"
    path.write_bytes(zlib.compress(content))
    monkeypatch.setattr(probability, "TABLES_PATH", path)
    with pytest.raises(Corrupt, match="tables is damaged"):
        probability._load.__wrapped__()


@pytest.mark.parametrize("other", ["0" * 64, "f" * 64])
def test_a_file_of_other_tables_is_noticed(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probability, "TABLES_SHA256", other)
    with pytest.raises(Corrupt, match=r"probability_tables\.zlib is damaged"):
        probability._load.__wrapped__()


def test_tables_are_monotone_symmetric_and_in_range() -> None:
    f, u = tables().astype(int)
    assert (np.diff(f) >= 0).all()
    assert (np.diff(u) >= 0).all()
    assert tables().min() == 1
    assert tables().max() == ONE - 1
    assert (f + f[:, ::-1] == ONE).all()
    assert (f[:, REACH] == ONE // 2).all()


def test_scales_are_spaced_by_an_eighth_of_their_logarithm() -> None:
    assert probability.LOG_SCALE_STEP == 1 / 8
    assert probability.LOG_SCALE_LOWEST == (0 - 32) / 8
    assert probability.LOG_SCALE_HIGHEST == (63 - 32) / 8


def test_distances_are_clamped() -> None:
    far = np.array([-(10**9), -REACH - 1, -REACH, REACH, REACH + 1, 10**9])
    scale = np.full(6, 60)
    for look_up in (first, onward):
        low, high = look_up(far, scale)[[2, 3]]
        assert look_up(far, scale).tolist() == [low] * 3 + [high] * 3


@pytest.mark.parametrize("maximum", [1, 2, 5, 6, 62])
def test_thresholds_are_symmetric_steps(maximum: int) -> None:
    theta = [threshold(j, maximum) for j in range(1, maximum + 1)]
    assert np.diff(theta).tolist() == [STEPS] * (maximum - 1)
    assert theta == [-t for t in reversed(theta)]


@pytest.mark.parametrize("maximum", [1, 2, 3, 6, 7, 30])
def test_decisions_approximate_the_logistic_distribution(maximum: int) -> None:
    """P(L >= j + 1) = P(L >= j) onward, and likewise downwards, each up to rounding."""
    random = np.random.default_rng(maximum)
    mu, scale = random.integers(-300, 300, 500), random.integers(16, SCALES, 500)
    for j in range(1, maximum):
        low, high = threshold(j, maximum), threshold(j + 1, maximum)
        here, above = first(mu - low, scale) / ONE, first(mu - high, scale) / ONE
        assert np.abs(here * onward(mu - low, scale) / ONE - above).max() < 2 / ONE
        assert np.abs((1 - above) * onward(high - mu, scale) / ONE - (1 - here)).max() < 2 / ONE
