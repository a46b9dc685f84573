"""The one exception that people are meant to read."""

from __future__ import annotations


class PhotonbitsError(Exception):
    """Input that cannot be used, said so that the reader knows what to do next.

    Parameters
    ----------
    what : str
        What is wrong, with the offending value.
    where : object, optional
        The file, key, level or argument it was found in.
    legal : str, optional
        The values that would have been accepted.
    remedy : str, optional
        What to do next.

    Notes
    -----
    ``str(error)`` is one line: ``what (in where). Expected: legal. remedy``.
    Commands print it on stderr and exit with 1.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object | None = None,
        legal: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.legal = legal
        self.remedy = remedy
        text = what.rstrip(".")
        if where is not None:
            text += f" (in {where})"
        text += "."
        if legal is not None:
            text += f" Expected: {legal.rstrip('.')}."
        if remedy is not None:
            text += f" {remedy.rstrip('.')}."
        super().__init__(text)
