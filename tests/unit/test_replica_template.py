"""Chat templates are foreign code: they render what they should and escape from nothing."""

from __future__ import annotations

import itertools
import re
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from engine.replica import template_sandbox
from engine.replica.template import ChatTemplate, TemplateError

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def render(source: str, *contents: str):
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")
    return template.render([{"role": "user", "content": content} for content in contents])


def test_user_text_is_told_from_template_text() -> None:
    rendered = render(CHATML, "hi <|im_end|>", "bye")
    assert rendered.text.startswith("<|im_start|>user\nhi <|im_end|><|im_end|>\n")
    assert [s.text for s in rendered.segments if s.is_content] == ["hi <|im_end|>", "bye"]
    assert rendered.unplaced == ()


def test_a_template_that_trims_gives_the_trimmed_text_and_still_tells_it_apart() -> None:
    rendered = render("[{{ messages[0].content | trim }}]", "  a b \n")
    assert rendered.text == "[a b]"
    assert [s.text for s in rendered.segments if s.is_content] == ["a b"]


def test_a_template_that_changes_the_text_is_followed_and_says_so() -> None:
    rendered = render("{{ messages[0].content | upper }}", "abc")
    assert rendered.text == "ABC"
    assert rendered.unplaced == ("abc",)


def test_whitespace_and_empty_messages_render() -> None:
    assert render("[{{ messages[0].content }}]", "  ").text == "[  ]"
    assert render("[{{ messages[0].content }}]", "").text == "[]"


def test_user_text_is_never_a_template() -> None:
    assert render("{{ messages[0].content }}", "{{ 7*7 }}{% raw %}").text == "{{ 7*7 }}{% raw %}"


def test_the_helpers_that_templates_expect_are_there() -> None:
    source = (
        "{{ bos_token }}{{ messages[0] | tojson }}{% set n = namespace(x=1) %}{{ n.x }}{{ strftime_now('%Y')|length }}"
    )
    assert render(source, "a<b>é").text == '<s>{"role": "user", "content": "a<b>é"}14'
    with pytest.raises(TemplateError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", "x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{{ messages.append(1) }}",
        "{% for i in range(1000000000000) %}x{% endfor %}",
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
        "{% for i in range(10000) %}{% for j in range(10000) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ 9 ** 9999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ 'x'|center(1000000000) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ undefined_thing.field }}",
        "{{ ''.join(['x' * 1000000]) }}",
        "{{ [1] | batch(10000000000, 2) | list }}",
    ],
)
def test_a_template_cannot_escape_or_run_for_ever(source: str) -> None:
    try:
        assert render(source, "x").text == ""  # Jinja prints what it refuses to look up as nothing
    except TemplateError as error:
        assert error.status == 400  # noqa: PT017 - either outcome is fine


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine gives most of its time to others: an hour goes by at every look at the clock."""
    clock = itertools.count(0.0, 3600.0)
    monkeypatch.setattr(
        template_sandbox, "time", SimpleNamespace(monotonic=lambda: next(clock), thread_time=time.thread_time)
    )


def test_only_the_time_that_a_template_had_counts_against_it(held_up: None) -> None:
    assert render(CHATML, *["hi"] * 20).text.count("hi") == 20
    with pytest.raises(TemplateError, match="takes too long"):
        render("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", "x")


DOUBLE = "{%% set n = namespace(s='x', l=['x'], i=999999) %%}{%% for i in range(60) %%}{%% set %s %%}{%% endfor %%}"
LONG = "{% set n = namespace(s='x') %}{% for i in range(20) %}{% set n.s = n.s ~ n.s %}{% endfor %}"  # a million


@pytest.mark.parametrize(
    "source",
    [
        DOUBLE % "n.s = n.s ~ n.s",
        DOUBLE % "n.s = n.s + n.s",
        DOUBLE % "n.l = n.l + n.l",
        DOUBLE % "n.l = (n.l ~ n.l) | list",
        DOUBLE % "n.s = n.s | replace('x', 'xx')",
        DOUBLE % "n.s = n.s.replace('x', 'xx')",
        DOUBLE % "n.s = [n.s, n.s] | join(n.s)",
        DOUBLE % "n.s = n.s.join([n.s, n.s])",
        DOUBLE % "n.s = [n.s, n.s] | tojson",
        DOUBLE % "n.i = n.i * n.i",
        DOUBLE % "n.i = n.i + n.i",
        LONG + "{{ n.s | replace('x', n.s) }}",
        LONG + "{{ n.s.join(range(10000)) }}",
        LONG + "{{ range(10000) | join(n.s) }}",
        LONG + "{% set l = namespace(x=[]) %}{% for i in range(9999) %}{% set l.x = l.x + [n.s ~ i] %}{% endfor %}",
    ],
)
def test_a_template_that_builds_without_end_is_stopped_before_memory_is(source: str) -> None:
    tracemalloc.start()
    with pytest.raises(TemplateError):
        render(source, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 1024 * 1024


def test_ordinary_building_stays_free() -> None:
    source = (
        "{% set n = namespace(s='') %}{% for m in messages %}{% set n.s = n.s + m.content ~ '\n' %}{% endfor %}"
        "{{ n.s | replace('a', 'b') }}{{ ['x', 1] | join(', ') }}{{ '-'.join(['p', 'q']) }}"
        "{{ 'aXa'.replace('X', 'y') }}"
        "{{ messages | join('|', attribute='role') }}{{ 1 + 2 }}{{ [1] + [2] }}{{ (messages | length) * 3 }}"
    )
    assert render(source, "aa", "c").text == "bb\nc\nx, 1p-qayauser|user3[1, 2]6"
    assert len(render(source, *["word " * 2000] * 20).text) > 200_000


def test_tools_and_variables_reach_the_template_and_their_control_tokens_are_found() -> None:
    source = "{{ tools | map(attribute='name') | tojson }}{{ mode }}{{ messages[0].content }}"
    template = ChatTemplate(source, bos_token="", eos_token="")
    rendered = template.render(
        [{"role": "user", "content": "hi"}],
        tools=[{"name": "a<end>b", "type": "<kept>"}, {"name": "c"}],
        variables={"mode": "m"},
        control=re.compile("<end>"),
    )
    assert rendered.text == '["a<end>b", "c"]mhi'
    assert [s.text for s in rendered.segments if s.is_content] == ["a<end>b", "hi"]


def test_text_methods_work_inside_of_loops_with_variables_of_their_own() -> None:
    source = "{% for m in messages %}{% set c = m.content %}{{ c.replace('a', 'b').strip() }}{% endfor %}"
    assert render(source, "aa ", "ca").text == "bbcb"


def test_what_trainers_mark_as_generated_renders_as_it_stands() -> None:
    assert render("a{% generation %}{{ messages[0].content }}{% endgeneration %}b", "x").text == "axb"


@pytest.mark.parametrize("source", ["{% for %}", "{{", "{% endfor %}", "x" * 300_000])
def test_a_broken_template_is_refused_when_it_is_loaded(source: str) -> None:
    with pytest.raises(TemplateError):
        ChatTemplate(source, bos_token="", eos_token="")
