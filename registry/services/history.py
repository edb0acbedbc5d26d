"""A line of a model's history: requested, delivered, deployed."""

from registry.domain.documents import Document, stage_change_document
from registry.domain.timestamps import rfc3339
from registry.persistence.history import HistoryLine


def history_document(line: HistoryLine) -> Document:
    """A stage change and what became of it."""
    is_delivered = 0 < line.requested == line.delivered
    at = line.last_delivered_at
    return {
        **stage_change_document(line.change),
        "deliveries": {
            "requested": line.requested,
            "delivered": line.delivered,
            "delivered_at": rfc3339(at) if at and is_delivered else None,
        },
        "deployments": [
            {
                "environment": each.environment,
                "status": each.status,
                "url": each.url,
                "updated_at": rfc3339(each.updated_at),
            }
            for each in line.deployments
        ],
    }
