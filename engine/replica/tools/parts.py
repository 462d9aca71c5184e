"""The parts of an answer, in the order in which they become certain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text that the model wrote for itself."""

    text: str


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A call of a declared function begins; calls are counted from 0."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """The next piece of a call's arguments: JSON text, complete when the call is."""

    index: int
    text: str


Part = Content | Reasoning | CallOpened | Arguments
