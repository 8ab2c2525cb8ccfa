"""A broker for tests, which starts in milliseconds; docs/testing.md has examples."""

from .broker import Leveret, LeveretError, NotInTime, StartError

__all__ = ["Leveret", "LeveretError", "NotInTime", "StartError"]
