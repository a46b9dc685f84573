"""Objects: what every prior keeps, and what each one is."""

import sys

import numpy as np
import pytest
from PIL import Image

from calibrate import PhotonbitsError
from mi_eval.objects import OBJECT_KINDS, BlackHoles, GaussianTexture, ImageSet, Stars, make_prior
from mi_eval.objects.sets import IMAGE_SETS, LABELLED_SETS

SHAPE = (3, 20, 24)
OPTIONS = {"images": {"name": "coins"}, "gallery": {"name": "faces", "count": 12, "shift_px": 0}}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.integers(0, 4000, (40, 50)).astype(np.uint16))
    Image.fromarray(rng.integers(0, 255, (30, 36, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_contract(kind, folder):
    """Shape, range, seeds, description, and back from plain values."""
    options = {"path": str(folder)} if kind == "folder" else OPTIONS.get(kind, {})
    prior = make_prior(kind, options)
    drawn = prior.sample(12, SHAPE, np.random.default_rng(3))
    assert drawn.shape == (12, *SHAPE) and drawn.dtype == np.float64 and np.isfinite(drawn).all()
    assert np.array_equal(drawn, prior.sample(12, SHAPE, np.random.default_rng(3)))
    assert not np.array_equal(drawn, prior.sample(12, SHAPE, np.random.default_rng(4)))
    assert not np.array_equal(drawn[0], drawn[1])
    if not prior.signed:
        assert drawn.min() >= 0 and drawn.max() <= 1 and drawn.mean() > 0
    assert prior.describe().endswith(".") and len(prior.describe().split()) >= 5
    again, labels = prior.sample_labelled(12, SHAPE, np.random.default_rng(3))
    assert np.array_equal(again, drawn) and (labels is None) == (prior.classes == ())
    plain = prior.to_dict()
    assert make_prior(plain.pop("kind"), plain) == prior


def test_folders_are_read_as_everywhere_else(tmp_path):
    """Subfolders and packed FITS files in natural order; hidden files and what is no picture are left."""
    from astropy.io import fits

    values = {"10/d.fits.gz": 40, "2/b.fit": 20, "2/c.FTS": 30, "a.npy": 10}
    for name, value in values.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((9, 9), value, dtype=np.uint16)
        if path.suffix == ".npy":
            np.save(path, pixels)
        else:
            fits.PrimaryHDU(pixels).writeto(path)
    (tmp_path / "2" / ".e.npy").write_bytes(b"hidden")
    (tmp_path / "2" / "notes.txt").write_text("no image")
    prior = make_prior("folder", {"path": str(tmp_path)})
    assert [float(image[0, 0]) for image in prior.images()] == [0.5, 0.75, 1.0, 0.25]
    assert prior.describe().startswith("4 images")


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_image_sets_ship_inside_their_packages(name):
    prior = ImageSet(name)
    images = prior.images()
    assert images and max(float(image.max()) for image in images) == 1.0
    side = 16
    assert prior.sample(4, (1, side, side), np.random.default_rng(0)).std() > 0.01


@pytest.mark.parametrize("name", LABELLED_SETS)
def test_labels_are_those_of_the_images(name):
    """Every upright crop of the whole image lies in the image set under its label, in every part."""
    prior = ImageSet(name, upright=True)
    side = prior.images()[0].shape[0]
    for chosen in (prior, prior.part("training"), prior.part("test")):
        known = {(image.tobytes(), int(label)) for image, label in zip(prior.images(), prior.labels(), strict=True)}
        drawn, labels = chosen.sample_labelled(30, (1, side, side), np.random.default_rng(0))
        assert set(labels) <= set(range(len(prior.classes))) and len(set(labels)) > 1
        assert all((d[0].tobytes(), int(n)) in known for d, n in zip(drawn, labels, strict=True))


def test_texture_has_its_spectrum():
    prior = GaussianTexture(0.08, 1.2)
    fields = prior.sample(4000, (1, 8, 10), np.random.default_rng(1))
    found = np.mean(np.abs(np.fft.fft2(fields[:, 0])) ** 2, axis=0) / 80
    expected = prior.spectrum((1, 8, 10))
    assert expected.mean() == pytest.approx(1.0)
    # Power of one mode scatters by 1 (complex) or sqrt 2 (real) of itself; 5 standard errors.
    assert np.max(np.abs(found / expected - 1)) < 5 * np.sqrt(2 / 4000)


def test_star_counts_follow_their_law():
    prior = Stars(per_frame=30.0, slope=1.5)
    drawn = prior.sample(400, (1, 64, 64), np.random.default_rng(2))
    stars = drawn[drawn > 0]
    assert stars.size / 400 == pytest.approx(30.0, rel=0.05)
    faint = stars.min()
    above = [np.mean(stars > faint * factor) for factor in (4.0, 16.0)]
    assert above[0] / above[1] == pytest.approx(4**1.5, rel=0.15)


def test_black_holes_have_the_flux_and_the_shape_they_say():
    """Flux even over its range whatever the rest; a ring with a hole; one side brighter, in every direction."""
    prior = BlackHoles(radius_px=6.0, width=0.25, asymmetry=0.8, flux_range=2.0)
    drawn = prior.sample(600, (1, 40, 40), np.random.default_rng(5))[:, 0]
    flux = drawn.sum(axis=(1, 2))
    assert drawn.max() < 0.9
    assert flux.max() / flux.min() == pytest.approx(2.0, rel=0.02)
    assert flux.mean() / flux.max() == pytest.approx(0.75, abs=0.02)
    rows, columns = np.indices((40, 40)) - 20
    radius = np.sum(drawn * np.hypot(rows, columns), axis=(1, 2)) / flux
    assert radius.mean() == pytest.approx(6.0, rel=0.1) and radius.max() / radius.min() > 1.5
    assert np.mean(drawn[:, 20, 20]) < 0.1 * np.mean(drawn.max(axis=(1, 2)))
    lean = np.stack([np.sum(drawn * axis, axis=(1, 2)) / flux for axis in (rows, columns)])
    assert np.abs(lean.mean(axis=1)).max() < 4 * lean.std() / np.sqrt(600)
    # A ring that leans by A has its centroid off by R A/2: at most 1.3 x 6 x 0.4, beside a px of wander.
    assert 1.0 < np.hypot(*lean).max() < 1.3 * 6 * 0.4 * 1.1 + np.sqrt(2)


def test_colour_photographs_spread_over_bands_and_grey_ones_take_one_plane():
    colour = ImageSet("colour").sample(6, (6, 16, 16), np.random.default_rng(0))
    assert np.all(colour.sum(axis=(2, 3)) > 0)
    assert colour.sum(axis=1).max() <= 1
    grey = ImageSet("coins").sample(6, (3, 16, 16), np.random.default_rng(0))
    assert np.all((grey.sum(axis=(2, 3)) > 0).sum(axis=1) == 1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("clouds", {}, "beads, black_hole, cells"),
        ("stars", {"number": 3}, "'number' is no field"),
        ("images", {}, "lack name"),
        ("images", {"name": "unicorns"}, "unicorns"),
        ("cells", {"radius_px": -1.0}, "above 0"),
        ("black_hole", {"radius_px": 2.0, "width": 0.2}, "thinner rings"),
        ("black_hole", {"asymmetry": 1.5}, "asymmetry 0 to 1"),
        ("folder", {"path": "no/such/place"}, "no such folder"),
    ],
)
def test_bad_objects_are_refused(kind, options, message):
    with pytest.raises(PhotonbitsError, match=message):
        make_prior(kind, options).sample(2, (1, 8, 8), np.random.default_rng(0))


def test_objects_larger_than_the_images_are_refused():
    with pytest.raises(PhotonbitsError, match="at most 25"):
        ImageSet("faces").sample(1, (1, 32, 32), np.random.default_rng(0))


def test_a_missing_package_is_named(monkeypatch):
    from mi_eval.objects import sets

    sets._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(PhotonbitsError, match=r"photonbits\[objects\]"):
        ImageSet("camera").images()
    sets._loaded.cache_clear()


def test_larger_inner_ellipses_make_smoother_phantoms() -> None:
    def share_of_low_frequencies(largest: float) -> float:
        values = make_prior("phantoms", {"largest": largest}).sample(200, (1, 16, 16), np.random.default_rng(3))[:, 0]
        power = np.mean(np.abs(np.fft.fft2(values - values.mean(axis=0))) ** 2, axis=0)
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16), indexing="ij"))
        return float(power[radius < 0.15].sum() / power.sum())

    assert share_of_low_frequencies(0.8) > share_of_low_frequencies(0.3) + 0.1
    with pytest.raises(PhotonbitsError, match="largest"):
        make_prior("phantoms", {"largest": 1.5})
