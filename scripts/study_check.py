"""How often `calibrate check` refuses an honest camera, and how often it names a fault, over seeds.

    python scripts/study_check.py [--seeds 100] [--shape 64] [--camera NAME] [--fault NAME] [--no-faults]

Every seed shoots captures to fit and new ones to check. For honest cameras it prints how many checks disagree (1 in 100
is meant), the mean and rms of the z of all ranges, and which diagnoses were made. For faults it prints how often the
right diagnosis is among those made, how often it is the only one, and what else was named.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate import fit_noise_model
from calibrate.plumbing.progress import set_quiet
from calibrate.response import Response
from calibrate.validation import check_captures

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A camera, its lamp, and what is wrong with them.

    ``amplify``: each electron becomes a gamma variate (mean 1, variance 1), as in an electron-multiplying register.
    ``distort`` changes the analogue frame (DN; arguments frame, number of the frame in its level, generator), and
    ``recode`` the codes.
    """

    gain_dn_per_e: float = 0.5
    read_noise_e: float | FloatArray = 3.0
    offset_dn: float = 100.0
    bit_depth: int = 12
    response: Response = field(default_factory=Response)
    dark_current_e_per_s: float = 5.0
    shading: float = 0.0
    light_scatter: float = 1e-3
    lamp_drift: float = 0.0
    pattern: float = 0.0
    amplify: bool = False
    distort: Callable[[FloatArray, int, np.random.Generator], FloatArray] | None = None
    recode: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None = None

    def shoot(self, light_e: float, exposure_s: float, number: int, shape: tuple[int, int], rng: np.random.Generator):
        """One frame of codes."""
        height, width = shape
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        fixed = np.random.default_rng(99)  # the same pattern in every frame of every seed
        light = light_e * (1 - self.shading * (x * x + y * y) / 2) * (1 + self.pattern * fixed.standard_normal(shape))
        charge = np.maximum(light, 0.0) * (1 + self.lamp_drift * number) + self.dark_current_e_per_s * exposure_s
        n = rng.poisson(charge).astype(np.float64)
        if self.amplify:
            n = np.where(n > 0, rng.gamma(np.maximum(n, 1e-9)), 0.0)
        u = self.gain_dn_per_e * (n + self.read_noise_e * rng.standard_normal(shape))
        analogue = self.offset_dn + self.response.evaluate(u)
        if self.distort is not None:
            analogue = self.distort(analogue, number, rng)
        codes = np.clip(np.floor(analogue + 0.5), 0, 2**self.bit_depth - 1).astype(np.uint16)
        return codes if self.recode is None else self.recode(codes)

    @property
    def range_e(self) -> float:
        """Charge that fills the converter."""
        top = 2**self.bit_depth - 1 - self.offset_dn
        return float(self.response.inverse(np.array(top))) / self.gain_dn_per_e


