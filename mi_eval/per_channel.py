"""The score of each colour filter or tap alone, beside that of the mosaic as it is captured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.code_lengths import Density
from mi_eval.frame_source import Region
from mi_eval.measurements import cut_patches
from mi_eval.pixel_classes import classify_pixels
from mi_eval.result import InformationEstimate
from mi_eval.score_parts import ScoreParts, parts_of

if TYPE_CHECKING:
    from calibrate.sections import ChannelLayout, Section

_BAYER = ("R", "Gr", "Gb", "B")


def channel_estimates(
    parts: ScoreParts,
    finish: Callable[[ScoreParts], InformationEstimate],
    *,
    max_patches: int,
    density: Density = "auto",
) -> dict[str, InformationEstimate]:
    """Information of the pixels of each channel, per pixel of that channel.

    A channel's frames are its pixels side by side, and a patch covers the same part of the scene as one of the mosaic:
    8 x 8 pixels of a colour for 16 x 16 of a Bayer mosaic. The channels see the same scene, so their information
    does not add up to the mosaic's: the mean over channels, at these smaller patches, is usually more than that.

    Parameters
    ----------
    parts : ScoreParts
        Of the whole mosaic.
    finish : callable
        The score that parts add up to.
    max_patches : int
    density : str
        Which density models; see `mi_eval.heldout`.

    Raises
    ------
    PhotonbitsError
        If the noise model knows neither channels nor colour filters.
    """
    layout, models = _channels(parts.model)
    out: dict[str, InformationEstimate] = {}
    for name in layout.names:
        section, model = layout.sections[name], models[name]
        source = parts.source.take(section.index)
        size = max(2, parts.patch_size // max(section.rows[2], section.columns[2]))
        data = cut_patches(
            source,
            model,
            patch_size=size,
            seed=parts.seed,
            max_patches=max_patches,
            exposed=None if parts.exposed is None else _within(parts.exposed, section, source.shape),
            exposure_s=parts.exposure_s,
            scene=None if parts.repeats is None else parts.repeats.scene,
        )
        own = parts_of(source, model, data, classify_pixels(model, source.shape), parts.seed, density)
        out[name] = finish(replace(own, exposure_s=parts.exposure_s))
    return out


def _channels(model: NoiseModel) -> tuple[ChannelLayout, dict[str, NoiseModel]]:
    layout = model.channel_layout
    if layout is not None:
        return layout, {name: model.channel(name, maps=True) for name in layout.names}
    mosaic = model.document.sensor.cfa
    if mosaic is None or model.maps:
        raise PhotonbitsError(
            "the noise model knows no channels"
            + ("" if mosaic is None else f", only that the filters are {mosaic}, and has maps of all pixels"),
            where=model.path,
            legal="a noise model fitted with --channels",
            remedy="Fit with --channels RGGB (or as the filters are), or score without --per-channel",
        )
    whole = NoiseModel.from_channels(dict.fromkeys(_BAYER, model), mosaic)
    found = whole.channel_layout
    if found is None:
        raise PhotonbitsError(f"colour filters {mosaic}", legal="a Bayer mosaic")
    return found, dict.fromkeys(found.names, model)


def _within(exposed: Region, section: Section, shape: tuple[int, int]) -> Region:
    """The exposed region in the rows and columns of a section."""

    def along(low: int, high: int, part: tuple[int, int | None, int], size: int) -> tuple[int, int]:
        start, _, step = part
        first, last = (min(max(-(-(place - start) // step), 0), size) for place in (low, high))
        return first, last

    rows = along(exposed[0], exposed[1], section.rows, shape[0])
    columns = along(exposed[2], exposed[3], section.columns, shape[1])
    return (*rows, *columns)
