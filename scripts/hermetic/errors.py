"""What a user sees when a step cannot go on: one sentence, and what to do next.

I/O: none.
"""

from __future__ import annotations


class Failure(Exception):
    """A step failed for a reason the user can act on; printed without a traceback.

    `advice` says what to do next; `log` is where the whole output is.
    """

    def __init__(self, reason: str, advice: str = "", log: object = None) -> None:
        super().__init__(reason)
        self.advice = advice
        self.log = log

    def __str__(self) -> str:
        text = super().__str__()
        if self.advice:
            text += f"\n  next: {self.advice}"
        if self.log:
            text += f"\n  log:  {self.log}"
        return text
