"""What a user of fireworks-ai 0.19 writes where models are served serverless.

`python llm_class_serverless.py BASE ADAPTER` prints one JSON object; see `llm_class.py`.
"""

import json
import sys

from fireworks import LLM

BASE, ADAPTER = sys.argv[1:]
ASKED = [{"role": "user", "content": "Say hello."}]
told = {}

for name, model, kind in (("serverless", BASE, "serverless"), ("auto", BASE, "auto"), ("lora", ADAPTER, "auto")):
    llm = LLM(model=model, deployment_type=kind)
    llm.apply()
    answer = llm.chat.completions.create(messages=ASKED, max_tokens=4, temperature=0)
    told[name] = {
        "strategy": llm.deployment_strategy, "model": llm.model_id(), "answer": answer.choices[0].message.content,
    }  # fmt: skip

print(json.dumps(told))
