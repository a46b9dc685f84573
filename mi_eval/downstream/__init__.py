"""Decoders that check whether designs with more information give better results.

Examples
--------
>>> import mi_eval.downstream
>>> "evaluate_designs" in mi_eval.downstream.__all__
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.downstream.classify import Classifier
    from mi_eval.downstream.evaluate import EvaluationSettings, evaluate_designs
    from mi_eval.downstream.interface import Decoder, Examples, Metric, Setting, Trained
    from mi_eval.downstream.localise import Localiser
    from mi_eval.downstream.ranking import Ranking, rank_designs
    from mi_eval.downstream.result import Evaluation
    from mi_eval.downstream.unet import UNet
    from mi_eval.downstream.whole_frame import WholeFrame
    from mi_eval.downstream.wiener import Wiener

__all__ = [
    "Classifier",
    "Decoder",
    "Evaluation",
    "EvaluationSettings",
    "Examples",
    "Localiser",
    "Metric",
    "Ranking",
    "Setting",
    "Trained",
    "UNet",
    "WholeFrame",
    "Wiener",
    "evaluate_designs",
    "rank_designs",
]

# Names are loaded at first use (PEP 562): a command's help imports no torch.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Classifier": "mi_eval.downstream.classify",
        "Decoder": "mi_eval.downstream.interface",
        "Evaluation": "mi_eval.downstream.result",
        "EvaluationSettings": "mi_eval.downstream.evaluate",
        "Examples": "mi_eval.downstream.interface",
        "Localiser": "mi_eval.downstream.localise",
        "Metric": "mi_eval.downstream.interface",
        "Ranking": "mi_eval.downstream.ranking",
        "Setting": "mi_eval.downstream.interface",
        "Trained": "mi_eval.downstream.interface",
        "UNet": "mi_eval.downstream.unet",
        "WholeFrame": "mi_eval.downstream.whole_frame",
        "Wiener": "mi_eval.downstream.wiener",
        "evaluate_designs": "mi_eval.downstream.evaluate",
        "rank_designs": "mi_eval.downstream.ranking",
    },
)
