"""The command line: both word orders, aliases, and bare options for the dashboard."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from client import profiles
from client.cli import exits
from client.cli.deployment_settings import spec
from client.cli.grammar import ALIASES, OWN_OPTIONS, SHARED_OPTIONS, VERBS, options_last, reorder
from client.cli.main import COMMANDS, main
from client.cli.nouns import SECTIONS
from client.cli.options import in_own_terms, shared
from client.http import Transport

NOUNS = st.sampled_from(["deployment", "model"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", "dashboard"), ("--once", "dashboard --once"), ("--json", "dashboard --json"),
        ("--base-url http://x --once", "dashboard --base-url http://x --once"), ("-x", "dashboard -x"),
        ("--help", "--help"), ("-h", "-h"), ("--version", "--version"), ("dashboard --once", "dashboard --once"),
        ("deployment create m", "deployment create m"), ("create deployment m", "deployment create m"),
        ("deployments ls", "deployment list"), ("ls deployments", "deployment list"), ("list models", "model list"),
        ("models list", "model list"), ("get deployment chat -o json", "deployment get chat -o json"),
        ("scale deployment chat --replica-count 2", "deployment scale chat --replica-count 2"),
        ("pull model smollm2-135m-instruct", "model pull smollm2-135m-instruct"),
        ("deployment get models", "deployment get models"), ("deployment get ls", "deployment get ls"),
        ("serve --port 1", "serve --port 1"), ("demo", "demo"), ("create --help", "create --help"),
        ("create", "create"), ("nodes ls", "node list"), ("list events", "event list"),
        ("deploy my-lora --deployment chat", "load-lora my-lora --deployment chat"),
        ("load-lora models --deployment chat", "load-lora models --deployment chat"),
        ("list alerts", "alerts"), ("alert ls", "alerts"), ("get request 5f0c -o json", "explain 5f0c -o json"),
        ("requests list --limit 3", "requests --limit 3"), ("get usage", "usage"), ("requests", "requests"),
    ],
)  # fmt: skip
def test_what_is_typed_means(typed, meant):
    assert reorder(typed.split()) == meant.split()


@given(st.sampled_from(sorted(VERBS)), NOUNS, st.lists(st.text(max_size=6), max_size=4))
def test_both_word_orders_are_the_same_command_and_the_rest_is_untouched(verb, noun, rest):
    assert reorder([verb, noun, *rest]) == reorder([noun, verb, *rest])
    assert reorder([verb, noun, *rest])[2:] == rest


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5))
def test_no_word_is_lost_and_reordering_twice_is_reordering_once(words):
    once = reorder(words)
    assert reorder(once) == once
    assert len(once) - len(words) in {0, 1}  # but for PHRASES, of which one word is enough


@given(
    st.text(min_size=1, max_size=8).filter(lambda w: "-" + w not in OWN_OPTIONS),
    st.lists(st.text(max_size=4), max_size=3),
)
def test_options_alone_belong_to_the_dashboard(option, rest):
    assert reorder(["-" + option, *rest]) == ["dashboard", "-" + option, *rest]


@pytest.mark.parametrize("order", ["deployment create --help", "create deployment --help", "create deployments -h"])
def test_the_help_is_the_same_in_both_orders(order):
    shown = CliRunner().invoke(main, order.split(), prog_name="firedeck")
    assert shown.exit_code == 0
    assert "--min-replica-count" in shown.output


def test_the_top_of_the_help_lists_the_nouns_and_what_other_packages_announce():
    shown = CliRunner().invoke(main, ["--help"]).output
    for word in ("deployment", "model", "serve", "dashboard", "demo"):
        assert word in shown


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("deployment frob", "frob"), ("frob", "frob"), ("get chat", "chat"),
        ("deployment create m --scale-up-window 5", "--scale-up-window"),
        ("deployment create m --scale-up-window 1d", "--scale-up-window"),
        ("deployment create m --load-targets cpu", "--load-targets"),
        ("deployment create m --load-targets a=b", "--load-targets"),
        ("deployment create m --cold-policy sleep", "--cold-policy"),
        ("serve --grpc-port 8701", "--grpc-descriptors"), ("model create m", "PATH"),
        ("model create m a.gguf --file b.gguf", "once"),
        ("deployment scale chat", "--replica-count"), ("deployment create", "MODEL"),
    ],
)  # fmt: skip
def test_a_slip_is_told_in_a_line_that_names_it_with_exit_code_2(words, wrong):
    shown = CliRunner().invoke(main, words.split())
    assert shown.exit_code == 2
    assert wrong in shown.output
    assert "Traceback" not in shown.output


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("depoyment list", {"deployment"}), ("create deploymnt x", {"deployment"}), ("deployment craete", {"create"}),
        ("api-key lst", {"list"}), ("acount get", {"account"}), ("frob", set()),
        ("deployment create x --max-replica 3", {"--max-replica-count"}),
        ("deployment create x --minreplicacount 3", {"--min-replica-count"}),
        ("deployment create x --replicas 3", {"--min-replica-count", "--max-replica-count"}),
        ("deployment create x --quantization FP8", set()),
    ],
)  # fmt: skip
def test_a_slip_is_told_what_it_may_have_meant_and_nothing_far_fetched(words, meant):
    shown = CliRunner().invoke(main, words.split())
    assert shown.exit_code == 2
    suggested = shown.output.partition("Did you mean")[2]
    assert set(re.findall(r"'([^']+)'", suggested)) == meant


@pytest.mark.parametrize(
    "words",
    ["dataset list", "ls datasets", "create sftj --dataset d", "dpo-jobs --help", "upgrade", "cancel bij x",
     "-o json list reservations", "list invoices -a other", "evaluator-revision get x"],
)  # fmt: skip
def test_what_firectl_has_and_this_engine_has_not_is_told_as_that_with_what_to_do_instead(words):
    shown = CliRunner().invoke(main, words.split(), prog_name="firedeck")
    assert shown.exit_code == exits.NOT_HERE
    assert re.fullmatch(r"error: [\w -]+ are not available on this engine \(.{20,}\)\n", shown.stderr), shown.output


def test_a_name_may_be_the_word_for_what_is_not_here():
    assert (
        "no answer from" in CliRunner().invoke(main, ["explain", "dataset", "--base-url", "http://127.0.0.1:9"]).output
    )


@pytest.mark.parametrize("words", ["help", "help deployment", "help create deployment", "help list"])
def test_help_is_a_word_too(words):
    shown = CliRunner().invoke(main, words.split(), prog_name="firedeck")
    assert (shown.exit_code, shown.output.startswith("Usage: firedeck")) == (0, True)


def test_every_command_has_its_section_and_what_it_does_is_not_cut_off():
    sections = [name for names in SECTIONS.values() for name in names]
    assert sorted(sections) == sorted({path[0] for path, _ in ALL})
    for words in ([], ["deployment"], ["model"], ["router"]):
        shown = CliRunner().invoke(main, [*words, "--help"], prog_name="firedeck", terminal_width=80).output
        assert "..." not in shown.partition("[ARGS]...")[2]
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("describe deployment x", "get"),
        ("rm deployment x", "delete"),
        ("deployment show x", "get"),
        ("login", "signin"),
        ("logs x", "event"),
        ("deployment logs x", "firedeck event"),
    ],
)
def test_the_words_of_other_tools_are_answered_with_ours(words, meant):
    shown = CliRunner().invoke(main, words.split(), prog_name="firedeck")
    assert (shown.exit_code, f"'{meant}'" in shown.output) == (2, True), shown.output


def test_a_verb_before_a_name_is_told_that_a_noun_is_missing():
    shown = CliRunner().invoke(main, ["get", "chat"], prog_name="firedeck")
    assert shown.exit_code == 2
    assert "'chat' is no noun: write firedeck get NOUN chat. get goes with account," in " ".join(shown.output.split())


@pytest.mark.parametrize(
    "words",
    ["model update m", "user create --email x", "user update x", "router update r", "deployed-model update x",
     "router create r --target a=1"],
)  # fmt: skip
def test_a_value_that_no_engine_would_take_is_a_line_that_names_its_option(words):
    where = ["--base-url", "http://127.0.0.1:9", "--api-key", "k"]
    shown = CliRunner().invoke(main, [*words.split(), "--display-name", "x" * 64, *where], prog_name="firedeck")
    assert (shown.exit_code, type(shown.exception)) == (2, SystemExit)
    assert "Error: --display-name: String should have at most 63 characters\n" in shown.output


def test_an_answer_that_is_none_of_ours_is_told_as_the_engines(monkeypatch):
    async def get(self, path, query=None):
        return {"name": ["no", "name"]}

    monkeypatch.setattr(Transport, "get", get)
    shown = CliRunner().invoke(main, ["deployment", "get", "x", "-o", "json"], prog_name="firedeck")
    assert (shown.exit_code, shown.output) == (
        1, "Error: the engine answered what is no Deployment: is it a firedeck of this version?\n"
    )  # fmt: skip


NOUNS_OF = {
    "create": "api-key deployment guard model router secret user",
    "list": "account alerts api-key audit-logs deployed-model deployment deployment-shape deployment-shape-version "
    "event guard model node profile quota requests router secret usage user",
    "get": "account deployed-model deployment deployment-shape deployment-shape-version guard model quota "
    "requests router secret usage user",
    "update": "deployed-model deployment guard model quota router secret user", "upload": "model", "download": "model",
    "delete": "api-key deployment guard model quota router secret user", "shift": "router", "release": "guard",
    "scale": "deployment", "undelete": "deployment", "pull": "model", "verify": "audit-logs",
    "prepare": "model",
}  # fmt: skip


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_alone_is_asked_for_one_of_its_own_nouns(verb):
    nouns = NOUNS_OF[ALIASES.get(verb, verb)].split()
    for words in ([verb], [verb, "--api-key", "k"], ["-o", "json", verb]):
        shown = CliRunner().invoke(main, words, prog_name="firedeck")
        assert shown.exit_code == 2
        assert f"{verb} what? Write firedeck {verb} NOUN; there are {', '.join(nouns)}." in shown.output


@pytest.mark.parametrize("asked", ["--help", "-h"])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_help_of_a_verb_is_its_nouns_with_what_it_does_to_each(verb, asked):
    shown = CliRunner().invoke(main, [verb, asked], prog_name="firedeck")
    assert shown.exit_code == 0, shown.output
    assert f"Usage: firedeck {verb} NOUN" in shown.output
    told = re.findall(r"^  (\S+)  +\S", shown.output.partition("Nouns:")[2], re.MULTILINE)
    assert told == NOUNS_OF[ALIASES.get(verb, verb)].split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("list bench", "there is no `firedeck list bench`: `firedeck bench` is a command of its own. list goes with "),
        ("ls serve -o json", "there is no `firedeck list serve`: `firedeck serve` is a command of its own."),
        ("scale models my-model", "there is no `firedeck scale model`: `firedeck model` has create, delete,"),
    ],
)
def test_a_verb_before_what_cannot_have_it_done_is_told_what_can(words, told):
    shown = CliRunner().invoke(main, words.split(), prog_name="firedeck")
    said = " ".join(shown.output.split())
    assert (shown.exit_code, told in said) == (2, True), said
    verb = ALIASES.get(words.split()[0], words.split()[0])
    assert f"{verb} goes with " in said
    assert "deployment" in said.partition("goes with ")[2]


def test_a_key_option_that_is_empty_is_told_as_that_and_asks_nobody():
    shown = CliRunner().invoke(main, ["list", "deployments", "--api-key", "", "--base-url", "http://127.0.0.1:9"])
    assert shown.exit_code == 2
    assert shown.output.startswith("error: no API key was given: --api-key is empty")


def test_an_engine_that_does_not_answer_is_one_sentence_and_exit_code_1():
    shown = CliRunner().invoke(
        main, ["scale", "deployment", "x", "--replica-count", "1", "--base-url", "http://127.0.0.1:9"]
    )
    assert shown.exit_code == 1
    assert shown.output.startswith("error: no answer from http://127.0.0.1:9")
    assert len(shown.output.splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:notaport", "http://[", "nonsense", "http://:99", "http://h:99999", "ftp://x"]
)
def test_a_base_url_that_is_none_is_one_sentence_too(url):
    shown = CliRunner().invoke(main, ["scale", "deployment", "x", "--replica-count", "1", "--base-url", url])
    assert shown.exit_code == 2
    assert shown.output.startswith("error: ")
    assert len(shown.output.splitlines()) == 1


def test_an_update_sends_just_what_was_given():
    sent = spec({"min_replica_count": None, "max_replica_count": 0, "scale_up_window": None, "cold_policy": "reject"})
    assert sent.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True) == {
        "maxReplicaCount": 0, "firedeck": {"coldPolicy": "reject"},
    }  # fmt: skip


def test_the_autoscalers_own_options_travel_below_firedeck():
    sent = spec({"panic": False, "forecast_floor": True, "cold_policy": None})
    shown = sent.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    assert shown == {"firedeck": {"panic": False, "forecastFloor": True}}


@pytest.mark.parametrize(
    ("region", "placement"),
    [
        ("EUROPE", {"multiRegion": "EUROPE"}), ("US_IOWA_1", {"region": "US_IOWA_1"}),
        ("US_IOWA_1, EU_PARIS_1", {"regions": ["US_IOWA_1", "EU_PARIS_1"]}),
    ],
)  # fmt: skip
def test_one_flag_says_where_in_all_three_ways_of_the_wire(region, placement):
    assert spec({"region": region}).to_wire()["placement"] == placement


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-12-31", "2027-12-31T00:00:00+00:00"), ("2027-12-31 23:59:59", "2027-12-31T23:59:59+00:00"),
        ("2027-12-31T23:59:59Z", "2027-12-31T23:59:59+00:00"),
        ("2027-12-31T23:59:59+02:00", "2027-12-31T21:59:59+00:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("words", "option", "name"),
    [
        ("api-key create", "--expire-time", "expire_time"), ("audit-logs list", "--start", "start"),
        ("audit-logs list", "--end-time", "end"), ("usage", "--start-time", "start"), ("usage", "--end", "end"),
    ],
)  # fmt: skip
def test_a_time_is_utc_unless_it_says_where_it_holds_and_reads_the_same_everywhere(words, option, name, text, instant):
    command = dict(ALL)[tuple(words.split())]
    found = command.make_context(words, [option, text]).params[name]
    assert found.isoformat() == instant
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["tomorrow", "2027-13-01", "0001-01-01T00:00:00+14:00", ""])
def test_what_is_no_time_is_refused_with_the_form_of_one(text):
    shown = CliRunner().invoke(main, ["usage", "--start-time", text])
    assert shown.exit_code == 2
    told = "is out of range" if text.startswith("0001") else "is not a time"
    assert f"{told}: write '2027-12-31'" in " ".join(shown.output.split())


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, those of other packages too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(leaves(main))


LISTS = [(path, command) for path, command in ALL if path[-1] == "list" and path[0] != "profile"]


@pytest.mark.parametrize(("path", "command"), LISTS, ids=[" ".join(path) for path, _ in LISTS])
def test_every_list_of_the_platform_takes_firectls_options_of_a_list(path, command):
    words = ["--filter", "a=b", "--order-by", "name desc", "--page-size", "7", "--page-token", "t"]
    params = command.make_context(path[-1], words).params
    assert params["filter_text"] == "a=b"
    assert (params["order_by"], params["page_size"], params["page_token"]) == ("name desc", 7, "t")
    refused = CliRunner().invoke(main, [*path, "--no-paginate", "--page-token", "t"])
    assert (refused.exit_code, "exclude each other" in refused.output) == (2, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_where_its_name_leads(name):
    command = main.get_command(click.Context(main), name)
    assert (command.name, main.commands[name]) == (name, command)


def test_of_what_was_not_typed_nothing_is_imported():
    others = [place.partition(":")[0] for name, place in COMMANDS.items()]
    code = (
        "import sys; from click.testing import CliRunner; from client.cli.main import main;"
        "CliRunner().invoke(main, ['docs', 'cli'], catch_exceptions=False);"
        f"print(*sorted({{'textual', 'engine', *{others!r}}} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["client.cli.docs"]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_commands_help_ends_with_examples_of_it_that_parse(path, command):
    shown = CliRunner().invoke(main, [*path, "--help"]).output
    examples = [line.strip() for line in shown.partition("Examples:")[2].splitlines() if line.strip()]
    assert examples
    for example in examples:
        words = reorder(shlex.split(example.rpartition("| ")[2])[1:])
        assert tuple(words[: len(path)]) == path, example
        command.make_context(path[-1], words[len(path) :])


@pytest.mark.parametrize(
    ("engines", "ours"),
    [
        ("ignoreChecks=true deletes it anyway", "--ignore-checks deletes it anyway"),
        ("undelete it, or hard=true", "undelete it, or --hard"),
        ("set its enableAddons to true", "set --enable-addons on it"),
        ("leave baseModel out", "leave --base-model out"),
        ("change minReplicaCount or maxReplicaCount first", "change --min-replica-count or --max-replica-count first"),
        ("deployments/baseModel-x", "deployments/baseModel-x"), ("my-baseModels", "my-baseModels"),
    ],
)  # fmt: skip
def test_an_engines_hint_is_told_in_the_options_of_the_command_line(engines, ours):
    assert in_own_terms(engines) == ours


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--api-key K list deployments", "list deployments --api-key K"),
        ("-o json --base-url=http://x get deployment chat", "get deployment chat -o json --base-url=http://x"),
        ("-a other usage -- x", "usage -a other -- x"), ("--api-key K --once", "--api-key K --once"),
        ("--api-key K", "--api-key K"), ("--api-key list", "--api-key list"), ("-a x frob", "-a x frob"),
        ("list deployments -o json", "list deployments -o json"), ("", ""),
    ],
)  # fmt: skip
def test_shared_options_may_come_before_the_verb(typed, meant):
    assert options_last(typed.split(), {"list", "get", "usage"}) == meant.split()


def test_the_options_that_may_come_first_are_those_that_every_command_shares():
    command = click.command()(shared(lambda: None))
    assert {name for option in command.params for name in option.opts} == SHARED_OPTIONS


def test_an_option_before_the_verb_reaches_the_command():
    shown = CliRunner().invoke(main, ["--base-url", "http://127.0.0.1:9", "--api-key", "k", "list", "deployments"])
    assert shown.output.startswith("error: no answer from http://127.0.0.1:9")


def test_a_key_that_never_expires_can_be_asked_for_in_the_words_of_the_help():
    nowhere = ["--base-url", "http://127.0.0.1:9", "--api-key", "k"]
    asked = CliRunner().invoke(main, ["api-key", "create", "--expire-time", "never", *nowhere])
    assert asked.output.startswith("error: no answer from")
    refused = CliRunner().invoke(main, ["api-key", "create", "--expire-time", "soon", *nowhere])
    assert refused.exit_code == 2
    assert "'soon' is not a time" in refused.output


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("firedeck dep", {"deployment", "deployed-model", "deployment-shape"}, {"model"}),
        ("firedeck cr", {"create"}, {"deployment"}), ("firedeck un", {"undelete", "unload-lora"}, set()),
        ("firedeck create ", {"deployment", "model", "api-key"}, {"node", "create", "alerts"}),
        ("firedeck create dep", {"deployment"}, {"deployed-model"}), ("firedeck ls ev", {"event"}, set()),
        ("firedeck deployment s", {"scale"}, {"create"}),
        ("firedeck scale deployment x --rep", {"--replica-count"}, set()),
        ("firedeck load-lora x --d", {"--dry-run", "--deployment"}, set()),
        ("firedeck nodes list --page", {"--page-size", "--page-token"}, set()),
        ("firedeck list pro", {"profile"}, set()), ("firedeck data", set(), {"dataset"}),
        ("firedeck list ", {"alerts", "requests", "usage", "node"}, {"load-lora"}),
        ("firedeck create deployment m --min", {"--min-replica-count"}, set()),
        ("firedeck deployment create m --cold-policy ", {"hold", "reject"}, set()),
    ],
)  # fmt: skip
def test_a_shell_is_offered_what_may_come_next_in_both_word_orders(typed, offered, not_offered):
    words = typed.split(" ")
    asked = {"_FIREDECK_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    shown = CliRunner().invoke(main, env=asked, prog_name="firedeck")
    found = {line.partition(",")[2] for line in shown.output.splitlines()}
    assert offered <= found, shown.output
    assert not not_offered & found


def test_a_shell_is_offered_the_profiles_that_there_are(tmp_path):
    for name in ("staging", "stable", "prod"):
        profiles.write(tmp_path, profiles.Profile(name, "http://x", "k", ""))
    typed = {"COMP_WORDS": "firedeck list deployments --profile sta", "COMP_CWORD": "4"}
    asked = {"_FIREDECK_COMPLETE": "bash_complete", "FIREDECK_DATA_DIR": str(tmp_path), **typed}
    shown = CliRunner().invoke(main, env=asked, prog_name="firedeck")
    assert {line.partition(",")[2] for line in shown.output.splitlines()} == {"staging", "stable"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_reads_asks_firedeck_back(shell):
    shown = CliRunner().invoke(main, ["completion", shell], prog_name="firedeck")
    assert shown.exit_code == 0
    assert f"_FIREDECK_COMPLETE={shell}_complete" in shown.output


def test_a_slip_in_a_verb_before_a_noun_is_told_with_the_verb():
    slip = CliRunner().invoke(main, ["creat", "deployment", "m"])
    assert (slip.exit_code, "Did you mean 'create'?" in slip.output) == (2, True), slip.output