def capture(
    scene: Scene,
    folder: Path,
    seed: int,
    *,
    shape: tuple[int, int] = (64, 64),
    levels: int = 10,
    frames: int = 2,
    kinds: tuple[str, ...] = ("flat", "dark"),
    full_e: float | None = None,
    state_depth: bool = True,
) -> Path:
    """Shoot flats up to 85 % of the range and darks at the same exposures; numpy stacks and a manifest.

    ``full_e`` is the light that counts as the whole range; by default what fills the converter.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    lines = [f"# bit_depth: {scene.bit_depth}"] if state_depth else []
    lines.append("path,kind,exposure_s,level")
    full = scene.range_e if full_e is None else full_e
    for kind in kinds:
        for index in range(levels):
            share = (index + 1) / levels
            light = 0.85 * full * share * (1 + scene.light_scatter * rng.standard_normal()) if kind == "flat" else 0.0
            stack = np.stack([scene.shoot(light, share, number, shape, rng) for number in range(frames)])
            np.save(folder / f"{kind}_{index:02d}.npy", stack)
            lines.append(f"{kind}_{index:02d}.npy,{kind},{share!r},{kind}{index}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


PLAIN = Scene()
BEND = Response("polynomial", (-0.04,), 3900.0)

#: Honest cameras: name: (scene, settings of `capture`).
HONEST: dict[str, tuple[Scene, dict]] = {
    "plain 12 bit": (PLAIN, {}),
    "flickering lamp 1 %": (replace(PLAIN, light_scatter=0.01), {}),
    "shading 50 %, pattern 1 %": (replace(PLAIN, shading=0.5, pattern=0.01), {}),
    "lamp drift 0.5 % in pairs": (replace(PLAIN, shading=0.3, lamp_drift=0.005), {}),
    "compression 4 %": (replace(PLAIN, response=BEND), {}),
    "coarse, 0.3 DN": (replace(PLAIN, gain_dn_per_e=0.1), {}),
    "coarse, 0.3 DN, pattern": (replace(PLAIN, gain_dn_per_e=0.1, pattern=0.02, shading=0.2), {}),
    "16 bit, few electrons": (replace(PLAIN, gain_dn_per_e=40.0, read_noise_e=0.9, bit_depth=16, offset_dn=500.0), {}),
    "8 bit": (replace(PLAIN, gain_dn_per_e=0.03, read_noise_e=20.0, bit_depth=8, offset_dn=10.0), {}),
    "six frames a level": (PLAIN, {"frames": 6}),
    "flats alone": (PLAIN, {"kinds": ("flat",)}),
    "darks alone": (PLAIN, {"kinds": ("dark",)}),
}


def _row_noise(frame: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    return frame + rng.standard_normal((frame.shape[0], 1))


def _offset_drift(frame: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    return frame + 0.6 * number


def _correlated(frame: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    noise = frame - frame.mean()
    return frame.mean() + (noise + 0.2 * np.roll(noise, 1, axis=1)) / np.sqrt(1.04)


def _blurred(frame: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    for axis in (0, 1):
        frame = (np.roll(frame, 1, axis) + 2 * frame + np.roll(frame, -1, axis)) / 4
    return frame


def _taps(frame: FloatArray, number: int, rng: np.random.Generator) -> FloatArray:
    half = frame.shape[1] // 2
    frame = frame.copy()
    frame[:, half:] = 100.0 + 1.2 * (frame[:, half:] - 100.0)
    return frame


def _shifted_left(codes: NDArray[np.generic]) -> NDArray[np.generic]:
    return codes * np.uint16(16)


def _low_ceiling(codes: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.minimum(codes, np.uint16(3000))


def _curve(share: float) -> Response:
    return Response("polynomial", (share,), 3900.0)


def _uneven_read_noise(shape: tuple[int, int]) -> Scene:
    """Read noise per pixel: log-normal, rms 3 electrons."""
    noise = np.exp(0.5 * np.random.default_rng(5).standard_normal(shape))
    return replace(PLAIN, read_noise_e=3.0 * noise / np.sqrt(np.mean(noise**2)))


#: Faults: name: (scene of the check, settings, the diagnosis that must be among those made).
FAULTS: dict[str, tuple[Scene | Callable[[tuple[int, int]], Scene], dict, str]] = {
    "twice the gain": (replace(PLAIN, gain_dn_per_e=1.0), {}, "wrong_gain_setting"),
    "gain 12 % lower": (replace(PLAIN, gain_dn_per_e=0.44), {}, "wrong_gain_setting"),
    "twice the gain, flats alone": (replace(PLAIN, gain_dn_per_e=1.0), {"kinds": ("flat",)}, "wrong_gain_setting"),
    "lamp drift 3 %": (replace(PLAIN, lamp_drift=0.03), {}, "drift"),
    "offset drift 0.6 DN": (replace(PLAIN, distort=_offset_drift), {}, "drift"),
    "compression 6 %": (replace(PLAIN, response=_curve(-0.06)), {}, "nonlinearity"),
    "compression 6 %, shading 50 %": (replace(PLAIN, response=_curve(-0.06), shading=0.5), {}, "nonlinearity"),
    "expansion 5 %": (replace(PLAIN, response=_curve(0.05)), {}, "nonlinearity"),
    "row noise 1 DN": (replace(PLAIN, distort=_row_noise), {}, "extra_row_noise"),
    "electron multiplying": (replace(PLAIN, amplify=True), {}, "excess_noise"),
    "electron multiplying, flats alone": (replace(PLAIN, amplify=True), {"kinds": ("flat",)}, "excess_noise"),
    "black level removed": (replace(PLAIN, offset_dn=3.0), {}, "clipped_black"),
    "left-aligned": (replace(PLAIN, recode=_shifted_left), {"state_depth": False}, "left_aligned"),
    "offset 1 DN higher": (replace(PLAIN, offset_dn=101.0), {}, "offset_shift"),
    "dark current times 4": (replace(PLAIN, dark_current_e_per_s=20.0), {}, "dark_current_changed"),
    "read noise 4.5 e-": (replace(PLAIN, read_noise_e=4.5), {}, "read_noise_changed"),
    "read noise 4.5 e-, darks alone": (replace(PLAIN, read_noise_e=4.5), {"kinds": ("dark",)}, "read_noise_changed"),
    "correlated noise": (replace(PLAIN, distort=_correlated), {}, "correlated_noise"),
    "denoised": (replace(PLAIN, distort=_blurred), {}, "denoised"),
    "clips at 3000": (replace(PLAIN, recode=_low_ceiling), {}, "saturated"),
    "read noise differs over pixels": (_uneven_read_noise, {}, "noise_shape"),
    "right half 20 % more gain": (replace(PLAIN, distort=_taps), {"full_e": 6000.0}, "uneven_noise"),
}


def study_honest(name: str, seeds: int, side: int) -> None:
    """Fit and check one camera ``seeds`` times."""
    scene, settings = HONEST[name]
    refused, codes, z = 0, Counter(), []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        for seed in range(seeds):
            fitted = capture(scene, Path(place) / "fit", 2 * seed, shape=(side, side))
            checked = capture(scene, Path(place) / "check", 2 * seed + 1, shape=(side, side), **settings)
            result = check_captures(fit_noise_model(fitted), checked)
            for file in Path(place).glob("*/*"):
                file.unlink()
            refused += not result.agrees
            codes.update(found.code for found in result.findings)
            z.extend(entry.z for entry in result.ranges if entry.within_validity)
    spread = f"z mean {np.mean(z):+.3f}, rms {np.sqrt(np.mean(np.square(z))):.3f}"
    made = ", ".join(f"{code} {count}" for code, count in codes.most_common()) or "none"
    each = (time.monotonic() - started) / seeds
    print(f"{name:<30}{refused:>4} of {seeds} refused   {spread}   {made}   ({each:.2f} s each)", flush=True)


def study_fault(name: str, seeds: int, side: int) -> None:
    """Fit the plain camera and check captures with one fault, ``seeds`` times."""
    make, settings, code = FAULTS[name]
    scene = make if isinstance(make, Scene) else make((side, side))
    named = alone = 0
    others: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        for seed in range(seeds):
            fitted = capture(PLAIN, Path(place) / "fit", 2 * seed, shape=(side, side))
            checked = capture(scene, Path(place) / "check", 2 * seed + 1, shape=(side, side), **settings)
            result = check_captures(fit_noise_model(fitted), checked)
            found = [entry.code for entry in result.findings]
            named += code in found
            alone += found == [code]
            others.update(entry for entry in found if entry != code)
            for file in Path(place).glob("*/*"):
                file.unlink()
    made = ", ".join(f"{entry} {count}" for entry, count in others.most_common()) or "none"
    print(f"{name:<36}{code:<22}{named:>4} of {seeds} named, {alone} alone; besides: {made}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=100, help="checks of every camera (default 100)")
    parser.add_argument("--fault-seeds", type=int, default=10, help="checks of every fault (default 10)")
    parser.add_argument("--shape", type=int, default=64, metavar="SIDE", help="pixels on a side (default 64)")
    parser.add_argument("--camera", choices=list(HONEST), action="append", help="one honest camera; default all")
    parser.add_argument("--fault", choices=list(FAULTS), action="append", help="one fault; default all")
    parser.add_argument("--no-faults", action="store_true", help="honest cameras only")
    arguments = parser.parse_args()
    set_quiet(True)
    if arguments.fault is None or arguments.camera is not None:
        for name in arguments.camera or HONEST:
            study_honest(name, arguments.seeds, arguments.shape)
    if not arguments.no_faults and (arguments.camera is None or arguments.fault is not None):
        for name in arguments.fault or FAULTS:
            study_fault(name, arguments.fault_seeds, arguments.shape)


if __name__ == "__main__":
    main()
