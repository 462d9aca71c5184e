"""A request in plain English, from what was noted of it: what was asked of whom, how long it waited and for what, why
that replica, what was cached, how many tries, what came of it. Pure."""

from __future__ import annotations

from engine.asgi import CLIENT_GONE
from engine.telemetry.deaths import DEATHS
from engine.telemetry.reported import speculation, steps
from engine.telemetry.spans import Kind
from engine.telemetry.trace import HIT, LOST, Attempt, Trace

_TURN_S = 0.05
_REFUSALS = {
    400: "the request itself is wrong, and its answer says where",
    401: "it had no good key",
    403: "its key, or where it came from, does not allow that",
    404: "what it asked for is not there, or not for its key",
    405: "its path takes another method",
    412: "the adapter that it asked for cannot be used",
    413: "its body is too large",
    415: "its body is not sent as JSON",
    500: "a fault of this side",
}
_DEATHS = {"died": "its process died", "out_of_memory": "its process died for want of memory"}


def explain(trace: Trace, death: Kind = DEATHS.kind, *, with_key: bool = True) -> list[str]:
    """Sentences, in the order of what happened; `with_key` names the key."""
    told = [_asked(trace, with_key=with_key)]
    if trace.router:
        told.append(f"Router {trace.router} sent it {trace.routed}.")
    if trace.admitted_at is not None:
        told.append(f"It was admitted after {span(trace.admitted_at - trace.began_at)}.")
    told += _guards(trace, "request")
    if trace.cache:
        told.append(_cache(trace))
    before = max([one.ended_at for one in trace.judgements if one.phase == "request"], default=trace.admitted_at)
    for number, attempt in enumerate(trace.attempts):
        told += _tried(trace, number, attempt, before, death)
        before = attempt.ended_at
    told += _guards(trace, "answer")
    if trace.ttft_s is not None:
        told.append(f"Its first token was there after {span(trace.ttft_s)}.")
    told.append(_end(trace))
    return told


def span(seconds: float) -> str:
    """`0.42 ms`, `37 ms`, `1.25 s`: three digits are enough for eyes."""
    if seconds < 1:
        return f"{round(seconds * 1000, 3):.3g} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def _asked(trace: Trace, *, with_key: bool) -> str:
    what = f"{trace.method} {trace.route}" + (", streamed" if trace.stream else "")
    key = f" (key {trace.key_id})" if with_key else ""
    who = f" by {trace.user}{key}" if trace.user else " by nobody who is known here"
    made_up = "; synthetic traffic" if trace.synthetic else ""
    if not trace.deployment:
        return f"{what},{who}{made_up}."
    adapter = f" with the adapter {trace.adapter}" if trace.adapter else ""
    return f"{what}, of {trace.deployment} (model {trace.model}){adapter},{who}{made_up}."


def _guards(trace: Trace, phase: str) -> list[str]:
    what = {"passed": "let it pass", "refused": "stood against it", "unavailable": "did not answer"}
    return [
        f"Guard {one.guard} was asked about the {phase} for {span(one.ended_at - one.began_at)} and "
        f"{what.get(one.verdict, one.verdict)}."
        for one in trace.judgements
        if one.phase == phase
    ]


def _cache(trace: Trace) -> str:
    if trace.cache == HIT:
        return (
            f"The response cache had the answer to an equal request of {span(trace.cache_age_s)} before:"
            " no replica was asked, and no tokens were computed."
        )
    return "The response cache had no answer to it."


def _tried(trace: Trace, number: int, one: Attempt, before: float | None, death: Kind) -> list[str]:
    which = f"Try {number + 1}: it" if len(trace.attempts) > 1 else "It"
    told = []
    if before is not None and one.asked_at - before > _TURN_S:
        waited = span(one.asked_at - before)
        told.append(f"For {waited} it was held back, because a replica had ended under it or its like.")
    told.append(f"{which} {_waited(trace, one)}.")
    taken = one.choice
    if taken is not None:
        told.append(f"Replica {taken.id} was taken: {taken.why}.")
    if one.outcome == LOST and taken is not None:
        told.append(_lost(one, death(taken.id)))
    elif one.answered_at is not None:
        told += _worked(trace, one)
    return told


def _waited(trace: Trace, one: Attempt) -> str:
    if one.at_once:
        return "got a place at once"
    until = one.placed_at if one.placed_at is not None else one.ended_at
    seconds = (trace.clock.monotonic() if until is None else until) - one.asked_at
    if not one.ready:
        why = "no replica took requests then"
    elif one.ready == 1:
        why = "the one replica that took requests was full"
    else:
        why = f"all {one.ready} replicas that took requests were full"
    behind = f" behind {one.ahead} other{'s' * (one.ahead != 1)}" if one.ahead else ""
    verb = "waits" if until is None else "waited"
    ending = " and got none" if until is not None and one.placed_at is None else ""
    return f"{verb} {span(seconds)} for a place{behind}{ending}: {why}"


def _lost(one: Attempt, kind: str | None) -> str:
    after = "" if one.sent_at is None or one.ended_at is None else f" after {span(one.ended_at - one.sent_at)}"
    had = "while it had the request" if one.reached else "before the request had reached it, or as it was leaving"
    died = f": {_DEATHS[kind]}" if kind in _DEATHS else ""
    return f"That replica was lost{after}, {had}{died}."


def _worked(trace: Trace, one: Attempt) -> list[str]:
    """What the replica did, as far as it said so."""
    if one.status != 200:
        return [f"The replica refused it: {one.status}."]
    durations = {name: end - start for name, start, end in steps(one) if end is not None}
    told = []
    if trace.prompt_tokens:
        cached = f", {trace.cached_tokens} of them cached," if trace.cached_tokens else ", none of them cached,"
        read = f" {span(durations['prefill'])} to be read" if "prefill" in durations else ""
        waited = f", after {span(durations['queue'])} in the replica's own queue" if "queue" in durations else ""
        told.append(f"Its {trace.prompt_tokens} prompt tokens{cached} took{read or ' a time not told'}{waited}.")
    made = durations.get("decode")
    if made is None and trace.stream and one.ended_at is not None and one.answered_at is not None:
        made = one.ended_at - one.answered_at
    if trace.generated_tokens:
        pace = f" in {span(made)} ({trace.generated_tokens / made:.3g} a second)" if made else ""
        told.append(f"{trace.generated_tokens} tokens were generated{pace}.")
    drafts = speculation(one.numbers)
    if drafts:
        told.append(f"Speculation: {drafts['accepted']} of {drafts['drafted']} drafted tokens were accepted.")
    return told


def _end(trace: Trace) -> str:
    took = span(trace.seconds)
    if trace.ended_at is None:
        return f"It is still under way, {took} after it came."
    if trace.status == CLIENT_GONE:
        return f"The client left after {took}, before its answer was whole{_charged(trace)}."
    if trace.status < 400:
        return f"It was answered with {trace.status} after {took}."
    name = f" {trace.error}" if trace.error else ""
    why = trace.why or _REFUSALS.get(trace.status, "")
    if trace.failed and trace.stream and not trace.error:
        why = f"the stream had begun, could not be finished, and ended with an error event{_charged(trace)}"
    verb = "ended" if trace.failed else "was refused"
    return f"It {verb} with {trace.status}{name} after {took}" + (f": {why}." if why else ".")


def _charged(trace: Trace) -> str:
    """What is charged of an answer that was not whole."""
    sent = trace.generated_tokens
    if not sent:
        return ", and no token was sent or charged"
    return f"; {sent} token{'s were' if sent > 1 else ' was'} sent and charged"
