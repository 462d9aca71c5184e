"""What `--help` of each command ends with: commands to copy. Each of them parses, which a test sees to."""

from __future__ import annotations

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "account list": ("firedeck account list",),
    "account get": ("firedeck account get", "firedeck get account fireworks -o json"),
    "api-key create": (
        "firedeck api-key create --key-name laptop",
        "firedeck api-key create --service-account ci-bot --expire-time 2027-12-31",
    ),
    "api-key list": ("firedeck api-key list", "firedeck list api-keys --user ada"),
    "api-key delete": ("firedeck api-key delete KEY_ID --user ada",),
    "audit-logs list": (
        "firedeck audit-logs list --limit 200",
        'firedeck ls audit-logs --filter \'message="UpdateDeployment" AND resource:"chat"\'',
        "firedeck audit-logs list --start 2026-11-01 --end '2026-11-02 12:00:00'",
    ),
    "audit-logs verify": ("firedeck audit-logs verify",),
    "bench": (
        "firedeck bench -c 1,4,16 -d 30s",
        "firedeck bench -r 1,2,4 -d 60s --ttft 500ms",
        "firedeck bench --base-url http://host:8000/v1 --model NAME --json",
    ),
    "completion": ("firedeck completion bash", "firedeck completion fish"),
    "deployed-model list": ("firedeck deployed-model list",),
    "deployed-model get": ("firedeck deployed-model get my-lora-ab12cd",),
    "deployed-model update": ("firedeck deployed-model update my-lora-ab12cd --default",),
    "deployment create": (
        "firedeck create deployment smollm2-135m-instruct --wait",
        "firedeck deployment create my-model --deployment-id chat --min-replica-count 1 --max-replica-count 4",
        "firedeck deployment create my-model --accelerator-type NVIDIA_H100_80GB --accelerator-count 2 --region EUROPE",
        "firedeck deployment create big --draft-model small --draft-token-count 4 --dry-run",
    ),
    "deployment list": (
        "firedeck list deployments",
        "firedeck list deployments --filter state=FAILED -q",
        "firedeck deployment list --filter 'state=READY AND min_replica_count>0' --order-by 'createTime desc'",
    ),
    "deployment get": (
        "firedeck get deployment chat",
        "firedeck deployment get chat -o json",
        "firedeck deployment get chat -o flag",
    ),
    "deployment update": (
        "firedeck deployment update chat --max-replica-count 4 --scale-down-window 5m",
        "firedeck deployment update chat --load-targets concurrent_requests=4 --dry-run",
    ),
    "deployment scale": (
        "firedeck deployment scale chat --replica-count 2",
        "firedeck deployment scale chat --replica-count 2 --wait --wait-timeout 10m",
    ),
    "deployment delete": (
        "firedeck delete deployment chat",
        "firedeck deployment delete chat --wait",
        "firedeck deployment delete chat --hard --ignore-checks",
    ),
    "deployment undelete": ("firedeck deployment undelete chat",),
    "deployment-shape list": ("firedeck deployment-shape list --model smollm2-135m-instruct",),
    "deployment-shape get": ("firedeck deployment-shape get smollm2-135m-instruct-fast",),
    "deployment-shape-version list": ("firedeck deployment-shape-version list smollm2-135m-instruct-fast",),
    "deployment-shape-version get": ("firedeck deployment-shape-version get SHAPE/versions/VERSION",),
    "event list": (
        "firedeck event list",
        "firedeck list events --deployment chat --limit 200",
        "firedeck event list --filter 'kind=Warning AND reason:Replica' --order-by 'time desc'",
    ),
    "explain": ("firedeck explain 5f0c2a9b7d3e1846", "firedeck explain 5f0c2a9b7d3e1846 -o json"),
    "guard create": (
        "firedeck guard create no-cards --pattern '[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}' --phase request",
        "firedeck guard create topics --keyword 'project x' --deployments chat --breaker-hits 3",
        "firedeck guard create safety --model guard-model --policy 'weapons, self-harm' --on-failure closed",
    ),
    "guard list": ("firedeck guard list",),
    "guard get": ("firedeck guard get no-cards", "firedeck get guard no-cards -o json"),
    "guard update": (
        "firedeck guard update no-cards --disabled",
        "firedeck guard update topics --keyword 'project x' --keyword 'project y'",
        "firedeck guard update topics --no-breaker --dry-run",
    ),
    "guard delete": ("firedeck guard delete no-cards",),
    "guard release": ("firedeck guard release topics --key-id 1a2b3c4d",),
    "load-lora": (
        "firedeck load-lora my-lora --deployment chat",
        "firedeck deploy my-lora --deployment chat --wait",
    ),
    "model list": ("firedeck list models",),
    "model get": ("firedeck model get smollm2-135m-instruct",),
    "model create": (
        "firedeck model create my-model --file ./model.gguf",
        "firedeck model create my-lora --file ./adapter.gguf --base-model my-model",
        "firedeck create model my-lora ./peft-folder --base-model my-model",
        "firedeck create model my-llama ./hugging-face-folder",
    ),
    "model prepare": (
        "firedeck model prepare my-model --precision FP8 --wait",
        "firedeck prepare model accounts/fireworks/models/smollm2-135m-instruct --precision AUTO --wait",
    ),
    "model update": ("firedeck model update my-model --description 'for the shop' --deprecation-date 2027-12-31",),
    "model upload": (
        "firedeck model upload my-model ./model.gguf",
        "firedeck upload model my-lora ./peft-folder --base-model my-model",
    ),
    "model download": ("firedeck model download my-model ./files",),
    "model delete": ("firedeck model delete my-model",),
    "node list": ("firedeck node list", "firedeck list nodes --filter 'freeAccelerators>0' --order-by pricePerHour"),
    "profile list": ("firedeck profile list", "firedeck list profiles"),
    "quota list": ("firedeck list quotas",),
    "quota get": (
        "firedeck quota get replica-count",
        "firedeck quota get requests-per-minute --user ci-bot --key-id 1a2b3c4d",
    ),
    "quota delete": (
        "firedeck quota delete monthly-spend-usd",
        "firedeck delete quota requests-per-minute --user ci-bot --key-id 1a2b3c4d --dry-run",
    ),
    "quota update": (
        "firedeck update quota replica-count --value 8",
        "firedeck quota update requests-per-minute --value 60 --user ci-bot --key-id 1a2b3c4d",
    ),
    "requests": (
        "firedeck requests --deployment chat --slower-than 2s",
        "firedeck requests --status failed --limit 200 -o json",
        "firedeck requests --filter 'router:canary AND generatedTokens>100' -q",
    ),
    "router create": (
        "firedeck router create canary --target stable=90 --target next=10",
        "firedeck create router smart --small tiny --large big --max-prompt-chars 2000 --max-turns 4 --dry-run",
    ),
    "router list": ("firedeck list routers", "firedeck router list --filter shift.state=SHIFTING"),
    "router get": ("firedeck get router canary", "firedeck router get canary -o json"),
    "router update": (
        "firedeck router update canary --target stable=50 --target next=50",
        "firedeck router update smart --max-prompt-chars 4000 --dry-run",
    ),
    "router shift": (
        "firedeck router shift canary --to next --over 10m --step 10 --max-error-rate 0.02 --max-ttft-p95 500ms",
        "firedeck router shift canary --to next --over 1h --wait --wait-timeout 2h",
        "firedeck shift router canary --abort",
    ),
    "router delete": ("firedeck delete router canary",),
    "secret create": (
        "firedeck secret create --name HF_TOKEN --from-file token.txt",
        'printf %s "$TOKEN" | firedeck secret create --name HF_TOKEN --from-file -',
    ),
    "secret list": ("firedeck secret list",),
    "secret get": ("firedeck secret get hf-token",),
    "secret update": ("firedeck secret update hf-token --from-file token.txt",),
    "secret delete": ("firedeck secret delete hf-token",),
    "signin": (
        "firedeck signin --base-url https://llm.example.com",
        "firedeck signin --profile staging --base-url URL",
    ),
    "signout": ("firedeck signout", "firedeck signout --profile staging"),
    "unload-lora": ("firedeck unload-lora my-lora --deployment chat --wait",),
    "alerts": ("firedeck alerts", "firedeck alerts -o json"),
    "usage": (
        "firedeck usage",
        "firedeck usage --by key,tag:team --filter 'deployment=\"*/chat\"' --csv",
        "firedeck usage --group-by day,deployment",
        "firedeck usage --start-time 2026-11-01 --end-time 2026-11-08 --group-by accelerator-type -o json",
    ),
    "user create": (
        "firedeck user create --email ada@example.com --role contributor",
        "firedeck user create --user-id ci-bot --service-account --role inference-user",
    ),
    "user list": (
        "firedeck list users",
        "firedeck user list --filter serviceAccount=true --order-by name --page-size 20",
    ),
    "docs": ("firedeck docs", "firedeck docs serving"),
    "user get": ("firedeck user get ada",),
    "user update": ("firedeck user update ada --role admin",),
    "user delete": ("firedeck user delete ada",),
    "version": ("firedeck version",),
    "whoami": ("firedeck whoami",),
}


def epilog(*commands: str) -> str:
    """The last lines of a command's help; the mark keeps click from wrapping them."""
    return "\n".join(("\b", "Examples:", *(f"  {command}" for command in commands)))


def attach(path: str, command: click.Command) -> None:
    """Give the command at `path` its examples, and each below it."""
    if path in EXAMPLES:
        command.epilog = epilog(*EXAMPLES[path])
    for name, one in command.commands.items() if isinstance(command, click.Group) else ():
        attach(f"{path} {name}", one)
