"""One example of each body that clients send, to try the API with."""

from collections.abc import Mapping

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FILE = {"path": "model/model.pkl", "size_bytes": 4, "sha256": _SHA256}

#: By the name of the schema.
BODY_EXAMPLES: Mapping[str, object] = {
    "NewModel": {
        "name": "digits",
        "description": "Reads handwritten digits.",
        "tags": {"team": "vision"},
    },
    "ModelPatch": {"description": "Reads digits.", "tags": {"team": None}},
    "AliasTarget": {"version": 1},
    "NewVersion": {
        "run_id": "run-17",
        "git_commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "params": {"max_depth": "8"},
        "metrics": {"accuracy": 0.97},
        "datasets": [{"name": "digits-2026-11"}],
    },
    "VersionPatch": {"description": "Trained on more data.", "tags": {"seen": "yes"}},
    "NewRehearsal": {
        "name": "digits",
        "version": {"source": "s3://bucket/prefix"},
        "through": ["Staging"],
    },
    "NewTransition": {"to_stage": "Staging", "reason": "passed the evaluation"},
    "NewRollback": {"reason": "error rate doubled"},
    "NewRequest": {
        "model": "digits",
        "version": 1,
        "to_stage": "Production",
        "reason": "served the shadow traffic for a week",
    },
    "Decision": {"comment": "the report is convincing"},
    "NewCheck": {
        "name": "integration-tests",
        "status": "passed",
        "url": "https://ci.example.com/runs/17",
    },
    "NewHold": {"reason": "an incident is open", "until": "2030-01-01T00:00:00Z"},
    "NewDeployment": {
        "status": "succeeded",
        "environment": "production",
        "url": "https://ci.example.com/runs/17",
    },
    "UploadNames": {"paths": ["model/model.pkl"]},
    "NewUpload": {"path": "model/model.pkl", "size_bytes": 4},
    "DeclaredManifest": {"files": [_FILE]},
    "Abandonment": {"reason": "the job was cancelled"},
    "NewWebhook": {
        "url": "https://ci.example.com/hooks/stagegate",
        "event_types": ["model_version.stage_changed"],
        "model_pattern": "digits*",
        "to_stages": ["Production"],
    },
    "WebhookPatch": {"state": "paused"},
    "Redelivery": {
        "since": "2026-11-20T00:00:00Z",
        "states": ["dead"],
        "dry_run": True,
    },
    "Rotation": {"overlap_seconds": 86400},
    "NewToken": {"name": "ci", "role": "promoter", "expires_in_days": 30},
    "NewPublisher": {
        "provider": "github",
        "name": "digits-training",
        "claims": {
            "repository": "acme/digits",
            "repository_owner_id": "583231",
            "workflow": "train.yml",
            "environment": "registry",
        },
        "role": "promoter",
        "models": "digits*",
    },
    "NewExchange": {"token": "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"},
    "NewRoleBinding": {
        "subject_kind": "group",
        "subject": "ml-leads",
        "role": "promoter",
        "models": "fraud-*",
    },
}
