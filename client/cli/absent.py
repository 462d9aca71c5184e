"""firectl's nouns that this engine has nothing for: known by name, and answered with what to do instead.

verbs  noun_of  the noun that the words are about, if it is one of them
       text     what whoever asked for it is told; the exit status is `client.cli.exits.NOT_HERE`
"""

from __future__ import annotations

from collections.abc import Sequence

_TRAIN = "train elsewhere, and bring the adapter with firedeck model create ID FOLDER --base-model MODEL"
_ROWS = "send each request to the deployment itself: the gateway queues what is too many"
_MONEY = "nobody is billed here; firedeck usage has tokens, hours and their cost"

# The noun in the plural, as it is told, and what to do.
ABSENT = {
    "batch-inference-job": ("batch inference jobs", _ROWS),
    "billing-metrics": ("billing metrics", _MONEY),
    "credit-redemption": ("credits", _MONEY),
    "dataset": ("datasets", "jobs that read them are not here either; requests go to a deployment one by one"),
    "dpo-job": ("DPO jobs", _TRAIN),
    "evaluation-job": ("evaluation jobs", "firedeck model prepare measures a precision against its source"),
    "evaluator": ("evaluators", "firedeck model prepare measures a precision against its source"),
    "evaluator-revision": ("revisions of evaluators", "firedeck model prepare measures a precision against its source"),
    "identity-provider": ("identity providers", "users have keys: firedeck user create, firedeck api-key create"),
    "invoice": ("invoices", _MONEY),
    "reinforcement-fine-tuning-job": ("reinforcement fine-tuning jobs", _TRAIN),
    "reservation": ("reservations", "replicas stay with firedeck deployment update ID --min-replica-count N"),
    "rlor-trainer-job": ("trainer jobs", _TRAIN),
    "supervised-fine-tuning-job": ("supervised fine-tuning jobs", _TRAIN),
    "upgrade": ("upgrades", "in the folder of its source: git pull && make install"),
}
_SHORT = {
    "sftj": "supervised-fine-tuning-job", "dpoj": "dpo-job", "rftj": "reinforcement-fine-tuning-job",
    "bij": "batch-inference-job", "redeem-credit-code": "credit-redemption", "billing-metric": "billing-metrics",
}  # fmt: skip


def noun_of(words: Sequence[str]) -> str | None:
    """In either word order, in the singular, the plural or firectl's short form."""
    for word in words[:2]:
        for noun in (word, _SHORT.get(word, ""), word.removesuffix("s")):
            if noun in ABSENT:
                return noun
    return None


def text(noun: str) -> str:
    """`datasets are not available on this engine (...)`."""
    plural, remedy = ABSENT[noun]
    return f"{plural} are not available on this engine ({remedy})"
