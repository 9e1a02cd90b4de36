"""Crops: where they come from, and that only seed and number determine a batch."""

import io
import itertools
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bincodec.train.data import CropSampler, CropSettings, batches, read_labelled, read_photos


def coordinates(height: int, width: int) -> np.ndarray:
    """Return a photo whose red is the row and whose green is the column."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0], photo[..., 1] = np.mgrid[0:height, 0:width]
    return photo


def windows(size: int, scaled: float = 0.0, scales: tuple[float, float] = (0.6, 1.0)) -> CropSettings:
    """Return settings of crops that come from photos only, and that are scaled only if asked for."""
    return CropSettings(size, scaled, scales, plain=0.0)


def drawn(sampler: CropSampler, count: int, seed: int = 0) -> np.ndarray:
    """Return crops, signed (count, rows, columns, 3)."""
    return sampler.batch(count, np.random.default_rng(seed)).crops.permute(0, 2, 3, 1).numpy().astype(int)


def test_reads_a_folder_in_name_order(photo_folder: Path) -> None:
    found = read_photos(photo_folder)
    assert [photo.shape for photo in found] == [(80, 96, 3), (64, 64, 3), (48, 80, 3)]
    assert all(photo.dtype == np.uint8 for photo in found)


def test_reads_a_tar_like_the_folder(photo_folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(photo_folder.glob("*.png"), reverse=True):
            tar.add(path, path.name)
    pairs = zip(read_photos(archive), read_photos(photo_folder), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (5, 4), 9).save(buffer, "png")
    (tmp_path / "grey.PNG").write_bytes(buffer.getvalue())
    (photo,) = read_photos(tmp_path)
    assert photo.shape == (4, 5, 3)


@pytest.mark.parametrize(("size", "words"), [(0, "the file is empty"), (5000, "it is damaged or cut short")])
def test_a_photo_that_cannot_be_read_is_named(
    photo_folder: Path, tmp_path: Path, size: int, words: str
) -> None:
    photo = tmp_path / "photos" / "below" / "photo.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes((photo_folder / "astronaut.png").read_bytes()[:size])
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(photo, "below/photo.png")
    for source in (photo.parents[1], archive):
        with pytest.raises(ValueError, match=f"^below/photo.png: {words}"):
            read_photos(source)


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / "photos.zip"
    file.write_bytes(b"PK")
    with pytest.raises(ValueError, match=f"^{file} is neither a folder nor a whole tar archive$"):
        read_photos(file)


def test_other_files_of_an_archive_are_left_out(photo_folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("./train/a/photo.png", "./training/b/photo.png"):
            tar.add(photo_folder / "astronaut.png", name)
        tar.add(Path(__file__), "./train/LICENSE")
    found = read_labelled(archive, "train")
    assert (len(found.photos), found.names) == (1, ("a",))
    assert read_labelled(archive, "train/").names == ("a",)


def test_photos_are_read_as_the_codec_reads_them(tmp_path: Path) -> None:
    deep = np.full((4, 5), 0x8000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    (photo,) = read_photos(tmp_path)
    assert np.all(photo == 128)
    Image.new("RGBA", (5, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match=r"^clear\.png: it has transparent pixels"):
        read_photos(tmp_path)


def test_no_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no photos in"):
        read_photos(tmp_path)


def test_crops_are_windows_and_half_of_them_mirrored() -> None:
    found = drawn(CropSampler([coordinates(50, 70)], windows(16)), 200)
    rows, columns = np.diff(found[..., 0], axis=1), np.diff(found[..., 1], axis=2)
    assert (rows == 1).all()
    assert (np.abs(columns) == 1).all()
    mirrored = (columns == -1).all((1, 2))
    assert ((columns == 1).all((1, 2)) | mirrored).all()
    assert 60 < mirrored.sum() < 140
    # Every place is reached, including the outermost ones.
    assert found[:, 0, 0, 0].min() == 0
    assert found[:, -1, 0, 0].max() == 49
    assert found[..., 1].min() == 0
    assert found[..., 1].max() == 69


def test_downscaled_crops_show_more_of_the_photo() -> None:
    found = drawn(CropSampler([coordinates(100, 100)], windows(32, 1.0)), 60)
    slopes = (found[:, -4, 0, 0] - found[:, 4, 0, 0]) / (32 - 8)
    assert slopes.min() > 0.95
    assert 1.45 < slopes.max() < 1.75
    assert found.shape == (60, 32, 32, 3)


def test_a_photo_that_just_fits_is_not_enlarged() -> None:
    photo = coordinates(32, 32)
    for crop in drawn(CropSampler([photo], windows(32, 1.0)), 8):
        assert np.array_equal(crop, photo) or np.array_equal(crop, photo[:, ::-1])


def test_scales_above_one_enlarge_a_part_of_the_photo() -> None:
    found = drawn(CropSampler([coordinates(64, 64)], windows(64, 1.0, (1.0, 2.0))), 60)
    slopes = (found[:, -4, 0, 0] - found[:, 4, 0, 0]) / (64 - 8)
    assert 0.45 < slopes.min() < 0.65
    assert slopes.max() < 1.05
    assert found.shape == (60, 64, 64, 3)


def test_photos_are_drawn_by_their_area_and_small_ones_not_at_all() -> None:
    large, medium, tiny = (
        np.full((*size, 3), value, np.uint8) for value, size in ((1, (60, 60)), (2, (60, 20)), (3, (60, 15)))
    )
    found = drawn(CropSampler([large, medium, tiny], windows(16)), 2000)[:, 0, 0, 0]
    assert set(found) == {1, 2}
    assert (found == 1).mean() == pytest.approx(0.75, abs=0.05)


def labelled_folder(folder: Path) -> Path:
    for label, value in (("shirts", 1), ("hats", 2), ("shoes", 3)):
        for number in range(2):
            path = folder / "train" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(path)
    (folder / "held" / "hats").mkdir(parents=True)
    Image.fromarray(np.full((20, 20, 3), 9, np.uint8)).save(folder / "held" / "hats" / "0.png")
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_folders_name_the_classes(tmp_path: Path, packed: bool) -> None:
    source = labelled_folder(tmp_path / "all")
    if packed:
        with tarfile.open(tmp_path / "all.tar", "w") as archive:
            for part in ("train", "held"):
                archive.add(source / part, part)
        source = tmp_path / "all.tar"
    found = read_labelled(source, "train/")
    assert found.names == ("hats", "shirts", "shoes")
    value_of = {1: 2, 2: 1, 3: 3}
    assert [photo[0, 0, 0] for photo in found.photos] == [value_of[label] for label in found.labels]
    assert len(read_photos(source, "held/")) == 1
    crops, labels = CropSampler(found.photos, CropSettings(16), found.labels).batch(
        200, np.random.default_rng(0)
    )
    for crop, label in zip(crops, labels.tolist(), strict=True):
        assert label == 0 or (crop == value_of[label]).all()
    assert 0 < (labels == 0).sum() < 30


def test_a_photo_in_no_folder_has_no_class(photo_folder: Path) -> None:
    with pytest.raises(ValueError, match="is in no folder"):
        read_labelled(photo_folder)


def test_photos_must_be_large_enough() -> None:
    with pytest.raises(ValueError, match="no photo is at least 64 pixels"):
        CropSampler([coordinates(63, 200)], CropSettings(64))


def test_some_crops_are_flats_and_straight_gradients() -> None:
    found = drawn(CropSampler([coordinates(40, 40)], CropSettings(24, plain=1.0)), 200)
    flat = (found == found[:, :1, :1]).all((1, 2, 3))
    assert 60 < flat.sum() < 180
    black, white = (found == 0).all((1, 2, 3)), (found == 255).all((1, 2, 3))
    assert black.sum() > 5
    assert white.sum() > 5
    # A gradient has no second difference, except for rounding, until it ends.
    steps = np.diff(found[~flat], 2, axis=1)
    assert np.median(np.abs(steps)) <= 1


def test_batches_are_tensors_of_bytes(photo_folder: Path) -> None:
    found = CropSampler(read_photos(photo_folder), CropSettings(32)).batch(5, np.random.default_rng(0))
    assert found.crops.shape == (5, 3, 32, 32)
    assert found.crops.dtype == torch.uint8
    assert found.labels.tolist() == [0] * 5


def test_a_batch_depends_on_seed_and_number_only(photo_folder: Path) -> None:
    sampler = CropSampler(read_photos(photo_folder), CropSettings(32))

    def some(count: int, seed: tuple[int, ...], first: int, workers: int) -> list[torch.Tensor]:
        found = itertools.islice(batches(sampler, 3, seed, first, workers), count)
        return [batch.crops for batch in found]

    expected = some(6, (5, 0), 0, 0)
    for other in (some(6, (5, 0), 0, 2), [*some(2, (5, 0), 0, 0), *some(4, (5, 0), 2, 1)]):
        assert all(torch.equal(a, b) for a, b in zip(expected, other, strict=True))
    assert not torch.equal(expected[0], expected[1])
    assert not torch.equal(expected[0], some(1, (5, 1), 0, 0)[0])
