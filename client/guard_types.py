"""firedeck's own wire types of guards: what stands before and behind the requests of an account."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from client.wire import Description, Duration, Flag, Timestamp, Wire

REQUEST, ANSWER = "request", "answer"
Phase = Literal["request", "answer"]
WHOLE, WINDOW = "whole", "window"


class BreakerSpec(Wire):
    """A key with so many requests stopped within a `window` is refused for `refuse_for`."""

    hits: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    window: Duration | None = Field(None, description="10m if not given")
    refuse_for: Duration | None = Field(None, description="10m if not given")


class GuardSpec(Wire):
    """What an admin may set. A guard has rules (keywords, patterns), or a model that is asked, or both."""

    description: Description | None = None
    deployments: list[str] | None = Field(None, description="those that it guards; all of the account if empty")
    phases: list[Phase] | None = Field(None, description="request, answer; both if not given")
    keywords: list[str] | None = Field(None, description="words that must not occur, whatever their case and spacing")
    patterns: list[str] | None = Field(
        None, description="regular expressions that match texts of one length: no *, +, ?, {m,n} and no groups"
    )
    model: str | None = Field(None, description="a deployment of this account that is asked whether a text is safe")
    policy: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="what the model is told not to let through"
    )
    timeout: Duration | None = Field(None, description="for the model to answer within; 10s if not given")
    on_failure: Literal["open", "closed"] | None = Field(
        None, description="what happens when the model does not answer: open lets it through, closed (default) does not"
    )
    release: Literal["whole", "window"] | None = Field(
        None,
        description="how a stream is let out: whole (default), once all of it has passed, so that nothing of a refused"
        " answer is sent; window, as it comes, but for as much as a match may be long: what stands before a match has"
        " then been sent, and the stream ends with the refusal. Not with a model, which reads whole answers",
    )
    breaker: BreakerSpec | None = None
    disabled: Flag | None = None


class RefusedKey(Wire):
    user: str
    key_id: str
    until: Timestamp


class Guard(GuardSpec):
    """A guard as the server shows it; the fields below are output only."""

    name: str = ""
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    refused_keys: list[RefusedKey] | None = Field(None, description="by its breaker, now")

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


OUTPUT_ONLY = frozenset(Guard.model_fields) - frozenset(GuardSpec.model_fields)


class ReleaseKeyBody(Wire):
    key_id: str


class GuardPage(Wire):
    guards: list[Guard] = []
    next_page_token: str = ""
    total_size: int = 0
