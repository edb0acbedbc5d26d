"""What kind of server this is, as MLflow's clients ask before they transfer files.

Every feature is off: an answer of 404 would do as well, but for a client that has a
workspace set, which is told clearly here that there are none.
"""

from flask import Blueprint, Response, jsonify

from registry.auth.permissions import Permission, requires

blueprint = Blueprint("server_info", __name__, url_prefix="/mlflow")

_INFO = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False},
}


@blueprint.get("/server-info")
@requires(Permission.PUBLIC)
def get_server_info() -> Response:
    """Say which optional parts of MLflow's protocol there are."""
    return jsonify(_INFO)
