"""What the help says about the widget that has the focus: by its id, or by its kind."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "FleetTable": "Each line is a deployment. The cursor stays with its deployment however lines are sorted; charts, "
    "reasons and every verb are about it. Click a heading to sort by it.",
    "EventsLog": "What happened, newest first; a warning has a sign of its own.",
    "KeyedTable": "One row a record; below the table is what is known of the chosen one.",
    "FilterBox": "Words that a row must have; !word one that it must not have; state:ready looks at one column, "
    "queue>0 and ttft95>500ms compare. Enter keeps the filter, Escape ends it.",
    "VerticalScroll": "Scroll with the arrows and the page keys.",
    "body": "One deployment: its replicas, why there are this many, its curves, its events. Scroll with the arrows.",
    "told": "What happened to one request, in sentences and as spans. Scroll with the arrows and the page keys.",
    "lines": "The same as this page, for a shell. Enter copies a line.",
    "columns": "The columns of the table: space ticks one, Enter shows those with a tick.",
    "contexts": "The contexts that are shown as one fleet, and how each stands. Enter turns to one: to its deployments "
    "in the fleet, to its engine on the pages of one engine.",
    "beside": "The id of another deployment, whose curves are drawn beside; Enter puts them there.",
    "CommandInput": "The name of a command or a page, or the command line's own words: scale chat 3, list nodes. Enter "
    "does it; a change opens its dialog first.",
    "search": "Words of a key, a command or what it does.",
    "prompt": "What the model is asked; Enter sends it to each side, Escape leaves the line.",
    "seat-talk": "What was said. Scroll with the arrows and the page keys.",
    "choices": "Everything that can be asked: deployments, and adapters that are loaded on one. Enter takes it.",
    "deployment": "The id of a deployment that has the adapter's base model and takes adapters.",
    "to": "The id of the deployment that all of the router's traffic goes to in the end; it need not be a target yet.",
    "over": "How long that takes, from the first step to the end of the last, such as 10m.",
    "step_percent": "How much of all traffic moves at a time. It goes back by itself when too many fail.",
    "replica_count": "How many replicas are asked for now. Autoscaling goes on from there, within minimum and maximum.",
    "base_model": "The model that every replica loads. It cannot be changed afterwards.",
    "precision": "In which precision the model is loaded: those that it is there in. Others are prepared first, with "
    "the command that stands below. AUTO takes the fastest here that is true enough.",
    "deployment_id": "Small letters, digits and hyphens; left empty the server picks one.",
    "min_replica_count": "Never fewer replicas than this. With 0 the deployment costs nothing while nobody asks, and "
    "the first request waits for a replica.",
    "max_replica_count": "Never more replicas than this, whatever the load.",
    "scale_up_window": "How long the load must ask for more before replicas are added, such as 30s.",
    "scale_down_window": "How long it must ask for fewer before replicas are taken away, such as 10m.",
    "scale_to_zero_window": "How long nobody must have asked before the last replica goes, at least 5m.",
    "load_target": "What is measured to tell how many replicas the load needs; the largest want counts.",
    "load_target_value": "How much of that one replica shall carry.",
    "cold_policy": "What a request to zero replicas meets: hold it until one is ready, or answer 503 at once.",
    "cancel": "Close the dialog: nothing is sent. What is typed here goes into the first field; tab goes to any of "
    "them.",
    "confirm": "Send what the plan shows. It works once the plan is complete and the server would take it.",
    "name": "Type the name: it shows that this place is meant.",
    "NameInput": "Type the name: it shows that this place is meant, of several each one's.",
}

# Of the table of each side page.
PAGES: dict[str, str] = {
    "alerts": "What is wrong, for how long, and whether anybody has seen it; below, what to do and what came before.",
    "nodes": "The machines that replicas are placed on, and what is free on each. Below is what would still fit.",
    "events": "What happened in the whole fleet, newest first; Enter opens the deployment.",
    "conditions": "What keeps deployments from being as declared, with the next try.",
    "quarantine": "Requests that ended replicas and are refused for a while; of each its digest alone is known.",
    "users": "Who may use this account, and as what.",
    "keys": "API keys by their first letters; a key itself is shown once, when it is made.",
    "quotas": "What the account may use of everything, and what it does use.",
    "audit": "Who did what and how it ended; what only read is left out until it is asked for.",
    "journal": "What was changed from dashboards of yours, and how it ended; kept on this machine.",
    "requests": "The newest requests; Enter tells what happened to one.",
    "routers": "One name for several deployments: what share each wants, and gets. A shift is begun, and rolled back.",
    "costs": "What replicas or requests cost in the last hour, today and this month, beside the week before.",
    "spending": "What was used and what it cost, by hours or days of UTC; the newest is not over yet.",
    "matrix": "Where each adapter is loaded and how often it is asked; + where it could be. It is loaded from here.",
    "models": "What can be deployed, and which deployments have it.",
    "adapters": "LoRA adapters on deployments, with their requests of today.",
    "jobs": "What is under way: precisions being prepared, uploads, models and adapters that replicas load.",
    "speculation": "Whether drafting pays: the share of drafted tokens that is accepted, and the least that would.",
    "timeline": "What happened to one deployment, on the axis of its curves; export writes it down.",
}
