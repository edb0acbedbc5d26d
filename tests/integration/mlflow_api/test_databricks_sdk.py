"""Permissions by the SDK of Databricks, unmodified, against a real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server import RunningServer, running_server

if TYPE_CHECKING:  # its import takes two seconds of every process that finds tests
    from databricks.sdk.service.ml import ModelRegistryAPI, RegisteredModelPermissions

MODEL, PERSON = "fraud", "https://idp.example.com#ann"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def sdk(server: RunningServer) -> "ModelRegistryAPI":
    from databricks.sdk import WorkspaceClient  # as above

    server.client().create_model(MODEL)
    client = WorkspaceClient(host=server.url, token=server.token, auth_type="pat")
    return client.model_registry


def told(permissions: "RegisteredModelPermissions") -> dict[str, list[str]]:
    """The levels of each person and group."""
    return {
        str(entry.user_name or entry.group_name): [
            level.permission_level.value
            for level in entry.all_permissions or []
            if level.permission_level
        ]
        for entry in permissions.access_control_list or []
    }


def test_levels_and_permissions_are_answered_from_the_roles(
    sdk: "ModelRegistryAPI", server: RunningServer
) -> None:
    from databricks.sdk.service import ml  # as above

    edit = ml.RegisteredModelPermissionLevel.CAN_EDIT
    promote = ml.RegisteredModelPermissionLevel.CAN_MANAGE_PRODUCTION_VERSIONS
    found = sdk.get_model(MODEL).registered_model_databricks
    assert found
    assert found.id
    levels = sdk.get_permission_levels(found.id).permission_levels or []
    leads = ml.RegisteredModelAccessControlRequest(
        group_name="leads", permission_level=promote
    )
    person = ml.RegisteredModelAccessControlRequest(
        user_name=PERSON, permission_level=edit
    )

    set_first = told(sdk.set_permissions(found.id, access_control_list=[person]))
    updated = told(sdk.update_permissions(found.id, access_control_list=[leads]))
    read = told(sdk.get_permissions(found.id))

    assert edit in [level.permission_level for level in levels]
    assert set_first == {PERSON: ["CAN_EDIT"]}
    assert updated == read
    assert read == {**set_first, "leads": ["CAN_MANAGE_PRODUCTION_VERSIONS"]}
    bound = {(b.subject, b.role, b.models) for b in server.client().roles.list()}
    assert bound == {(PERSON, "writer", MODEL), ("leads", "promoter", MODEL)}
