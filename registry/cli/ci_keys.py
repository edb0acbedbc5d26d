"""Idempotency keys from the environment of a CI job.

A job that is run again repeats its commands. With a key made of what stays the
same (the run, the job and what it is to achieve), the second time changes nothing.

- The number of the attempt is left out: a re-run is what the key is for. So are
  reasons, expectations and descriptions: they are not what is achieved.
- Outside CI there is no such key, and every call counts.
"""

import hashlib
import json
from collections.abc import Mapping

from registry.client import EffectKey

#: For each CI system, the variables that name a run and a job in it.
_RUN_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "github": ("GITHUB_RUN_ID", "GITHUB_JOB"),
    "gitlab": ("CI_PIPELINE_ID", "CI_JOB_NAME"),
    "jenkins": ("BUILD_TAG",),
}
#: Where given, these tell runs of the same number apart.
_PLACE_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "github": ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"),
    "gitlab": ("CI_SERVER_URL", "CI_PROJECT_ID"),
    "jenkins": ("JENKINS_URL",),
}


def is_ci_job(environ: Mapping[str, str]) -> bool:
    """Whether this is a job that could be run again."""
    return ci_idempotency_key(environ) is not None


def ci_idempotency_key(
    environ: Mapping[str, str], *effect: str | int | None
) -> EffectKey | None:
    """Return the key for ``effect`` in this CI job, or None outside of CI."""
    for system, names in _RUN_VARIABLES.items():
        run = [environ.get(name, "") for name in names]
        if all(run):
            place = [environ.get(name, "") for name in _PLACE_VARIABLES[system]]
            text = json.dumps([place, run, effect])
            return EffectKey(f"{system}-{hashlib.sha256(text.encode()).hexdigest()}")
    return None
