"""Models that everybody may ask without a deployment of their own: what is offered, and on which terms. Pure.

    data   Serverless   what `firedeck serve --serverless` says
    verbs  is_shared    whether a deployment is one of these, by its name
           check_offer  InvalidArgument for a model that may not be offered
           until        the day on which one is taken away, once that was told; `told` tells it
           last_day     which day that is to be: FailedPrecondition for one that comes too soon
    near   `engine.fleet.serverless` keeps a deployment for each, of the library's account; `engine.gateway.admit`
           limits who asks them, `engine.control.price` has their prices

Such a deployment is shared by all accounts and promises nothing: it goes to zero when nobody asks it, and waits behind
dedicated ones for a place. Whoever asks it has NOTICE before it is taken away: days of the calendar, as the header
`Sunset` of each answer tells them. Source: https://docs.fireworks.ai (models, serverless inference).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from client.enums import SERVERLESS_UNTIL_LABEL
from client.errors import FailedPrecondition, InvalidArgument
from client.names import LIBRARY_ACCOUNT, Name
from client.types import Deployment
from engine.deprecation import NOTICE

REQUESTS_PER_MINUTE = 6000  # of each account, as documented
_PREFIX = f"accounts/{LIBRARY_ACCOUNT}/deployments/"


@dataclass(frozen=True, slots=True)
class Serverless:
    """`models` of the library, as people name them; `requests_per_minute` of each account to all of them together;
    `replicas` that each has at most; `addons`: whether accounts may load their own adapters there; `until`: of some of
    the models the day on which they are taken away, `MODEL=DAY`."""

    models: tuple[str, ...] = ()
    requests_per_minute: int = REQUESTS_PER_MINUTE
    replicas: int = 1
    addons: bool = False
    until: tuple[tuple[str, date], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The models by full name, each once; InvalidArgument for what can be no name, or is of another account."""
        names = (Name.of(text, "models", LIBRARY_ACCOUNT, "serverless") for text in self.models)
        return tuple(dict.fromkeys(str(check_offer(name)) for name in names))

    @property
    def ends(self) -> dict[str, date]:
        """The days by the models' full names; InvalidArgument for a model that is not offered."""
        named = {str(Name.of(text, "models", LIBRARY_ACCOUNT, "serverless")): day for text, day in self.until}
        if strangers := sorted(named.keys() - set(self.names)):
            raise InvalidArgument(
                f"{strangers[0]} is to be offered until {named[strangers[0]]}, and is not offered", field="serverless",
                hint=f"firedeck serve --serverless {strangers[0].rpartition('/')[2]}, or leave the day out",
            )  # fmt: skip
        return named


def until(deployment: Deployment) -> date | None:
    """From when on it is not there any more; None: nothing was told, or it is not one of these: what others annotate
    is theirs."""
    if not is_shared(deployment.name):
        return None
    given = (deployment.annotations or {}).get(SERVERLESS_UNTIL_LABEL)
    return date.fromisoformat(given) if given else None


def told(deployment: Deployment, day: date | None) -> dict[str, str]:
    """The annotations of `deployment` that tell this day, or none."""
    kept = {name: text for name, text in (deployment.annotations or {}).items() if name != SERVERLESS_UNTIL_LABEL}
    return kept | ({SERVERLESS_UNTIL_LABEL: day.isoformat()} if day else {})


def last_day(model: str, before: date | None, asked: date | None, today: date) -> date:
    """The day on which a model goes whose users were told `before`, or nothing yet. Nobody asked for a day: the first
    that may be."""
    soonest = today + NOTICE if before is None else min(before, today + NOTICE)
    if asked is not None and asked < soonest:
        raise FailedPrecondition(
            f"{model} is served to everybody: its users have {NOTICE.days} days' notice, until {soonest}",
            field="serverless", hint=f"--serverless-until {model.rpartition('/')[2]}={soonest}, or later",
        )  # fmt: skip
    return asked or before or soonest


def is_shared(deployment: str) -> bool:
    """Whether it is serverless: by its full name, which no account but the library's may give."""
    return deployment.startswith(_PREFIX)


def deployment_of(model: str) -> str:
    """The full name of the deployment that serves a library's model serverless."""
    return _PREFIX + model.rpartition("/")[2]


def check_offer(model: Name) -> Name:
    """`model` itself, if it is the library's."""
    if model.account != LIBRARY_ACCOUNT:
        raise InvalidArgument(
            f"{model} is a custom model, and those are not served serverless", field="serverless",
            hint=f"deploy it: firedeck create deployment {model}",
        )  # fmt: skip
    return model
