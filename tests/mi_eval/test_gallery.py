"""Galleries: every view is listed once, under the image that it shows."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import PhotonbitsError
from mi_eval.objects import Gallery, ImageSet

SHAPE = (1, 20, 18)


def test_views_are_shifted_and_mirrored_middles_of_their_images() -> None:
    gallery = Gallery("faces", count=5, shift_px=2)
    population, labels = gallery.population(SHAPE), gallery.labels(SHAPE)
    assert population.shape == (5 * 25 * 2, *SHAPE) and np.array_equal(np.bincount(labels), [50] * 5)
    assert len({view.tobytes() for view in population}) == len(population)
    for number, image in enumerate(ImageSet("faces").images()[:5]):
        # 25 x 25: the middle of 20 x 18 begins at row 2, column 3.
        wanted = {
            crop[:, ::step].tobytes()
            for row in range(5)
            for column in range(1, 6)
            for step in (1, -1)
            for crop in (image[row : row + 20, column : column + 18],)
        }
        assert {view[0].tobytes() for view in population[labels == number]} == wanted


def test_draws_are_even_and_labelled() -> None:
    gallery = Gallery("faces", count=4, shift_px=1, mirror=False)
    drawn, labels = gallery.sample_labelled(7200, SHAPE, np.random.default_rng(2))
    known = {
        view.tobytes(): label for view, label in zip(gallery.population(SHAPE), gallery.labels(SHAPE), strict=True)
    }
    assert labels is not None and all(known[view.tobytes()] == label for view, label in zip(drawn, labels, strict=True))
    counts = np.unique([list(known).index(view.tobytes()) for view in drawn], return_counts=True)[1]
    # 36 views, 200 draws each: chi-square of 35 degrees of freedom is below 70 but once in 2000.
    assert counts.size == 36 and np.sum((counts - 200) ** 2 / 200) < 70
    assert gallery.part("test") is gallery and gallery.classes[3] == "faces 3"


def test_each_view_lies_once_in_every_plane() -> None:
    gallery = Gallery("faces", count=2, shift_px=0, shrink=2)
    population = gallery.population((3, 12, 12))
    assert population.shape == (2 * 2 * 3, 3, 12, 12) and gallery.labels((3, 12, 12)).size == 12
    assert np.all((population.sum(axis=(2, 3)) > 0).sum(axis=1) == 1)
    image = ImageSet("faces").images()[0]
    assert population[0, 0, 0, 0] == pytest.approx(image[:2, :2].mean())


def test_views_outside_the_images_are_refused() -> None:
    with pytest.raises(PhotonbitsError, match="shifted by 3"):
        Gallery("faces", shift_px=3).population((1, 20, 20))
    with pytest.raises(PhotonbitsError, match="101 images"):
        Gallery("faces", count=101).population(SHAPE)
    with pytest.raises(PhotonbitsError, match="count 1"):
        Gallery("faces", count=1)
