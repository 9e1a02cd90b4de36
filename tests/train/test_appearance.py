"""The judges of decoded pictures: what their gradient is made of, and when the discriminator begins."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bincodec.model.autoencoder import Pointwise
from bincodec.train.appearance import Appearance, Judgement, PerceptualSettings, _shifted, added_grain
from bincodec.train.discriminator import SEEN_TAPS, AdversarialSettings, Discriminator, hinge_loss
from bincodec.train.lpips import SQUEEZENET, read_lpips

CHANNELS = 8
QUIET = AdversarialSettings(width=4, code_width=4, start_share=0.5, ramp_share=0.1, highest=1e6)


def make(squeeze_file: Path, adversarial: AdversarialSettings | None = QUIET) -> Appearance:
    torch.manual_seed(5)
    perceptual = PerceptualSettings(squeeze_file, 3.0)
    return Appearance(CHANNELS, perceptual, adversarial, torch.device("cpu"))


class Scene:
    """Originals, and pictures that a last matrix makes of features."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(2)
        self.image = torch.rand((3, 3, 32, 48), generator=generator)
        self.code = torch.randn((3, CHANNELS, 2, 3), generator=generator)
        torch.manual_seed(6)
        self.head = Pointwise(5, 3 * 64)
        x = torch.randn((3, 5, 4, 6), generator=generator)
        self.picture = functional.pixel_shuffle(self.head(x), 8) + 0.5
        self.weight = torch.tensor([1.0, 2.0, 3.0])


def judge(appearance: Appearance, scene: Scene) -> Judgement:
    """Judge the pictures of a scene. The shift of the perceptual distance is always the same."""
    torch.manual_seed(1)
    return appearance.judge(scene.image, scene.picture, scene.code, scene.weight, scene.head)


def test_without_a_discriminator_it_is_error_and_distance(squeeze_file: Path) -> None:
    scene, appearance = Scene(), make(squeeze_file, None)
    appearance._lpips = appearance._lpips.to("cpu", torch.float32)
    appearance.set_progress(0.9)
    found = judge(appearance, scene)
    exact = read_lpips(SQUEEZENET, squeeze_file.read_bytes(), squeeze_file)
    # Training computes with weights that are rounded to bfloat16.
    lpips = exact.to("cpu", torch.bfloat16).to("cpu", torch.float32)
    seen = scene.picture.detach().requires_grad_()
    torch.manual_seed(1)
    part = _shifted(32, 48)
    distance = lpips.distance(2 * scene.image[part] - 1, 2 * seen[part] - 1).mean()
    error = (scene.weight * ((seen - scene.image) ** 2).mean((1, 2, 3))).mean()
    total = error + 3 * distance
    (gradient,) = torch.autograd.grad(total, seen)
    assert found.distortion.item() == pytest.approx(total.item(), rel=0.02)
    assert found.distance.item() == pytest.approx(distance.item(), rel=0.03)
    assert (found.critic.item(), found.factor.item()) == (0, 0)
    assert (found.gradient - gradient).norm() < 1e-3 * gradient.norm()


def test_the_discriminator_gets_its_share_at_the_last_matrix(squeeze_file: Path) -> None:
    scene = Scene()
    quiet, loud = make(squeeze_file), make(squeeze_file)
    quiet.set_progress(0.0)
    loud.set_progress(1.0)
    one, other = (judge(appearance, scene) for appearance in (quiet, loud))
    sizes = []
    for gradient in (one.gradient, other.gradient - one.gradient):
        (at_head,) = torch.autograd.grad(scene.picture, scene.head.weight, gradient, retain_graph=True)
        sizes.append(at_head.norm().item())
    assert sizes[1] / sizes[0] == pytest.approx(QUIET.weight, rel=1e-3)
    assert other.distortion == one.distortion
    assert other.factor > 0
    # What is added is the gradient of the discriminator's score, times the factor.
    assert loud.discriminator is not None
    seen = scene.picture.detach().requires_grad_()
    torch.manual_seed(1)
    maps = list(loud._lpips.maps(2 * seen[_shifted(32, 48)] - 1))
    scores = loud.discriminator.eval()(seen, scene.code, maps)
    assert len(scores) == 1 + len(SEEN_TAPS)
    (upwards,) = torch.autograd.grad(-sum(score.mean() for score in scores) / 5, seen)
    added = (other.gradient - one.gradient) / other.factor
    assert (added - upwards).norm() < 0.05 * upwards.norm()


def test_the_perceptual_distance_is_shifted() -> None:
    """Every shift up to 15 occurs, and the size is always the same."""
    parts = [_shifted(128, 48)[2:] for _ in range(400)]
    assert {rows.start for rows, _ in parts} == {columns.start for _, columns in parts} == set(range(16))
    assert {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in parts} == {(113, 33)}
    assert all(rows.stop <= 128 and columns.stop <= 48 for rows, columns in parts)
    assert _shifted(17, 16)[2:] == (slice(0, 17), slice(0, 17))


