"""The ``gitlab`` format: a pipeline trigger.

URL: ``https://HOST/api/v4/projects/ID/trigger/pipeline``. Options:

- ``ref``: the branch or tag whose pipeline runs.
- ``variables``: a selection (default: WEBHOOK_ID, EVENT_TYPE, EVENT, the whole event
  as JSON, and DEPLOYMENT_TOKEN).

The credential ``token`` is the trigger token; it goes into the form and not into
the URL, which servers log. Receipt: the address of the pipeline. Source: GitLab,
"Pipeline trigger tokens API".
"""

import re

from webhooks.events import Event
from webhooks.formats.contract import (
    EVENT_VARIABLES,
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    Selection,
    document_of,
    form_request,
    receipt_in,
    refuse,
    select_texts,
)
from webhooks.formats.writing import Template, require_variables

MAX_VARIABLES = 50
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def _check(options: Options) -> tuple[str, Selection]:
    """Return ref and variables."""
    read = Reader(options)
    read.require_known("ref", "variables")
    variables = read.selection("variables", EVENT_VARIABLES, maximum=MAX_VARIABLES)
    for name in variables:
        if not VARIABLE_NAME.fullmatch(name):
            refuse("variables", f"{name!r} is not a name for a CI/CD variable")
    return read.text("ref"), variables


def _render(message_id: str, event: Event, options: Options) -> Rendered:
    ref, variables = _check(options)
    values = select_texts(variables, document_of(message_id, event))
    require_variables(values.values())
    form = {f"variables[{name}]": value for name, value in values.items()}
    return form_request({"token": Template("${token}"), "ref": ref, **form})


FORMAT = Format(
    check=_check,
    render=_render,
    receipt=receipt_in("web_url", "id"),
    options={
        "ref": Option(OptionKind.TEXT, "The branch or tag whose pipeline runs"),
        "variables": Option(
            OptionKind.SELECTION,
            "Variables of the pipeline; else WEBHOOK_ID, EVENT_TYPE, EVENT and"
            " DEPLOYMENT_TOKEN",
        ),
    },
    credentials=("token",),
    example="https://gitlab.com/api/v4/projects/ID/trigger/pipeline",
)
