"""What a user of fireworks-ai 0.19 writes, run by an interpreter that has it: `python llm_class.py BASE ADAPTER DRAFT`.

Prints one JSON object. Its surroundings (FIREWORKS_API_KEY, FIREWORKS_API_BASE_URL, FIREWORKS_GATEWAY_ADDR) say where.
"""

import json
import sys

import fireworks
from fireworks import LLM

BASE, ADAPTER, DRAFT = sys.argv[1:]
ASKED = [{"role": "user", "content": "Say hello."}]


def answer(llm):
    return llm.chat.completions.create(messages=ASKED, max_tokens=4, temperature=0).choices[0].message.content


def windows(deployment):
    policy = deployment.autoscaling_policy
    return [policy.scale_up_window.seconds, policy.scale_down_window.seconds, policy.scale_to_zero_window.seconds]


told = {"version": fireworks.__version__}

plain = LLM(model=BASE, deployment_type="on-demand", id="llm-class", enable_addons=True, max_replica_count=1)
plain.apply()
made = plain.get_deployment()
told["plain"] = {"name": made.name, "answer": answer(plain), "windows": windows(made), "addons": made.enable_addons}
plain.apply()
told["plain"]["untouched"] = plain.get_deployment().update_time == made.update_time
streamed = plain.chat.completions.create(messages=ASKED, max_tokens=4, temperature=0, stream=True)
told["plain"]["streamed"] = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)

lora = LLM(model=ADAPTER, deployment_type="on-demand-lora", base_id="llm-class")
lora.apply()
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
    LLM(model=BASE, deployment_type="serverless", id="llm-class")
    told["serverless"] = "taken"
except ValueError as error:
    told["serverless"] = str(error)

print(json.dumps(told))
