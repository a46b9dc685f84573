"""What a wrong noise model does to a score: its error on sources of known information, and what is said about it.

A wrong model leaves H(Z), the code length of the frames, as it is: the error is that of H(Z|Y) alone, which is found
here with the wrong model on the same frames. Processed frames change H(Z) too and are scored in full.
"""

from __future__ import annotations

import argparse
import sys
import zlib

import numpy as np
from scipy import ndimage

from calibrate import NoiseModel, PhotonbitsError
from calibrate.plumbing.tables import format_table
from mi_eval.conditional_entropy import conditional_entropy
from mi_eval.estimate import estimate_information
from mi_eval.frame_source import frames_from_array
from mi_eval.histograms import frame_histograms
from mi_eval.pixel_classes import classify_pixels
from mi_eval.processed import noise_check
from mi_eval.truth.fields import Correlation
from mi_eval.truth.laws import GammaLight

READ_E = 2.0
GAIN = 0.5


def camera(**changes):
    values = {"system_gain_dn_per_e": GAIN, "read_noise_e": READ_E, "offset_dn": 100.0, "bit_depth": 12} | changes
    return NoiseModel.from_parameters(**values)


def wrong_models(mean_e):
    """Name to model; the pure Gaussian has the right variance at the mean light."""
    return {
        "right": camera(),
        "gain + 10 %": camera(system_gain_dn_per_e=1.1 * GAIN),
        "gain - 10 %": camera(system_gain_dn_per_e=0.9 * GAIN),
        "read noise x 2": camera(read_noise_e=2 * READ_E),
        "read noise / 2": camera(read_noise_e=READ_E / 2),
        "pure Poisson": camera(kind="poisson", read_noise_e=0.0),
        "pure Gaussian": camera(kind="gaussian", read_noise_e=float(np.sqrt(mean_e + READ_E**2))),
        "offset + 1 DN": camera(offset_dn=101.0),
        "offset - 1 DN": camera(offset_dn=99.0),
    }


def pixels(mean_e, rng, n):
    return GammaLight(4.0, mean_e).quantile(rng.random((n, 64, 64)))


def field(mean_e, rng, n):
    """Smooth positive fields: gamma marginals are not needed, neighbours are."""
    soft = ndimage.gaussian_filter(rng.standard_normal((n, 64, 64)), (0, 2.0, 2.0), mode="wrap")
    return mean_e * np.exp(0.35 * soft / soft.std() - 0.06)


SCENES = {"independent pixels": pixels, "smooth fields": field}


def noise_bits(codes, model):
    classes = classify_pixels(model, codes.shape[1:])
    histograms = frame_histograms(codes, np.arange(codes.shape[0]), classes)
    found = conditional_entropy(histograms, classes)
    return found.value_bits, found.law


def warned(codes, model, law):
    said = [doubt.code for doubt in noise_check(frames_from_array(codes), model).doubts()]
    if law is not None and law.deviance > 2 * law.n_occupied + 60 and law.deviance / codes.size > 1e-3:
        said.append("noise_model_contradicted")
    return ", ".join(said)


def models_table(n_frames):
    rows = []
    for mean_e in (20.0, 200.0, 2.0):
        for name, make in SCENES.items():
            rng = np.random.default_rng(zlib.crc32(f"{name} {mean_e}".encode()))
            codes = camera().sample(make(mean_e, rng, n_frames), rng)
            right, _ = noise_bits(codes, camera())
            for wrong, model in wrong_models(mean_e).items():
                try:
                    value, law = noise_bits(codes, model)
                except (PhotonbitsError, MemoryError) as error:
                    rows.append([name, f"{mean_e:g}", wrong, "refused", str(error)[:60]])
                else:
                    rows.append([name, f"{mean_e:g}", wrong, f"{right - value:+.3f}", warned(codes, model, law)])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return rows


def smoothed(codes):
    return np.round(ndimage.gaussian_filter(codes.astype(float), (0, 0.7, 0.7)))


def median(codes):
    return ndimage.median_filter(codes, (1, 3, 3))


def demosaiced(codes):
    place = np.indices(codes.shape[1:]).sum(axis=0) % 2 == 0
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    return np.where(place, codes, np.round(np.stack([ndimage.convolve(f * place.astype(float), ring) for f in codes])))


def processed_table(n_frames):
    """Gaussian field under shot and read noise, for which 1/2 log2(1 + S/N) is the truth within 0.01."""
    rng = np.random.default_rng(20)
    length_px, mean_e, sd_e = 3.0, 400.0, 60.0
    light = np.maximum(mean_e + sd_e * Correlation(length_px).draw(n_frames, 32, rng), 0.0)
    codes = camera().sample(light, rng)
    noise_e2 = mean_e + READ_E**2 + 1 / 12 / GAIN**2
    true = 0.5 * float(np.mean(np.log2(1 + sd_e**2 / noise_e2 * Correlation(length_px).eigenvalues(16))))
    rows = []
    for name, process in (
        ("raw", np.asarray),
        ("Gaussian 0.7 px", smoothed),
        ("median 3 x 3", median),
        ("green demosaiced", demosaiced),
    ):
        z = process(codes).astype(np.uint16)
        found = estimate_information(z, camera(), accept_processed=True, density="closed-form")
        information = found.mutual_information_bits_per_pixel
        said = ", ".join(d.code for d in noise_check(frames_from_array(z), camera()).doubts())
        rows.append([name, f"{true:.3f}", f"{information.value:+.3f}", f"{information.value - true:+.3f}", said])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=15)
    n_frames = parser.parse_args().frames
    print("Error of a score by the noise model alone (bit/px), camera K 0.5 DN/e-, read noise 2 e-")
    rows = models_table(n_frames)
    print(format_table(["scenes", "mean e-", "model", "error", "said"], rows, align="lrlrl"))
    print("\nProcessed frames under the right model of the raw ones, bit/px")
    rows = processed_table(4 * n_frames)
    print(format_table(["frames", "true of raw", "score", "error", "said"], rows, align="lrrrl"))


if __name__ == "__main__":
    main()
