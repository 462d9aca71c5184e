"""Every method of fireworks-ai 0.19's `LLM`, called once, by an interpreter that has it.

    python llm_class_methods.py BASE ID

Prints one JSON object: the package's version, which methods came back, and of the others how they were refused. Its
surroundings say where, see `llm_class.py`.
"""

import asyncio
import inspect
import json
import sys

import fireworks
import grpc
import openai
from fireworks import LLM, Dataset

BASE, ID = sys.argv[1:]
ASKED = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}


def reward_function(function):
    """In place of reward-kit's, which is known by its name and by what it leaves behind."""
    function._reward_function_requirements, function._reward_function_id = "httpx", "reward"
    return function


@reward_function
def reward(messages):
    return len(messages)


DATA = Dataset.from_list([{"messages": ASKED["messages"]}])
TUNED = {"display_name": "job", "dataset_or_id": DATA, "epochs": 1}
STEP = {"dataset": DATA, "output_model": "checkpoint"}
REWARDED = {"id": "job", "dataset_or_id": DATA, "reward_function": reward}
GIVEN = {
    "chat.completions.create": ASKED, "completions.create": {"prompt": "One, two,", "max_tokens": 4},
    "responses.create": {"input": "Hello"}, "create_supervised_fine_tuning_job": TUNED, "reinforcement_step": STEP,
    "create_reinforcement_fine_tuning_job": REWARDED, "with_deployment_type": {"deployment_type": "on-demand"},
    "with_temperature": {"temperature": 0.5}, "with_perf_metrics_in_response": {"perf_metrics_in_response": True},
    "is_model_on_fireworks_account": {"model": BASE}, "is_model_available_on_serverless": {"model": BASE},
    "delete_deployment": {"ignore_checks": True},
}  # fmt: skip
AWAITED = {"chat.completions.acreate": ASKED, "completions.acreate": GIVEN["completions.create"]}

llm = LLM(model=BASE, deployment_type="on-demand", id=ID, max_replica_count=1, enable_metrics=True)
GIVEN["is_model_deployed_on_serverless_account"] = {"model": llm.get_model()}
own = {name for name, _ in inspect.getmembers(LLM, callable) if not name.startswith("_")}
every = {*own, "reinforcement_step", *AWAITED, *(name for name in GIVEN if "." in name)}
told = {"version": fireworks.__version__, "passed": [], "refused": {}}


def call(path, loop):
    method = llm
    for name in path.split("."):
        method = getattr(method, name)
    answer = method(**GIVEN.get(path, AWAITED.get(path, {})))
    if path in AWAITED:
        loop.run(whole(answer))


async def whole(answer):
    return await answer


# It is there before it is asked, and until all is asked.
with asyncio.Runner() as loop:
    for path in ["apply", *sorted(every - {"apply", "delete_deployment"}), "delete_deployment"]:
        try:
            call(path, loop)
            told["passed"].append(path)
        except grpc.RpcError as error:
            told["refused"][path] = error.code().name
        except openai.APIStatusError as error:
            told["refused"][path] = error.body["code"]

print(json.dumps(told))
