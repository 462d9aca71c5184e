"""`LLM`: a model with the deployment that serves it, declared in code.

    llm = LLM("accounts/fireworks/models/smollm2-135m-instruct", "on-demand", id="chat", max_replica_count=2)
    llm.apply()
    llm.chat.completions.create(messages=[{"role": "user", "content": "Hello"}])

    data   LLM            one model, its deployment type, and every argument of `client.llm_options`
    verbs  plan, apply    what would be done, and doing it: what is as declared is left alone
           chat           `client.llm_chat`; model_id is what requests name
           create_supervised_fine_tuning_job, reinforcement_step: checked, then Unimplemented
    near   `client.llm_plan` compares, `client.sync` asks

Source: the documentation of the class of the same name in Fireworks' Build SDK. Nothing is asked before the first call.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Unpack

from client import training
from client.addon_types import DeployedModel
from client.config import Context
from client.errors import FailedPrecondition, NotFound
from client.llm_chat import Chat, Completions
from client.llm_options import MAX_RETRIES, BadArgument, DeploymentType, LLMOptions, check, declared, without_effect
from client.llm_plan import Plan, plan_of
from client.names import LIBRARY_ACCOUNT, Name
from client.sync import SyncClient
from client.types import Deployment, Model
from client.waiting import PATIENCE, untold

DISPLAY_NAME_MAX = 63
IN_REQUESTS = frozenset({"temperature", "perf_metrics_in_response"})  # fields of every request that sets no others
OWN = frozenset({"id", "replica_count", "min_replica_count", "max_replica_count", "accelerator_type", "precision"})
Tell = Callable[[str], object]


def _told(text: str) -> None:
    print(text, file=sys.stderr)


class LLM:
    """Use as `with LLM(...) as llm:` or `close` it; what it has deployed stays."""

    def __init__(
        self, model: str, deployment_type: DeploymentType, *, client: SyncClient | None = None,
        **options: Unpack[LLMOptions],
    ) -> None:  # fmt: skip
        """`client`: an open one of the same engine, which stays open. BadArgument names what is wrong."""
        self._options = check(deployment_type, options)
        self._display_name = self._options.get("deployment_display_name") or _file_of_caller()
        self.model, self.deployment_type = model, deployment_type
        context = Context.resolve(self._options.get("base_url"), self._options.get("api_key"))
        self._client, self._own = client or SyncClient(context), client is None
        self._seconds: list[float] = []
        self._served_as: str | None = None
        always = {name: value for name, value in self._options.items() if name in IN_REQUESTS}
        self.chat = Chat(
            Completions(
                self._client.asynchronous.chat, self._client.portal, self.model_id, always,
                self._options.get("max_retries", MAX_RETRIES), self._measure,
            )
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"LLM({self.model!r}, {self.deployment_type!r})"

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._own:
            self._client.close()

    def model_id(self) -> str:
        """What a request's `model` is. FailedPrecondition before `apply`, where there is something to apply."""
        if self._served_as is None:
            if self.deployment_type == "serverless":
                self._served_as = self._serverless(self.get_model())
                return self._served_as
            raise FailedPrecondition(f"{self!r} is not applied", hint="call apply() first")
        return self._served_as

    def get_model(self) -> Model:
        """The model itself; a bare id is the account's own, or else the library's."""
        return self._model(self.model)

    def get_deployment(self) -> Deployment | None:
        """What serves it now: by its id, or else by display name and model; None where nothing does."""
        name = self._options.get("base_id") or self._options.get("id")
        if name is not None:
            return self._deployment(name)
        wanted = f'display_name="{self._display_name}" AND base_model="{self.get_model().name}"'
        found = self._client.deployments.list(filter=wanted)
        return found[0] if found else None

    def plan(self) -> Plan:
        """What `apply` would do. FailedPrecondition where what is there can never become what is declared."""
        found, options, own = self.get_deployment(), self._options, self._options.get("id")
        if draft := options.get("draft_model"):
            options = options | LLMOptions(draft_model=self._model(draft).name)
        spec = declared(self.get_model().name, options, self._display_name)
        name = str(Name.of(own, "deployments", self._client.context.account)) if own else "a deployment"
        return plan_of(found.name if found else name, spec, found)

    def apply(self, wait: bool = True, *, tell: Tell = _told, patience: timedelta = PATIENCE) -> Deployment | None:
        """Make it so, and return the deployment: what differs is changed, what does not is left alone, and what is
        about to be done is told first (on standard error), and then how far it is. `wait`: until it is READY, at most
        for `patience`.

        None for serverless models, which have no deployment of one's own.
        """
        kind = self._kind()
        if kind == "serverless":
            self._served_as = self._serverless(self.get_model())
            return None
        if kind == "on-demand-lora":
            return self._loaded(self.get_model(), wait, tell, patience)
        plan = self.plan()
        if plan.action != "nothing":
            kept = () if self._client.context.is_fireworks else without_effect(self._options)
            tell("\n".join((str(plan), *kept)))
        done = self._done(plan)
        if wait:
            done = self._client.wait.settled(done.name, patience, tell if plan.action != "nothing" else untold)
        self._served_as = done.model_string
        return done

    def delete_deployment(self, *, ignore_checks: bool = False) -> None:
        """Its deployment is gone for good; an adapter is taken off the deployment that it is on."""
        if self._kind() == "on-demand-lora":
            for one in self._client.deployed_models.of_model(self.get_model().name, self._options.get("base_id")):
                self._client.deployed_models.unload(one.name)
        elif (found := self.get_deployment()) is not None:
            self._client.deployments.delete(found.name, hard=True, ignore_checks=ignore_checks)
        self._served_as = None

    def get_time_to_last_token_mean(self) -> float | None:
        """Milliseconds, of the whole answers since it was made; None before the first, and without `enable_metrics`."""
        return statistics.fmean(self._seconds) * 1000 if self._seconds else None

    def create_supervised_fine_tuning_job(self, display_name: str, dataset_or_id: str, **settings: Any) -> NoReturn:
        """`settings`: those of `client.training.FineTuning`. BadArgument says what is wrong with them, NotFound that
        the model is not there, Unimplemented that all is right, but nothing is trained here."""
        given = {"display_name": display_name, "dataset_or_id": dataset_or_id, **settings}
        asked = training.read(training.FineTuning, given)
        training.check_base(self.get_model(), asked)
        self._check_free(asked.output_model)
        raise training.unavailable("supervised fine-tuning")

    def reinforcement_step(self, dataset: str, output_model: str, **settings: Any) -> NoReturn:
        """`settings`: those of `client.training.Reinforcement`. Raises as above; a ValueError where `output_model` is
        there already."""
        given = {"dataset": dataset, "output_model": output_model, **settings}
        asked = training.read(training.Reinforcement, given)
        training.check_base(self.get_model(), asked)
        self._check_free(asked.output_model)
        raise training.unavailable("reinforcement learning")

    def _done(self, plan: Plan) -> Deployment:
        deployments = self._client.deployments
        if plan.action == "create" and plan.changed is not None:
            return deployments.create(plan.changed, self._options.get("id"))
        back = deployments.undelete(plan.name) if plan.action == "undelete" else None
        if plan.changed is not None:
            return deployments.update(plan.name, plan.changed)
        return back or deployments.get(plan.name)

    def _loaded(self, model: Model, wait: bool, tell: Tell, patience: timedelta) -> Deployment:
        """The deployment of the base, with the adapter on it."""
        base = self.get_deployment()
        if base is None:
            raise NotFound(f"there is no deployment {self._options.get('base_id')}", field="base_id")
        found: list[DeployedModel] = self._client.deployed_models.of_model(model.name, base.name)
        if not found:
            tell(f"{model.name} will be loaded onto {base.name}")
            merge = bool(self._options.get("live_merge"))
            found = [self._client.deployed_models.load(model.name, base.name, replace_merged=merge)]
        if wait:
            self._client.wait.loaded(found[0].name, base.name, patience)
        self._served_as = found[0].name
        return base

    def _kind(self) -> str:
        """The deployment type, with `auto` made one: what costs nothing by itself before what does."""
        if self.deployment_type != "auto":
            return self.deployment_type
        if self._options.get("base_id"):
            return "on-demand-lora"
        shared = not OWN & set(self._options) and self.get_model().supports_serverless
        return "serverless" if shared else "on-demand"

    def _serverless(self, model: Model) -> str:
        if not model.supports_serverless:
            raise BadArgument(
                f"{model.name} is not available on serverless", field="deployment_type",
                hint="use deployment_type='on-demand' with an id",
            )  # fmt: skip
        return model.name

    def _model(self, text: str) -> Model:
        try:
            return self._client.models.get(text)
        except NotFound:
            if "/" in text:
                raise
        return self._client.models.get(f"{LIBRARY_ACCOUNT}/{text}")

    def _deployment(self, name: str) -> Deployment | None:
        try:
            return self._client.deployments.get(name)
        except NotFound:
            return None

    def _check_free(self, output_model: str | None) -> None:
        if output_model is None:
            return
        try:
            found = self._client.models.get(output_model)
        except NotFound:
            return
        raise training.OutputModelExists(
            f"{found.name} exists already", field="output_model", hint="name another output_model"
        )

    def _measure(self, seconds: float) -> None:
        if self._options.get("enable_metrics"):
            self._seconds.append(seconds)


def _file_of_caller() -> str:
    """The name of the file in which an LLM is made: of the first frame outside of here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return Path(frame.f_code.co_filename).name[:DISPLAY_NAME_MAX]
