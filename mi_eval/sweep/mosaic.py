"""What-if of a sensor with channels (colour filters, taps): each channel by itself, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError

Changes = Mapping[str, float | int]
M = TypeVar("M", bound="Made")


class Made(Protocol):
    """What a what-if of one channel brings, at least."""

    @property
    def frames(self) -> NDArray[np.generic]:
        """Frames of the channel."""

    @property
    def noise_model(self) -> NoiseModel:
        """Its imagined camera."""


def by_channel(
    frames: NDArray[Any],
    model: NoiseModel,
    changes: Changes,
    seed: int,
    work: Callable[[NDArray[Any], NoiseModel, Changes, int], M],
) -> tuple[NDArray[np.generic], NoiseModel, dict[str, M]]:
    """Frames of all channels, the imagined camera with its channels, and what each channel brought.

    Parameters
    ----------
    frames : ndarray (n_frames, height, width)
    model : NoiseModel
        With channels.
    changes : mapping
        Gain and read noise are those of the sensor as a whole: each channel keeps its ratio to it.
    seed : int
    work : callable
        Takes a channel's frames, noise model, changes and seed.

    Raises
    ------
    PhotonbitsError
        As ``work``, with the channel's name; if frames and channels do not fit together.
    """
    layout = model.channel_layout
    if layout is None:
        raise PhotonbitsError("the noise model has no channels", where=model.path, legal="a model with channels")
    layout.check_shape(frames.shape)
    made: dict[str, M] = {}
    for number, (name, section) in enumerate(layout.sections.items()):
        own = model.channel(name, maps=True)
        part = np.ascontiguousarray(frames[(slice(None), *section.index)])
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        try:
            made[name] = work(part, own, _scaled(changes, own, model), own_seed)
        except PhotonbitsError as error:
            raise PhotonbitsError(
                error.what, where=f"channel {name}", legal=error.legal, remedy=error.remedy
            ) from error
    first = next(iter(made.values())).frames
    whole = np.empty((first.shape[0], *frames.shape[1:]), dtype=first.dtype)
    for name, section in layout.sections.items():
        whole[(slice(None), *section.index)] = made[name].frames
    models = {name: part.noise_model for name, part in made.items()}
    shape = (frames.shape[1], frames.shape[2])
    return whole, NoiseModel.from_channels(models, layout, shape=shape), made


def _scaled(changes: Changes, own: NoiseModel, whole: NoiseModel) -> dict[str, float | int]:
    """Changes of one channel: gain and read noise in the ratio that they have now."""
    out = dict(changes)
    for name in ("system_gain_dn_per_e", "read_noise_e"):
        scalar = float(getattr(whole.camera, name))
        if name in out and scalar > 0:
            out[name] = float(out[name]) * float(getattr(own.camera, name)) / scalar
    return out
