"""What the help says about the widget that has the focus: by its id, or by its kind."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "FleetTable": "Each line is a deployment. The cursor stays with its deployment however lines are sorted; charts, "
    "reasons and every verb are about it. Click a heading to sort by it.",
    "EventsLog": "What happened, newest first; a warning has a sign of its own.",
    "KeyedTable": "One row a record; below the table is what is known of the chosen one.",
    "FilterBox": "Words that a row must have; !word one that it must not have; state:ready, model:smol, id:chat look "
    "at one column. Enter keeps the filter, Escape ends it.",
    "VerticalScroll": "Scroll with the arrows and the page keys.",
    "prompt": "What the model is asked; Enter sends it to each side, Escape leaves the line.",
    "seat-talk": "What was said. Scroll with the arrows and the page keys.",
    "choices": "Everything that can be asked: deployments, and adapters that are loaded on one. Enter takes it.",
    "deployment": "The id of a deployment that has the adapter's base model and takes adapters.",
    "replica_count": "How many replicas are asked for now. Autoscaling goes on from there, within minimum and maximum.",
    "base_model": "The model that every replica loads. It cannot be changed afterwards.",
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
    "cancel": "Close the dialog: nothing is sent.",
    "confirm": "Send what the plan shows. It works once the plan is complete and the server would take it.",
    "name": "Type the name: it shows that this place is meant.",
}
