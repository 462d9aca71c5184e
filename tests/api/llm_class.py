"""What a user of fireworks-ai 0.19 writes, run by an interpreter that has it.

    python llm_class.py BASE ADAPTER DRAFT LINES ARGUMENTS

LINES are those that the class' documentation shows, by what is applied: {"llm": ..., "lora": ..., "job": ...};
ARGUMENTS the names of those it has. Prints one JSON object. Its surroundings (FIREWORKS_API_KEY,
FIREWORKS_API_BASE_URL, FIREWORKS_GATEWAY_ADDR) say where.
"""

import inspect
import json
import sys

import fireworks
from fireworks import LLM, Dataset

BASE, ADAPTER, DRAFT = sys.argv[1:4]
LINES, ARGUMENTS = map(json.loads, sys.argv[4:])
ASKED = [{"role": "user", "content": "Say hello."}]


def answer(llm):
    return llm.chat.completions.create(messages=ASKED, max_tokens=4, temperature=0).choices[0].message.content


def windows(deployment):
    policy = deployment.autoscaling_policy
    return [policy.scale_up_window.seconds, policy.scale_down_window.seconds, policy.scale_to_zero_window.seconds]


told = {"version": fireworks.__version__}
told["lacks"] = sorted({*ARGUMENTS} - {*inspect.signature(LLM).parameters})

plain = LLM(model=BASE, deployment_type="on-demand", id="llm-class", enable_addons=True, max_replica_count=1)
exec(LINES["llm"], {"llm": plain})
made = plain.get_deployment()
told["plain"] = {"name": made.name, "answer": answer(plain), "windows": windows(made), "addons": made.enable_addons}
plain.apply()
told["plain"]["untouched"] = plain.get_deployment().update_time == made.update_time
streamed = plain.chat.completions.create(messages=ASKED, max_tokens=4, temperature=0, stream=True)
told["plain"]["streamed"] = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)

lora = LLM(model=ADAPTER, deployment_type="on-demand-lora", base_id="llm-class")
exec(LINES["lora"], {"fine_tuned_with_lora": lora})
loaded = lora.get_deployment()
told["lora"] = {"name": loaded.name, "deployment": loaded.deployment, "answer": answer(lora)}

drafted = LLM(
    model=BASE,
    deployment_type="on-demand",
    id="llm-drafted",
    draft_model=DRAFT,
    draft_token_count=4,
    max_replica_count=1,
)
drafted.apply()
made = drafted.get_deployment()
told["drafted"] = {"draft": made.draft_model, "count": made.draft_token_count, "answer": answer(drafted)}

try:
    exec(LINES["job"], {"llm": plain, "dataset": Dataset.from_list([{"messages": ASKED}])})
    told["job"] = "made"
except Exception as error:  # of gRPC
    told["job"] = str(error)

try:
    LLM(model=BASE, deployment_type="serverless", id="llm-class")
    told["serverless"] = "taken"
except ValueError as error:
    told["serverless"] = str(error)

print(json.dumps(told))