def test_grain_is_what_the_original_lacks() -> None:
    generator = torch.Generator().manual_seed(4)
    grain = torch.randn((2, 3, 40, 48), generator=generator) / 255
    flat = torch.full((2, 3, 40, 48), 0.5)
    # The second difference of white noise has 1.5 times its variance.
    assert added_grain(flat + 4 * grain, flat).item() == pytest.approx(4 * 1.5**0.5, rel=0.1)
    assert added_grain(flat, flat + 4 * grain) == 0
    assert added_grain(flat + grain, flat + 4 * grain) < 0.05
    slope = flat + torch.linspace(-0.4, 0.4, 48)
    assert added_grain(slope, flat).item() == pytest.approx(0, abs=1e-4)
    # The same grain two rows and three columns away counts little, because 7x7 pixels are looked at together.
    # It would be 0.33 for 5x5 pixels, and 0.15 for 9x9.
    moved = grain.roll((2, 3), (2, 3))
    assert added_grain(flat + 4 * moved, flat + 4 * grain).item() == pytest.approx(0.21, abs=0.03)
    # Grain beside the place where the original has it counts.
    left = (torch.arange(48) < 24).float()
    assert added_grain(flat + 4 * grain * (1 - left), flat + 4 * grain * left) > 1.5


def test_grain_counts_in_the_distortion(squeeze_file: Path) -> None:
    scene = Scene()
    without, counted = make(squeeze_file, None), make(squeeze_file, None)
    counted.perceptual = dataclasses.replace(counted.perceptual, grain=2.0)
    one, other = (judge(appearance, scene) for appearance in (without, counted))
    seen = scene.picture.detach().requires_grad_()
    grain = added_grain(seen, scene.image)
    assert other.distortion.item() == pytest.approx(one.distortion.item() + 2 * grain.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(2 * grain, seen)
    assert gradient.norm() > 0
    assert (other.gradient - one.gradient - gradient).norm() < 1e-3 * gradient.norm()


def test_the_factor_has_a_highest_value(squeeze_file: Path) -> None:
    scene = Scene()
    appearance = make(squeeze_file, dataclasses.replace(QUIET, highest=1e-3))
    appearance.set_progress(1.0)
    found = judge(appearance, scene)
    assert found.factor.item() == pytest.approx(1e-3)


def learned(appearance: Appearance, scene: Scene, progress: float) -> bool:
    """Return whether a step at `progress` changes the discriminator."""
    assert appearance.discriminator is not None
    before = {name: value.clone() for name, value in appearance.discriminator.named_parameters()}
    appearance.set_progress(progress)
    judge(appearance, scene)
    appearance.update(1.0)
    return any(not torch.equal(before[name], p) for name, p in appearance.discriminator.named_parameters())


def test_the_discriminator_begins_when_told(squeeze_file: Path, tmp_path: Path) -> None:
    scene, appearance = Scene(), make(squeeze_file)
    assert not learned(appearance, scene, 0.49)
    appearance.save(tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()
    factors = []
    for progress in (0.5, 0.55, 0.6, 0.9):
        assert learned(appearance, scene, progress)
        found = judge(appearance, scene)
        factors.append(found.factor.item())
    assert factors[0] < 1e-3 * factors[2]
    assert factors[0] < factors[1] < factors[2]
    appearance.save(tmp_path / "kept.safetensors")
    later = make(squeeze_file)
    later.start_from(tmp_path / "kept.safetensors")
    assert learned(later, scene, 0.2)
    other = make(squeeze_file, dataclasses.replace(QUIET, width=8))
    other.start_from(tmp_path / "kept.safetensors")
    assert not other.started


def test_the_discriminator_learns_to_tell_pictures_apart(squeeze_file: Path) -> None:
    scene, appearance = Scene(), make(squeeze_file, dataclasses.replace(QUIET, rate=5e-3, start_share=0.0))
    appearance.set_progress(1.0)
    losses = []
    for _ in range(40):
        found = judge(appearance, scene)
        losses.append(found.critic.item())
        appearance.update(1.0)
    assert losses[0] > 1.5
    assert losses[-1] < 0.5 * losses[0]


def test_hinges() -> None:
    assert hinge_loss([Tensor([2.0])], [Tensor([-3.0])]) == 0
    assert hinge_loss([Tensor([0.5])], [Tensor([0.25])]) == 0.5 + 1.25
    assert hinge_loss([Tensor([0.5]), Tensor([2.0])], [Tensor([0.25]), Tensor([-3.0])]) == (0.5 + 1.25) / 2


def test_the_score_depends_on_the_code() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(CHANNELS, dataclasses.replace(QUIET, feature_width=0)).eval()
    image, code = torch.rand(2, 3, 48, 32), torch.randn(2, CHANNELS, 3, 2)
    (scores,) = discriminator(image, code, [])
    assert scores.shape == (2, 1, 3, 2)
    changed = code.clone()
    changed[0, :, 2, 1] += 1
    difference = (discriminator(image, changed, [])[0] - scores).abs()
    assert difference[0].max() > 0
    assert difference[1].max() == 0


@pytest.mark.parametrize("name", ["weight", "grain"])
def test_what_counts_is_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"\\[perceptual\\] {name} is -0.5, but must be at least 0"):
        PerceptualSettings(**{name: -0.5})  # type: ignore[arg-type]


def test_weights_must_be_named() -> None:
    with pytest.raises(ValueError, match="--lpips-weights"):
        Appearance(CHANNELS, PerceptualSettings(), None, torch.device("cpu"))
